package p2p

import (
	"crypto/rand"
	"testing"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/hearth-edge/hearth/keys"
	"github.com/hearth-edge/hearth/protocol"
)

// encoded is a status of a device.
func encoded(t *testing.T, of peer.ID, name string, sequence uint64) []byte {
	t.Helper()
	s := aStatus()
	s.Node, s.Name, s.Sequence = peerID(of), name, sequence
	data, err := protocol.EncodeStatus(s)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func anyone(t *testing.T) peer.ID {
	t.Helper()
	key, _, err := crypto.GenerateEd25519Key(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	id, err := peer.IDFromPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// However many devices that nobody knows a neighbour passes statuses on of, those of
// members are taken as before, of that neighbour as well.
func TestUnknownSourcesPushNobodyOut(t *testing.T) {
	secret := keys.NewSecret()
	a := start(t, secret, "a")
	b, c := start(t, secret, "b", a.asPeer()), start(t, secret, "c", a.asPeer())
	a.joins(b, c)
	g := a.live.Load().gossip
	if _, reason, _ := g.check(b.id, b.id, encoded(t, b.id, "b", 1<<40)); reason != "" {
		t.Fatal(reason)
	}
	reasons := make(map[string]int)
	for i := range 5000 {
		id, data := anyone(t), []byte{1}
		if i%5 == 0 {
			data = encoded(t, id, "x", 1)
		}
		_, reason, _ := g.check(id, c.id, data)
		reasons[reason]++
	}
	if taken := 5000 - reasons["unknown"]; taken < unknownBurst || taken > 2*unknownBurst {
		t.Errorf("%d scores of unknown devices were looked at: %v", taken, reasons)
	}
	if _, reason, _ := g.check(anyone(t), b.id, []byte{1}); reason == "unknown" {
		t.Error("another neighbour may not pass on any")
	}
	got, reason, _ := g.check(b.id, c.id, encoded(t, b.id, "b", 1<<40+1))
	if reason != "" || !got.direct {
		t.Errorf("a member's score that a neighbour passes on: %q", reason)
	}
}

// Old statuses of a member that another one repeats use up nothing of what is taken of it.
func TestRepeatedStatusesCostNothing(t *testing.T) {
	m := newMembers("self")
	m.table["b"] = &member{source: newSource()}
	m.acceptSequence("b", "b", 10)
	for range 10 * sourceBurst {
		if _, reason, _ := m.acceptSequence("b", "c", 9); reason != "sequence" {
			t.Fatal(reason)
		}
	}
	if direct, reason, _ := m.acceptSequence("b", "c", 11); !direct || reason != "" {
		t.Errorf("a new score: %q", reason)
	}
}

// A device of which only others' word is heard is asked for its own, and then believed.
func TestAsksForStatus(t *testing.T) {
	secret := keys.NewSecret()
	a := start(t, secret, "a")
	b := start(t, secret, "b", a.asPeer())
	a.joins(b)
	b.joins(a)
	if err := b.Publish(aStatus()); err != nil {
		t.Fatal(err)
	}
	a.nextStatus(b.ID())
	g := a.live.Load().gossip
	// The signature was checked, but it may be of any age. What b says by itself now and
	// then comes first.
	eventually(t, func() bool {
		a.members.mu.Lock()
		e := a.members.table[b.id]
		e.since, e.source = time.Now().Add(-2*readyTimeout), newSource()
		a.members.mu.Unlock()
		return g.receive(b.id, anyone(t), encoded(t, b.id, "b", 1)) == pubsub.ValidationIgnore && g.dropped()["indirect"] > 0
	})
	eventually(t, func() bool {
		a.members.mu.Lock()
		defer a.members.mu.Unlock()
		e := a.members.table[b.id]
		return e.source.direct && !e.source.lastRequest.IsZero()
	})
}
