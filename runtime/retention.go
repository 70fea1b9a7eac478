package runtime

import (
	"context"
	"slices"
	"time"
)

// How long, how many and how much of those that ended is kept for those who
// come back for it. EndedTTL is for an orchestrator whose connection broke.
const (
	EndedTTL       = 10 * time.Minute
	maxEnded       = 1024
	maxEndedOutput = 16 << 20
)

// retention holds the executions that ended, in the order of their end; the
// Node's mutex guards it.
type retention struct {
	ended  []ended
	output int
}

type ended struct {
	e      *execution
	at     time.Time
	output int // bytes kept
}

// retain keeps e for a while, now that it has ended, and forgets others for it.
func (n *Node) retain(e *execution) {
	stdout, stderr := e.feed.Offsets()
	size := int(min(stdout+stderr, outputLimit))
	n.mu.Lock()
	n.ended.ended = append(n.ended.ended, ended{e: e, at: time.Now(), output: size})
	n.ended.output += size
	for len(n.ended.ended) > maxEnded || n.ended.output > maxEndedOutput {
		n.forgetOldest()
	}
	n.mu.Unlock()
	notify(n.notifyEnded)
}

// forgetOldest forgets the execution that ended first; n.mu is held. Sessions
// that are open see it to its end.
func (n *Node) forgetOldest() {
	oldest := n.ended.ended[0]
	n.ended.ended[0] = ended{}
	n.ended.ended = n.ended.ended[1:]
	n.ended.output -= oldest.output
	delete(n.executions, oldest.e.spec.ID)
	close(oldest.e.forgotten)
}

// drop forgets an execution that has ended, where it is kept still. Its orchestrator
// does not want it any more: an offer of it that is on its way starts nothing.
func (n *Node) drop(e *execution) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.denied.add(e.spec.ID, time.Now())
	i := slices.IndexFunc(n.ended.ended, func(kept ended) bool { return kept.e == e })
	if i < 0 {
		return
	}
	n.ended.output -= n.ended.ended[i].output
	n.ended.ended = slices.Delete(n.ended.ended, i, i+1)
	delete(n.executions, e.spec.ID)
	close(e.forgotten)
}

// expire forgets what was kept for long enough, until ctx ends. While nothing
// is kept it sleeps.
func (n *Node) expire(ctx context.Context) {
	timer := time.NewTimer(EndedTTL)
	timer.Stop()
	defer timer.Stop()
	for {
		select {
		case <-n.notifyEnded:
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		if wait, any := n.forgetExpired(); any {
			timer.Reset(wait)
		}
	}
}

// forgetExpired returns after how long there is more to forget, if anything.
func (n *Node) forgetExpired() (wait time.Duration, any bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for len(n.ended.ended) > 0 {
		wait := EndedTTL - time.Since(n.ended.ended[0].at)
		if wait > 0 {
			return wait, true
		}
		n.forgetOldest()
	}
	return 0, false
}
