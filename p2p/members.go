package p2p

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/hearth-edge/hearth/protocol"
)

const (
	// readyTimeout is for how long a new member is handed statuses, and how often it is
	// looked at whether gossip still reaches the neighbours.
	readyTimeout = 10 * time.Second
)

// members is the table of connected devices and the queue of events about them.
// libp2p calls it for each connection (network.Notifiee). It is safe for
// concurrent use and calls nobody with a lock held.
type members struct {
	self  peer.ID
	names *names
	// onOpen is called for each new connection, closed for each one that
	// ended. They must not block.
	onOpen, onClose func(network.Conn)
	// onRTT is told each new round trip time; it must not block.
	onRTT func(protocol.PeerID, time.Duration)

	// notifyMembers and notifyEvents have one place each: there may be other neighbours, there is
	// news to tell.
	notifyMembers, notifyEvents chan struct{}

	mu       sync.Mutex // owns what follows
	table    map[peer.ID]*member
	events   []memberEvent
	lastJoin time.Time // when a device connected last
}

// member is a connected device.
type member struct {
	conn        network.Conn // earlier ones are being closed
	peerID      protocol.PeerID
	claimedName string // the name in its certificate
	since       time.Time
	rtt         time.Duration
	rank        uint64
	source      source
	// rival is the device that has this one's name, as this member sees it; else empty.
	rival peer.ID
	// joined: OnPeer was told. reached: gossip reaches it. left: it said goodbye.
	// picked: this device picks it as a neighbour. picksUs: it does this one. shown: it
	// is a neighbour.
	joined, reached, left, picked, picksUs, neighbour bool
}

// memberEvent is one call of OnPeer to come.
type memberEvent struct {
	id     peer.ID
	peer   Peer
	joined bool
	how    Departure
}

var _ network.Notifiee = (*members)(nil)

func newMembers(self peer.ID) *members {
	return &members{
		self: self, names: newNames(pin{ID: self}, nil, slog.New(slog.DiscardHandler)), table: make(map[peer.ID]*member),
		notifyMembers: make(chan struct{}, 1), notifyEvents: make(chan struct{}, 1),
		onRTT: func(protocol.PeerID, time.Duration) {},
	}
}

// Connected implements network.Notifiee. A second connection to one device
// replaces the first: a device dials only when it has none, and the tie-breaker
// keeps two from dialling each other at once.
func (m *members) Connected(_ network.Network, c network.Conn) {
	id := c.RemotePeer()
	var on *frameConn
	if !c.As(&on) {
		_ = c.Close()
		return
	}
	m.mu.Lock()
	old := m.table[id]
	if old != nil {
		m.queueDeparture(id, old, Lost)
	}
	m.lastJoin = time.Now()
	m.table[id] = &member{
		conn: c, peerID: peerID(id), claimedName: on.member.name, since: m.lastJoin, rank: rank(m.self, id), source: newSource(),
	}
	m.mu.Unlock()
	if old != nil {
		go func() { _ = old.conn.Close() }()
	}
	m.onOpen(c)
}

// Disconnected implements network.Notifiee.
func (m *members) Disconnected(_ network.Network, c network.Conn) {
	m.remove(c)
	m.onClose(c)
}

// remove takes a connection off the table, however often it is called, unless another has
// replaced it.
func (m *members) remove(c network.Conn) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e := m.member(c); e != nil {
		m.queueDeparture(c.RemotePeer(), e, Lost)
		delete(m.table, c.RemotePeer())
	}
}

// sinceJoin is how long ago a device connected last.
func (m *members) sinceJoin() time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	return time.Since(m.lastJoin)
}

// markLeft notes that the device is leaving.
func (m *members) markLeft(id peer.ID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e, ok := m.table[id]; ok {
		e.left = true
		m.queueDeparture(id, e, Left)
	}
}

// queueDeparture queues the news that a device is gone; the caller holds the mutex.
func (m *members) queueDeparture(id peer.ID, e *member, how Departure) {
	if e.joined {
		e.joined = false
		notify(m.notifyMembers)
		m.queueEvent(memberEvent{id: id, peer: m.peer(e), how: how})
	}
}

// join tells of the device at the other end of a connection: it was heard, so that
// it can be worked with.
func (m *members) join(c network.Conn) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e := m.member(c); e != nil && !e.joined && !e.left {
		e.joined = true
		notify(m.notifyMembers)
		m.queueEvent(memberEvent{id: c.RemotePeer(), peer: m.peer(e), joined: true})
	}
}

// conn returns the connection to id, or nil.
func (m *members) conn(id peer.ID) network.Conn {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e := m.table[id]; e != nil {
		return e.conn
	}
	return nil
}

// isReached reports whether gossip reaches the device at the other end.
func (m *members) isReached(c network.Conn) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.table[c.RemotePeer()]
	return e != nil && e.reached
}

// updateReached sets the devices that gossip reaches. It reports whether these
// are the first, and the neighbours it does not reach.
func (m *members) updateReached(reachable []peer.ID) (first bool, missing []network.Conn) {
	among := make(map[peer.ID]struct{}, len(reachable))
	for _, id := range reachable {
		among[id] = struct{}{}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	before, now := 0, 0
	for id, e := range m.table {
		if e.reached {
			before++
		}
		_, e.reached = among[id]
		if e.reached {
			now++
		} else if e.neighbour && !e.left {
			missing = append(missing, e.conn)
		}
	}
	return before == 0 && now > 0, missing
}

// queueEvent queues an event for OnPeer. A device has at most two events in the
// queue: a join and a departure cancel out.
func (m *members) queueEvent(n memberEvent) {
	same := func(o memberEvent) bool { return o.id == n.id }
	count := 0
	for _, o := range m.events {
		if same(o) {
			count++
		}
	}
	if count >= 2 {
		m.events = slices.DeleteFunc(m.events, same)
	}
	m.events = append(m.events, n)
	notify(m.notifyEvents)
}

// run calls onPeer for each piece of news until ctx ends.
func (m *members) run(ctx context.Context, onPeer func(Peer, bool, Departure)) {
	for {
		m.mu.Lock()
		queue := m.events
		m.events = nil
		m.mu.Unlock()
		for _, n := range queue {
			onPeer(n.peer, n.joined, n.how)
		}
		select {
		case <-m.notifyEvents:
		case <-ctx.Done():
			return
		}
	}
}

// recordRTT notes the round trip time of a ping.
func (m *members) recordRTT(id peer.ID, rtt time.Duration) {
	m.mu.Lock()
	e := m.table[id]
	if e != nil {
		if e.rtt > 0 { // smoothed as TCP does it (RFC 6298)
			rtt = e.rtt + (rtt-e.rtt)/8
		}
		e.rtt = rtt
	}
	m.mu.Unlock()
	if e != nil {
		m.onRTT(e.peerID, rtt)
	}
}

// count returns how many members joined.
func (m *members) count() (n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range m.table {
		if e.joined {
			n++
		}
	}
	return n
}

// has reports whether there is a connection to id.
func (m *members) has(id peer.ID) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, ok := m.table[id]
	return ok
}

// reachable reports whether there is a connection to id that it is not about to
// close.
func (m *members) reachable(id peer.ID) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	e, ok := m.table[id]
	return ok && !e.left
}

// list returns the members that joined, by name.
func (m *members) list() []Peer {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []Peer
	for _, e := range m.table {
		if e.joined {
			out = append(out, m.peer(e))
		}
	}
	slices.SortFunc(out, func(a, b Peer) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// peer describes a member; the caller holds the mutex.
func (m *members) peer(e *member) Peer {
	p := Peer{ID: e.peerID, ClaimedName: e.claimedName, RTT: e.rtt, Rival: peerID(e.rival)}
	if e.conn != nil {
		p.Address = e.conn.RemoteMultiaddr().String()
		p.Name = m.names.displayName(e.claimedName, e.conn.RemotePeer())
	}
	if e.rival == "" {
		p.Rival = ""
	}
	return p
}

// claimedNameOf returns the name that a connected device claims; empty for others.
func (m *members) claimedNameOf(id peer.ID) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e := m.table[id]; e != nil {
		return e.claimedName
	}
	return ""
}

// certifiedName returns the name in the certificate of the device at the other end.
func certifiedName(c network.Conn) string {
	var on *frameConn
	if c.As(&on) {
		return on.member.name
	}
	return ""
}

// claimants returns the connected devices that claim a name, the earliest
// connection first.
func (m *members) claimants(name string) (ids []peer.ID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for id, e := range m.table {
		if e.claimedName == name {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, func(a, b peer.ID) int { return m.table[a].since.Compare(m.table[b].since) })
	return ids
}

// queueRenamed tells once more of devices that joined, since they are called otherwise now.
func (m *members) queueRenamed(ids []peer.ID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, id := range ids {
		if e := m.table[id]; e != nil && e.joined {
			m.queueEvent(memberEvent{id: id, peer: m.peer(e), joined: true})
		}
	}
}

// setRival notes whose the name of this device is for the one at the other end.
func (m *members) setRival(c network.Conn, holder peer.ID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e := m.member(c); e != nil {
		e.rival = holder
	}
}

// Listen and ListenClose implement network.Notifiee.
func (m *members) Listen(network.Network, ma.Multiaddr)      {}
func (m *members) ListenClose(network.Network, ma.Multiaddr) {}

// notify fills a channel of one place.
func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
