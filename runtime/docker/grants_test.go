package docker

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/volume"
	"github.com/docker/docker/client"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime"
	"github.com/hearth-edge/hearth/runtime/runtimetest"
)

// applied is the spec that a policy makes of a service, on this machine.
func applied(t *testing.T, d *Driver, p runtime.Policy, s protocol.Service) runtime.Spec {
	t.Helper()
	info, err := d.Info(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	s.Image = engineImage
	if err := p.Validate(); err != nil {
		t.Fatal(err)
	}
	spec, err := p.Apply(runtime.ExecutionID{Request: protocol.RequestID(unique()), Attempt: 1}, runtime.Asker{Self: true}, s,
		runtime.HereFor(info, runtime.Lent{CPUs: 1, Memory: 64 << 20}, nil, nil))
	if err != nil {
		t.Fatal(err)
	}
	return spec
}

// TestGrants: a container on a real engine gets what the policy grants, and no
// more.
func TestGrants(t *testing.T) {
	runtimetest.BusyboxImage(t, engineImage)
	d := newTestDriver(t)
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for name, mode := range map[string]os.FileMode{"in": 0o755, "out": 0o777} {
		if err := os.Mkdir(filepath.Join(dir, name), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(filepath.Join(dir, name), mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "in", "f"), []byte("lent"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("in", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	lends := runtime.DefaultPolicy()
	lends.Mounts, lends.WritableMounts = []string{dir}, []string{dir + "/out"}
	lends.DefaultCapabilities = nil
	lends.Devices, lends.Capabilities, lends.Networks = []string{"/dev/full"}, []string{"NET_RAW", "CHOWN"}, []string{"none", "bridge", "host"}
	confines := runtime.DefaultPolicy()
	confines.ReadOnlyRoot, confines.RunAsNonRoot, confines.Pids = true, true, 7
	for _, c := range []struct {
		name    string
		policy  runtime.Policy
		service protocol.Service
		script  string
		want    string
	}{
		{"read-only mount", lends, protocol.Service{Mounts: []protocol.Mount{{Source: dir + "/link", Target: "/deep/in"}}},
			`cat /deep/in/f; echo x 2>&1 >/deep/in/g | grep -o "Read-only file system"`, "lentRead-only file system\n"},
		{"writable mount", lends, protocol.Service{Mounts: []protocol.Mount{{Source: dir + "/out", Target: "/out", Writable: true}}},
			`echo out >/out/f && cat /out/f`, "out\n"},
		{"writable mount, not asked so", lends, protocol.Service{Mounts: []protocol.Mount{{Source: dir + "/out", Target: "/out"}}},
			`echo x 2>&1 >/out/g | grep -o "Read-only file system"`, "Read-only file system\n"},
		{"device", lends, protocol.Service{Devices: []string{"/dev/full"}},
			`echo x 2>&1 >/dev/full | grep -o "No space left on device"`, "No space left on device\n"},
		{"capabilities by default", runtime.DefaultPolicy(), protocol.Service{},
			`grep -E '^Cap(Eff|Bnd):|^NoNewPrivs' /proc/self/status | tr -d '\t'; touch /tmp/f && chown 1234:1234 /tmp/f && stat -c %u /tmp/f`,
			"CapEff:00000000000005fb\nCapBnd:00000000000005fb\nNoNewPrivs:1\n1234\n"},
		{"capabilities", lends, protocol.Service{Capabilities: []string{"NET_RAW"}},
			`grep -E '^Cap(Eff|Bnd):|^NoNewPrivs' /proc/self/status | tr -d '\t'`, "CapEff:0000000000002000\nCapBnd:0000000000002000\nNoNewPrivs:1\n"},
		{"network none", lends, protocol.Service{Network: "none"}, `ls /sys/class/net`, "lo\n"},
		{"network bridge", lends, protocol.Service{Network: "bridge"}, `ls /sys/class/net`, "eth0\nlo\n"},
		{"namespaces", lends, protocol.Service{}, `cat /proc/self/cgroup | cut -d: -f3 | sort -u | grep -v '^/$'; hostname | wc -c; ls /proc | grep -c '^[0-9]' | tr 1-9 n`, "13\nn\n"},
		{"confined", confines, protocol.Service{}, `id -u; id -g; echo x 2>&1 >/x | grep -o "Read-only file system"; echo tmp >/tmp/f && cat /tmp/f; cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max 2>/dev/null`,
			"65534\n65534\nRead-only file system\ntmp\n7\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.service.Args = []string{"sh", "-c", c.script}
			if got := output(t, run(t, d, applied(t, d, c.policy, c.service)).Output); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
	if text, err := os.ReadFile(filepath.Join(dir, "out", "f")); err != nil || string(text) != "out\n" {
		t.Errorf("what was written: %q, %v", text, err)
	}
}

// TestNoSubmounts: what is mounted below a lent folder is not lent with it.
func TestNoSubmounts(t *testing.T) {
	runtimetest.BusyboxImage(t, engineImage)
	d := newTestDriver(t)
	p := runtime.DefaultPolicy()
	p.Mounts = []string{"/sys/kernel"} // others are mounted in it
	spec := applied(t, d, p, protocol.Service{Mounts: []protocol.Mount{{Source: "/sys/kernel", Target: "/in"}}, Args: []string{"grep", "-c", " /in", "/proc/mounts"}})
	if got := output(t, run(t, d, spec).Output); got != "1\n" {
		t.Errorf("%q mounts", got)
	}
}

// TestNamedNetwork: a network that docker knows by name.
func TestNamedNetwork(t *testing.T) {
	runtimetest.BusyboxImage(t, engineImage)
	d := newTestDriver(t)
	name := "hearth-drivertest-" + unique()
	made, err := d.client.Load().NetworkCreate(testContext(t), name, network.CreateOptions{Internal: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.client.Load().NetworkRemove(testContext(t), made.ID); err != nil {
			t.Error(err)
		}
	})
	p := runtime.DefaultPolicy()
	p.Networks = append(p.Networks, name)
	spec := applied(t, d, p, protocol.Service{Network: name, Args: []string{"sh", "-c", "ls /sys/class/net; route -n | grep -c ^0.0.0.0"}})
	run(t, d, spec)
	c, err := d.look(testContext(t), d.name(spec.ID))
	if err != nil || len(c.NetworkSettings.Networks) != 1 || c.NetworkSettings.Networks[name] == nil {
		t.Errorf("networks %+v, %v", c.NetworkSettings.Networks, err)
	}
}

// TestVolumesOfTheImage: an image's VOLUME becomes a folder of the engine's, and
// goes with the container.
func TestVolumesOfTheImage(t *testing.T) {
	runtimetest.BusyboxImage(t, engineImage)
	d := newTestDriver(t)
	c := d.client.Load()
	base := testSpec(engineImage, "true")
	run(t, d, base)
	ref := "hearth-drivertest:volume-" + unique()
	commit(t, c, d.name(base.ID), ref, "VOLUME /data", "EXPOSE 80", "USER 1234:1234")
	spec := testSpec(ref, "sh", "-c", "id -u; echo kept >/tmp/f")
	stdio := run(t, d, spec)
	if got := output(t, stdio.Output); got != "1234\n" {
		t.Errorf("%q", got)
	}
	made, err := d.look(testContext(t), d.name(spec.ID))
	if err != nil || len(made.Mounts) != 1 || made.Mounts[0].Destination != "/data" || len(made.HostConfig.PortBindings) != 0 {
		t.Fatalf("%+v, %v", made, err)
	}
	name := made.Mounts[0].Name
	left := func() int {
		list, err := c.VolumeList(testContext(t), volume.ListOptions{Filters: filters.NewArgs(filters.Arg("name", name))})
		if err != nil {
			t.Fatal(err)
		}
		return len(list.Volumes)
	}
	if left() != 1 {
		t.Error("the volume is not there while the container is")
	}
	if err := d.Remove(testContext(t), spec.ID); err != nil {
		t.Fatal(err)
	}
	if left() != 0 {
		t.Error("the volume outlives its container")
	}
}

// TestImageInFull: a restricted image is not taken for another whose ID begins
// with its name.
func TestImageInFull(t *testing.T) {
	runtimetest.BusyboxImage(t, engineImage)
	d := newTestDriver(t)
	found, err := d.client.Load().ImageInspect(testContext(t), engineImage)
	if err != nil {
		t.Fatal(err)
	}
	short := strings.TrimPrefix(found.ID, "sha256:")[:12]
	p := runtime.DefaultPolicy()
	p.Images = []string{"docker.io/*"}
	spec := applied(t, d, p, protocol.Service{Args: []string{"true"}})
	if _, _, err := d.Create(testContext(t), spec); err != nil {
		t.Error(err)
	}
	if err := d.Remove(testContext(t), spec.ID); err != nil {
		t.Error(err)
	}
	spec, err = p.Apply(spec.ID, runtime.Asker{Self: true}, protocol.Service{Image: short, Args: []string{"true"}}, runtime.Here{Lent: runtime.Lent{CPUs: 1, Memory: 64 << 20}})
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = d.Create(testContext(t), spec)
	wantError(t, err, protocol.CodeImageNotFound, short)
}

func commit(t *testing.T, c *client.Client, name, ref string, changes ...string) {
	t.Helper()
	if _, err := c.ContainerCommit(testContext(t), name, container.CommitOptions{Reference: ref, Changes: changes}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := c.ImageRemove(testContext(t), ref, image.RemoveOptions{Force: true}); err != nil {
			t.Error(err)
		}
	})
}
