package inproc_test

import (
	"strings"
	"testing"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime/fake"
	"github.com/hearth-edge/hearth/testnet/inproc"
)

// TestRebuiltImageIsNotRunAsYesterdays: node1 rebuilt an image of which node2 has
// yesterday's and node3 today's. Elsewhere it runs on node3 only; where that is
// not there the asker is told both IDs.
func TestRebuiltImageIsNotRunAsYesterdays(t *testing.T) {
	t.Parallel()
	const (
		name      = "app:1"
		yesterday = protocol.ImageID("sha256:1111111111111111111111111111111111111111111111111111111111111111")
		today     = protocol.ImageID("sha256:2222222222222222222222222222222222222222222222222222222222222222")
	)
	m := inproc.Start(t, 3, inproc.Options{})
	for i, id := range []protocol.ImageID{today, yesterday, today} {
		m.Nodes[i].Engine.AddImage(name, fake.Image{ID: id})
	}
	ask := func(target string) protocol.Event {
		t.Helper()
		s, err := m.Nodes[0].App.Run(t.Context(), protocol.Run{Service: protocol.Service{
			Image: name, Args: []string{"out=hello"}, Constraints: protocol.Constraints{Node: target, NotHere: true},
		}})
		if err != nil {
			t.Fatal(err)
		}
		_, last := follow(t, s)
		return last
	}
	for range 10 { // node2 may be asked first
		if end := ask(""); end.State != protocol.StateSucceeded || end.Node != m.Nodes[2].ID() {
			t.Fatalf("anywhere else: %+v", end)
		}
	}
	if end := ask("node2"); end.State != protocol.StateRefused ||
		!strings.Contains(end.Reason, yesterday.Short()) || !strings.Contains(end.Reason, today.Short()) {
		t.Errorf("on node2: %+v", end)
	}
}
