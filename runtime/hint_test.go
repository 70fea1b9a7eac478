package runtime_test

import (
	"strings"
	"testing"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime"
)

// TestHints: who fails soon, and says why, is told what of the node's policy that
// may be.
func TestHints(t *testing.T) {
	const denied = "err=chown: /data: Operation not permitted\n"
	none := func(p *runtime.Policy) { p.DefaultCapabilities = []string{} }
	for what, c := range map[string]struct {
		policy func(*runtime.Policy)
		user   string
		script []string
		want   string // empty: no hint
	}{
		"no capabilities":         {none, "", []string{denied, "exit=1"}, "default_capabilities"},
		"on a full-screen output": {none, "0:0", []string{"err=" + strings.Repeat("x", 10_000) + "\n", denied, "exit=1"}, "default_capabilities"},
		"fewer capabilities": {func(p *runtime.Policy) { p.DefaultCapabilities = []string{"CHOWN"} }, "root",
			[]string{"err=/data: Permission denied\n", "exit=1"}, "SETUID SETPCAP NET_BIND_SERVICE (default_capabilities"},
		"one of the rare":        {nil, "", []string{denied, "exit=1"}, "--cap-add"},
		"not root":               {none, "1000", []string{denied, "exit=1"}, ""},
		"made another user":      {func(p *runtime.Policy) { p.RunAsNonRoot = true }, "", []string{denied, "exit=1"}, "65534:65534, whatever its image says (run_as_nonroot"},
		"read-only":              {func(p *runtime.Policy) { p.ReadOnlyRoot = true }, "", []string{"err=mkdir: Read-only file system\n", "exit=1"}, "read_only_root"},
		"read-only by the image": {nil, "", []string{"err=mkdir: Read-only file system\n", "exit=1"}, ""},
		"other words":            {none, "", []string{"err=no such thing\n", "exit=1"}, ""},
		"on standard output":     {none, "", []string{"out=Operation not permitted\n", "exit=1"}, ""},
		"all is well":            {none, "", []string{denied}, ""},
		"after a while":          {none, "", []string{denied, "sleep=11s", "exit=1"}, ""},
	} {
		t.Run(what, func(t *testing.T) {
			inBubble(t, func(b *bed) {
				if c.policy != nil {
					c.policy(&b.cfg.Policy)
				}
				b.run()
				o := offer("a", c.script...)
				o.Service.User = c.user
				end := listen(b.offer(o)).end()
				if c.want == "" && end.Reason != "" || !strings.Contains(end.Reason, c.want) {
					t.Errorf("the reason is %q, want %q in it", end.Reason, c.want)
				}
				if end.Code != protocol.CodeNone {
					t.Errorf("code %v", end.Code)
				}
			})
		})
	}
}
