package sched

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

// errOverdue is why a request is given up although nobody knows its end.
var errOverdue = errors.New("it did not end in time after it was asked to stop")

// request is one request under way. Its goroutine, run, owns all fields but
// these: id, service, hash, size and decided never change; progress, control
// and secrets are shared; the table's goroutine owns acceptSessions, detached
// and removed.
type request struct {
	o        *Orchestrator
	id       protocol.RequestID
	service  protocol.Service // without its secrets' data
	hash     [sha256.Size]byte
	size     int // of the service, encoded
	secrets  secrets
	progress progress
	control  *control
	log      *slog.Logger

	// decided is closed when the request is accepted, or not: failed says why,
	// and does not change after.
	decided chan struct{}
	failed  error

	acceptSessions int  // sessions of Accept
	detached       bool // without them too
	removed        bool // somebody had it forgotten

	state   protocol.State
	demand  Demand
	attempt uint32
	// attemptsBefore counts those of an earlier request of this ID.
	attemptsBefore uint32
	// firstPlacement is the first placement where that was before the request was accepted,
	// until the offer is sent.
	firstPlacement *placement
	// node has the offer or the execution; name is what it is called.
	node protocol.PeerID
	name string
	// last is the last event that the execution told.
	last protocol.Event
	// startedAt is when the execution was seen running.
	startedAt time.Duration
	// nodeDeadline is how long nodes that could run it are waited for.
	nodeDeadline time.Duration
	// placeAgain: another attempt is to be placed. before is how the last one ended.
	placeAgain bool
	lastEnd    *protocol.Event
	// lostAttempts counts the attempts that were lost and may have run, moves those that
	// have surely not started.
	lostAttempts uint32
	moves        int
	// offeredAt is when the offer was accepted that the node has.
	offeredAt time.Duration
	// readyDeadline is how long devices that do not know yet whether they run work are
	// waited for; 0 before that was needed.
	readyDeadline time.Duration
	// avoided are nodes that are left out of placement for a while.
	avoided []protocol.PeerID
	// outputBase is where in the feed the attempt's output begins.
	outputBase position
	// replay is what the node kept while an earlier process had the request.
	replay replay
	// containerSeen: a container on this device was seen; writes counts the writes of that.
	containerSeen bool
	writes        sync.WaitGroup
	// endSession is the session on which the end came; nil before that.
	endSession protocol.Session
	// persisted: the end is in the journal.
	persisted bool
}

func newRequest(o *Orchestrator, id protocol.RequestID, s protocol.Service, hash [sha256.Size]byte) *request {
	return &request{
		o: o, id: id, service: s.WithoutSecrets(), hash: hash, size: s.EncodedSize(),
		secrets: secrets{list: s.Secrets},
		progress: newProgress(&o.cfg.Params, protocol.RequestInfo{
			ID: id, Orchestrator: o.cfg.Self, OrchestratorName: o.cfg.Name, Image: s.Image, Args: s.Args, Tags: s.Tags,
		}),
		control: newControl(),
		log:     o.cfg.Log.With("request", id),
		decided: make(chan struct{}),
	}
}

// awaitDecision waits until the request is accepted; the error says why it is not,
// or is ctx's.
func (r *request) awaitDecision(ctx context.Context) error {
	select {
	case <-r.decided:
		return r.failed
	case <-ctx.Done():
		return ctx.Err()
	}
}

// rejection returns why the request was not accepted; nil where it was, or where
// that is not decided yet.
func (r *request) rejection() error {
	select {
	case <-r.decided:
		return r.failed
	default:
		return nil
	}
}

// run looks after the request until its end is known and kept, or until ctx
// ends: then the request is released. It begins with how, which returns the
// execution's session where there is one.
func (r *request) run(ctx context.Context, how func(context.Context) protocol.Session) {
	r.supervise(ctx, how)
	if r.state.Ended() {
		r.o.leases.release(r.id)
		r.secrets.drop()
	}
	r.control.end(!r.correctable())
	r.progress.currentFeed().End()
	r.writes.Wait()
	if r.state.Ended() && !r.persisted {
		r.retryPersist(ctx)
	}
	r.drainSession(ctx)
}

// supervise follows the request, and gives up where a stop comes to nothing.
func (r *request) supervise(ctx context.Context, how func(context.Context) protocol.Session) {
	ctx, cancel := context.WithCancelCause(ctx)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		r.enforceStop(ctx, cancel)
	}()
	for s := how(ctx); s != nil || r.placeAgain; s = r.place(ctx) {
		if s != nil {
			r.execute(ctx, s)
		}
		if !r.placeAgain {
			break
		}
		r.placeAgain = false
	}
	cancel(nil)
	<-watched
}

// start accepts a new request and places it. Where nobody has to be asked for
// that, it is placed before it is accepted, so that both are written down at once.
func (r *request) start(ctx context.Context) protocol.Session {
	r.o.cfg.View.RequestReceived()
	if d, whole := r.o.demandAtOnce(&r.service); whole {
		r.demand = d
		if p := r.o.choose(&r.demand); p.found {
			r.firstPlacement = p
		}
	}
	if !r.accept(ctx) {
		r.dropFirstPlacement()
		return nil
	}
	if r.firstPlacement == nil {
		return r.placeFirst(ctx)
	}
	r.attempt = r.attemptsBefore + 1
	r.publish(protocol.Event{State: protocol.StatePlacing})
	return r.place(ctx)
}

// placeFirst places a request that was never offered.
func (r *request) placeFirst(ctx context.Context) protocol.Session {
	r.attempt = r.attemptsBefore + 1
	return r.placeNew(ctx)
}

func (r *request) placeNew(ctx context.Context) protocol.Session {
	r.publish(protocol.Event{State: protocol.StatePlacing})
	return r.place(ctx)
}

// enforceStop makes a stop final. After the grace period of a signal other than
// SIGTERM it kills. A request that has not ended long after that is given up.
func (r *request) enforceStop(ctx context.Context, giveUp context.CancelCauseFunc) {
	select {
	case <-r.control.stopping:
	case <-ctx.Done():
		return
	}
	wait := func(d time.Duration) bool {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
			return true
		case <-ctx.Done():
			return false
		}
	}
	if !wait(r.control.stopGrace()) {
		return
	}
	if err := r.control.kill(); err != nil {
		r.log.Debug("the execution was not told to stop", "err", err)
	}
	if wait(r.o.cfg.Params.StopGrace) {
		giveUp(errOverdue)
	}
}

// leaving reports whether ctx ended because this device shuts down.
func leaving(ctx context.Context) bool {
	return ctx.Err() != nil && !errors.Is(context.Cause(ctx), errOverdue)
}

func (r *request) stopping() bool {
	select {
	case <-r.control.stopping:
		return true
	default:
		return false
	}
}

// wallClock is the time for people; zero where there is none.
func (r *request) wallClock() time.Time {
	if r.o.cfg.Now == nil {
		return time.Time{}
	}
	return r.o.cfg.Now()
}

// stamp completes an event about this request.
func (r *request) stamp(e protocol.Event) protocol.Event {
	e.Request, e.Attempt = r.id, r.attempt
	e.Node, e.NodeName = r.node, r.name
	if e.At.IsZero() {
		e.At = r.wallClock()
	}
	return e
}

// publish tells an event about this device, or about the node where there is
// one, and moves to its state.
func (r *request) publish(e protocol.Event) {
	if !mayFollow(r.state, e.State) {
		r.log.Error("impossible step in a request's life", "from", r.state.String(), "to", e.State.String())
		return
	}
	r.state = e.State
	e = r.stamp(e)
	r.progress.addEvent(e)
	if e.Progress == nil {
		r.o.watchers.tell(e)
	}
	if e.State.Ended() {
		r.log.Info("request ended", "peer", r.node, "attempt", r.attempt, "code", e.Code.String())
	}
}

// publishNote tells the askers something within the present state.
func (r *request) publishNote(code protocol.Code, format string, args ...any) {
	r.publish(protocol.Event{State: r.state, Code: code, Reason: fmt.Sprintf(format, args...)})
}

// end ends the request by this device's own word. That is written down before
// it is told: no node could tell it again. Where it can't be, it is told all the
// same, and tried again later.
func (r *request) end(s protocol.State, code protocol.Code, format string, args ...any) {
	e := r.stamp(protocol.Event{State: s, Code: code, Reason: fmt.Sprintf(format, args...)})
	if mayFollow(r.state, s) {
		r.persistEnd(e, false)
	}
	r.publish(e)
}
