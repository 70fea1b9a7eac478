package sched

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

// maxEarly is how many statuses of devices that are not connected are kept.
const maxEarly = 1024

// View is what this device knows of the mesh: per device the last status, when
// it came, how far away it is, and what this device's orchestrator has sent
// there since. All methods may be called concurrently, and none blocks.
type View struct {
	self   protocol.PeerID
	clock  Clock
	params Params

	mu      sync.Mutex // guards all that follows; never held across I/O
	devices map[protocol.PeerID]*device
	list    []*device // the same devices, in no order
	// earlyStatuses holds statuses that came before the news of their connection.
	earlyStatuses map[protocol.PeerID]received
	// inflight counts the executions and the open offers of this orchestrator's own,
	// by node, connected or not; there is no zero in it.
	inflight    map[protocol.PeerID]int
	work        workTable
	experiences experiences
	arrivals    arrivalRate
	changed     chan struct{} // closed at the next change; nil if nobody waits
}

// received is a status and when it came. The status is never written to.
type received struct {
	status *protocol.Status
	at     time.Duration
}

// device is one connected device, or the device itself.
type device struct {
	id         protocol.PeerID
	name, addr string
	rtt        time.Duration
	joined     time.Duration // when it was connected
	received
	// loadAt is when its load was learned: with the status, or with a refusal.
	loadAt time.Duration
	// pending counts the offers without an answer; taken those accepted since
	// known; returned the executions that ended since.
	pending, accepted, finished int
	// unstarted holds when this orchestrator sent what has not begun there, the
	// oldest first.
	unstarted []time.Duration
}

// NewView returns the view of the device self, which knows nobody else yet.
func NewView(self protocol.PeerID, clock Clock, params Params) *View {
	v := &View{
		self:          self,
		clock:         clock,
		params:        params,
		devices:       make(map[protocol.PeerID]*device),
		earlyStatuses: make(map[protocol.PeerID]received),
		inflight:      make(map[protocol.PeerID]int),
		work:          newWorkTable(params),
		experiences:   experiences{max: params.MaxExperiences, byNode: make(map[protocol.PeerID]*experience)},
	}
	v.add(self)
	return v
}

func (v *View) add(node protocol.PeerID) *device {
	d := &device{id: node, joined: v.clock()}
	v.devices[node] = d
	v.list = append(v.list, d)
	return d
}

// UpdateStatus takes a status of a peer or of the device itself. It ignores one
// older than the present one. The status of a device without a connection
// counts once it connects.
func (v *View) UpdateStatus(s protocol.Status) {
	now := v.clock()
	v.mu.Lock()
	defer v.mu.Unlock()
	d := v.devices[s.Node]
	if d == nil {
		if len(v.earlyStatuses) >= maxEarly {
			clear(v.earlyStatuses) // they come again with their next interval
		}
		v.earlyStatuses[s.Node] = received{&s, now}
		return
	}
	if d.status != nil && s.Sequence < d.status.Sequence {
		return
	}
	d.setStatus(received{&s, now})
	v.notify()
}

// setStatus replaces what is known of the device's load by a status. An offer that
// is still without an answer is not in it.
func (d *device) setStatus(s received) {
	d.received = s
	d.loadAt = s.at
	d.accepted, d.finished = 0, 0
}

// Joined tells that the device node is connected, with the name that it proved
// and the address of the connection. It may be told of itself, for its name.
func (v *View) Joined(node protocol.PeerID, name, addr string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	d := v.devices[node]
	if d == nil {
		d = v.add(node)
		if s, ok := v.earlyStatuses[node]; ok {
			delete(v.earlyStatuses, node)
			d.setStatus(s)
		}
	}
	d.name, d.addr = name, addr
	v.notify()
}

// Left records that the device left or that its connection was lost. The View
// forgets it at once.
func (v *View) Left(node protocol.PeerID) {
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
func (v *View) RTT(node protocol.PeerID, d time.Duration) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if dev := v.devices[node]; dev != nil {
		dev.rtt = max(d, 0)
	}
}

// Devices returns all devices that are connected, self first, then by name. Of
// one whose status has not come yet only node, name and address are known.
func (v *View) Devices() []protocol.Device {
	now := v.clock()
	v.mu.Lock()
	defer v.mu.Unlock()
	all := make([]protocol.Device, 0, len(v.list))
	for _, d := range v.list {
		out := protocol.Device{Self: d.id == v.self, Address: d.addr, RTT: d.rtt}
		if d.status != nil {
			out.Status = *d.status
			out.Age = now - d.at
		}
		out.Status.Node, out.Status.Name = d.id, d.label()
		all = append(all, out)
	}
	slices.SortFunc(all, func(a, b protocol.Device) int {
		switch {
		case a.Self != b.Self && a.Self:
			return -1
		case a.Self != b.Self:
			return 1
		}
		return cmp.Or(cmp.Compare(a.Status.Name, b.Status.Name), cmp.Compare(a.Status.Node, b.Status.Node))
	})
	return all
}

// label returns the device's name: the one that it proved, else the one in its
// status.
func (d *device) label() string {
	if d.name == "" && d.status != nil {
		return d.status.Name
	}
	return d.name
}

// Name returns the name of a connected device, or "".
func (v *View) Name(node protocol.PeerID) string {
	v.mu.Lock()
	defer v.mu.Unlock()
	if d := v.devices[node]; d != nil {
		return d.label()
	}
	return ""
}

// Connected reports whether node is connected, or the device itself.
func (v *View) Connected(node protocol.PeerID) bool {
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
