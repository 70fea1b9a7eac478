package sched

import (
	"context"
	"sync"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

// leases are the leases granted to nodes: one attempt of each request may run,
// and has surely stopped when its lease is over. They stand beside the table,
// so that a renewal waits for nobody. Methods may be called concurrently.
type leases struct {
	clock Clock
	// span is from a grant until the attempt has surely stopped.
	span time.Duration

	mu sync.Mutex // guards all that follows
	// serving: what is not held is not wanted. Before the journal was read, and
	// when this device leaves, nobody can tell.
	serving bool
	held    map[protocol.RequestID]*lease
}

// lease is of the one attempt of its request that may run now.
type lease struct {
	node    protocol.PeerID
	attempt uint32
	expiry  time.Duration // it has surely stopped, by the clock
	granted bool          // since this process began it
	revoked bool          // nothing more is granted
}

func newLeases(clock Clock, p *Params) *leases {
	return &leases{clock: clock, span: p.Lease + p.LeaseGrace, held: make(map[protocol.RequestID]*lease)}
}

// begin lets the attempt run on node, and no other of that request. It has its
// time from now on, though a node begins nothing before its first renewal: an
// earlier process may have granted one, and a node that flickers comes back.
func (l *leases) begin(id protocol.RequestID, attempt uint32, node protocol.PeerID) {
	now := l.clock()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held[id] = &lease{node: node, attempt: attempt, expiry: now + l.span}
}

// renew grants the attempt more time, or says why not.
func (l *leases) renew(node protocol.PeerID, r protocol.Renewal) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	held := l.held[r.Request]
	switch {
	case !l.serving:
		return protocol.Errorf(protocol.CodeLeaving, "this device starts or shuts down: ask again")
	case held == nil || held.revoked || held.attempt != r.Attempt || held.node != node:
		return protocol.Errorf(protocol.CodeLeaseExpired, "attempt %d of request %s is not wanted any more", r.Attempt, r.Request)
	}
	held.granted = true
	held.expiry = l.clock() + l.span // read under the lock: nothing is given up in between
	return nil
}

// remaining returns how long it takes until the attempt has surely stopped, if
// nothing more is granted.
func (l *leases) remaining(id protocol.RequestID) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if held := l.held[id]; held != nil {
		return max(held.expiry-l.clock(), 0)
	}
	return 0
}

// granted reports whether the attempt was renewed: its node has it, or had it.
func (l *leases) granted(id protocol.RequestID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	held := l.held[id]
	return held != nil && held.granted
}

// revoke grants nothing more. What was granted goes on.
func (l *leases) revoke(id protocol.RequestID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if held := l.held[id]; held != nil {
		held.revoked = true
	}
}

// expire ends the lease if the attempt has surely stopped, and reports whether
// it has.
func (l *leases) expire(id protocol.RequestID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if held := l.held[id]; held != nil && l.clock() < held.expiry {
		return false
	}
	delete(l.held, id)
	return true
}

// release forgets the request: none of its attempts is wanted.
func (l *leases) release(id protocol.RequestID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.held, id)
}

// serve says whether what is not held is known not to be wanted.
func (l *leases) serve(yes bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.serving = yes
}

// Renew implements protocol.Orchestrator. Until Run has read the journal, and
// from its end on, the answer is CodeLeaving, which says nothing.
func (o *Orchestrator) Renew(_ context.Context, node protocol.PeerID, r protocol.Renewal) error {
	return o.leases.renew(node, r)
}
