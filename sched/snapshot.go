package sched

import (
	"math"
	"slices"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

// A Peer is one device as placement sees it.
type Peer struct {
	Node protocol.PeerID
	Name string
	Self bool
	// Status is nil where none has come yet; it is never written to.
	Status *protocol.Status
	// Stale says that the status is too old to count. New says that the device
	// has just joined and sent none yet.
	Stale, New bool
	// Age is how long ago the load was learned.
	Age time.Duration
	RTT time.Duration
	// Sent counts this orchestrator's offers since then, Finished their ends,
	// and Inflight all that it has there now.
	Sent, Finished, Inflight int
	// Waited is for how long this device has been kept waiting there: for a
	// status that is due, for the answer to an offer, or for an execution to begin.
	Waited time.Duration
	// Slower is by how much longer executions take there than by its status,
	// according to what this orchestrator has seen: 1 is twice as long, 0 just so
	// long, and less than 0 is faster.
	Slower float64
}

// A Snapshot is the view at one moment. It does not change, and holds nothing
// that does.
type Snapshot struct {
	// Peers holds every device once, in no particular order.
	Peers []Peer
	// Rate is how many requests a second this orchestrator gets.
	Rate float64
	// MeanWork of recent executions of all services, as Demand.Work.
	MeanWork float64
}

// Snapshot returns the view as it is now, in buf where that is large enough:
// the caller gives up the Snapshot that buf came from.
func (v *View) Snapshot(buf []Peer) Snapshot {
	now := v.clock()
	v.mu.Lock()
	defer v.mu.Unlock()
	s := Snapshot{
		Peers:    slices.Grow(buf[:0], len(v.list)),
		Rate:     v.arrivals.at(now),
		MeanWork: v.work.mean,
	}
	for _, d := range v.list {
		s.Peers = append(s.Peers, v.peer(d, now))
	}
	return s
}

func (v *View) peer(d *device, now time.Duration) Peer {
	p := Peer{
		Node: d.id, Name: d.label(), Self: d.id == v.self,
		Status: d.status, Age: now - d.loadAt, RTT: d.rtt,
		Sent: d.pending + d.accepted, Finished: d.finished, Inflight: v.inflight[d.id],
		Slower: v.experiences.byNode[d.id].factor(&v.params, now),
	}
	p.New = d.status == nil && now-d.joined < v.params.ReadyTimeout
	if len(d.unstarted) > 0 {
		p.Waited = now - d.unstarted[0]
	}
	if p.Self {
		p.Age = 0 // its load is told at once
	} else if d.status != nil {
		interval := min(d.status.Interval, protocol.MaxStatusInterval)
		if v.params.ChangesPerInterval > 0 {
			p.Age = min(p.Age, interval/time.Duration(v.params.ChangesPerInterval))
		}
		p.Waited = max(p.Waited, now-d.at-interval)
		p.Stale = now-d.at > time.Duration(v.params.StaleIntervals)*interval
	}
	return p
}

// Demand returns what placing the service needs to know of it, as far as the
// mesh tells.
func (v *View) Demand(service *protocol.Service) Demand {
	d := Demand{Service: service, Image: protocol.HashImage(service.Image)}
	v.mu.Lock()
	defer v.mu.Unlock()
	work, seen := v.work.expect(keyOf(service))
	d.Work, d.Unseen = work, !seen
	d.Fetch = v.params.moved(v.sizeOnDisk(d.Image))
	return d
}

// sizeOnDisk returns how much the image takes on a device that has it; 0 where
// none says. v.mu is held.
func (v *View) sizeOnDisk(image uint32) protocol.Bytes {
	for _, dev := range v.list {
		if s := dev.status; s != nil && len(s.ImageSizes) == len(s.Images) {
			if i := slices.Index(s.Images, image); i >= 0 && s.ImageSizes[i] != 0 {
				return protocol.CodedSize(s.ImageSizes[i])
			}
		}
	}
	return 0
}

// ExpectedHere is how long the service usually runs on this device, from the
// container's start to its end; of the zero Service, how long one of which nothing
// is known does. It is 0 where the device has no status yet.
func (v *View) ExpectedHere(service *protocol.Service) time.Duration {
	v.mu.Lock()
	defer v.mu.Unlock()
	here := v.devices[v.self].status
	if here == nil || !(here.Speed > 0) {
		return 0
	}
	work, _ := v.work.expect(keyOf(service))
	return seconds(work / v.params.speed(here) * (1 + v.experiences.byNode[v.self].factor(&v.params, v.clock())))
}

// EstimateHere is how long the service would take on this device from now to its
// end, with running and queued executions before it and slots of its size: what
// a node compares with Offer.Bound. It is the longest duration where the device
// has no status yet.
func (v *View) EstimateHere(service protocol.Service, running, queued, slots int) time.Duration {
	demand := v.Demand(&service)
	v.mu.Lock()
	defer v.mu.Unlock()
	here := v.devices[v.self].status
	if here == nil || slots <= 0 {
		return math.MaxInt64
	}
	slower := v.experiences.byNode[v.self].factor(&v.params, v.clock())
	return seconds(v.params.expect(here, &demand, float64(running+queued), float64(slots), slower).total())
}
