package p2p

import (
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/hearth-edge/hearth/keys"
)

// gossiping pairs two devices that gossip with each other, and hand nothing over.
func gossipPair(t *testing.T) (a, b *device) {
	t.Helper()
	secret := keys.NewSecret()
	a = start(t, secret, "a")
	b = start(t, secret, "b", a.asPeer())
	a.joins(b)
	b.joins(a)
	a.gossipsTo(b)
	b.gossipsTo(a)
	tellAll(t, []*device{a, b}, 1)
	for _, w := range []*monitor{a.watches(b), b.watches(a)} {
		w.since = time.Now().Add(-time.Hour)
	}
	return a, b
}

// stillWhole checks that two devices hear each other's gossip, and that their connection
// is the one that it was.
func stillWhole(t *testing.T, a, b *device, was [2]*monitor, speed float64) {
	t.Helper()
	a.gossipsTo(b)
	b.gossipsTo(a)
	tellAll(t, []*device{a, b}, speed)
	if a.watches(b) != was[0] || b.watches(a) != was[1] || len(a.events)+len(b.events) > 0 {
		t.Fatal("the connection was made anew")
	}
}

// reached reports whether pubsub knows that another device is subscribed.
func (d *device) gossipReaches(id peer.ID) bool {
	g := d.live.Load().gossip
	return slices.Contains(g.pub.ListPeers(g.topic.String()), id)
}

// A device that takes a neighbour up again which never let go of it gossips with that at
// once, over the same connection.
func TestTakenUpAgainTooSoon(t *testing.T) {
	a, b := gossipPair(t)
	was := [2]*monitor{a.watches(b), b.watches(a)}
	g := a.live.Load().gossip
	for round := range 8 { // more often than pubsub itself tries again
		a.members.mu.Lock()
		e := a.members.table[b.id]
		e.neighbour, e.reached = false, false
		a.members.mu.Unlock()
		was[0].closeGossip()
		eventually(t, func() bool { return !a.gossipReaches(b.id) })
		began := time.Now()
		g.updateNeighbours(true)
		stillWhole(t, a, b, was, float64(round+2))
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("it took %v", took)
		}
	}
}

// What pubsub does not understand costs what came with it, and neither the connection
// nor what comes later.
func TestOneBadGossipMessage(t *testing.T) {
	a, b := gossipPair(t)
	was := [2]*monitor{a.watches(b), b.watches(a)}
	garbage := [][]byte{
		append(binary.AppendUvarint(nil, 3), 0xff, 0xff, 0xff),
		binary.AppendUvarint(nil, 1<<40),
		slices.Repeat([]byte{0xff}, 20),
	}
	for round := range 9 {
		was[1].send(frameGossip, garbage[round%len(garbage)])
		eventually(t, func() bool { return a.live.Load().gossip.dropped()["garbled"] == uint64(round+1) })
		stillWhole(t, a, b, was, float64(round+2))
	}
}

// What a neighbour says after it was let go is dropped, and nothing waits for more.
func TestNothingIsHeardOfWhoIsNoNeighbour(t *testing.T) {
	a, b := gossipPair(t)
	w := a.watches(b)
	a.members.mu.Lock()
	a.members.table[b.id].neighbour = false
	a.members.mu.Unlock()
	w.closeGossip()
	<-w.inboundDone
	w.deliverGossip([]byte{1, 2, 3})
	if w.inbound != nil || w.openOutbound() != nil {
		t.Error("a stream began")
	}
}
