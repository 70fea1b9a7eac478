package docker

import (
	"reflect"
	"slices"
	"testing"

	"github.com/docker/docker/api/types/container"
	"pgregory.net/rapid"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime"
	"github.com/hearth-edge/hearth/runtime/stack"
)

// TestStackConfigGivesNoPower: whatever a service says, where the default policy has
// nothing against it its container has no power over the node.
func TestStackConfigGivesNoPower(t *testing.T) {
	text := rapid.SampledFrom([]string{"", "host", "none", "service:x", "seccomp", "apparmor", "SYS_ADMIN", "CHOWN", "ALL", "/", "/etc", "/var/run/docker.sock", "/dev/sda", "container:x", "net.x", "kernel.x"})
	texts := rapid.SliceOfN(text, 0, 2)
	policy := runtime.DefaultPolicy()
	here := runtime.Here{Lent: runtime.Lent{CPUs: 2, Memory: 1 << 30}, Look: runtime.LookFile, Has: func(string) bool { return true }}
	granted := 0
	rapid.Check(t, func(t *rapid.T) {
		rarely := func(what string) bool { return rapid.IntRange(0, 7).Draw(t, what) == 0 }
		one := func(what string) string {
			if rarely(what) {
				return text.Draw(t, what)
			}
			return ""
		}
		some := func(what string) []string {
			if rarely(what) {
				return texts.Draw(t, what)
			}
			return nil
		}
		svc := protocol.StackService{
			Name: "web", Image: "app", NetworkMode: one("network"), PIDMode: one("pid"), IPCMode: one("ipc"),
			Privileged: rarely("privileged"), CapAdd: some("add"), CapDrop: some("drop"), Unconfined: some("unconfined"),
			OOMScore: rapid.IntRange(-10, 1000).Draw(t, "oom"), GroupAdd: some("groups"), Labels: map[string]string{labelNode: "other", labelMesh: "other", "x": "y"},
		}
		for _, source := range some("mounts") {
			svc.Mounts = append(svc.Mounts, protocol.StackMount{Kind: protocol.MountBind, Source: source, Target: "/x", ReadOnly: rapid.Bool().Draw(t, "ro")})
		}
		for _, source := range some("devices") {
			svc.Devices = append(svc.Devices, protocol.StackDevice{Source: source})
		}
		for _, name := range some("sysctls") {
			svc.Sysctls = map[string]string{name: "1"}
		}
		grant, refusals := policy.GrantStack(&svc, here)
		if len(refusals) > 0 {
			return
		}
		granted++
		spec := &stack.Spec{
			Stack: "s", Service: svc, Image: grant.Image, Mode: svc.NetworkMode, Capabilities: grant.Capabilities, Devices: grant.Devices,
			DeviceRights: grant.DeviceRights, Pids: grant.Pids, ShmSize: grant.ShmSize, Logs: grant.Logs,
		}
		d := &Driver{cfg: Config{Mesh: "mesh", Node: "node"}}
		config, host := stackConfig(spec, d.stackLabels(spec, "id"), nil)
		checkPowerless(t, host)
		if config.Labels[labelNode] != "node" || config.Labels[labelMesh] != "mesh" || config.Labels["x"] != "y" {
			t.Fatalf("labels %v", config.Labels)
		}
	})
	if granted == 0 {
		t.Error("no service was granted: the test shows nothing")
	}
}

func checkPowerless(t *rapid.T, host *container.HostConfig) {
	if host.Privileged || len(host.Binds) > 0 || len(host.Mounts) > 0 || len(host.Devices) > 0 || host.PidMode != "" || host.IpcMode != container.IPCModePrivate ||
		!slices.Contains([]container.NetworkMode{"", "none", "service:x"}, host.NetworkMode) || host.UTSMode != "" || host.UsernsMode != "" || host.OomScoreAdj < 0 || len(host.VolumesFrom) > 0 ||
		host.RestartPolicy.Name != container.RestartPolicyDisabled || host.MaskedPaths != nil || host.ReadonlyPaths != nil {
		t.Fatalf("%+v", host)
	}
	if !slices.Equal(host.CapDrop, []string{"ALL"}) || !slices.Equal(host.SecurityOpt, []string{"no-new-privileges"}) {
		t.Fatalf("%v, %v", host.CapDrop, host.SecurityOpt)
	}
	for _, c := range host.CapAdd {
		if !slices.Contains(runtime.EntrypointCapabilities(), c) {
			t.Fatalf("it has the capability %s", c)
		}
	}
	known := []string{
		"LogConfig", "NetworkMode", "PortBindings", "RestartPolicy", "ConsoleSize", "Annotations", "CapAdd", "CapDrop", "CgroupnsMode", "DNS", "DNSOptions", "DNSSearch",
		"ExtraHosts", "GroupAdd", "IpcMode", "PidMode", "OomScoreAdj", "Privileged", "ReadonlyRootfs", "SecurityOpt", "Tmpfs", "ShmSize", "Sysctls", "Resources", "Mounts", "Init",
	}
	for v, i := reflect.ValueOf(*host), 0; i < v.NumField(); i++ {
		if name := v.Type().Field(i).Name; !slices.Contains(known, name) && !v.Field(i).IsZero() {
			t.Fatalf("%s is set: %v", name, v.Field(i))
		}
	}
}

func TestSignalNumber(t *testing.T) {
	for image, want := range map[string]string{
		"": "15", "SIGWINCH": "28", "QUIT": "3", "28": "28", "SIGSYS": "31", "SIGRTMIN+3": "37", "RTMIN": "34", "SIGRTMAX-1": "63", "RTMAX": "64", "nonsense": "15",
	} {
		if got := signalNumber(image); got != want {
			t.Errorf("%q is %s, want %s", image, got, want)
		}
	}
}
