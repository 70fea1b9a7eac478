package runtime

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

// offer answers an offer: with a session, or with a *protocol.Refusal. Any
// other error means that ctx ended before the node knew.
func (n *Node) offer(ctx context.Context, orchestrator protocol.PeerID, o protocol.Offer) (protocol.Session, error) {
	id := ExecutionID{Orchestrator: orchestrator, Request: o.Request, Attempt: o.Attempt}
	if err := n.awaitEngine(ctx, id); err != nil {
		return nil, err
	}
	if s, err := n.resume(id, o.Service); s != nil || err != nil {
		return s, err
	}
	if n.cfg.Check != nil {
		if err := n.cfg.Check(o.Service); err != nil {
			return nil, n.refuseFor(err)
		}
	}
	spec, err := n.cfg.Policy.Apply(id, n.asker(orchestrator), o.Service, n.here())
	if err != nil {
		return nil, n.refuseFor(err)
	}
	if err := n.checkImage(ctx, spec); err != nil {
		return nil, n.refuseFor(err)
	}
	if err := n.checkImageID(ctx, spec.Image, o.ImageID); err != nil {
		return nil, n.refuseFor(err)
	}
	if o.Lease > 0 && n.cfg.Renew == nil {
		return nil, n.refuse(protocol.CodeInvalid, "this node cannot ask for renewals of a lease")
	}
	spec.Lease, spec.ImageID = o.Lease, o.ImageID
	e := newExecution(n, spec)
	e.service, e.size, e.expected = o.Service.WithoutSecrets(), o.Service.EncodedSize(), n.expected(&o.Service)
	s, err := n.admit(e, o)
	if err != nil {
		return nil, err
	}
	n.changed()
	return s, nil
}

// awaitEngine waits until it is known what the engine already runs, and refuses
// what it cannot run now. What is known here needs no engine.
func (n *Node) awaitEngine(ctx context.Context, id ExecutionID) error {
	for {
		n.mu.Lock()
		known := n.executions[id] != nil
		eng, leaving := n.engine, n.leaving
		n.mu.Unlock()
		switch {
		case known, eng.ready && !leaving:
			return nil
		case leaving:
			return n.refuse(protocol.CodeLeaving, "the device shuts down")
		case eng.reason != "":
			return n.refuse(protocol.CodeEngineDown, "%s", eng.reason)
		}
		select {
		case <-eng.changed:
		case <-ctx.Done():
			return fmt.Errorf("offer of %s: the engine has not answered yet: %w", id.Request, ctx.Err())
		}
	}
}

// resume attaches to an execution that was offered before.
func (n *Node) resume(id ExecutionID, s protocol.Service) (protocol.Session, error) {
	n.mu.Lock()
	e := n.executions[id]
	n.mu.Unlock()
	switch {
	case e == nil:
		return nil, nil
	case !e.adopted && !e.service.Same(&s):
		return nil, n.refuse(protocol.CodeConflict, "the request ID %s is in use for a different service: choose another one", id.Request)
	}
	return e.session(protocol.Attach{}), nil
}

// admit takes e into the node, to be started at once or queued, or refuses it.
// Of two offers of one execution that come at the same time, the later gets the
// former's session.
func (n *Node) admit(e *execution, o protocol.Offer) (protocol.Session, error) {
	n.mu.Lock()
	other := n.executions[e.spec.ID]
	var refusal *protocol.Refusal
	switch {
	case other != nil:
	case n.denied.has(e.spec.ID, time.Now()):
		refusal = &protocol.Refusal{Code: protocol.CodeNotFound, Load: n.load(),
			Reason: "it was asked for before its offer came, and denied"}
	default:
		if refusal = n.roomFor(e.size); refusal != nil {
			break
		}
		if refusal = n.place(e, o); refusal == nil {
			n.executions[e.spec.ID] = e
			n.lease(e)
		}
	}
	n.mu.Unlock()
	switch {
	case other != nil:
		return n.resume(e.spec.ID, o.Service)
	case refusal != nil:
		return nil, refusal
	}
	notify(n.notifyWork)
	return e.firstSession, nil
}

// place starts e, queues it, or says why not; n.mu is held.
func (n *Node) place(e *execution, o protocol.Offer) *protocol.Refusal {
	l := &n.ledger
	slots := l.slots(e.demand)
	running, queued := len(l.running), len(l.queue)
	load := n.load()
	switch {
	case n.refusesNew(load) != nil:
		return n.refusesNew(load)
	case l.fits(e.demand):
		l.take(e, time.Now())
		n.starting = append(n.starting, e)
	case queued >= maxQueue:
		return &protocol.Refusal{Code: protocol.CodeOverloaded, Load: load,
			Reason: fmt.Sprintf("%d executions are waiting here, more are not taken", queued)}
	case o.Forced || n.cfg.Estimate != nil && n.cfg.Estimate(o.Service, running, queued, slots) <= o.Bound:
		n.enqueue(e, o.MaxWait)
		e.publishPlace(running+queued, queued)
	default:
		return &protocol.Refusal{Code: protocol.CodeBusy, Load: load,
			Reason: fmt.Sprintf("%d running, %d queued, %d fit at a time", running, queued, slots)}
	}
	// The reader is there before the first output, so that none is dropped.
	e.firstSession = e.session(protocol.Attach{})
	return nil
}

// pump starts what is next in the queue, as far as it fits, and tells the
// others how many are before them now; n.mu is held.
func (n *Node) pump() {
	now := time.Now()
	for e := n.ledger.next(now); e != nil; e = n.ledger.next(now) {
		n.starting = append(n.starting, e)
	}
	for i, e := range n.ledger.queue {
		e.publishPlace(len(n.ledger.running)+i, i)
	}
	notify(n.notifyWork)
}

// release gives back what e took, if anything, and starts who waited for it.
func (n *Node) release(e *execution) {
	n.mu.Lock()
	if n.ledger.release(e) && !n.leaving {
		n.pump()
	}
	n.mu.Unlock()
	n.changed()
}

// refuse makes a refusal with the load as it is now.
func (n *Node) refuse(code protocol.Code, format string, args ...any) *protocol.Refusal {
	n.mu.Lock()
	defer n.mu.Unlock()
	return &protocol.Refusal{Code: code, Reason: fmt.Sprintf(format, args...), Load: n.load()}
}

// refuseFor makes the refusal for what Check or the policy found.
func (n *Node) refuseFor(err error) *protocol.Refusal {
	code, reason := protocol.CodeOf(err), err.Error()
	if refusal, ok := errors.AsType[*protocol.Refusal](err); ok {
		reason = refusal.Reason
	} else if code == protocol.CodeInternal {
		n.cfg.Log.Error("offer could not be judged", "err", err)
		reason = "the node could not judge the offer; its log has the details"
	}
	return n.refuse(code, "%s", reason)
}
