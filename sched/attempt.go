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

// unstarted reports whether e, which the node told, ends an attempt that has
// surely not started, and that another node may have more luck with.
func (r *request) unstarted(e *protocol.Event) bool {
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

// faulty reports whether e, which the node told, is a fault of the node: not what
// the container did, nor what somebody wanted.
func faulty(e *protocol.Event) bool {
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
func (r *request) mayRetry() bool { return r.lost < r.service.Retry && !r.stopping() }

// leased reports whether attempts of the request have leases.
func (r *request) leased() bool { return r.service.Retry > 0 }

// move prepares another attempt, since this one has surely not started. e says
// why, and is how the request ends if there is no other node.
func (r *request) move(e protocol.Event) {
	if e.Code == protocol.CodeQueueTimeout {
		r.givenBack(e)
		return
	}
	r.moves++
	r.exclude(r.node, &protocol.Refusal{Code: e.Code, Reason: e.Reason})
	r.demand.NoFetch = r.demand.NoFetch || e.Code == protocol.CodeImageNotFound
	r.next(e, fmt.Sprintf("%s did not start it: %s", r.name, e.Reason))
}

// givenBack prepares another attempt, since the node had no slot for it in time.
// The node may be asked again, where the others would keep it waiting for longer.
func (r *request) givenBack(e protocol.Event) {
	if r.demand.Waited == nil {
		r.demand.Waited = make(map[protocol.PeerID]time.Duration)
	}
	r.demand.Waited[r.node] += r.o.cfg.Clock() - r.offered
	r.demand.Refusals = 0 // statuses are fresh by now
	r.next(e, fmt.Sprintf("%s gave it back: %s", r.name, e.Reason))
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

// lose takes note that this attempt was lost, and has surely stopped if it has a
// lease. It prepares another one; where there may be none, the request ends with
// e. Where there is no node for it, the request is lost: the node that might know
// better was there in time, or this device would still wait.
func (r *request) lose(e protocol.Event) {
	if !r.mayRetry() {
		r.end(e.State, e.Code, "%s", e.Reason)
		return
	}
	r.lost++
	r.patientUntil = max(r.patientUntil, r.o.cfg.Clock()+r.o.cfg.Params.ResumeTimeout)
	r.avoid(r.node, &protocol.Refusal{Code: protocol.CodeNodeLost, Reason: "lost an attempt of it"})
	why := fmt.Sprintf("retry %d of %d: %s", r.lost, r.service.Retry, e.Reason)
	if e.State == protocol.StateUnknown {
		e.State = protocol.StateLost
	}
	e.Reason += "; there is no node to run it again"
	r.next(e, why)
}

// avoid leaves a node out as long as there are others, or none is waited for.
func (r *request) avoid(node protocol.PeerID, why *protocol.Refusal) {
	r.exclude(node, why)
	r.avoided = append(r.avoided, node)
}

// forgive lets those take part again that were avoided.
func (r *request) forgive() {
	for _, node := range r.avoided {
		delete(r.demand.Excluded, node)
	}
	r.avoided = nil
}

// passing reports whether a node that refuses for this reason may take the
// request a little later.
func passing(c protocol.Code) bool {
	switch c {
	case protocol.CodeEngineDown, protocol.CodeLeaving, protocol.CodeNodeLost, protocol.CodeOverloaded,
		protocol.CodeDiskFull, protocol.CodeNotReady:
		return true
	}
	return false
}

// next turns to the next attempt. What its container writes comes after all that
// was written before.
func (r *request) next(end protocol.Event, why string) {
	r.o.leases.drop(r.id)
	end = r.stamp(end)
	r.before = &end
	r.control.again()
	r.beginAt(r.account.outputEnd())
	r.attempt++
	r.node, r.name = "", ""
	r.last, r.begun = protocol.Event{}, false
	r.state, r.onward = protocol.StatePlacing, true
	r.report(protocol.Event{State: protocol.StatePlacing, Code: end.Code, Reason: why})
}

// endAsBefore ends the request as the last attempt ended, since there cannot be
// another one. It reports false where there was none.
func (r *request) endAsBefore() bool {
	if r.before == nil {
		return false
	}
	e := r.before
	r.attempt, r.node, r.name = e.Attempt, e.Node, e.NodeName
	r.end(e.State, e.Code, "%s", e.Reason)
	return true
}

// loseTouch deals with an execution that was there, and cannot be followed to
// its end any more: err is regain's. When this device shuts down the request is
// let go.
func (r *request) loseTouch(ctx context.Context, err error) {
	e := protocol.Event{State: protocol.StateUnknown, Code: codeOfLoss(ctx)}
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
	r.o.cfg.View.Failed(r.node)
	r.lose(e)
}
