package sched

import (
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

// A View counts the executions of this orchestrator on each node, whatever
// statuses say.

// OfferSent tells that an offer is on its way to node. Exactly one of
// OfferAccepted, OfferRefused and OfferFailed follows.
func (v *View) OfferSent(node protocol.PeerID) {
	now := v.clock()
	v.addInflight(node, +1, func(d *device) {
		d.pending++
		d.unstarted = append(d.unstarted, now)
	})
}

// Reattached tells that an execution on node was taken up that this View knows
// nothing of: an earlier process had sent it there. Finished follows.
func (v *View) Reattached(node protocol.PeerID) {
	v.addInflight(node, +1, func(*device) {})
}

// OfferAccepted tells that node took an offer. Finished follows.
func (v *View) OfferAccepted(node protocol.PeerID) {
	v.addInflight(node, 0, func(d *device) {
		d.pending = max(d.pending-1, 0)
		d.accepted++
	})
}

// OfferRefused tells that node refused an offer, and how busy it said that it is.
func (v *View) OfferRefused(node protocol.PeerID, load protocol.Load) {
	now := v.clock()
	v.addInflight(node, -1, func(d *device) {
		d.dropOffer()
		if d.status == nil {
			return
		}
		s := *d.status
		s.Running, s.Queued = load.Running, load.Queued
		s.LongRunning, s.Youngest = load.LongRunning, load.Youngest
		s.Score = v.params.Rate(&s)
		d.status, d.loadAt = &s, now
		d.accepted, d.finished = 0, 0
	})
}

// OfferFailed tells that an offer came to nothing.
func (v *View) OfferFailed(node protocol.PeerID) {
	v.addInflight(node, -1, (*device).dropOffer)
}

// Finished tells that an execution that node took has ended there.
func (v *View) Finished(node protocol.PeerID) {
	v.addInflight(node, -1, func(d *device) { d.finished++ })
}

// Started records that the oldest waiting execution on node began or ended. A
// node begins them in the order of their offers.
func (v *View) Started(node protocol.PeerID) {
	v.addInflight(node, 0, func(d *device) { d.unstarted = d.unstarted[min(1, len(d.unstarted)):] })
}

// dropOffer forgets the newest offer.
func (d *device) dropOffer() {
	d.pending = max(d.pending-1, 0)
	d.unstarted = d.unstarted[:max(0, len(d.unstarted)-1)]
}

// addInflight adds to what this orchestrator has on node, and lets f change the
// device, if it is connected.
func (v *View) addInflight(node protocol.PeerID, add int, f func(*device)) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if n := v.inflight[node] + add; n > 0 {
		v.inflight[node] = n
	} else {
		delete(v.inflight, node)
	}
	if d := v.devices[node]; d != nil {
		f(d)
		d.unstarted = d.unstarted[max(0, len(d.unstarted)-v.inflight[node]):]
	}
}

// RequestReceived tells that this orchestrator got a request.
func (v *View) RequestReceived() {
	now := v.clock()
	v.mu.Lock()
	defer v.mu.Unlock()
	v.arrivals.count(now)
}

// RecordRun tells that an execution of service took so long on node, from the
// container's start to its end: what the next one's work is guessed from.
func (v *View) RecordRun(service *protocol.Service, node protocol.PeerID, took time.Duration) {
	v.mu.Lock()
	defer v.mu.Unlock()
	d := v.devices[node]
	if d == nil || d.status == nil || took < 0 {
		return
	}
	e := v.experiences.of(node)
	e.addOutcome(&v.params, v.clock(), true)
	residual, telling := v.work.learn(keyOf(service), node, took.Seconds()*v.params.speed(d.status), e.slower(&v.params))
	if telling {
		e.addRun(&v.params, residual)
	}
}

// RecordFault tells that an execution came to nothing by a fault of node: it had it
// and lost it, or could not run it for a reason of its own.
func (v *View) RecordFault(node protocol.PeerID) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.experiences.of(node).addOutcome(&v.params, v.clock(), false)
}
