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

// members is the table of who is connected, and the queue of what is to be
// told about it. It is a network.Notifiee: libp2p tells it of each connection.
// It is safe for concurrent use and holds no lock while it calls others.
type members struct {
	self  peer.ID
	names *names
	// opened is called for each new connection, closed for each one that
	// ended. They must not block.
	opened, closed func(network.Conn)
	// timed is told each new round trip time; it must not block.
	timed func(protocol.PeerID, time.Duration)

	// changed and told have one place each: there may be other neighbours, there is
	// news to tell.
	changed, told chan struct{}

	mu    sync.Mutex // owns what follows
	table map[peer.ID]*member
	news  []news
	last  time.Time // when a device connected last
}

// member is a connected device.
type member struct {
	conn   network.Conn // earlier ones are being closed
	node   protocol.PeerID
	claim  string // the name in its certificate
	since  time.Time
	rtt    time.Duration
	rank   uint64
	source source
	// rival is the device that has this one's name, as this member sees it; else empty.
	rival peer.ID
	// joined: OnPeer was told. reached: gossip reaches it. left: it said goodbye.
	// picked: this device picks it as a neighbour. picksUs: it does this one. shown: it
	// is a neighbour.
	joined, reached, left, picked, picksUs, shown bool
}

// news is one call of OnPeer to come.
type news struct {
	id     peer.ID
	peer   Peer
	joined bool
	how    Departure
}

var _ network.Notifiee = (*members)(nil)

func newMembers(self peer.ID) *members {
	return &members{
		self: self, names: newNames(pin{ID: self}, nil, slog.New(slog.DiscardHandler)), table: make(map[peer.ID]*member),
		changed: make(chan struct{}, 1), told: make(chan struct{}, 1),
		timed: func(protocol.PeerID, time.Duration) {},
	}
}

// Connected implements network.Notifiee. A second connection to one device
// replaces the first: a device dials only when it has none, and the arbiter
// keeps two from dialling each other at once.
func (m *members) Connected(_ network.Network, c network.Conn) {
	id := c.RemotePeer()
	var on *line
	if !c.As(&on) {
		_ = c.Close()
		return
	}
	m.mu.Lock()
	old := m.table[id]
	if old != nil {
		m.depart(id, old, Lost)
	}
	m.last = time.Now()
	m.table[id] = &member{
		conn: c, node: node(id), claim: on.member.name, since: m.last, rank: rank(m.self, id), source: newSource(),
	}
	m.mu.Unlock()
	if old != nil {
		go func() { _ = old.conn.Close() }()
	}
	m.opened(c)
}

// Disconnected implements network.Notifiee.
func (m *members) Disconnected(_ network.Network, c network.Conn) {
	m.gone(c)
	m.closed(c)
}

// gone takes a connection off the table, however often it is called, unless another has
// replaced it.
func (m *members) gone(c network.Conn) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e := m.member(c); e != nil {
		m.depart(c.RemotePeer(), e, Lost)
		delete(m.table, c.RemotePeer())
	}
}

// sinceJoin is how long ago a device connected last.
func (m *members) sinceJoin() time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	return time.Since(m.last)
}

// goodbye notes that the device is leaving.
func (m *members) goodbye(id peer.ID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e, ok := m.table[id]; ok {
		e.left = true
		m.depart(id, e, Left)
	}
}

// depart queues the news that a device is gone; the caller holds the mutex.
func (m *members) depart(id peer.ID, e *member, how Departure) {
	if e.joined {
		e.joined = false
		wake(m.changed)
		m.tell(news{id: id, peer: m.peer(e), how: how})
	}
}

// met tells of the device at the other end of a connection: it was heard, so that
// it can be worked with.
func (m *members) met(c network.Conn) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e := m.member(c); e != nil && !e.joined && !e.left {
		e.joined = true
		wake(m.changed)
		m.tell(news{id: c.RemotePeer(), peer: m.peer(e), joined: true})
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

// reached reports whether gossip reaches the device at the other end.
func (m *members) reached(c network.Conn) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.table[c.RemotePeer()]
	return e != nil && e.reached
}

// reach takes whom gossip reaches now. It reports whether it reached nobody before, and
// which neighbours it does not reach.
func (m *members) reach(reachable []peer.ID) (first bool, missing []network.Conn) {
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
		} else if e.shown && !e.left {
			missing = append(missing, e.conn)
		}
	}
	return before == 0 && now > 0, missing
}

// tell queues news. A device that comes and goes faster than OnPeer returns
// has at most two in the queue: what cancels out is not told.
func (m *members) tell(n news) {
	same := func(o news) bool { return o.id == n.id }
	count := 0
	for _, o := range m.news {
		if same(o) {
			count++
		}
	}
	if count >= 2 {
		m.news = slices.DeleteFunc(m.news, same)
	}
	m.news = append(m.news, n)
	wake(m.told)
}

// run calls onPeer for each piece of news until ctx ends.
func (m *members) run(ctx context.Context, onPeer func(Peer, bool, Departure)) {
	for {
		m.mu.Lock()
		queue := m.news
		m.news = nil
		m.mu.Unlock()
		for _, n := range queue {
			onPeer(n.peer, n.joined, n.how)
		}
		select {
		case <-m.told:
		case <-ctx.Done():
			return
		}
	}
}

// measured notes the round trip time of a ping.
func (m *members) measured(id peer.ID, rtt time.Duration) {
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
		m.timed(e.node, rtt)
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
	p := Peer{ID: e.node, Claim: e.claim, RTT: e.rtt, Rival: node(e.rival)}
	if e.conn != nil {
		p.Address = e.conn.RemoteMultiaddr().String()
		p.Name = m.names.shown(e.claim, e.conn.RemotePeer())
	}
	if e.rival == "" {
		p.Rival = ""
	}
	return p
}

// claimOf returns the name that a connected device claims; empty for others.
func (m *members) claimOf(id peer.ID) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e := m.table[id]; e != nil {
		return e.claim
	}
	return ""
}

// claimed returns the name in the certificate of the device at the other end.
func claimed(c network.Conn) string {
	var on *line
	if c.As(&on) {
		return on.member.name
	}
	return ""
}

// claimants returns the connected devices that claim a name, the one that connected
// first before the others.
func (m *members) claimants(name string) (ids []peer.ID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for id, e := range m.table {
		if e.claim == name {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, func(a, b peer.ID) int { return m.table[a].since.Compare(m.table[b].since) })
	return ids
}

// renamed tells once more of devices that joined, since they are called otherwise now.
func (m *members) renamed(ids []peer.ID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, id := range ids {
		if e := m.table[id]; e != nil && e.joined {
			m.tell(news{id: id, peer: m.peer(e), joined: true})
		}
	}
}

// rivals notes whose the name of this device is for the one at the other end.
func (m *members) rivals(c network.Conn, holder peer.ID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e := m.member(c); e != nil {
		e.rival = holder
	}
}

// Listen and ListenClose implement network.Notifiee.
func (m *members) Listen(network.Network, ma.Multiaddr)      {}
func (m *members) ListenClose(network.Network, ma.Multiaddr) {}

// wake fills a channel of one place.
func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
