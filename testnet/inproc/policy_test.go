package inproc_test

import (
	"strings"
	"testing"

	"github.com/hearth-edge/hearth/cmd/hearth/device"
	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/testnet/inproc"
)

// TestOwnersPolicies: node2 works for node1 only, node3 for nobody else. Who is
// refused goes elsewhere, or is told why for each.
func TestOwnersPolicies(t *testing.T) {
	t.Parallel()
	m := inproc.Start(t, 3, inproc.Options{Configure: func(i int, cfg *device.Config) {
		cfg.Policy.AllowFrom = [][]string{nil, {"node1"}, {}}[i]
	}})
	ask := func(asker int, target string, notHere bool) protocol.Event {
		t.Helper()
		s, err := m.Nodes[asker].App.Run(t.Context(), protocol.Run{Service: protocol.Service{
			Image: inproc.Image, Args: []string{"out=hello"}, Constraints: protocol.Constraints{Node: target, NotHere: notHere},
		}})
		if err != nil {
			t.Fatal(err)
		}
		_, last := follow(t, s)
		return last
	}
	for asker, allowed := range [][]bool{{true, true, false}, {true, true, false}, {true, false, true}} {
		for i, target := range m.Nodes {
			end := ask(asker, target.Name, false)
			if allowed[i] && (end.State != protocol.StateSucceeded || end.Node != target.ID()) ||
				!allowed[i] && (end.State != protocol.StateRefused || !strings.Contains(end.Reason, "allow_from in its owner's policy")) {
				t.Errorf("node%d asked %s: %+v", asker+1, target.Name, end)
			}
		}
	}
	for range 5 { // node3 may be asked first
		if end := ask(0, "", true); end.State != protocol.StateSucceeded || end.Node != m.Nodes[1].ID() {
			t.Errorf("anywhere else: %+v", end)
		}
	}
}
