package runtime

import (
	"context"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

// recover asks the engine for the containers that an earlier process left there,
// or this one before the engine went away. What was created and never started is
// removed, unless it is about to be: nothing of it ran, and nobody waits for it.
func (n *Node) recover(ctx context.Context) ([]Recovered, error) {
	all, err := n.cfg.Driver.Recover(ctx)
	if err != nil {
		return nil, err
	}
	var found []Recovered
	for _, r := range all {
		if r.Started {
			found = append(found, r)
		} else if n.isRunning(r.ID) {
			continue
		} else if err := n.cfg.Driver.Remove(ctx, r.ID); err != nil {
			return nil, err
		}
	}
	n.forgetLeases(found)
	return found, nil
}

// isRunning reports whether this process has the execution and has not told its end.
func (n *Node) isRunning(id ExecutionID) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	e := n.executions[id]
	return e != nil && !e.heldSince.IsZero()
}

// adopt takes up what an earlier process of this node left on the engine; n.mu
// is held. What runs counts in the load, though it may be more than is lent
// now; what has ended is kept as such.
func (n *Node) adopt(found []Recovered) {
	for _, r := range found {
		if n.leaving || n.executions[r.ID] != nil {
			continue
		}
		e := newExecution(n, Spec{
			ID: r.ID, CPUs: r.CPUs, Memory: r.Memory, Timeout: r.Timeout, Lease: r.Lease,
		})
		e.adopted, e.container, e.ranBefore, e.expected = true, r.Container, r.Ran, n.expected(&e.service)
		if r.Running {
			n.ledger.take(e, time.Now().Add(-r.Ran))
		}
		n.executions[r.ID] = e
		n.lease(e)
		n.starting = append(n.starting, e)
		n.cfg.Log.Info("execution adopted", "request", r.ID.Request, "attempt", r.ID.Attempt, "running", r.Running)
	}
	notify(n.notifyWork)
}

// resumeContainer looks after a container that is there already: its output is
// read from the first byte that the engine kept.
func (e *execution) resumeContainer(ctx context.Context) {
	if !e.heldSince.IsZero() {
		event := e.event(protocol.StateRunning)
		event.Reason = "taken up again after a restart of hearth"
		e.reachInto(e.container, protocol.StateRunning)
		e.feed.Event(event)
	}
	e.follow(ctx, nil)
}
