package runtime_test

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime"
	"github.com/hearth-edge/hearth/runtime/machine"
)

var (
	plenty = runtime.Here{Lent: runtime.Lent{CPUs: 4, Memory: 4 << 30}, Look: runtime.LookFile}
	me     = runtime.Asker{Node: self, Name: "me", Self: true}
)

// refusal is what a policy says to a service, "" where it allows it.
func refusal(p runtime.Policy, a runtime.Asker, s protocol.Service, here runtime.Here) (runtime.Spec, protocol.Code, string) {
	if s.Image == "" {
		s.Image = image
	}
	spec, err := p.Apply(runtime.ExecutionID{Request: "a", Attempt: 1}, a, s, here)
	if err != nil {
		return spec, protocol.CodeOf(err), err.Error()
	}
	return spec, protocol.CodeNone, ""
}

func TestPolicyLimitsEverything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		lent := runtime.Lent{
			CPUs:   protocol.Cores(rapid.Float64Range(0.01, 64).Draw(t, "lent cpus")),
			Memory: protocol.Bytes(rapid.Uint64Range(1<<20, 1<<40).Draw(t, "lent memory")),
		}
		policy := runtime.DefaultPolicy()
		policy.DefaultCPUs = protocol.Cores(rapid.Float64Range(0, 8).Draw(t, "default cpus"))
		policy.MaxCPUs = protocol.Cores(rapid.Float64Range(0, 8).Draw(t, "max cpus"))
		policy.MaxMemory = protocol.Bytes(rapid.Uint64Range(0, 1<<40).Draw(t, "max memory"))
		policy.MaxTimeout = time.Duration(rapid.Int64Range(0, 1<<50).Draw(t, "max timeout"))
		s := protocol.Service{
			Image:   "x",
			CPUs:    protocol.Cores(rapid.Float64().Draw(t, "cpus")),
			Memory:  protocol.Bytes(rapid.Uint64().Draw(t, "memory")),
			Timeout: time.Duration(rapid.Int64().Draw(t, "timeout")),
		}
		spec, err := policy.Apply(runtime.ExecutionID{Request: "a", Attempt: 1}, me, s, runtime.Here{Lent: lent})
		if err != nil {
			if code := protocol.CodeOf(err); code != protocol.CodeResources && code != protocol.CodePolicy && code != protocol.CodeInvalid {
				t.Fatalf("error with code %v: %v", code, err)
			}
			return
		}
		if !(spec.CPUs > 0) || spec.CPUs > lent.CPUs || policy.MaxCPUs > 0 && spec.CPUs > policy.MaxCPUs {
			t.Fatalf("%v cores", spec.CPUs)
		}
		if spec.Memory == 0 || spec.Memory > lent.Memory || policy.MaxMemory > 0 && spec.Memory > policy.MaxMemory {
			t.Fatalf("%d bytes", spec.Memory)
		}
		if policy.MaxTimeout > 0 && (spec.Timeout <= 0 || spec.Timeout > policy.MaxTimeout) || spec.Timeout < 0 {
			t.Fatalf("it may run for %v", spec.Timeout)
		}
		if spec.Pids != policy.Pids || spec.Logs != policy.Logs || spec.Network != "bridge" {
			t.Fatalf("%+v", spec)
		}
	})
}

// TestPolicyNamesItsKey: a refusal says which key would allow it.
func TestPolicyNamesItsKey(t *testing.T) {
	other := runtime.Asker{Node: "12D3Other", Name: "tv"}
	with := func(change func(*runtime.Policy)) runtime.Policy {
		p := runtime.DefaultPolicy()
		change(&p)
		return p
	}
	nothing := runtime.DefaultPolicy()
	for _, c := range []struct {
		policy  runtime.Policy
		asker   runtime.Asker
		service protocol.Service
		key     string // "" where it is allowed
	}{
		{nothing, other, protocol.Service{}, ""},
		{nothing, other, protocol.Service{Network: "none"}, ""},
		{nothing, other, protocol.Service{Network: "bridge"}, ""},
		{nothing, other, protocol.Service{Network: "host"}, "networks"},
		{nothing, other, protocol.Service{Network: "container:x"}, "networks"},
		{with(func(p *runtime.Policy) { p.Networks = []string{} }), other, protocol.Service{Network: "bridge"}, "networks"},
		{with(func(p *runtime.Policy) { p.Networks = []string{"web", "host"} }), other, protocol.Service{Network: "host"}, ""},
		{nothing, other, protocol.Service{Capabilities: []string{"NET_ADMIN"}}, "capabilities"},
		{with(func(p *runtime.Policy) { p.Capabilities = []string{"NET_ADMIN"} }), other, protocol.Service{Capabilities: []string{"NET_ADMIN"}}, ""},
		{nothing, other, protocol.Service{Capabilities: []string{"CHOWN"}}, ""},
		{with(func(p *runtime.Policy) { p.DefaultCapabilities = []string{} }), other, protocol.Service{Capabilities: []string{"CHOWN"}}, "capabilities"},
		{with(func(p *runtime.Policy) { p.Capabilities = []string{"NET_ADMIN"} }), other, protocol.Service{Capabilities: []string{"NET_RAW"}}, "capabilities"},
		{nothing, other, protocol.Service{Mounts: []protocol.Mount{{Source: "/etc", Target: "/in"}}}, "mounts"},
		{nothing, other, protocol.Service{Mounts: []protocol.Mount{{Source: "/etc", Target: "/in", Writable: true}}}, "writable_mounts"},
		{nothing, other, protocol.Service{Devices: []string{"/dev/null"}}, "devices"},
		{nothing, other, protocol.Service{Accelerator: "gpu"}, "accelerators"},
		{with(func(p *runtime.Policy) { p.AllowFrom = []string{"laptop"} }), other, protocol.Service{}, "allow_from"},
		{with(func(p *runtime.Policy) { p.AllowFrom = []string{"laptop"} }), me, protocol.Service{}, ""},
		{with(func(p *runtime.Policy) { p.AllowFrom = []string{} }), runtime.Asker{}, protocol.Service{}, "allow_from"},
		{with(func(p *runtime.Policy) { p.AllowFrom = []string{"laptop", "tv"} }), other, protocol.Service{}, ""},
		{with(func(p *runtime.Policy) { p.AllowFrom = []string{"12D3Other"} }), other, protocol.Service{}, ""},
		{with(func(p *runtime.Policy) { p.AllowSelf = false }), me, protocol.Service{}, "allow_self"},
		{with(func(p *runtime.Policy) { p.RunAsNonRoot = true }), other, protocol.Service{}, ""},
		{with(func(p *runtime.Policy) { p.RunAsNonRoot = true }), other, protocol.Service{User: "1000"}, ""},
		{with(func(p *runtime.Policy) { p.RunAsNonRoot = true }), other, protocol.Service{User: "0"}, "run_as_nonroot"},
		{with(func(p *runtime.Policy) { p.RunAsNonRoot = true }), other, protocol.Service{User: "00"}, "run_as_nonroot"},
		{with(func(p *runtime.Policy) { p.RunAsNonRoot = true }), other, protocol.Service{User: "4294967296"}, "run_as_nonroot"},
		{with(func(p *runtime.Policy) { p.RunAsNonRoot = true }), other, protocol.Service{User: "1000:0"}, "run_as_nonroot"},
		{with(func(p *runtime.Policy) { p.RunAsNonRoot = true }), other, protocol.Service{User: "app"}, "run_as_nonroot"},
		{with(func(p *runtime.Policy) { p.MaxCPUs = 1 }), other, protocol.Service{CPUs: 2}, "max_cpus"},
		{with(func(p *runtime.Policy) { p.MaxMemory = 1 << 30 }), other, protocol.Service{Memory: 2 << 30}, "max_memory"},
		{with(func(p *runtime.Policy) { p.MaxTimeout = time.Hour }), other, protocol.Service{Timeout: 2 * time.Hour}, "max_timeout"},
	} {
		_, code, reason := refusal(c.policy, c.asker, c.service, plenty)
		if c.key == "" && code != protocol.CodeNone || c.key != "" && (code != protocol.CodePolicy || !strings.Contains(reason, "("+c.key+" in its owner's policy)")) {
			t.Errorf("%+v: %v, %q, want the key %q", c.service, code, reason, c.key)
		}
	}
}

func TestImagesAllowed(t *testing.T) {
	const sum, id = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", "sha256:fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210"
	for _, c := range []struct {
		allowed, asked string
		runs           string // "" where it is refused
	}{
		{"busybox", "busybox", "docker.io/library/busybox:latest"},
		{"busybox", "docker.io/library/busybox:1.36", "docker.io/library/busybox:1.36"},
		{"docker.io/library/busybox", "index.docker.io/busybox", "docker.io/library/busybox:latest"},
		{"docker.io/*", "busybox", "docker.io/library/busybox:latest"},
		{"docker.io/*", "me/app", "docker.io/me/app:latest"},
		{"docker.io/library/*", "me/app", ""},
		{"library/*", "busybox", "docker.io/library/busybox:latest"},
		{"busybox", "busybox2", ""},
		{"busybox", "evil.example/busybox", ""},
		{"docker.io/*", "docker.io.evil.example/busybox", ""},
		{"ghcr.io/me/*", "ghcr.io/me/app", "ghcr.io/me/app:latest"},
		{"ghcr.io/me/*", "ghcr.io/me2/app", ""},
		{"ghcr.io/me/*", "ghcr.io/me", ""},
		{"registry.home:5000/*", "registry.home:5000/a/b:1", "registry.home:5000/a/b:1"},
		{"registry.home:5000/*", "registry.home/a", ""},
		{"busybox:1.36", "busybox:1.36", "docker.io/library/busybox:1.36"},
		{"busybox:1.36", "busybox", ""},
		{"busybox:1.36", "busybox:1.36@" + sum, ""}, // the digest counts, and may be any
		{"busybox@" + sum, "busybox@" + sum, "docker.io/library/busybox@" + sum},
		{"busybox@" + sum, "busybox:2@" + sum, "docker.io/library/busybox@" + sum},
		{"busybox@" + sum, "busybox@" + id, ""},
		{"busybox@" + sum, "busybox", ""},
		{sum, "anything/at/all@" + sum, "docker.io/anything/at/all@" + sum},
		{id, id, id},
		{id, strings.TrimPrefix(id, "sha256:"), id},
		{"docker.io/*", id, ""}, // nobody knows where it came from
		{"docker.io/*", "fedcba98", "docker.io/library/fedcba98:latest"},
	} {
		p := runtime.DefaultPolicy()
		p.Images = []string{"quay.io/unused", c.allowed}
		if err := p.Validate(); err != nil {
			t.Error(err)
		}
		spec, code, reason := refusal(p, me, protocol.Service{Image: c.asked}, plenty)
		if spec.Image != c.runs || (c.runs == "") != (code == protocol.CodePolicy) {
			t.Errorf("%s allows %s as %q: %s", c.allowed, c.asked, spec.Image, reason)
		}
	}
	pinned := runtime.DefaultPolicy()
	pinned.RequireDigest = true
	for asked, allowed := range map[string]bool{"busybox": false, "busybox:1": false, "busybox@" + sum: true, "busybox:1@" + sum: true, id: true} {
		if _, _, reason := refusal(pinned, me, protocol.Service{Image: asked}, plenty); (reason == "") != allowed {
			t.Errorf("require_digest, %s: %q", asked, reason)
		}
	}
	if spec, _, _ := refusal(runtime.DefaultPolicy(), me, protocol.Service{Image: "busybox"}, plenty); spec.Image != "busybox" {
		t.Errorf("where images are not restricted: %q", spec.Image)
	}
}

func TestPolicyValidate(t *testing.T) {
	for _, c := range []struct {
		change func(*runtime.Policy)
		words  string
	}{
		{func(p *runtime.Policy) { p.Pids = 0 }, "pids: 1 to"},
		{func(p *runtime.Policy) { p.Logs = 1 }, "64 KiB"},
		{func(p *runtime.Policy) { p.Networks = []string{"container:x"} }, "not the name of a network"},
		{func(p *runtime.Policy) { p.Mounts = []string{"/"} }, "whole machine"},
		{func(p *runtime.Policy) { p.Mounts = []string{"srv"} }, "absolute"},
		{func(p *runtime.Policy) { p.Mounts = []string{"/srv/../etc"} }, `write it "/etc"`},
		{func(p *runtime.Policy) { p.Mounts, p.WritableMounts = []string{"/srv/a/b"}, []string{"/srv/a"} }, "containers could put a link"},
		{func(p *runtime.Policy) { p.Devices = []string{"/etc/passwd"} }, "not in /dev"},
		{func(p *runtime.Policy) { p.Capabilities = []string{"ALL"} }, "each is named by itself"},
		{func(p *runtime.Policy) { p.Capabilities = []string{"cap_net_raw"} }, `write it "NET_RAW"`},
		{func(p *runtime.Policy) { p.AcceleratorKinds = []string{"tpu"} }, "gpu and npu"},
		{func(p *runtime.Policy) { p.Images = []string{"ghcr.io"} }, `"ghcr.io/*"`},
		{func(p *runtime.Policy) { p.Images = []string{"UPPER"} }, "names no image"},
		{func(p *runtime.Policy) { p.AllowFrom = []string{""} }, "name of a device"},
		{func(p *runtime.Policy) { p.DefaultMemory, p.MaxMemory = 2<<30, 1<<30 }, "more than max_memory"},
		{func(p *runtime.Policy) { p.MaxMemory = 1 }, "less memory than 6 MiB"},
	} {
		p := runtime.DefaultPolicy()
		if err := p.Validate(); err != nil {
			t.Fatal(err)
		}
		c.change(&p)
		if err := p.Validate(); err == nil || !strings.Contains(err.Error(), c.words) {
			t.Errorf("%v, want %q", err, c.words)
		}
	}
}

// tree makes files, folders (/ at the end) and links (-> in between), and
// returns where.
func tree(t *testing.T, names ...string) string {
	t.Helper()
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		name, to, isLink := strings.Cut(n, "->")
		at := filepath.Join(root, name)
		switch {
		case isLink:
			err = os.Symlink(strings.ReplaceAll(to, "ROOT", root), at)
		case strings.HasSuffix(name, "/"):
			err = os.MkdirAll(at, 0o755)
		default:
			err = os.WriteFile(at, nil, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// TestMounts uses real files and links.
func TestMounts(t *testing.T) {
	root := tree(t, "srv/", "srv/a/", "srv/a/f", "srv/in->a", "srv/etc->/etc", "srv/up->../other", "srv/loop->loop", "other/", "out/", "out/x/",
		"out/evil->/etc", "srv/out->../out/x", "data->ROOT/srv/a", "sly->ROOT/out/evil", "state/", "state/token", "srv/state->ROOT/state", "home/", "home/state/", "all->/")
	p := runtime.DefaultPolicy()
	for _, name := range []string{"srv", "data", "sly", "home", "all"} {
		p.Mounts = append(p.Mounts, root+"/"+name)
	}
	p.WritableMounts = []string{root + "/out"}
	here := plenty
	here.Private = []string{root + "/state", root + "/home/state"}
	for _, c := range []struct {
		source   string
		writable bool
		real     string // "" where it is refused
		code     protocol.Code
		words    string
	}{
		{"/srv", false, "/srv", 0, ""},
		{"/srv/a/f", false, "/srv/a/f", 0, ""},
		{"/srv/in", false, "/srv/a", 0, ""},
		{"/srv/in/f", false, "/srv/a/f", 0, ""},
		{"/data/f", false, "/srv/a/f", 0, ""},
		{"/out", true, "/out", 0, ""},
		{"/out", false, "/out", 0, ""},
		{"/srv", true, "", protocol.CodePolicy, "for reading only"},
		{"/srv/a", true, "", protocol.CodePolicy, "for reading only"},
		{"/srv/etc", false, "", protocol.CodePolicy, "leads to"},
		{"/srv/etc/passwd", false, "", protocol.CodePolicy, "leads to"},
		{"/srv/up", false, "", protocol.CodePolicy, "leads to"},
		{"/other", false, "", protocol.CodePolicy, "does not lend"},
		{"/srv2", false, "", protocol.CodePolicy, "does not lend"},
		{"/srv/../other", false, "", protocol.CodePolicy, "does not lend"},
		{"/srv/none", false, "", protocol.CodeConstraint, "has none now"},
		{"/srv/loop", false, "", protocol.CodeConstraint, "has none now"},
		{"/out/x", true, "", protocol.CodePolicy, "only as a whole"},
		{"/out/evil", false, "", protocol.CodePolicy, "only as a whole"},
		{"/srv/out", false, "", protocol.CodePolicy, "only as a whole"}, // by another way
		{"/sly", false, "", protocol.CodePolicy, "only as a whole"},     // a container chose where it leads
		{"/srv/state", false, "", protocol.CodePolicy, "leads to"},
		{"/home", false, "", protocol.CodePolicy, "unless it is named itself"},
		{"/home/state", false, "", protocol.CodePolicy, "unless it is named itself"},
		{"/all", false, "", protocol.CodePolicy, "leads to"},
		{"/all/etc", false, "", protocol.CodePolicy, "leads to"},
	} {
		s := protocol.Service{Mounts: []protocol.Mount{{Source: root + c.source, Target: "/in", Writable: c.writable}}}
		if strings.Contains(c.source, "..") {
			s.Mounts[0].Source = root + c.source
		}
		spec, code, reason := refusal(p, me, s, here)
		if code != c.code || !strings.Contains(reason, c.words) {
			t.Errorf("%s: %v, %s", c.source, code, reason)
		}
		want := []protocol.Mount{{Source: root + c.real, Target: "/in", Writable: c.writable}}
		if c.real != "" && !reflect.DeepEqual(spec.Mounts, want) {
			t.Errorf("%s: %+v", c.source, spec.Mounts)
		}
	}
	p.Mounts = append(p.Mounts, root+"/state")
	if _, _, reason := refusal(p, me, protocol.Service{Mounts: []protocol.Mount{{Source: root + "/srv/state", Target: "/in"}}}, here); reason != "" {
		t.Errorf("named itself: %s", reason)
	}
	for _, target := range []string{"/", "in", "/../in", "/proc/self", "/dev", "/sys/fs"} {
		if _, code, _ := refusal(p, me, protocol.Service{Mounts: []protocol.Mount{{Source: root + "/srv", Target: target}}}, here); code != protocol.CodeInvalid {
			t.Errorf("to %s: %v", target, code)
		}
	}
	here.Remote = true
	if _, _, reason := refusal(p, me, protocol.Service{Mounts: []protocol.Mount{{Source: root + "/srv", Target: "/in"}}}, here); !strings.Contains(reason, "another machine") {
		t.Errorf("an engine elsewhere: %s", reason)
	}
}

func TestDevices(t *testing.T) {
	p := runtime.DefaultPolicy()
	p.Devices = []string{"/dev/null", "/dev/shm", "/dev/absent"}
	p.AcceleratorKinds = []string{"gpu", "npu"}
	here := plenty
	here.Accelerators = []machine.Accelerator{{Kind: machine.GPU, Devices: []string{"/dev/zero", "/dev/null"}}, {Kind: "tpu", Devices: []string{"/dev/full"}}, {Kind: machine.GPU, Devices: []string{"/dev/zero"}}}
	for _, c := range []struct {
		service protocol.Service
		code    protocol.Code
		want    []runtime.Device
	}{
		{protocol.Service{Devices: []string{"/dev/null", "/dev/null"}}, 0, []runtime.Device{{Source: "/dev/null", Target: "/dev/null"}}},
		{protocol.Service{Devices: []string{"/dev/zero"}}, protocol.CodePolicy, nil},
		{protocol.Service{Devices: []string{"/dev/shm"}}, protocol.CodePolicy, nil}, // a folder: all in it
		{protocol.Service{Devices: []string{"/dev/absent"}}, protocol.CodeConstraint, nil},
		{protocol.Service{Accelerator: "gpu"}, 0, []runtime.Device{{Source: "/dev/zero", Target: "/dev/zero"}, {Source: "/dev/null", Target: "/dev/null"}}},
		{protocol.Service{Accelerator: "npu"}, protocol.CodeResources, nil},
		{protocol.Service{Accelerator: "tpu"}, protocol.CodePolicy, nil},
	} {
		spec, code, reason := refusal(p, me, c.service, here)
		if code != c.code || !reflect.DeepEqual(spec.Devices, c.want) {
			t.Errorf("%+v: %+v, %v, %s", c.service, spec.Devices, code, reason)
		}
	}
	if got := p.Accelerators(here.Accelerators); !reflect.DeepEqual(got, []string{"gpu"}) {
		t.Errorf("lent: %v", got)
	}
}

// TestChangedWhileItWaited: between an offer and the container, a lent folder
// is replaced by a link out of it.
func TestChangedWhileItWaited(t *testing.T) {
	root := tree(t, "srv/", "srv/a/")
	inBubble(t, func(b *bed) {
		b.cfg.Policy.Mounts = []string{root + "/srv"}
		b.run()
		first := b.offer(forced("first", "sleep=1h"))
		synctest.Wait()
		second := forced("second", "sleep=1s")
		second.Service.CPUs = 2
		second.Service.Mounts = []protocol.Mount{{Source: root + "/srv/a", Target: "/in"}}
		waiting := b.offer(second)
		if err := os.Remove(root + "/srv/a"); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink("/etc", root+"/srv/a"); err != nil {
			t.Fatal(err)
		}
		first.Stop(0)
		if end := listen(waiting).end(); end.State != protocol.StateFailed || end.Code != protocol.CodePolicy {
			t.Errorf("it ended as %+v", end)
		}
		if n := len(b.starts()); n != 1 {
			t.Errorf("%d containers", n)
		}
	})
}

// TestWhoMayAsk: a node knows who asks by the connection.
func TestWhoMayAsk(t *testing.T) {
	inBubble(t, func(b *bed) {
		b.cfg.Policy.AllowFrom = []string{"laptop"}
		b.cfg.NameOf = func(id protocol.PeerID) string { return map[protocol.PeerID]string{"12D3": "laptop", "12D4": "tv"}[id] }
		b.run()
		listen(b.offer(offer("mine")))
		if _, err := b.node.For("12D3").Offer(t.Context(), offer("laptops")); err != nil {
			t.Error(err)
		}
		for _, id := range []protocol.PeerID{"12D4", "12D5"} {
			if _, err := b.node.For(id).Offer(t.Context(), offer("others")); protocol.CodeOf(err) != protocol.CodePolicy {
				t.Errorf("%s: %v", id, err)
			}
		}
	})
}
