package sched

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

// A request has one attempt after the other, never two at a time. Another one
// follows where the last one
//
//   - has surely not started: then it is placed elsewhere, whatever the delivery;
//   - was lost to a fault, and has surely stopped: then it is run again, up to
//     Service.Retry times.

// neverStarted reports whether the node's event e ends an attempt before
// anything ran, for a reason that another node may not have.
func (r *request) neverStarted(e *protocol.Event) bool {
	if e.State != protocol.StateFailed || r.state >= protocol.StateStarting {
		return false
	}
	switch e.Code {
	case protocol.CodeLeaving, protocol.CodeQueueTimeout:
		return true
	case protocol.CodePullFailed, protocol.CodeImageNotFound, protocol.CodeImagePlatform,
		protocol.CodeEngineDown, protocol.CodeDiskFull, protocol.CodeImageMismatch, protocol.CodePolicy:
		return r.moves < r.o.cfg.Params.MaxMoves
	}
	return false
}

// nodeFault reports whether the node's event e is a fault of the node. A
// failing container and a stop are none.
func nodeFault(e *protocol.Event) bool {
	switch e.State {
	case protocol.StateLost:
		return true
	case protocol.StateFailed:
		switch e.Code {
		case protocol.CodeEngineDown, protocol.CodeLeaving, protocol.CodeNodeLost, protocol.CodeNotFound,
			protocol.CodeDiskFull, protocol.CodeInternal, protocol.CodeLeaseExpired:
			return true
		}
	}
	return false
}

// mayRetry reports whether the request is run again if this attempt is lost.
func (r *request) mayRetry() bool { return r.lostAttempts < r.service.Retry && !r.stopping() }

// leased reports whether attempts of the request have leases.
func (r *request) leased() bool { return r.service.Retry > 0 }

// moveAttempt prepares another attempt, since this one has surely not started. e says
// why, and is how the request ends if there is no other node.
func (r *request) moveAttempt(e protocol.Event) {
	if e.Code == protocol.CodeQueueTimeout {
		r.queueTimedOut(e)
		return
	}
	r.moves++
	r.exclude(r.node, &protocol.Refusal{Code: e.Code, Reason: e.Reason})
	r.demand.NoFetch = r.demand.NoFetch || e.Code == protocol.CodeImageNotFound
	r.nextAttempt(e, fmt.Sprintf("%s did not start it: %s", r.name, e.Reason))
}

// queueTimedOut prepares another attempt, since the node had no slot for it in time.
// The node may be asked again, where the others would keep it waiting for longer.
func (r *request) queueTimedOut(e protocol.Event) {
	if r.demand.Waited == nil {
		r.demand.Waited = make(map[protocol.PeerID]time.Duration)
	}
	r.demand.Waited[r.node] += r.o.cfg.Clock() - r.offeredAt
	r.demand.Refusals = 0 // statuses are fresh by now
	r.nextAttempt(e, fmt.Sprintf("%s gave it back: %s", r.name, e.Reason))
}

// asStopped returns e as the end of a request that was stopped by a signal: the
// node takes it for the container's own end.
func (r *request) asStopped(e protocol.Event) protocol.Event {
	own := e.Code == protocol.CodeNone && (e.State == protocol.StateFailed || e.State == protocol.StateSucceeded)
	if !own || !r.control.stoppedBySignal() {
		return e
	}
	e.State, e.Code, e.Exited = protocol.StateCancelled, protocol.CodeCancelled, true
	if e.Reason != "" {
		e.Reason = "; " + e.Reason
	}
	e.Reason = "stopped" + e.Reason
	return e
}

// attemptLost takes note that this attempt was lost, and has surely stopped if it has a
// lease. It prepares another one; where there may be none, the request ends with
// e. Where there is no node for it, the request is lost: the node that might know
// better was there in time, or this device would still wait.
func (r *request) attemptLost(e protocol.Event) {
	if !r.mayRetry() {
		r.end(e.State, e.Code, "%s", e.Reason)
		return
	}
	r.lostAttempts++
	r.nodeDeadline = max(r.nodeDeadline, r.o.cfg.Clock()+r.o.cfg.Params.ResumeTimeout)
	r.avoid(r.node, &protocol.Refusal{Code: protocol.CodeNodeLost, Reason: "lost an attempt of it"})
	why := fmt.Sprintf("retry %d of %d: %s", r.lostAttempts, r.service.Retry, e.Reason)
	if e.State == protocol.StateUnknown {
		e.State = protocol.StateLost
	}
	e.Reason += "; there is no node to run it again"
	r.nextAttempt(e, why)
}

// avoid leaves a node out as long as there are others, or none is waited for.
func (r *request) avoid(node protocol.PeerID, why *protocol.Refusal) {
	r.exclude(node, why)
	r.avoided = append(r.avoided, node)
}

// resetAvoided lets those take part again that were avoided.
func (r *request) resetAvoided() {
	for _, node := range r.avoided {
		delete(r.demand.Excluded, node)
	}
	r.avoided = nil
}

// transient reports whether a node that refuses for this reason may take the
// request a little later.
func transient(c protocol.Code) bool {
	switch c {
	case protocol.CodeEngineDown, protocol.CodeLeaving, protocol.CodeNodeLost, protocol.CodeOverloaded,
		protocol.CodeDiskFull, protocol.CodeNotReady:
		return true
	}
	return false
}

// nextAttempt turns to the next attempt. What its container writes comes after all that
// was written before.
func (r *request) nextAttempt(end protocol.Event, why string) {
	r.o.leases.release(r.id)
	end = r.stamp(end)
	r.lastEnd = &end
	r.control.attemptOver()
	r.setOutputBase(r.progress.outputEnd())
	r.attempt++
	r.node, r.name = "", ""
	r.last, r.containerSeen = protocol.Event{}, false
	r.state, r.placeAgain = protocol.StatePlacing, true
	r.publish(protocol.Event{State: protocol.StatePlacing, Code: end.Code, Reason: why})
}

// endAsLastAttempt ends the request as the last attempt ended, since there cannot be
// another one. It reports false where there was none.
func (r *request) endAsLastAttempt() bool {
	if r.lastEnd == nil {
		return false
	}
	e := r.lastEnd
	r.attempt, r.node, r.name = e.Attempt, e.Node, e.NodeName
	r.end(e.State, e.Code, "%s", e.Reason)
	return true
}

// connectionLost deals with an execution that was there, and cannot be followed to
// its end any more: err is reattach's. When this device shuts down the request is
// released.
func (r *request) connectionLost(ctx context.Context, err error) {
	e := protocol.Event{State: protocol.StateUnknown, Code: lostCode(ctx)}
	switch {
	case leaving(ctx):
		return
	case ctx.Err() != nil:
		e.Reason = fmt.Sprintf("%s: how it ends on %s is not known", errOverdue, r.name)
	case errors.Is(err, errForgotten):
		e.State = protocol.StateLost
		e.Reason = r.name + " knows nothing of it any more; whether it finished is not known"
	default:
		e.Reason = r.name + " went away while it had this; whether it ran is not known"
	}
	r.o.cfg.View.RecordFault(r.node)
	r.attemptLost(e)
}
