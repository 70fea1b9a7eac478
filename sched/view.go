package sched

import (
	"cmp"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

const (
	// maxEarly is how many scores of devices that are not connected are kept.
	maxEarly = 1024
	// maxBeat bounds the beat that a score claims, and so for how long it counts.
	maxBeat = time.Minute
)

// View is what this device knows of the mesh: per device the last score, when
// it came, how far away it is, and what this device's orchestrator has sent
// there since. All methods may be called concurrently, and none blocks.
type View struct {
	self   protocol.NodeID
	clock  Clock
	params Params

	mu      sync.Mutex // guards all that follows; never held across I/O
	devices map[protocol.NodeID]*device
	list    []*device // the same devices, in no order
	// early holds scores that came before the news of their connection.
	early map[protocol.NodeID]scored
	// own counts the executions and the open offers of this orchestrator's own,
	// by node, connected or not; there is no zero in it.
	own      map[protocol.NodeID]int
	work     workTable
	learned  experiences
	arrivals rate
	changed  chan struct{} // closed at the next change; nil if nobody waits
}

// scored is a score and when it came. The score is never written to.
type scored struct {
	score *protocol.Score
	at    time.Duration
}

// device is one connected device, or the device itself.
type device struct {
	id         protocol.NodeID
	name, addr string
	rtt        time.Duration
	scored
	// known is when its load was learned: with the score, or with a refusal.
	known time.Duration
	// pending counts the offers without an answer; taken those accepted since
	// known; returned the executions that ended since.
	pending, taken, returned int
	// waits holds when this orchestrator sent what has not begun there, the
	// oldest first.
	waits []time.Duration
}

// NewView returns the view of the device self, which knows nobody else yet.
func NewView(self protocol.NodeID, clock Clock, params Params) *View {
	v := &View{
		self:    self,
		clock:   clock,
		params:  params,
		devices: make(map[protocol.NodeID]*device),
		early:   make(map[protocol.NodeID]scored),
		own:     make(map[protocol.NodeID]int),
		work:    newWorkTable(params),
		learned: experiences{kept: params.ExperienceKept, of: make(map[protocol.NodeID]*experience)},
	}
	v.add(self)
	return v
}

func (v *View) add(node protocol.NodeID) *device {
	d := &device{id: node}
	v.devices[node] = d
	v.list = append(v.list, d)
	return d
}

// Score takes in a score, of a peer or of the device itself. One that is older
// than what is known is ignored. That of a device that is not connected counts
// once it is.
func (v *View) Score(s protocol.Score) {
	now := v.clock()
	v.mu.Lock()
	defer v.mu.Unlock()
	d := v.devices[s.Node]
	if d == nil {
		if len(v.early) >= maxEarly {
			clear(v.early) // they come again with their next beat
		}
		v.early[s.Node] = scored{&s, now}
		return
	}
	if d.score != nil && s.Sequence < d.score.Sequence {
		return
	}
	d.learn(scored{&s, now})
	v.notify()
}

// learn replaces what is known of the device's load by a score. An offer that
// is still without an answer is not in it.
func (d *device) learn(s scored) {
	d.scored = s
	d.known = s.at
	d.taken, d.returned = 0, 0
}

// Joined tells that the device node is connected, with the name that it proved
// and the address of the connection. It may be told of itself, for its name.
func (v *View) Joined(node protocol.NodeID, name, addr string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	d := v.devices[node]
	if d == nil {
		d = v.add(node)
		if s, ok := v.early[node]; ok {
			delete(v.early, node)
			d.learn(s)
		}
	}
	d.name, d.addr = name, addr
	v.notify()
}

// Left tells that the device node left, or that its connection was lost: it is
// gone at once, with all that was known of it.
func (v *View) Left(node protocol.NodeID) {
	v.mu.Lock()
	defer v.mu.Unlock()
	d := v.devices[node]
	if d == nil || node == v.self {
		return
	}
	delete(v.devices, node)
	v.list = slices.DeleteFunc(v.list, func(other *device) bool { return other == d })
	v.notify()
}

// RTT tells how long the last ping to node took. It is no change that is worth
// waking the watchers for.
func (v *View) RTT(node protocol.NodeID, d time.Duration) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if dev := v.devices[node]; dev != nil {
		dev.rtt = max(d, 0)
	}
}

// Devices returns all devices that are connected, self first, then by name. Of
// one whose score has not come yet only node, name and address are known.
func (v *View) Devices() []protocol.Device {
	now := v.clock()
	v.mu.Lock()
	defer v.mu.Unlock()
	all := make([]protocol.Device, 0, len(v.list))
	for _, d := range v.list {
		out := protocol.Device{Self: d.id == v.self, Address: d.addr, RTT: d.rtt}
		if d.score != nil {
			out.Score = *d.score
			out.Age = now - d.at
		}
		out.Score.Node, out.Score.Name = d.id, d.label()
		all = append(all, out)
	}
	slices.SortFunc(all, func(a, b protocol.Device) int {
		switch {
		case a.Self != b.Self && a.Self:
			return -1
		case a.Self != b.Self:
			return 1
		}
		return cmp.Or(cmp.Compare(a.Score.Name, b.Score.Name), cmp.Compare(a.Score.Node, b.Score.Node))
	})
	return all
}

// label returns the device's name: the one that it proved, else the one in its
// score.
func (d *device) label() string {
	if d.name == "" && d.score != nil {
		return d.score.Name
	}
	return d.name
}

// Name returns the name of a connected device, or "".
func (v *View) Name(node protocol.NodeID) string {
	v.mu.Lock()
	defer v.mu.Unlock()
	if d := v.devices[node]; d != nil {
		return d.label()
	}
	return ""
}

// Connected reports whether node is connected, or the device itself.
func (v *View) Connected(node protocol.NodeID) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.devices[node] != nil
}

// Changed returns a channel that is closed at the next change of what Devices
// returns. Get it before looking, or a change may be missed.
func (v *View) Changed() <-chan struct{} {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.changed == nil {
		v.changed = make(chan struct{})
	}
	return v.changed
}

func (v *View) notify() {
	if v.changed != nil {
		close(v.changed)
		v.changed = nil
	}
}

// A Peer is one device as placement sees it.
type Peer struct {
	Node protocol.NodeID
	Name string
	Self bool
	// Score is nil where none has come yet; it is never written to.
	Score *protocol.Score
	// Stale says that the score is too old to count.
	Stale bool
	// Age is how long ago the load was learned.
	Age time.Duration
	RTT time.Duration
	// Sent counts what this orchestrator sent there since then, Returned what
	// came back, and Own all that it has there now, whenever it was sent.
	Sent, Returned, Own int
	// Waited is for how long this device has been kept waiting there: for a
	// score that is due, for the answer to an offer, or for an execution to begin.
	Waited time.Duration
	// Slower is by how much longer executions take there than by its score,
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
		Score: d.score, Age: now - d.known, RTT: d.rtt,
		Sent: d.pending + d.taken, Returned: d.returned, Own: v.own[d.id],
		Slower: v.learned.of[d.id].factor(&v.params, now),
	}
	if len(d.waits) > 0 {
		p.Waited = now - d.waits[0]
	}
	if p.Self {
		p.Age = 0 // its load is told at once
	} else if d.score != nil {
		beat := min(d.score.Beat, maxBeat)
		if v.params.ChangesPerBeat > 0 {
			p.Age = min(p.Age, beat/time.Duration(v.params.ChangesPerBeat))
		}
		p.Waited = max(p.Waited, now-d.at-beat)
		p.Stale = now-d.at > time.Duration(v.params.ScoreBeats)*beat
	}
	return p
}

// Dispatched tells that an offer is on its way to node. Exactly one of
// Accepted, Refused and Forgotten follows.
func (v *View) Dispatched(node protocol.NodeID) {
	now := v.clock()
	v.count(node, +1, func(d *device) {
		d.pending++
		d.waits = append(d.waits, now)
	})
}

// Resumed tells that an execution on node was taken up that this View knows
// nothing of: an earlier process had sent it there. Returned follows.
func (v *View) Resumed(node protocol.NodeID) {
	v.count(node, +1, func(*device) {})
}

// Accepted tells that node took an offer. Returned follows.
func (v *View) Accepted(node protocol.NodeID) {
	v.count(node, 0, func(d *device) {
		d.pending = max(d.pending-1, 0)
		d.taken++
	})
}

// Refused tells that node refused an offer, and how busy it said that it is.
func (v *View) Refused(node protocol.NodeID, load protocol.Load) {
	now := v.clock()
	v.count(node, -1, func(d *device) {
		d.takeBack()
		if d.score == nil {
			return
		}
		s := *d.score
		s.Running, s.Queued = load.Running, load.Queued
		s.Rating = v.params.Rate(&s)
		d.score, d.known = &s, now
		d.taken, d.returned = 0, 0
	})
}

// Forgotten tells that an offer came to nothing.
func (v *View) Forgotten(node protocol.NodeID) {
	v.count(node, -1, (*device).takeBack)
}

// Returned tells that an execution that node took has ended there.
func (v *View) Returned(node protocol.NodeID) {
	v.count(node, -1, func(d *device) { d.returned++ })
}

// Begun tells that an execution that node took waits there no more: it has
// begun, or ended. A node begins them in the order in which they came.
func (v *View) Begun(node protocol.NodeID) {
	v.count(node, 0, func(d *device) { d.waits = d.waits[min(1, len(d.waits)):] })
}

// takeBack forgets the newest offer.
func (d *device) takeBack() {
	d.pending = max(d.pending-1, 0)
	d.waits = d.waits[:max(0, len(d.waits)-1)]
}

// count adds to what this orchestrator has on node, and lets f change the
// device, if it is connected.
func (v *View) count(node protocol.NodeID, add int, f func(*device)) {
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
func (v *View) Ran(service *protocol.Service, node protocol.NodeID, took time.Duration) {
	v.mu.Lock()
	defer v.mu.Unlock()
	d := v.devices[node]
	if d == nil || d.score == nil || took < 0 {
		return
	}
	e := v.learned.about(node)
	e.deliver(&v.params, v.clock(), true)
	residual, telling := v.work.learn(keyOf(service), node, took.Seconds()*v.params.speed(d.score), e.slower(&v.params))
	if telling {
		e.ran(&v.params, residual)
	}
}

// Failed tells that an execution came to nothing by a fault of node: it had it
// and lost it, or could not run it for a reason of its own.
func (v *View) Failed(node protocol.NodeID) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.learned.about(node).deliver(&v.params, v.clock(), false)
}

// Demand returns what placing the service needs to know of it, as far as the
// mesh tells.
func (v *View) Demand(service *protocol.Service) Demand {
	d := Demand{Service: service, Image: protocol.HashImage(service.Image)}
	v.mu.Lock()
	defer v.mu.Unlock()
	d.Work = v.work.expect(keyOf(service))
	d.Fetch = v.params.moved(v.sizeOnDisk(d.Image))
	return d
}

// sizeOnDisk returns how much the image takes on a device that has it; 0 where
// none says. v.mu is held.
func (v *View) sizeOnDisk(image uint32) protocol.Bytes {
	for _, dev := range v.list {
		if s := dev.score; s != nil && len(s.ImageSizes) == len(s.Images) {
			if i := slices.Index(s.Images, image); i >= 0 && s.ImageSizes[i] != 0 {
				return protocol.CodedSize(s.ImageSizes[i])
			}
		}
	}
	return 0
}

// EstimateHere is how long the service would take on this device from now to its
// end, with running and queued executions before it and slots of its size: what
// a node compares with Offer.Bound. It is the longest duration where the device
// has no score yet.
func (v *View) EstimateHere(service protocol.Service, running, queued, slots int) time.Duration {
	demand := v.Demand(&service)
	v.mu.Lock()
	defer v.mu.Unlock()
	here := v.devices[v.self].score
	if here == nil || slots <= 0 {
		return math.MaxInt64
	}
	slower := v.learned.of[v.self].factor(&v.params, v.clock())
	return seconds(v.params.expect(here, &demand, float64(running+queued), float64(slots), slower).total())
}
