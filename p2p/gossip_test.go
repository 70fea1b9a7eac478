package p2p

import (
	"testing"
	"time"

	"github.com/hearth-edge/hearth/keys"
	"github.com/hearth-edge/hearth/protocol"
)

func aScore() protocol.Score {
	return protocol.Score{Beat: time.Second, Arch: "amd64", OS: "linux"}
}

// A score published when a device joins reaches it, and soon.
func TestFirstScoreArrives(t *testing.T) {
	secret := keys.NewSecret()
	for range 20 {
		a := prepare(t, secret, "a")
		a.cfg.OnPeer = func(p Peer, joined bool, how Departure) {
			if joined {
				if err := a.Publish(aScore()); err != nil {
					t.Error(err)
				}
			}
			a.events <- event{p, joined, how, time.Now()}
		}
		a.run()
		b := start(t, secret, "b", a.asPeer())
		published := a.next().at
		b.nextScore(a.ID())
		if took := time.Since(published); took > time.Second {
			t.Errorf("the first score came after %v", took)
		}
		b.stop()
		a.stop()
	}
}

// Scores that are not what they should be go nowhere, and are counted.
func TestBadScoresAreDropped(t *testing.T) {
	secret := keys.NewSecret()
	a := start(t, secret, "a")
	b := start(t, secret, "b", a.asPeer())
	a.joins(b)
	b.joins(a)
	good := aScore()
	good.Node, good.Name, good.Sequence = a.ID(), "a", 1<<40
	publish := func(change func(*protocol.Score)) {
		t.Helper()
		s := good
		change(&s)
		data, err := protocol.EncodeScore(s)
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
	publish(func(*protocol.Score) {})
	if got := b.nextScore(a.ID()); got.Sequence != good.Sequence {
		t.Errorf("sequence %d", got.Sequence)
	}
	publish(func(*protocol.Score) {})
	publish(func(s *protocol.Score) { s.Sequence-- })
	dropped("sequence", 2)
	publish(func(s *protocol.Score) { s.Sequence++; s.Node = b.ID() })
	dropped("subject", 1)
	publish(func(s *protocol.Score) { s.Sequence++; s.Name = "c" })
	publish(func(s *protocol.Score) { s.Sequence++; s.Name = "b" })
	dropped("name", 2)
	topic := a.live.Load().gossip.topic
	if err := topic.Publish(t.Context(), []byte("garbage")); err != nil {
		t.Fatal(err)
	}
	dropped("malformed", 1)
	if err := topic.Publish(t.Context(), make([]byte, protocol.MaxScore+1)); err != nil {
		t.Fatal(err)
	}
	dropped("size", 1)
	next := good.Sequence + 10
	eventually(t, func() bool {
		next++
		publish(func(s *protocol.Score) { s.Sequence = next })
		return b.live.Load().gossip.dropped()["rate"] > 0
	})
}

// A score that is too large is not sent in the first place.
func TestPublishChecks(t *testing.T) {
	secret := keys.NewSecret()
	a := prepare(t, secret, "a")
	if err := a.Publish(aScore()); err == nil {
		t.Error("published without running")
	}
	a.run()
	s := aScore()
	s.Arch = string(make([]byte, protocol.MaxScore))
	if err := a.Publish(s); err == nil {
		t.Error("published too much")
	}
	if err := a.Publish(aScore()); err != nil {
		t.Error(err)
	}
}
