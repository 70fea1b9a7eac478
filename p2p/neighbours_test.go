package p2p

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/hearth-edge/hearth/keys"
	"github.com/hearth-edge/hearth/protocol"
)

// neighbours returns whom a device gossips with.
func (d *device) neighbours() (all []peer.ID) {
	d.members.mu.Lock()
	defer d.members.mu.Unlock()
	for id, e := range d.members.table {
		if e.neighbour {
			all = append(all, id)
		}
	}
	slices.Sort(all)
	return all
}

// wired waits until the devices have found the neighbours that they keep, and pubsub
// knows these and no others.
func wired(t *testing.T, devices []*device) {
	t.Helper()
	eventually(t, func() bool {
		for _, d := range devices {
			g := d.live.Load().gossip
			reached := g.pub.ListPeers(g.topic.String())
			slices.Sort(reached)
			near := d.neighbours()
			if !slices.Equal(near, reached) || !d.picksBest() {
				return false
			}
			for _, o := range devices {
				if slices.Contains(near, o.id) != slices.Contains(o.neighbours(), d.id) {
					return false
				}
			}
		}
		return true
	})
}

// picksBest reports whether a device picks those of the lowest ranks.
func (d *device) picksBest() bool {
	d.members.mu.Lock()
	defer d.members.mu.Unlock()
	all := slices.SortedFunc(maps.Values(d.members.table), func(a, b *member) int { return cmp.Compare(a.rank, b.rank) })
	for i, e := range all {
		if e.picked != (i < maxPicks) {
			return false
		}
	}
	return true
}

// In a mesh in which not all are neighbours the statuses of each reach all, before and
// after some left.
func TestNeighbours(t *testing.T) {
	const size = 20
	secret := keys.NewSecret()
	var devices []*device
	var others []func(*Config)
	for i := range size {
		devices = append(devices, start(t, secret, fmt.Sprint(i), others...))
		others = append(others, devices[i].asPeer())
	}
	speed := 0.0
	for len(devices) > size-2 {
		for _, d := range devices {
			eventually(t, func() bool { return len(d.Peers()) == len(devices)-1 })
		}
		wired(t, devices)
		edges, idle := 0, 0
		for _, d := range devices {
			near := d.neighbours()
			edges += len(near)
			for _, c := range d.live.Load().sw.Conns() {
				if len(c.GetStreams()) > 0 {
					t.Error("there are streams, and no work")
				}
				if !slices.Contains(near, c.RemotePeer()) {
					idle++
				}
			}
		}
		t.Logf("%d devices, %d neighbours each, %d of %d connections are not of neighbours", len(devices), edges/len(devices), idle/2, len(devices)*(len(devices)-1)/2)
		if idle == 0 {
			t.Error("all are neighbours")
		}
		speed++
		tellAll(t, devices, speed) // of which many are handed over
		for _, d := range devices {
			for _, w := range d.live.Load().detector.all() {
				w.since = time.Now().Add(-time.Hour)
			}
		}
		speed++
		tellAll(t, devices, speed)
		devices[len(devices)-1].stop()
		devices = devices[:len(devices)-1]
	}
}

// tellAll has each device publish until all have heard it: pubsub passes on to new
// neighbours from its next heartbeat on.
func tellAll(t *testing.T, devices []*device, speed float64) {
	t.Helper()
	for _, d := range devices {
		var published time.Time
		eventually(t, func() bool {
			if time.Since(published) > 300*time.Millisecond {
				s := aStatus()
				s.Speed = speed
				if err := d.Publish(s); err != nil {
					t.Fatal(err)
				}
				published = time.Now()
			}
			return !slices.ContainsFunc(devices, func(o *device) bool { return o != d && !o.heard(d.ID(), speed) })
		})
	}
}

// heard reports whether a status of this speed has come from a device.
func (d *device) heard(from protocol.PeerID, speed float64) bool {
	for {
		select {
		case s := <-d.statuses:
			d.speeds[s.Node] = s.Speed
		default:
			return d.speeds[from] == speed
		}
	}
}

// A device picks those of the lowest ranks, gossips with those that pick it as well,
// and lets go of who is neither.
func TestRewire(t *testing.T) {
	m := newMembers("self")
	conns := make(map[byte]network.Conn)
	for rank := range byte(8) {
		c := &fakeConn{id: peer.ID(rune('a' + rank))}
		conns[rank] = c
		m.table[c.id] = &member{rank: uint64(rank), conn: c}
	}
	join := func(ranks ...byte) {
		for _, r := range ranks {
			m.join(conns[r])
		}
	}
	for i, c := range []struct {
		change               string
		keep                 bool
		do                   func()
		picks, shown, hidden []byte
	}{
		{"nobody", false, func() {}, nil, nil, nil},
		{"fewer than it picks", true, func() { join(5) }, []byte{5}, []byte{5}, nil},
		{"one more", true, func() { join(6) }, []byte{6}, []byte{6}, nil},
		{"nothing", false, func() {}, nil, nil, nil},
		{"a better one", true, func() { join(0) }, nil, nil, nil},
		{"nothing changed", false, func() {}, []byte{0, 6}, []byte{0}, []byte{6}},
		{"better ones, and a worse one that picks this", false, func() { join(3, 4); m.setPickedBy(conns[5], true) }, []byte{3, 5}, []byte{3}, nil},
		{"no more, while members change", true, func() { m.setPickedBy(conns[5], false) }, nil, nil, nil},
		{"no more", false, func() { m.setPickedBy(conns[5], false) }, nil, nil, []byte{5}},
		{"one that left", true, func() { m.markLeft(conns[0].RemotePeer()) }, []byte{4}, []byte{4}, nil},
		{"one that is gone", true, func() { m.remove(conns[3]) }, []byte{5}, []byte{5}, nil},
		{"a stranger picks", false, func() { m.setPickedBy(&fakeConn{id: "stranger"}, true) }, nil, nil, nil},
		{"not joined picks", false, func() { m.setPickedBy(conns[1], true) }, nil, nil, nil},
		{"joins", false, func() { join(1) }, []byte{1, 5}, []byte{1}, []byte{5}},
	} {
		c.do()
		r := m.updateNeighbours(c.keep)
		if later := m.updateNeighbours(c.keep); len(later.picks)+len(later.added)+len(later.removed) > 0 {
			t.Errorf("%d, %s: then %+v", i, c.change, later)
		}
		for what, pair := range map[string]struct {
			got  []network.Conn
			want []byte
		}{"picks": {r.picks, c.picks}, "shown": {r.added, c.shown}, "hidden": {r.removed, c.hidden}} {
			var got []byte
			for rank, conn := range conns {
				if slices.Contains(pair.got, conn) {
					got = append(got, rank)
				}
			}
			slices.Sort(got)
			if !slices.Equal(got, pair.want) || len(pair.got) != len(got) {
				t.Errorf("%d, %s: %s changed for %v, want %v", i, c.change, what, got, pair.want)
			}
		}
		for _, conn := range conns {
			if m.isPicked(conn) && !m.neighbour(conn.RemotePeer()) && m.table[conn.RemotePeer()].joined {
				t.Errorf("%d, %s: who is picked is no neighbour", i, c.change)
			}
		}
	}
}
