package runtime

import (
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime/machine"
)

// stackHere is a machine with some files.
func stackHere() Here {
	files := map[string]File{
		"/srv/photos":          {Path: "/srv/photos", Mode: fs.ModeDir},
		"/dev/serial/by-id/z":  {Path: "/dev/ttyUSB0", Mode: fs.ModeDevice | fs.ModeCharDevice, Group: 20},
		"/dev/dri":             {Path: "/dev/dri", Mode: fs.ModeDir},
		"/dev/dri/renderD128":  {Path: "/dev/dri/renderD128", Mode: fs.ModeDevice | fs.ModeCharDevice, Group: 44},
		"/var/run/docker.sock": {Path: "/run/docker.sock", Via: []string{"/var/run"}, Mode: fs.ModeSocket},
	}
	return Here{
		Lent:         Lent{CPUs: 2, Memory: 2 << 30},
		Accelerators: []machine.Accelerator{{Kind: machine.GPU, Devices: []string{"/dev/dri/renderD128"}}},
		Has:          func(string) bool { return true },
		Look: func(path string) (File, error) {
			if f, ok := files[path]; ok {
				return f, nil
			}
			return File{}, fs.ErrNotExist
		},
	}
}

func TestGrantStackByDefault(t *testing.T) {
	p := DefaultPolicy()
	s := protocol.StackService{Name: "web", Image: "nginx", Sysctls: map[string]string{"net.core.somaxconn": "1024"}}
	g, refusals := p.GrantStack(&s, stackHere())
	if len(refusals) != 0 {
		t.Fatalf("%+v", refusals)
	}
	if !slices.Equal(g.Capabilities, EntrypointCapabilities()) || g.Memory != 0 || g.CPUs != 0 || g.Reserved != 64<<20 || g.Pids != p.Pids || g.ShmSize != 64<<20 || g.Image != "nginx" {
		t.Errorf("%+v", g)
	}
	s.CapDrop, s.CapAdd = []string{"ALL"}, []string{"CAP_chown"}
	if g, refusals = p.GrantStack(&s, stackHere()); len(refusals) != 0 || !slices.Equal(g.Capabilities, []string{"CHOWN"}) {
		t.Errorf("%+v, %+v", g.Capabilities, refusals)
	}
}

// TestStackRefusalsNameTheLine: what is refused is allowed by the line that the
// refusal names, and by nothing less.
func TestStackRefusalsNameTheLine(t *testing.T) {
	bind := func(source string, ro bool) func(*protocol.StackService) {
		return func(s *protocol.StackService) {
			s.Mounts = []protocol.StackMount{{Kind: protocol.MountBind, Source: source, Target: "/x", ReadOnly: ro}}
		}
	}
	for name, c := range map[string]struct {
		ask   func(*protocol.StackService)
		line  string
		allow func(*Policy)
	}{
		"host network": {func(s *protocol.StackService) { s.NetworkMode = "host" }, `networks = ["bridge", "host"]`, func(p *Policy) { p.Networks = []string{"bridge", "host"} }},
		"capability": {func(s *protocol.StackService) { s.CapAdd = []string{"NET_ADMIN"} }, `capabilities = ["NET_ADMIN"]`,
			func(p *Policy) { p.Capabilities = []string{"NET_ADMIN"} }},
		"privileged": {func(s *protocol.StackService) { s.Privileged = true }, `privileged_images = ["docker.io/library/app"]`,
			func(p *Policy) { p.PrivilegedImages = []string{"docker.io/library/app"} }},
		"folder": {bind("/srv/photos", true), `mounts = ["/srv/photos"]`, func(p *Policy) { p.Mounts = []string{"/srv/photos"} }},
		"folder, to write": {bind("/srv/photos", false), `writable_mounts = ["/srv/photos"]`,
			func(p *Policy) { p.WritableMounts = []string{"/srv/photos"} }},
		"engine's socket": {bind("/var/run/docker.sock", true), `mounts = ["/var/run/docker.sock"]`, func(p *Policy) { p.Mounts = []string{"/var/run/docker.sock"} }},
		"device": {func(s *protocol.StackService) { s.Devices = []protocol.StackDevice{{Source: "/dev/serial/by-id/z"}} }, `devices = ["/dev/serial/by-id/z"]`,
			func(p *Policy) { p.Devices = []string{"/dev/serial/by-id/z"} }},
		"folder of devices": {func(s *protocol.StackService) { s.Devices = []protocol.StackDevice{{Source: "/dev/dri"}} }, `devices = ["/dev/dri"]`,
			func(p *Policy) { p.Devices = []string{"/dev/dri"} }},
		"accelerator":        {func(s *protocol.StackService) { s.Accelerator = "gpu" }, `accelerators = ["gpu"]`, func(p *Policy) { p.AcceleratorKinds = []string{"gpu"} }},
		"processes of all":   {func(s *protocol.StackService) { s.PIDMode = "host" }, `host_namespaces = ["pid"]`, func(p *Policy) { p.HostNamespaces = []string{"pid"} }},
		"memory of all":      {func(s *protocol.StackService) { s.IPCMode = "host" }, `host_namespaces = ["ipc"]`, func(p *Policy) { p.HostNamespaces = []string{"ipc"} }},
		"unconfined":         {func(s *protocol.StackService) { s.Unconfined = []string{"seccomp"} }, `unconfined = ["seccomp"]`, func(p *Policy) { p.Unconfined = []string{"seccomp"} }},
		"processes":          {func(s *protocol.StackService) { s.Pids = 1000 }, `pids = 1000`, func(p *Policy) { p.Pids = 1000 }},
		"not root, as image": {func(*protocol.StackService) {}, ``, nil},
		"ALL":                {func(s *protocol.StackService) { s.CapAdd = []string{"ALL"} }, ``, nil},
		"sysctl":             {func(s *protocol.StackService) { s.Sysctls = map[string]string{"vm.overcommit_memory": "1"} }, ``, nil},
		"more than is lent":  {func(s *protocol.StackService) { s.Memory = 4 << 30 }, ``, nil},
		"a place":            {bind("/srv/photos", true), `mounts = ["/srv/photos"]`, func(p *Policy) { p.Mounts = []string{"/srv"} }},
	} {
		p := DefaultPolicy()
		s := protocol.StackService{Name: "web", Image: "app:1"}
		c.ask(&s)
		_, refusals := p.GrantStack(&s, stackHere())
		if name == "not root, as image" {
			if len(refusals) != 0 {
				t.Errorf("%s: %+v", name, refusals)
			}
			continue
		}
		if len(refusals) != 1 || refusals[0].PolicyLine != c.line || refusals[0].Service != "web" || refusals[0].Reason == "" {
			t.Errorf("%s: %+v", name, refusals)
			continue
		}
		if c.allow == nil {
			continue
		}
		if refusals[0].Code != protocol.CodePolicy {
			t.Errorf("%s: %v", name, refusals[0].Code)
		}
		c.allow(&p)
		if name == "a place" { // /srv itself is not there
			continue
		}
		if _, refusals = p.GrantStack(&s, stackHere()); len(refusals) != 0 {
			t.Errorf("%s, allowed: %+v", name, refusals)
		}
	}
}

func TestStackDevicesAreTheirTargets(t *testing.T) {
	p := DefaultPolicy()
	p.Devices, p.AcceleratorKinds = []string{"/dev/serial/by-id/z"}, []string{"gpu"}
	s := protocol.StackService{Image: "app", Accelerator: "gpu", Devices: []protocol.StackDevice{{Source: "/dev/serial/by-id/z", Target: "/dev/ttyACM0", Permissions: "r"}}}
	g, refusals := p.GrantStack(&s, stackHere())
	want := []Device{{"/dev/ttyUSB0", "/dev/ttyACM0", 20}, {"/dev/dri/renderD128", "/dev/dri/renderD128", 44}}
	if len(refusals) != 0 || !slices.Equal(g.Devices, want) || !slices.Equal(g.DeviceRights, []string{"r", "rw"}) {
		t.Errorf("%+v, %+v, %+v", g.Devices, g.DeviceRights, refusals)
	}
	s.Devices[0].Source = "/dev/serial/by-id/gone"
	p.Devices = []string{"/dev/serial/by-id/gone"}
	if _, refusals = p.GrantStack(&s, stackHere()); len(refusals) != 1 || refusals[0].Code != protocol.CodeConstraint || !strings.Contains(refusals[0].Reason, "has none now") {
		t.Errorf("%+v", refusals)
	}
}
