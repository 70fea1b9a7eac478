package sched

import (
	"context"

	"github.com/hearth-edge/hearth/protocol"
)

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

// drainSession reads the last session to its end. The node keeps an ended
// execution until then, so no end is lost.
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
	if e.State.Ended() && (r.leased() || r.state < protocol.StateStarting) {
		// Should this process die now and the node be gone, it would be run again.
		// Where no container was made, a node that restarts forgets the end.
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
