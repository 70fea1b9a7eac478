package runtime_test

import (
	"slices"
	"testing"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime"
	"github.com/hearth-edge/hearth/runtime/fake"
)

// TestLimitsThatCannotBeKept: nothing runs without a limit unless the owner
// allows that, and the refusal has the line that would.
func TestLimitsThatCannotBeKept(t *testing.T) {
	for _, c := range []struct {
		none, limits []string // what the engine cannot keep, and the policy
		line         string   // of the refusal; empty where it runs
	}{
		{nil, nil, ""},
		{[]string{"memory"}, nil, `limits = ["cpus", "pids"]`},
		{[]string{"memory"}, []string{"cpus", "pids"}, ""},
		{[]string{"memory", "pids"}, []string{"cpus", "pids"}, `limits = ["cpus"]`},
		{[]string{"memory", "cpus", "pids"}, nil, `limits = []`},
		{[]string{"memory", "cpus", "pids"}, []string{}, ""},
		{[]string{"cpus"}, []string{"memory"}, ""},
	} {
		inBubble(t, func(b *bed) {
			engine := fake.NewEngine(fake.Config{NoLimits: c.none, Images: map[string]fake.Image{image: {}}})
			defer engine.Close()
			b.cfg.Driver = engine.Driver("mesh", self)
			b.cfg.Policy.Limits = c.limits
			b.run()
			if c.line == "" {
				if end := listen(b.offer(offer("a", "exit=0"))).end(); end.State != protocol.StateSucceeded {
					t.Errorf("%v: %+v", c, end)
				}
			} else {
				contains(t, b.refused(offer("a"), protocol.CodePolicy).Reason, c.line)
			}
			info := b.node.State().Info
			if missing := b.cfg.Policy.MissingLimits(&info); (len(missing) == 0) != (c.line == "") || len(missing) > 0 && !slices.Contains(c.none, missing[0]) {
				t.Errorf("%v: missing %v", c, missing)
			}
			b.stop()
		})
	}
	p := runtime.DefaultPolicy()
	p.Limits = []string{"disk"}
	if p.Validate() == nil {
		t.Error("a limit that there is not was taken")
	}
}
