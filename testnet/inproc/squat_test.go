package inproc_test

import (
	"strings"
	"testing"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/testnet/inproc"
)

// TestSquattedRequestID: mallory uses the ID of anna's nightly request on nas
// first. Anna's runs there all the same, and each can be named apart.
func TestSquattedRequestID(t *testing.T) {
	t.Parallel()
	m := inproc.Start(t, 3, inproc.Options{})
	nas, mallory, anna := m.Nodes[0], m.Nodes[1], m.Nodes[2]
	nightly := func(by *inproc.Node, args ...string) protocol.Session {
		t.Helper()
		s, err := by.App.Run(t.Context(), protocol.Run{ID: "nightly", Service: protocol.Service{
			Image: inproc.Image, Args: args, Constraints: protocol.Constraints{Node: nas.Name},
		}})
		if err != nil {
			t.Fatalf("%s's request: %v", by.Name, err)
		}
		return s
	}
	running := func(s protocol.Session) {
		t.Helper()
		for {
			u, err := s.Next()
			if err != nil || u.Event != nil && u.Event.State.Ended() {
				t.Fatalf("it does not run: %+v, %v", u.Event, err)
			}
			if u.Event != nil && u.Event.State == protocol.StateRunning {
				return
			}
		}
	}
	squatter := nightly(mallory, "sleep=1h")
	running(squatter)
	own := nightly(anna, "out=anna's", "sleep=1h")
	running(own)

	err := nas.App.Stop(t.Context(), protocol.Stop{Request: "nightly"})
	if protocol.CodeOf(err) != protocol.CodeInvalid || !strings.Contains(err.Error(), "nightly@node2 or nightly@node3") {
		t.Errorf("an ID that two devices use: %v", err)
	}
	if err := nas.App.Stop(t.Context(), protocol.Stop{Request: protocol.RequestID("nightly@" + anna.Name)}); err != nil {
		t.Fatal(err)
	}
	if out, end := follow(t, own); out != "anna's" || end.State != protocol.StateCancelled || end.Node != nas.ID() {
		t.Errorf("anna's: %q, %+v", out, end)
	}
	if detail, err := mallory.App.Inspect(t.Context(), "nightly"); err != nil || detail.Last.State != protocol.StateRunning {
		t.Errorf("mallory's: %+v, %v", detail.Last, err)
	}
	if err := mallory.App.Stop(t.Context(), protocol.Stop{Request: "nightly"}); err != nil {
		t.Fatal(err)
	}
	follow(t, squatter)
}
