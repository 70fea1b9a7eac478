package p2p

import (
	"log/slog"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/hearth-edge/hearth/keys"
	"github.com/hearth-edge/hearth/protocol"
)

func aStatus() protocol.Status {
	return protocol.Status{Interval: time.Second, Arch: "amd64", OS: "linux"}
}

// A status published when a device joins reaches it, and soon.
func TestFirstStatusArrives(t *testing.T) {
	secret := keys.NewSecret()
	for range 20 {
		a := prepare(t, secret, "a")
		a.cfg.OnPeer = func(p Peer, joined bool, how Departure) {
			if joined {
				if err := a.Publish(aStatus()); err != nil {
					t.Error(err)
				}
			}
			a.events <- event{p, joined, how, time.Now()}
		}
		a.run()
		b := start(t, secret, "b", a.asPeer())
		published := a.next().at
		b.nextStatus(a.ID())
		if took := time.Since(published); took > time.Second {
			t.Errorf("the first score came after %v", took)
		}
		b.stop()
		a.stop()
	}
}

// A newer sequence is never that of an older status, whoever sends at the same time.
func TestSequenceOfStatuses(t *testing.T) {
	g := &gossip{log: slog.New(slog.DiscardHandler)}
	self := prepare(t, keys.NewSecret(), "a").ID()
	var mu sync.Mutex // owns told
	told := make(map[uint64]float64)
	note := func(data []byte) {
		s, err := protocol.DecodeStatus(data)
		if err != nil {
			t.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		told[s.Sequence] = s.Speed
	}
	var all sync.WaitGroup
	made := make(chan struct{})
	all.Go(func() {
		defer close(made)
		for i := range 2000 {
			s := aStatus()
			s.Node, s.Name, s.Speed = self, "a", float64(i)
			data, err := g.encode(&s)
			if err != nil {
				t.Error(err)
			}
			note(data)
		}
	})
	for range 4 {
		all.Go(func() { // hands over the latest
			for {
				select {
				case <-made:
					return
				default:
				}
				if data := g.ownStatus(); data != nil {
					note(data)
				}
			}
		})
	}
	all.Wait()
	// One that cannot be sent does not take the latest's place.
	if data, err := g.encode(&protocol.Status{Node: self, Name: "a", Speed: -1}); err == nil {
		t.Errorf("a score that is out of bounds became %x", data)
	}
	if latest := g.ownStatus(); latest == nil {
		t.Error("there is no latest score any more")
	} else {
		note(latest)
	}
	last := 0.0
	for _, sequence := range slices.Sorted(maps.Keys(told)) {
		if told[sequence] < last {
			t.Fatalf("sequence %d is of score %v, after score %v", sequence, told[sequence], last)
		}
		last = told[sequence]
	}
}

// Statuses that are not what they should be go nowhere, and are counted.
func TestBadStatusesAreDropped(t *testing.T) {
	secret := keys.NewSecret()
	a := start(t, secret, "a")
	b := start(t, secret, "b", a.asPeer())
	a.joins(b)
	b.joins(a)
	a.gossipsTo(b)
	good := aStatus()
	good.Node, good.Name, good.Sequence = a.ID(), "a", 1<<40
	publish := func(change func(*protocol.Status)) {
		t.Helper()
		s := good
		change(&s)
		data, err := protocol.EncodeStatus(s)
		if err != nil {
			t.Fatal(err)
		}
		if err := a.live.Load().gossip.topic.Publish(t.Context(), data); err != nil {
			t.Fatal(err)
		}
	}
	dropped := func(reason string, times uint64) {
		t.Helper()
		eventually(t, func() bool { return b.live.Load().gossip.dropped()[reason] == times })
	}
	publish(func(*protocol.Status) {})
	if got := b.nextStatus(a.ID()); got.Sequence != good.Sequence {
		t.Errorf("sequence %d", got.Sequence)
	}
	publish(func(*protocol.Status) {})
	publish(func(s *protocol.Status) { s.Sequence-- })
	dropped("sequence", 2)
	publish(func(s *protocol.Status) { s.Sequence++; s.Node = b.ID() })
	dropped("subject", 1)
	publish(func(s *protocol.Status) { s.Sequence++; s.Name = "c" })
	publish(func(s *protocol.Status) { s.Sequence++; s.Name = "b" })
	dropped("name", 2)
	topic := a.live.Load().gossip.topic
	if err := topic.Publish(t.Context(), []byte("garbage")); err != nil {
		t.Fatal(err)
	}
	dropped("malformed", 1)
	if err := topic.Publish(t.Context(), make([]byte, protocol.MaxStatus+1)); err != nil {
		t.Fatal(err)
	}
	dropped("size", 1)
	next := good.Sequence + 10
	eventually(t, func() bool {
		next++
		publish(func(s *protocol.Status) { s.Sequence = next })
		return b.live.Load().gossip.dropped()["rate"] > 0
	})
}

// A status that is too large is not sent in the first place.
func TestPublishChecks(t *testing.T) {
	secret := keys.NewSecret()
	a := prepare(t, secret, "a")
	if err := a.Publish(aStatus()); err == nil {
		t.Error("published without running")
	}
	a.run()
	s := aStatus()
	s.Arch = string(make([]byte, protocol.MaxStatus))
	if err := a.Publish(s); err == nil {
		t.Error("published too much")
	}
	if err := a.Publish(aStatus()); err != nil {
		t.Error(err)
	}
}

// What others pass on of a connected device counts only once it has itself handed
// over a status: a member could replay one from before this device's start.
func TestReplayedStatuses(t *testing.T) {
	secret := keys.NewSecret()
	a := start(t, secret, "a")
	b := start(t, secret, "b", a.asPeer())
	a.joins(b)
	g := a.live.Load().gossip // nothing is gossiped, so that it is idle
	status := func(sequence uint64) []byte {
		s := aStatus()
		s.Node, s.Name, s.Sequence = b.ID(), "b", sequence
		data, err := protocol.EncodeStatus(s)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	other := newPeer(t, secret, "other")
	for _, c := range []struct {
		sender   peer.ID
		sequence uint64
		reason   string
	}{
		{other, 5, "early"}, {other, 6, "early"}, {b.id, 9, ""}, {other, 9, "sequence"}, {other, 8, "sequence"}, {other, 10, ""},
	} {
		s, reason, _ := g.check(b.id, c.sender, status(c.sequence))
		if reason != c.reason || reason == "" && !s.direct {
			t.Errorf("score %d from the device itself %v: %q, want %q", c.sequence, c.sender == b.id, reason, c.reason)
		}
	}
	// Of one that is not connected only the addresses are of use, whoever says so.
	s := aStatus()
	s.Node, s.Name, s.Sequence = peerID(other), "other", 1
	data, err := protocol.EncodeStatus(s)
	if err != nil {
		t.Fatal(err)
	}
	if got, reason, _ := g.check(other, b.id, data); reason != "" || got.direct {
		t.Errorf("a score of one that is not connected: %q", reason)
	}
}

// A status is passed on where somebody may not have it yet, and now and then.
func TestWhichStatusesSpread(t *testing.T) {
	secret := keys.NewSecret()
	a := start(t, secret, "a")
	b := start(t, secret, "b", a.asPeer())
	a.joins(b)
	g := a.live.Load().gossip
	s := aStatus()
	base := 100*uint64(forwardInterval) - g.forwardOffset()
	for _, c := range []struct {
		from     peer.ID
		sequence uint64
		since    time.Duration // the last one joined
		want     bool
	}{
		{newPeer(t, secret, "other"), 1, time.Hour, true}, {b.id, 1, 0, true}, {b.id, 1, time.Hour, false}, {b.id, forwardInterval, time.Hour, true},
	} {
		s.Sequence = base + c.sequence
		a.members.mu.Lock()
		a.members.lastJoin = time.Now().Add(-c.since)
		a.members.mu.Unlock()
		if got := g.shouldForward(c.from, &s); got != c.want {
			t.Errorf("%v after a device joined, score %d of a member %v: %v", c.since, c.sequence, c.from == b.id, got)
		}
	}
	large := newMembers("self")
	for _, id := range []peer.ID{b.id, "c", "d", "e"} {
		large.table[id] = &member{joined: true}
	}
	if s.Sequence = base + 1; !(&gossip{self: g.self, members: large}).shouldForward(b.id, &s) {
		t.Error("where not all are neighbours a score was not passed on")
	}
}

func newPeer(t *testing.T, secret keys.Secret, name string) peer.ID {
	t.Helper()
	id, err := peer.IDFromPrivateKey(newKey(t, secret, name))
	if err != nil {
		t.Fatal(err)
	}
	return id
}
