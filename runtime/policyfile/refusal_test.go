package policyfile

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime"
	"github.com/hearth-edge/hearth/runtime/machine"
)

var (
	lineOfRefusal   = regexp.MustCompile(`its owner can allow that by the line (([a-z_]+) = .+) \(([a-z_]+) in its owner's policy\)$`)
	addingOfRefusal = regexp.MustCompile(`its owner can allow that by adding (".+") to ([a-z_]+) \(([a-z_]+) in its owner's policy\)$`)
)

// TestRefusalPrintsTheLineThatAllows: what a refusal tells the owner to write, for
// each key, makes a policy that allows what was refused.
func TestRefusalPrintsTheLineThatAllows(t *testing.T) {
	dir := t.TempDir()
	here := runtime.Here{
		Lent: runtime.Lent{CPUs: 4, Memory: 4 << 30}, Look: runtime.LookFile,
		Accelerators: []machine.Accelerator{{Kind: machine.GPU, Devices: []string{"/dev/null"}}},
	}
	tv := runtime.Asker{Node: "12D3Tv", Name: "tv"}
	see := func(writable bool) protocol.Service {
		return protocol.Service{Mounts: []protocol.Mount{{Source: dir, Target: "/in", Writable: writable}}}
	}
	for _, c := range []struct {
		policy  string
		asker   runtime.Asker
		service protocol.Service
	}{
		{`allow_from = ["laptop"]`, tv, protocol.Service{}},
		{`allow_from = []`, tv, protocol.Service{}},
		{`allow_from = []`, runtime.Asker{Node: "12D3Tv"}, protocol.Service{}},
		{`allow_self = false`, runtime.Asker{Self: true}, protocol.Service{}},
		{`images = ["ghcr.io/me/*"]`, tv, protocol.Service{Image: "busybox:1"}},
		{`images = []`, tv, protocol.Service{Image: "quay.io/a/b"}},
		{`require_digest = true`, tv, protocol.Service{}},
		{``, tv, protocol.Service{Image: "nas:5000/a"}},
		{`registries = ["ghcr.io"]`, tv, protocol.Service{Image: "nas:5000/a"}},
		{`registries = []`, tv, protocol.Service{}},
		{``, tv, protocol.Service{Network: "host"}},
		{`networks = []`, tv, protocol.Service{Network: "bridge"}},
		{`networks = ["web"]`, tv, protocol.Service{Network: "host"}},
		{``, tv, protocol.Service{Capabilities: []string{"NET_ADMIN"}}},
		{`capabilities = ["NET_RAW"]`, tv, protocol.Service{Capabilities: []string{"NET_ADMIN"}}},
		{``, tv, see(false)},
		{``, tv, see(true)},
		{`mounts = ["/srv"]`, tv, see(false)},
		{`writable_mounts = ["/srv/out"]`, tv, see(true)},
		{fmt.Sprintf("mounts = [%q]", dir), tv, see(true)},
		{``, tv, protocol.Service{Devices: []string{"/dev/null"}}},
		{`devices = ["/dev/zero"]`, tv, protocol.Service{Devices: []string{"/dev/null"}}},
		{``, tv, protocol.Service{Accelerator: "gpu"}},
		{`run_as_nonroot = true`, tv, protocol.Service{User: "0"}},
		{`max_cpus = 0.5`, tv, protocol.Service{CPUs: 1.5}},
		{`max_memory = "64m"`, tv, protocol.Service{Memory: 100<<20 + 1}},
		{`max_memory = "64m"`, tv, protocol.Service{Memory: 2 << 30}},
		{`max_timeout = "1m"`, tv, protocol.Service{Timeout: 90 * time.Minute}},
	} {
		if c.service.Image == "" {
			c.service.Image = "busybox"
		}
		refused := firstRefusal(t, c.policy, c.asker, c.service, here)
		if refused == "" {
			t.Errorf("%q refuses nothing", c.policy)
			continue
		}
		if after := firstRefusal(t, amended(t, c.policy, refused), c.asker, c.service, here); after != "" {
			t.Errorf("%q, after what it told to do: %s", refused, after)
		}
	}
}

// firstRefusal returns why a policy refuses a service; empty where it does not.
func firstRefusal(t *testing.T, policy string, asker runtime.Asker, s protocol.Service, here runtime.Here) string {
	t.Helper()
	p, err := Parse([]byte(policy))
	if err != nil {
		t.Fatalf("%q: %v", policy, err)
	}
	if _, err := p.Apply(runtime.ExecutionID{}, asker, s, here); err != nil {
		return err.Error()
	}
	return ""
}

// amended does to a policy what a refusal tells its owner to do.
func amended(t *testing.T, policy, refusal string) string {
	t.Helper()
	if m := lineOfRefusal.FindStringSubmatch(refusal); m != nil && m[2] == m[3] {
		if strings.HasPrefix(policy, m[2]+" ") {
			policy = "" // the line takes its place
		}
		return policy + "\n" + m[1]
	}
	if m := addingOfRefusal.FindStringSubmatch(refusal); m != nil && strings.HasPrefix(policy, m[2]+" ") {
		return strings.Replace(policy, "]", ", "+m[1]+"]", 1)
	}
	t.Fatalf("%q tells no line that allows it", refusal)
	return ""
}
