package sched

import (
	"context"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

// Config is what an Orchestrator is made of. All fields but Now and
// Journal must be set.
type Config struct {
	// Self and Name are those of this device.
	Self protocol.NodeID
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
	Executor func(node protocol.NodeID) (protocol.Executor, error)
	// Journal keeps the requests over the end of the process; with nil they are
	// forgotten then.
	Journal Journal
	Params  Params
	Log     *slog.Logger
}

// Orchestrator looks after the requests of this device's apps to their ends.
type Orchestrator struct {
	cfg Config
	// accepts and ended lead to Run's goroutine, which owns the requests.
	accepts chan accept
	ended   chan *request
	stopped chan struct{} // closed when Run takes nothing any more

	mu       sync.Mutex // guards what placing uses; held for microseconds
	placer   *Placer
	snapshot Snapshot
}

// accept is a request on its way to Run, and where the answer goes.
type accept struct {
	run   protocol.Run
	reply chan<- accepted
}

type accepted struct {
	session *session
	err     error
}

// New returns an Orchestrator that does nothing until Run.
func New(cfg Config) *Orchestrator {
	return &Orchestrator{
		cfg:     cfg,
		accepts: make(chan accept),
		ended:   make(chan *request),
		stopped: make(chan struct{}),
		placer:  NewPlacer(cfg.Params),
	}
}

// Accept takes a request and attaches to it: the session's first update is the
// event that says so. The same ID with the same service attaches to the request
// that is there, or was until lately; the error is an *protocol.Error with
// CodeConflict for an ID in use for another service, CodeInvalid,
// CodeOverloaded or CodeLeaving. It blocks until Run runs, or ctx ends.
func (o *Orchestrator) Accept(ctx context.Context, r protocol.Run) (protocol.Session, error) {
	if r.ID == "" {
		r.ID = protocol.NewRequestID()
	} else if _, err := protocol.ParseRequestID(string(r.ID)); err != nil {
		return nil, err
	}
	if err := r.Service.Validate(); err != nil {
		return nil, err
	}
	reply := make(chan accepted, 1)
	select {
	case o.accepts <- accept{r, reply}:
	case <-o.stopped:
		return nil, protocol.Errorf(protocol.CodeLeaving, "this device shuts down: ask again when it is back")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	// Run answers all that it takes, and at once.
	a := <-reply
	if a.err != nil {
		return nil, a.err
	}
	return a.session, nil
}

// Run serves Accept until ctx ends. Then requests that are not placed yet are
// cancelled, the others are let go: what runs goes on, and the askers are told
// that its end is not known. Run returns when all that is done. It runs once.
func (o *Orchestrator) Run(ctx context.Context) error {
	t := newTable(&o.cfg)
	var requests sync.WaitGroup
	for {
		select {
		case a := <-o.accepts:
			r, isNew, err := t.admit(o, &a.run)
			if err != nil {
				a.reply <- accepted{err: err}
				continue
			}
			a.reply <- accepted{session: newSession(r, isNew)}
			if isNew {
				requests.Go(func() {
					r.run(ctx)
					o.ended <- r
				})
			}
		case r := <-o.ended:
			t.retire(r)
		case <-t.expiry.C:
			t.expire()
		case <-ctx.Done():
			close(o.stopped)
			go func() {
				requests.Wait()
				close(o.ended)
			}()
			for range o.ended { // until all have ended
			}
			t.expiry.Stop()
			return nil
		}
	}
}

// choose places the demand as things are now, and counts the offer as sent, so
// that the next placement sees it.
func (o *Orchestrator) choose(d *Demand) (Choice, protocol.Decision, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.snapshot = o.cfg.View.Snapshot(o.snapshot.Peers)
	choice, ok := o.placer.Place(&o.snapshot, d, o.cfg.Rand)
	if ok {
		o.cfg.View.Dispatched(choice.Node)
	}
	return choice, o.placer.Explain(), ok
}

// table holds the requests under way, and those that ended lately. Run's
// goroutine owns it.
type table struct {
	cfg   *Config
	known map[protocol.RequestID]*request
	// ended holds those of them that have ended, the oldest first.
	ended  []endedRequest
	expiry *time.Timer // of the oldest
}

type endedRequest struct {
	*request
	at time.Duration
}

func newTable(cfg *Config) *table {
	t := &table{cfg: cfg, known: make(map[protocol.RequestID]*request), expiry: time.NewTimer(0)}
	t.expiry.Stop()
	return t
}

// admit returns the request that run speaks of, and whether it is a new one.
func (t *table) admit(o *Orchestrator, run *protocol.Run) (r *request, isNew bool, err error) {
	if r := t.known[run.ID]; r != nil {
		if !sameService(&r.service, &run.Service) {
			return nil, false, protocol.Errorf(protocol.CodeConflict,
				"the request ID %s is in use for a different service: choose another one, or none", run.ID)
		}
		return r, false, nil
	}
	if most := t.cfg.Params.MaxRequests; len(t.known)-len(t.ended) >= most {
		return nil, false, protocol.Errorf(protocol.CodeOverloaded,
			"%d requests are under way on this device, which is the most: try again when some have ended", most)
	}
	r = &request{
		o: o, id: run.ID, service: run.Service,
		feed:    protocol.NewFeed(t.cfg.Params.OutputKept),
		control: newControl(),
		log:     t.cfg.Log.With("request", run.ID),
	}
	t.known[run.ID] = r
	return r, true, nil
}

// retire keeps a request that has ended for a while.
func (t *table) retire(r *request) {
	t.ended = append(t.ended, endedRequest{r, t.cfg.Clock()})
	t.expire()
}

// expire drops those that are too many or too old.
func (t *table) expire() {
	now, p := t.cfg.Clock(), &t.cfg.Params
	for len(t.ended) > 0 && (len(t.ended) > p.KeepEnded || now-t.ended[0].at >= p.KeepEndedFor) {
		delete(t.known, t.ended[0].id)
		t.ended = slices.Delete(t.ended, 0, 1)
	}
	if len(t.ended) > 0 {
		t.expiry.Reset(t.ended[0].at + p.KeepEndedFor - now)
	}
}

// sameService reports whether a and b ask for the same.
func sameService(a, b *protocol.Service) bool {
	return a.Image == b.Image && a.Entrypoint == b.Entrypoint &&
		a.WorkDir == b.WorkDir && a.User == b.User &&
		a.CPUs == b.CPUs && a.Memory == b.Memory &&
		a.Stdin == b.Stdin && a.Timeout == b.Timeout &&
		slices.Equal(a.Args, b.Args) && slices.Equal(a.Env, b.Env) &&
		a.Constraints.Node == b.Constraints.Node && a.Constraints.NotHere == b.Constraints.NotHere &&
		maps.Equal(a.Constraints.Labels, b.Constraints.Labels)
}
