package p2p

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pubsubpb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/peer"
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
