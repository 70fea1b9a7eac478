package sched

import (
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

// What a View counts is what this orchestrator itself has on each node, and what
// it learns of it, whatever statuses say.

// Dispatched tells that an offer is on its way to node. Exactly one of
// Accepted, Refused and Forgotten follows.
func (v *View) Dispatched(node protocol.PeerID) {
	now := v.clock()
	v.count(node, +1, func(d *device) {
		d.pending++
		d.waits = append(d.waits, now)
	})
}

// Resumed tells that an execution on node was taken up that this View knows
// nothing of: an earlier process had sent it there. Returned follows.
func (v *View) Resumed(node protocol.PeerID) {
	v.count(node, +1, func(*device) {})
}

// Accepted tells that node took an offer. Returned follows.
func (v *View) Accepted(node protocol.PeerID) {
	v.count(node, 0, func(d *device) {
		d.pending = max(d.pending-1, 0)
		d.taken++
	})
}

// Refused tells that node refused an offer, and how busy it said that it is.
func (v *View) Refused(node protocol.PeerID, load protocol.Load) {
	now := v.clock()
	v.count(node, -1, func(d *device) {
		d.takeBack()
		if d.status == nil {
			return
		}
		s := *d.status
		s.Running, s.Queued = load.Running, load.Queued
		s.LongRunning, s.Youngest = load.LongRunning, load.Youngest
		s.Score = v.params.Rate(&s)
		d.status, d.known = &s, now
		d.taken, d.returned = 0, 0
	})
}

// Forgotten tells that an offer came to nothing.
func (v *View) Forgotten(node protocol.PeerID) {
	v.count(node, -1, (*device).takeBack)
}

// Returned tells that an execution that node took has ended there.
func (v *View) Returned(node protocol.PeerID) {
	v.count(node, -1, func(d *device) { d.returned++ })
}

// Begun tells that an execution that node took waits there no more: it has
// begun, or ended. A node begins them in the order in which they came.
func (v *View) Begun(node protocol.PeerID) {
	v.count(node, 0, func(d *device) { d.waits = d.waits[min(1, len(d.waits)):] })
}

// takeBack forgets the newest offer.
func (d *device) takeBack() {
	d.pending = max(d.pending-1, 0)
	d.waits = d.waits[:max(0, len(d.waits)-1)]
}

// count adds to what this orchestrator has on node, and lets f change the
// device, if it is connected.
func (v *View) count(node protocol.PeerID, add int, f func(*device)) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if n := v.own[node] + add; n > 0 {
		v.own[node] = n
	} else {
		delete(v.own, node)
	}
	if d := v.devices[node]; d != nil {
		f(d)
		d.waits = d.waits[max(0, len(d.waits)-v.own[node]):]
	}
}

// Arrived tells that this orchestrator got a request.
func (v *View) Arrived() {
	now := v.clock()
	v.mu.Lock()
	defer v.mu.Unlock()
	v.arrivals.count(now)
}

// Ran tells that an execution of service took so long on node, from the
// container's start to its end: what the next one's work is guessed from.
func (v *View) Ran(service *protocol.Service, node protocol.PeerID, took time.Duration) {
	v.mu.Lock()
	defer v.mu.Unlock()
	d := v.devices[node]
	if d == nil || d.status == nil || took < 0 {
		return
	}
	e := v.learned.about(node)
	e.deliver(&v.params, v.clock(), true)
	residual, telling := v.work.learn(keyOf(service), node, took.Seconds()*v.params.speed(d.status), e.slower(&v.params))
	if telling {
		e.ran(&v.params, residual)
	}
}

// Failed tells that an execution came to nothing by a fault of node: it had it
// and lost it, or could not run it for a reason of its own.
func (v *View) Failed(node protocol.PeerID) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.learned.about(node).deliver(&v.params, v.clock(), false)
}
