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

// request is one request under way. Its goroutine, run, owns all fields but:
// id, service, hash, size and decided, which stay the same; progress, control and
// secrets, which others use too; runs, detached and removed, which the table's
// goroutine owns.
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

// enforceStop sees to it that a stop has an end: what was sent another signal
// than SIGTERM is killed after the grace period, and a request that has not
// ended long after that is given up.
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

// execute relays what the execution tells until it has ended, over as many
// sessions as it takes.
func (r *request) execute(ctx context.Context, s protocol.Session) {
	params := &r.o.cfg.Params
	touch := newReattachBackoff(params, params.ReattachTimeout)
	defer r.o.cfg.View.Finished(r.node)
	for {
		since := r.o.cfg.Clock()
		if r.follow(ctx, s) {
			return
		}
		if r.o.cfg.Clock()-since > params.MaxReattachBackoff {
			touch = newReattachBackoff(params, params.ReattachTimeout) // it was not just a flicker
		}
		var err error
		if s, err = r.reattach(ctx, touch); err != nil {
			r.connectionLost(ctx, err)
			return
		}
	}
}

// follow relays what s tells, and reports whether the request has ended. If not,
// the session broke, or ctx ended.
func (r *request) follow(ctx context.Context, s protocol.Session) bool {
	defer func() {
		if r.endSession != s {
			s.Close()
		}
	}()
	release := context.AfterFunc(ctx, func() { s.Close() })
	defer release()
	if err := r.control.attach(s); err != nil {
		r.log.Debug("session broke", "peer", r.node, "err", err)
	}
	for ctx.Err() == nil {
		u, err := s.Next()
		if err != nil {
			r.log.Debug("session broke", "peer", r.node, "err", err)
			break
		}
		if r.relay(ctx, &u) {
			if !r.placeAgain {
				r.endSession = s
			}
			return true
		}
	}
	r.control.detach()
	return false
}

// drainSession reads the session on which the end came to its own end: a node keeps
// what has ended until then, so that no end is lost, and forgets it after.
func (r *request) drainSession(ctx context.Context) {
	if r.endSession == nil {
		return
	}
	defer r.endSession.Close()
	release := context.AfterFunc(ctx, func() { r.endSession.Close() })
	defer release()
	for r.persisted {
		if _, err := r.endSession.Next(); err != nil {
			return
		}
	}
}

// relay passes an update on to the askers, and reports whether it was the end.
func (r *request) relay(ctx context.Context, u *protocol.Update) bool {
	switch {
	case u.Event != nil && u.Event.Code == protocol.CodeLeaving && r.node == r.o.cfg.Self && r.neverStarted(u.Event):
		<-ctx.Done() // which is about to come: this device shuts down
	case u.Event != nil:
		return r.handleEvent(*u.Event)
	case u.Output != nil:
		r.handleOutput(ctx, u.Output)
	}
	return false
}

// handleEvent takes in an event of the execution, and reports whether it was its end.
// After a session was taken up again, what was told before comes once more.
func (r *request) handleEvent(e protocol.Event) bool {
	if e.State < protocol.StatePlacing {
		e.State = protocol.StatePlacing // accepted is what this device says
	}
	switch {
	case e.Attempt != 0 && e.Attempt != r.attempt:
		r.log.Error("an execution speaks of another attempt", "peer", r.node, "attempt", r.attempt)
		return false
	case !mayFollow(r.state, e.State) || sameNews(&e, &r.last):
		return false
	}
	if r.state == protocol.StatePlacing && e.State != protocol.StatePlacing {
		r.o.cfg.View.Started(r.node)
	}
	if nodeFault(&e) && e.Code != protocol.CodeLeaving {
		r.o.cfg.View.RecordFault(r.node)
	}
	switch {
	case r.neverStarted(&e):
		r.moveAttempt(e)
		return true
	case nodeFault(&e) && r.mayRetry():
		r.attemptLost(e)
		return true
	}
	r.last = e
	e = r.asStopped(e)
	began := e.State == protocol.StateRunning && r.state != protocol.StateRunning
	if began {
		r.startedAt = r.o.cfg.Clock()
	}
	if e.State.Ended() && r.leased() {
		// Should this process die now and the node be gone, it would be run again.
		e = r.stamp(e)
		r.persistEnd(e, false)
	}
	r.recordRun(e.State)
	r.markContainerSeen(e.State)
	r.publish(e)
	if began {
		if err := r.control.started(); err != nil {
			r.log.Debug("the terminal's size was not passed on", "err", err)
		}
	}
	return e.State.Ended()
}

func sameNews(a, b *protocol.Event) bool {
	return a.State == b.State && a.Code == b.Code && a.Reason == b.Reason && a.ExitCode == b.ExitCode && a.Exited == b.Exited &&
		a.QueuePlace == b.QueuePlace && a.Container == b.Container && a.Progress == nil && b.Progress == nil
}

// recordRun corrects what the service's work is taken to be, when an execution ended
// by itself. A node learns of what runs on itself for all orchestrators.
func (r *request) recordRun(end protocol.State) {
	ran := end == protocol.StateSucceeded || end == protocol.StateFailed
	if ran && r.state == protocol.StateRunning && r.node != r.o.cfg.Self {
		r.o.cfg.View.RecordRun(&r.service, r.node, r.o.cfg.Clock()-r.startedAt)
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
