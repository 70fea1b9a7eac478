package p2p

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pubsubpb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/hearth-edge/hearth/keys"
	"github.com/hearth-edge/hearth/protocol"
)

// Over a message or a handshake that makes this device panic it says so once, with
// the stack, refuses it, and goes on.
func TestPanicsAreContained(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(&out, nil))
	told := func(t *testing.T, where string) {
		t.Helper()
		if n := strings.Count(out.String(), "panic while serving a device"); n != 1 || !strings.Contains(out.String(), where) {
			t.Errorf("%d log lines tell of it:\n%s", n, out.String())
		}
		out.Reset()
	}
	g := gossip{self: "a", log: log} // without its sources
	m := &pubsub.Message{Message: &pubsubpb.Message{From: []byte("b"), Data: []byte("x")}}
	if got := g.validate(t.Context(), "b", m); got != pubsub.ValidationReject {
		t.Errorf("the message: %v", got)
	}
	told(t, "p2p.(*gossip).check")
	err := contain(log, peer.ID("b"), func() error { panic("boom") })
	if !errors.Is(err, errPanic) {
		t.Error(err)
	}
	told(t, "boom")
	if err := contain(log, peer.ID("b"), func() error { return io.EOF }); !errors.Is(err, io.EOF) || out.Len() > 0 {
		t.Errorf("%v, logged %s", err, out.String())
	}
}

// A handler that panics ends its own stream; another one of the same device goes
// on, and so does the device.
func TestPanicEndsOneStream(t *testing.T) {
	secret := keys.NewSecret()
	a := prepare(t, secret, "a")
	a.Handle(echoProtocol, echo)
	a.Handle("/panic/1", func(context.Context, protocol.PeerID, protocol.Stream) { panic("boom") })
	a.run()
	b := start(t, secret, "b", a.asPeer())
	b.joins(a)
	open := func(proto string) protocol.Stream {
		s, err := b.Open(t.Context(), a.ID(), proto)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Reset() })
		return s
	}
	say := func(s protocol.Stream) {
		t.Helper()
		got := make([]byte, 2)
		if _, err := s.Write([]byte("hi")); err != nil {
			t.Error(err)
		}
		if _, err := io.ReadFull(s, got); err != nil || string(got) != "hi" {
			t.Errorf("the other stream said %q, %v", got, err)
		}
	}
	other := open(echoProtocol)
	say(other)
	bad := open("/panic/1")
	_, _ = bad.Write([]byte("hi")) // the protocol is agreed on with the first bytes
	if _, err := io.ReadAll(bad); err == nil {
		t.Error("the stream ended in order")
	}
	say(other)
	a.logs("boom", "TestPanicEndsOneStream")
}
