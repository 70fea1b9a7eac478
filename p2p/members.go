package p2p

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
)

const (
	// rivalry is how long after the first connection a second one counts as
	// made at the same time. Later ones are made by a device that lost the
	// first, even if this side has not noticed yet.
	rivalry = 2 * time.Second
	// readyTimeout is how long a new connection may take until scores can be
	// sent over it. It is closed then, and made anew.
	readyTimeout = 5 * time.Second
)

// members is the table of who is connected, and the queue of what is to be
// told about it. It is a network.Notifiee: libp2p tells it of each connection.
// It is safe for concurrent use and holds no lock while it calls others.
type members struct {
	self peer.ID
	// opened is called for each connection that is kept, closed for each one
	// that ended. They must not block.
	opened, closed func(network.Conn)

	// unready and told have one place each: there is someone to make ready,
	// there is news to tell.
	unready, told chan struct{}

	mu    sync.Mutex // owns what follows
	table map[peer.ID]*member
	news  []news
}

// member is a connected device.
type member struct {
	conns []network.Conn // of which all but the last are being closed
	name  string
	since time.Time
	rtt   time.Duration
	// joined: OnPeer was told. left: it said goodbye.
	joined, left bool
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
		self: self, table: make(map[peer.ID]*member),
		unready: make(chan struct{}, 1), told: make(chan struct{}, 1),
	}
}

// Connected implements network.Notifiee. Of two connections to one device the
// same one is kept on both sides.
func (m *members) Connected(_ network.Network, c network.Conn) {
	id := c.RemotePeer()
	var conn *memberConn
	if !c.As(&conn) {
		_ = c.Close()
		return
	}
	m.mu.Lock()
	e, ok := m.table[id]
	if !ok {
		e = &member{name: conn.name, since: time.Now()}
		m.table[id] = e
	}
	loser := m.rival(e, c)
	if loser == c {
		e.conns = slices.Insert(e.conns, 0, c)
	} else {
		e.conns = append(e.conns, c)
	}
	e.left = false
	m.mu.Unlock()
	wake(m.unready)
	if loser != nil {
		go func() { _ = loser.Close() }()
	}
	if loser != c {
		m.opened(c)
	}
}

// rival returns which of the current connection and the new one c is to be
// closed by this side, if any. Both sides decide alike, by what both know: when
// the connections were made, and who dialled. The caller holds the mutex.
func (m *members) rival(e *member, c network.Conn) network.Conn {
	if len(e.conns) == 0 {
		return nil
	}
	old := e.conns[len(e.conns)-1]
	outbound := c.Stat().Direction == network.DirOutbound
	switch {
	case c.Stat().Opened.Sub(old.Stat().Opened) > rivalry:
		return old
	case old.Stat().Direction == c.Stat().Direction:
		// Two addresses of one device answered at once: the order may differ
		// on the two sides, so the dialler alone decides.
		if outbound {
			return old
		}
		return nil
	case outbound == (m.self < c.RemotePeer()):
		return old // the lower ID dialled the new one
	default:
		return c
	}
}

// Disconnected implements network.Notifiee.
func (m *members) Disconnected(_ network.Network, c network.Conn) {
	m.gone(c)
	m.closed(c)
}

// gone takes a connection off the table, however often it is called.
func (m *members) gone(c network.Conn) {
	m.mu.Lock()
	defer m.mu.Unlock()
	id := c.RemotePeer()
	e, ok := m.table[id]
	if !ok {
		return
	}
	if len(e.conns) == 1 && e.conns[0] == c {
		m.depart(id, e, Lost)
		delete(m.table, id)
		return
	}
	e.conns = slices.DeleteFunc(e.conns, func(o network.Conn) bool { return o == c })
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
		m.tell(news{id: id, peer: e.peer(id), how: how})
	}
}

// ready tells of the devices that scores can now be sent to, and returns the
// connections of those that are not ready in time, and whether any is waited
// for.
func (m *members) ready(reachable []peer.ID) (late []network.Conn, waiting bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for id, e := range m.table {
		switch {
		case e.joined || e.left:
		case slices.Contains(reachable, id):
			e.joined = true
			m.tell(news{id: id, peer: e.peer(id), joined: true})
		case time.Since(e.since) > readyTimeout:
			late = append(late, e.conns...)
		default:
			waiting = true
		}
	}
	return late, waiting
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
	defer m.mu.Unlock()
	e, ok := m.table[id]
	switch {
	case !ok:
	case e.rtt == 0:
		e.rtt = rtt
	default: // smoothed as TCP does it (RFC 6298)
		e.rtt += (rtt - e.rtt) / 8
	}
}

// has reports whether there is a connection to id.
func (m *members) has(id peer.ID) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, ok := m.table[id]
	return ok
}

// list returns the members that joined, by name.
func (m *members) list() []Peer {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []Peer
	for id, e := range m.table {
		if e.joined {
			out = append(out, e.peer(id))
		}
	}
	slices.SortFunc(out, func(a, b Peer) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// peer describes the member; the caller holds the mutex.
func (e *member) peer(id peer.ID) Peer {
	p := Peer{ID: node(id), Name: e.name, RTT: e.rtt}
	if len(e.conns) > 0 {
		p.Address = e.conns[len(e.conns)-1].RemoteMultiaddr().String()
	}
	return p
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
