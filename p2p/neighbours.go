package p2p

import (
	"cmp"
	"context"
	"hash/maphash"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	libp2pproto "github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
)

// maxPicks is how many devices each device picks for gossip. Two devices are
// neighbours if either picks the other, so each has about twice as many. Such a
// graph is connected, with a probability that grows with its size (T. I.
// Fenner, A. M. Frieze: On the connectivity of random m-orientable graphs and
// digraphs, 1982).
const maxPicks = 2

// maxNeighbours bounds the neighbours, since each device chooses by itself whom
// to pick.
const maxNeighbours = 64

// A device with too few picks picks at once. It moves to the lowest ranks
// rankDelay after the last change of members, and at most maxRankDelay after
// the first. A starting mesh changes all the time, and early picks would be
// dropped again.
const rankDelay, maxRankDelay = 3 * time.Second, 10 * time.Second

// rankSeed are this process's own: whom a device picks is nobody else's business.
var rankSeed = maphash.MakeSeed()

// rank orders the devices to pick, the lowest first. It is as good as random
// for each pair, so joins and departures change no other pick.
func rank(self, other peer.ID) uint64 { return maphash.String(rankSeed, string(self)+string(other)) }

// A neighbourChange is what changed with the members.
type neighbourChange struct {
	picks          []network.Conn // whom this device picks now, or no longer does
	added, removed []network.Conn // who is a neighbour now, or no longer is
}

// updateNeighbours picks anew: those of the lowest ranks, or with keep only more where there are
// too few; then none stops to be a neighbour either. There is nothing to agree on: each side tells the other whether it picks it.
func (m *members) updateNeighbours(keepPicks bool) (r neighbourChange) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []*member
	for _, e := range m.table {
		if e.joined {
			all = append(all, e)
		}
	}
	slices.SortFunc(all, func(a, b *member) int {
		if keepPicks && a.picked != b.picked {
			if a.picked {
				return -1
			}
			return 1
		}
		return cmp.Compare(a.rank, b.rank)
	})
	for i, e := range all {
		if picked := i < maxPicks; picked != e.picked {
			e.picked = picked
			r.picks = append(r.picks, e.conn)
		}
		switch near := e.picked || e.picksUs; {
		case near && !e.neighbour:
			r.added = append(r.added, e.conn)
		case !near && e.neighbour && !keepPicks:
			r.removed = append(r.removed, e.conn)
			e.reached = false
		default:
			continue
		}
		e.neighbour = !e.neighbour
	}
	return r
}

// member returns the entry of the connection; the caller holds the mutex.
func (m *members) member(c network.Conn) *member {
	if e := m.table[c.RemotePeer()]; e != nil && e.conn == c {
		return e
	}
	return nil
}

// isPicked reports whether this device picks the one at the other end.
func (m *members) isPicked(c network.Conn) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.member(c)
	return e != nil && e.picked
}

// setPickedBy notes that the device at the other end picks this one, or does no longer.
func (m *members) setPickedBy(c network.Conn, picks bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e := m.member(c); e != nil {
		e.picksUs = picks
		notify(m.notifyMembers)
	}
}

// neighbour reports whether this device gossips with another.
func (m *members) neighbour(id peer.ID) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.table[id]
	return e != nil && e.neighbour
}

// fullMesh reports whether all members are each other's neighbours.
func (m *members) fullMesh() bool { return m.count() <= maxPicks }

// A neighbourHost is the host as pubsub sees it: with nobody but the neighbours, and
// with a gossipStream for each stream.
type neighbourHost struct {
	*streams
	gossip *gossip
}

// Network implements host.Host.
func (n *neighbourHost) Network() network.Network {
	return &neighbourNetwork{n.Swarm, n.gossip.members}
}

// NewStream implements host.Host. The other side has been told of this device's pick
// when it returns.
func (n *neighbourHost) NewStream(_ context.Context, id peer.ID, _ ...libp2pproto.ID) (network.Stream, error) {
	w := n.gossip.monitorOf(id)
	if w == nil {
		return nil, network.ErrNoConn
	}
	w.sendPick()
	if s := w.openOutbound(); s != nil {
		return s, nil
	}
	return nil, network.ErrNoConn
}

// SetStreamHandler implements host.Host.
func (n *neighbourHost) SetStreamHandler(_ libp2pproto.ID, handler network.StreamHandler) {
	n.gossip.handleStream = handler
}

type neighbourNetwork struct {
	*swarm.Swarm
	members *members
}

// Connectedness implements network.Network.
func (n *neighbourNetwork) Connectedness(id peer.ID) network.Connectedness {
	if !n.members.neighbour(id) {
		return network.NotConnected
	}
	return n.Swarm.Connectedness(id)
}
