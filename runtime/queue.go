package runtime

import (
	"context"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

// enqueue puts e behind those that wait, for so long at most; 0 is for as long as
// it takes. n.mu is held.
func (n *Node) enqueue(e *execution, maxWait time.Duration) {
	n.ledger.queue = append(n.ledger.queue, e)
	if maxWait > 0 {
		e.maxWait, e.queueDeadline = maxWait, time.Now().Add(maxWait)
		notify(n.notifyQueue)
	}
}

// watchQueue gives back what has waited for as long as its orchestrator allowed,
// until ctx ends: another node may have a slot free by now. While nothing has such
// a bound it sleeps.
func (n *Node) watchQueue(ctx context.Context) {
	timer := time.NewTimer(0)
	timer.Stop()
	defer timer.Stop()
	for {
		select {
		case <-n.notifyQueue:
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		if wait, any := n.timeOutQueued(); any {
			timer.Reset(wait)
		}
	}
}

// timeOutQueued ends those whose time is up and that have not started, and returns
// after how long the next one follows, if any. Who leaves the queue under the
// Node's mutex is started by nobody.
func (n *Node) timeOutQueued() (wait time.Duration, any bool) {
	now := time.Now()
	var due []*execution
	n.mu.Lock()
	for _, e := range n.ledger.queue {
		left := e.queueDeadline.Sub(now)
		switch {
		case e.queueDeadline.IsZero():
		case left <= 0:
			due = append(due, e)
		case !any || left < wait:
			wait, any = left, true
		}
	}
	for _, e := range due {
		n.ledger.leave(e)
	}
	if len(due) > 0 {
		n.pump() // the next one may be small enough
	}
	n.mu.Unlock()
	for _, e := range due {
		e.publishEnd(e.failure(protocol.Errorf(protocol.CodeQueueTimeout,
			"it waited %v here for a free slot", e.maxWait.Round(time.Millisecond))), 0)
		e.feed.End()
	}
	if len(due) > 0 {
		n.changed()
	}
	return wait, any
}

// load is what the node tells of its load; n.mu is held.
func (n *Node) load() protocol.Load { return n.ledger.load(n.unit, time.Now()) }

// expected returns how long the service usually runs here.
func (n *Node) expected(s *protocol.Service) time.Duration {
	if n.cfg.Expected == nil {
		return 0
	}
	return n.cfg.Expected(s)
}
