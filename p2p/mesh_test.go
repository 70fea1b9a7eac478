package p2p

import (
	"context"
	"io"
	"testing"
	"time"

	"github.com/hearth-edge/hearth/keys"
	"github.com/hearth-edge/hearth/protocol"
)

const echoProtocol = "/test/echo/1.0.0"

func echo(_ context.Context, _ protocol.PeerID, s protocol.Stream) {
	_, _ = io.Copy(s, s)
	_ = s.Close()
}

// Two devices, one naming the other: they join, talk and gossip, and the one
// that goes says so.
func TestTwoDevices(t *testing.T) {
	secret := keys.NewSecret()
	a := prepare(t, secret, "a")
	a.Handle(echoProtocol, echo)
	a.run()
	b := start(t, secret, "b", a.asAddress())
	a.joins(b)
	b.joins(a)

	s, err := b.Open(t.Context(), a.ID(), echoProtocol)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	if err := s.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(s); err != nil || string(got) != "hello" {
		t.Fatalf("echoed %q, %v", got, err)
	}
	if _, err := b.Open(t.Context(), b.ID(), echoProtocol); err == nil {
		t.Error("opened a stream to itself")
	}

	if err := a.Publish(protocol.Status{Interval: time.Second, Arch: "amd64", OS: "linux"}); err != nil {
		t.Fatal(err)
	}
	if got := b.nextStatus(a.ID()); got.Name != "a" || got.Arch != "amd64" {
		t.Errorf("score %+v", got)
	}
	if peers := b.Peers(); len(peers) != 1 || peers[0].Name != "a" || peers[0].ID != a.ID() || peers[0].Address == "" {
		t.Errorf("peers %+v", peers)
	}

	left := time.Now()
	a.stop()
	e := b.next()
	if e.joined || e.how != Left || e.peer.Name != "a" {
		t.Errorf("%+v", e)
	}
	t.Logf("told of leaving after %v, stopped after %v", e.at.Sub(left), time.Since(left))
	if _, err := b.Open(t.Context(), a.ID(), echoProtocol); err == nil {
		t.Error("opened a stream to a device that left")
	}
}
