package sched

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/sched/journal"
)

// Config is what an Orchestrator is made of. All fields but Now, Inspect and
// Journal must be set.
type Config struct {
	// Self and Name are those of this device.
	Self protocol.PeerID
	Name string
	// View is shared with those who fill it.
	View *View
	// Clock is the one that the View uses.
	Clock Clock
	// Now stamps events, for people only; nil leaves them without a time.
	Now func() time.Time
	// Rand is used by the Orchestrator alone.
	Rand *rand.Rand
	// Executor returns the way to a node, this device included. It does not
	// block; an error means that the node cannot be reached.
	Executor func(node protocol.PeerID) (protocol.Executor, error)
	// Inspect tells what the own engine, or else the registry, knows of an image.
	// Nil where there is nobody to ask: then all nodes are taken to run it.
	Inspect func(ctx context.Context, image string) (ImageFacts, error)
	// ImageID returns the ID of the own image that other nodes must have by that
	// name: see protocol.Offer. It takes milliseconds at most where the engine
	// answers. Nil is none.
	ImageID func(ctx context.Context, image string) protocol.ImageID
	// Journal keeps the requests over the end of the process; without one they
	// are forgotten then. It must stay open until Run has returned.
	Journal Journal
	Params  Params
	Log     *slog.Logger
}

// Orchestrator looks after the requests of this device's apps to their ends. It
// implements protocol.Requests for them. All methods may be called concurrently,
// and but for Watch they block until Run runs.
type Orchestrator struct {
	cfg Config
	// asks leads to Run's goroutine, which owns the requests.
	asks       chan func(*table)
	stopped    chan struct{} // closed when Run takes nothing any more
	watchers   watchers
	peerWaiter *peerWaiter
	leases     *leases
	images     *imageTable

	mu       sync.Mutex // guards what placing uses; held for microseconds
	placer   *Placer
	snapshot Snapshot
}

// New returns an Orchestrator that does nothing until Run.
func New(cfg Config) *Orchestrator {
	o := &Orchestrator{
		cfg:        cfg,
		asks:       make(chan func(*table)),
		stopped:    make(chan struct{}),
		peerWaiter: newPeerWaiter(),
		leases:     newLeases(cfg.Clock, &cfg.Params),
		placer:     NewPlacer(cfg.Params),
	}
	o.images = newImageTable(&o.cfg)
	return o
}

func errLeaves() error {
	return protocol.Errorf(protocol.CodeLeaving, "this device shuts down: ask again when it is back")
}

// Accept takes a request and attaches to it: it is App.Run. It returns when the
// request is on disk; the session's first update is that event. The same ID
// with the same service attaches to the existing request, as long as it is
// kept.
//
// A request that is not detached is cancelled when its last session is closed
// before its end. One taken up after a restart goes on.
//
// The error is ctx's or a *protocol.Error: CodeConflict for an ID in use for
// another service, CodeInvalid, CodeOverloaded, CodeLeaving, or the journal's,
// such as CodeDiskFull.
func (o *Orchestrator) Accept(ctx context.Context, run protocol.Run) (protocol.Session, error) {
	if run.ID == "" {
		run.ID = protocol.NewRequestID()
	} else if _, err := protocol.ParseRequestID(string(run.ID)); err != nil {
		return nil, err
	}
	if err := run.Service.Validate(); err != nil {
		return nil, err
	}
	hash := journal.ServiceHash(run.Service)
	for {
		var (
			r   *request
			s   *session
			err error
		)
		if err := o.do(ctx, func(t *table) { r, s, err = t.admit(&run, hash) }); err != nil {
			return nil, err
		}
		if r == nil {
			return nil, err
		}
		failure := r.awaitDecision(ctx)
		switch {
		case s == nil && failure != nil && ctx.Err() == nil:
			continue // the one in the way was not accepted itself
		case s == nil:
			return nil, err
		case failure != nil:
			_ = s.Close()
			return nil, failure
		}
		return s, nil
	}
}

// do runs f in Run's goroutine.
func (o *Orchestrator) do(ctx context.Context, f func(*table)) error {
	done := make(chan struct{})
	select {
	case o.asks <- func(t *table) { f(t); close(done) }:
		<-done
		return nil
	case <-o.stopped:
		return errLeaves()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// abandon tells that a session of Accept was closed.
func (o *Orchestrator) abandon(r *request) {
	unwanted := false
	if err := o.do(context.Background(), func(t *table) { unwanted = t.release(r) }); err != nil || !unwanted {
		return
	}
	if err := r.control.stop("", o.cfg.Params.AbandonGrace); err != nil {
		r.log.Debug("the execution was not told to stop", "err", err)
	}
}

// Run loads the requests of the journal and serves until ctx ends. Then it
// releases all requests: executions go on, sessions break, and no request ends.
// The next Run takes them up. It returns when its goroutines have ended. It
// runs once.
func (o *Orchestrator) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var children sync.WaitGroup
	t := newTable(o)
	t.leaving = func() bool { return ctx.Err() != nil }
	t.launch = func(f func(context.Context)) { children.Go(func() { f(ctx) }) }
	t.launch(func(ctx context.Context) { o.peerWaiter.watch(ctx, o.cfg.View) })
	err := o.load(t)
	for err == nil && ctx.Err() == nil {
		select {
		case ask := <-o.asks:
			ask(t)
		case <-t.expiry.C:
			t.expire()
		case <-ctx.Done():
		}
	}
	cancel()
	o.leases.serve(false)
	close(o.stopped)
	children.Wait()
	t.expiry.Stop()
	o.watchers.end()
	return err
}

// choose places the demand as things are now, and counts the offer as sent, so
// that the next placement sees it. The decision says why: where there is no node,
// of as many devices as are ever named.
func (o *Orchestrator) choose(d *Demand) *placement {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.snapshot = o.cfg.View.Snapshot(o.snapshot.Peers)
	choice, ok := o.placer.Place(&o.snapshot, d, o.cfg.Rand)
	if !ok {
		return &placement{Choice: choice, decision: o.placer.Explain(o.cfg.Params.MaxNamedDevices)}
	}
	o.cfg.View.OfferSent(choice.Node)
	return &placement{Choice: choice, found: true, decision: o.placer.Explain(o.cfg.Params.NamedDevices)}
}

// Plan returns where the service would go if it were asked for now, and why. It
// may wait for what is told of the image, for Params.ImageTimeout at most.
func (o *Orchestrator) Plan(ctx context.Context, s *protocol.Service) protocol.Decision {
	d := o.demand(ctx, s)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.snapshot = o.cfg.View.Snapshot(o.snapshot.Peers)
	o.placer.Place(&o.snapshot, &d, o.cfg.Rand)
	return o.placer.Explain(o.cfg.Params.MaxNamedDevices)
}
