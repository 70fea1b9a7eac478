package lifesim

import (
	"errors"
	"io"
	"sync"
	"time"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/sched"
)

// execution is an attempt as a node's process looks after it.
type execution struct {
	l     *life
	k     key
	offer protocol.Offer
	feed  *protocol.Feed
	came  time.Duration // when the offer did

	mu       sync.Mutex // guards what follows
	box      *box
	lease    time.Duration // until when; 0 before the first renewal
	unwanted bool
	stopped  bool
	leaving  bool
	over     bool
	news     chan struct{} // holds a token when any of this changed
}

func newExecution(l *life, k key, o protocol.Offer) *execution {
	if o.Lease > 0 && l.n.w.bugs.HastyRetry {
		o.Lease = sched.DefaultParams().Lease
	}
	return &execution{l: l, k: k, offer: o, feed: protocol.NewFeed(1 << 10), came: l.n.w.now(), news: make(chan struct{}, 1)}
}

func (e *execution) change(f func()) {
	e.mu.Lock()
	f()
	e.mu.Unlock()
	select {
	case e.news <- struct{}{}:
	default:
	}
}

// run goes through the steps of an execution, as far as its process lives.
func (e *execution) run() {
	n, ctx := e.l.n, e.l.ctx
	r := n.w.chance("steps", n.id, e.k)
	if e.offer.Lease > 0 {
		n.w.running.Go(e.keepLease)
	}
	if e.offer.MaxWait > 0 && r.IntN(8) == 0 { // it is queued, and finds no slot in time
		e.waitInVain()
		return
	}
	if r.IntN(3) == 0 {
		e.tell(protocol.Event{State: protocol.StatePulling})
		if !pause(ctx, between(r, 100*time.Millisecond, 5*time.Second)) || !n.awake(ctx) {
			return
		}
		if r.IntN(8) == 0 {
			e.conclude(protocol.StateFailed, protocol.CodePullFailed, 0)
			return
		}
	}
	if !pause(ctx, between(r, time.Millisecond, 300*time.Millisecond)) || !e.mayStart() {
		return
	}
	b, fresh := n.startBox(e.k, e.lease, e.offer.Lease)
	e.mu.Lock()
	e.box = b
	e.mu.Unlock()
	if fresh {
		e.tell(protocol.Event{State: protocol.StateStarting})
	}
	e.resume()
}

// mayStart waits until the execution may start, and reports whether it may; if
// not, it has ended, or its process has. With true e.mu is not held, but nothing
// has happened in between: the model has no other thread.
func (e *execution) mayStart() bool {
	n := e.l.n
	for {
		if !n.awake(e.l.ctx) {
			return false
		}
		if e.turnedAway() {
			return false
		}
		e.mu.Lock()
		lease := e.lease
		if n.w.bugs.OfferIsRenewal && lease == 0 {
			e.lease = e.came + e.offer.Lease
			lease = e.lease
		}
		e.mu.Unlock()
		if e.offer.Lease == 0 || n.w.now() < lease {
			return true
		}
		select {
		case <-e.news:
		case <-e.l.ctx.Done():
			return false
		}
	}
}

// turnedAway ends the execution that has not started where it is not to start, and
// reports whether it did.
func (e *execution) turnedAway() bool {
	e.mu.Lock()
	unwanted, stopped, leaving := e.unwanted, e.stopped, e.leaving
	e.mu.Unlock()
	switch {
	case leaving:
		e.conclude(protocol.StateFailed, protocol.CodeLeaving, 0)
	case stopped:
		e.conclude(protocol.StateCancelled, protocol.CodeCancelled, 0)
	case unwanted:
		e.conclude(protocol.StateFailed, protocol.CodeLeaseExpired, 0)
	default:
		return false
	}
	return true
}

// waitInVain waits for a slot for as long as the offer allows, and gives back.
func (e *execution) waitInVain() {
	timer := time.NewTimer(e.offer.MaxWait)
	defer timer.Stop()
	for {
		over := false
		select {
		case <-timer.C:
			over = true
		case <-e.news:
		case <-e.l.ctx.Done():
			return
		}
		if !e.l.n.awake(e.l.ctx) || e.turnedAway() {
			return
		}
		if over {
			e.conclude(protocol.StateFailed, protocol.CodeQueueTimeout, 0)
			return
		}
	}
}

// adopt looks after a container that an earlier process has started.
func (e *execution) adopt() {
	if e.offer.Lease > 0 && !e.box.ended() {
		e.l.n.w.running.Go(e.keepLease)
	}
	e.resume()
}

// resume looks after a container that was started.
func (e *execution) resume() {
	n, b := e.l.n, e.box
	if !b.ended() {
		e.tell(protocol.Event{State: protocol.StateRunning})
		_ = e.feed.Output(e.l.ctx, protocol.Stdout, []byte(e.k.String()))
	}
	for !b.ended() {
		select {
		case <-b.done:
		case <-e.news:
		case <-e.l.ctx.Done():
			return
		}
		if !n.awake(e.l.ctx) {
			return
		}
		e.mu.Lock()
		unwanted, stopped := e.unwanted, e.stopped
		e.mu.Unlock()
		if unwanted {
			b.end(137, true)
		} else if stopped {
			b.end(143, false)
		}
	}
	if !n.awake(e.l.ctx) {
		return
	}
	e.mu.Lock()
	stopped := e.stopped
	e.mu.Unlock()
	switch {
	case b.expired:
		e.conclude(protocol.StateFailed, protocol.CodeLeaseExpired, 0)
	case stopped && b.exit == 143:
		e.conclude(protocol.StateCancelled, protocol.CodeCancelled, 0)
	case b.exit == exitPowerCut:
		e.conclude(protocol.StateLost, protocol.CodeNodeLost, 0)
	case b.exit == 0:
		e.conclude(protocol.StateSucceeded, protocol.CodeNone, 0)
	default:
		e.conclude(protocol.StateFailed, protocol.CodeNone, b.exit)
	}
}

// keepLease asks for renewals until the end.
func (e *execution) keepLease() {
	n := e.l.n
	for {
		if !n.awake(e.l.ctx) {
			return
		}
		e.mu.Lock()
		over := e.over || e.unwanted
		e.mu.Unlock()
		if over {
			return
		}
		asked := n.w.now()
		n.w.running.Go(func() { e.askRenewal(asked) })
		if !pause(e.l.ctx, e.offer.Lease/4) {
			return
		}
	}
}

func (e *execution) askRenewal(asked time.Duration) {
	n := e.l.n
	err := n.w.links[n.id].renew(e.l, protocol.Renewal{Request: e.k.id, Attempt: e.k.attempt})
	if !n.awake(e.l.ctx) {
		return
	}
	switch {
	case err == nil:
		until := asked + time.Duration(float64(e.offer.Lease)*n.rate)
		e.change(func() { e.lease = max(e.lease, until) })
		e.mu.Lock()
		b := e.box
		e.mu.Unlock()
		if b != nil && b.leaseLeft() > 0 {
			b.extend(until)
		}
	case protocol.CodeOf(err) == protocol.CodeLeaseExpired:
		e.change(func() { e.unwanted = true })
	}
}

func (e *execution) turnAway() {
	e.change(func() { e.leaving = true })
}

func (e *execution) tell(ev protocol.Event) {
	ev.Request, ev.Attempt, ev.Node = e.k.id, e.k.attempt, e.l.n.id
	e.feed.Event(ev)
}

func (e *execution) conclude(s protocol.State, c protocol.Code, exit int) {
	e.mu.Lock()
	e.over = true
	e.mu.Unlock()
	reason := ""
	if c != protocol.CodeNone {
		reason = "the model says so"
	}
	e.tell(protocol.Event{State: s, Code: c, Reason: reason, ExitCode: exit})
	e.feed.End()
}

// view is a session at the node. Who has read it to its end has taken the end
// over, and the container is removed.
type view struct {
	*protocol.FeedReader
	e *execution
}

func (e *execution) session(a protocol.Attach) *view {
	return &view{FeedReader: e.feed.Reader(a.Stdout, a.Stderr), e: e}
}

func (v *view) Next() (protocol.Update, error) {
	u, err := v.FeedReader.Next()
	if errors.Is(err, io.EOF) {
		v.e.mu.Lock()
		b := v.e.box
		v.e.mu.Unlock()
		if b != nil {
			b.n.mu.Lock()
			b.removed = true
			b.n.mu.Unlock()
		}
	}
	return u, err
}

func (v *view) Write([]byte) (int, error)   { return 0, io.ErrClosedPipe }
func (v *view) CloseWrite() error           { return nil }
func (v *view) Signal(string) error         { return nil }
func (v *view) Resize(uint16, uint16) error { return nil }
func (v *view) Stop(time.Duration) error {
	v.e.change(func() { v.e.stopped = true })
	return nil
}
