package inproc_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hearth-edge/hearth/cmd/hearth/device"
	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/testnet/inproc"
)

// shop is a stack of two services, whose command says what they do.
func shop(command ...string) protocol.UpStack {
	s := protocol.Stack{
		Name: "shop", Volumes: []protocol.StackVolume{{Name: "data"}},
		Files: []protocol.StackFile{{Name: "password", Data: []byte("hunter2"), Secret: true}},
		Services: []protocol.StackService{
			{Name: "db", Image: inproc.Image, Command: []string{"sleep=1h"}, Mounts: []protocol.StackMount{{Kind: protocol.MountVolume, Source: "data", Target: "/data"}}},
			{Name: "web", Image: inproc.Image, Command: command, DependsOn: []protocol.Dependency{{Service: "db"}}},
		},
	}
	s.Normalize()
	return protocol.UpStack{Record: protocol.StackRecord{Stack: s}, Timeout: 3 * time.Second}
}

// whereabouts is what a device knows of all stacks.
func whereabouts(t *testing.T, n *inproc.Node) (list []string) {
	t.Helper()
	err := n.App.ListStacks(t.Context(), protocol.ListStacks{All: true}, func(ss []protocol.StackStatus) error {
		for _, s := range ss {
			list = append(list, fmt.Sprintf("%s %d %s on %s", s.Name, s.Version, s.State, s.HolderName))
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	return list
}

// A stack that its own device's policy refuses runs on the node that takes it, is seen from everywhere, goes back when it fails, and stays where its data is.
func TestStackOnAMesh(t *testing.T) {
	m := inproc.Start(t, 3, inproc.Options{Configure: func(i int, cfg *device.Config) {
		switch i {
		case 0:
			cfg.Policy.AllowSelf = false
		case 1:
			cfg.Policy.AllowFrom = []string{"nobody"}
		}
	}})
	asker, holder := m.Nodes[0], m.Nodes[2]
	ctx := t.Context()
	plan, err := asker.App.PlanStack(ctx, shop("sleep=1h"))
	if err != nil || plan.HolderName != holder.Name {
		t.Fatalf("plan %+v, %v", plan, err)
	}
	var refused []string
	for _, r := range plan.Refused {
		refused = append(refused, r.NodeName+" "+r.Reasons[0].Code.String())
	}
	slices.Sort(refused)
	if !slices.Contains(refused, "node1 policy") {
		t.Errorf("refused: %q", refused)
	}
	up := func(u protocol.UpStack) error {
		return asker.App.UpStack(ctx, u, func(protocol.StackUpdate) error { return nil })
	}
	if err := up(shop("sleep=1h")); err != nil {
		t.Fatal(err)
	}
	for _, n := range m.Nodes {
		eventually(t, n.Name+" sees the stack", func() bool {
			return slices.Equal(whereabouts(t, n), []string{"shop 1 up on node3"})
		})
	}
	err = up(shop("exit=3"))
	if protocol.CodeOf(err) != protocol.CodeStackUnhealthy || !strings.Contains(err.Error(), "version 1 is back, as version 3") {
		t.Errorf("one that fails: %v", err)
	}
	eventually(t, "it is back", func() bool { return slices.Equal(whereabouts(t, asker), []string{"shop 3 up on node3"}) })
	if err := asker.App.ControlStack(ctx, protocol.ControlStack{Name: "shop", Action: protocol.StackDown}); err != nil {
		t.Error(err)
	}
	eventually(t, "its data is kept", func() bool { return slices.Equal(whereabouts(t, asker), []string{"shop 3 down on node3"}) })
	if err := up(shop("sleep=1h")); err != nil {
		t.Error(err)
	}
	err = asker.App.StackHistory(ctx, "shop", func(r protocol.StackRecord) error {
		if r.Version != 3 && r.ByName != "node1" || len(r.Stack.Files[0].Data) > 0 {
			t.Errorf("kept %+v", r)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	// Its holder goes: it is not begun again elsewhere.
	holder.Stop()
	eventually(t, "the holder is missed", func() bool {
		return slices.Equal(whereabouts(t, asker), []string{"shop 4 away on node3"})
	})
	if err := up(shop("sleep=1h")); protocol.CodeOf(err) != protocol.CodeNodeLost || !strings.Contains(err.Error(), "node3") {
		t.Errorf("while its holder is away: %v", err)
	}
}

// eventually waits until it is so.
func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for !so() {
		select {
		case <-ctx.Done():
			t.Fatalf("not so: %s", what)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
