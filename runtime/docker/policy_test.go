package docker

import (
	"math"
	"testing"

	"github.com/docker/docker/api/types/container"
	"pgregory.net/rapid"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime"
)

// anySpec draws specs, words that mean something to the engine included.
func anySpec(t *rapid.T) runtime.Spec {
	word := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{
		"", "host", "bridge", "none", "container:x", "/:/host", "/var/run/docker.sock:/s", "--privileged", "ALL", "unconfined", "root", "0:0",
	}))
	words := rapid.SliceOfN(word, 0, 4)
	return runtime.Spec{
		ID:           runtime.ExecutionID{Request: protocol.RequestID(word.Draw(t, "request")), Attempt: rapid.Uint32().Draw(t, "attempt")},
		Orchestrator: protocol.NodeID(word.Draw(t, "orchestrator")),
		Image:        word.Draw(t, "image"),
		Entrypoint:   word.Draw(t, "entrypoint"),
		Args:         words.Draw(t, "args"),
		Env:          words.Draw(t, "env"),
		WorkDir:      word.Draw(t, "workdir"),
		User:         word.Draw(t, "user"),
		Stdin:        rapid.Bool().Draw(t, "stdin"),
		CPUs:         protocol.Cores(rapid.Float64Range(0, 1e6).Draw(t, "cpus")),
		Memory:       protocol.Bytes(rapid.Uint64Range(1, math.MaxUint64).Draw(t, "memory")),
		Pids:         rapid.Int64().Draw(t, "pids"),
		Network:      word.Draw(t, "network"),
	}
}

func TestNoSpecGetsMoreThanThePolicy(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		config, host := containerConfig(anySpec(t), nil)
		for what, bad := range map[string]bool{
			"privileged":          host.Privileged,
			"a capability":        len(host.CapAdd) != 0 || len(host.CapDrop) != 1 || host.CapDrop[0] != "ALL",
			"a mount":             len(host.Binds)+len(host.Mounts)+len(host.VolumesFrom)+len(host.Tmpfs)+len(config.Volumes) != 0 || host.VolumeDriver != "",
			"a device":            len(host.Devices)+len(host.DeviceRequests)+len(host.DeviceCgroupRules) != 0,
			"a namespace":         !host.IpcMode.IsPrivate() || host.PidMode != "" || host.UTSMode != "" || host.UsernsMode != "" || host.CgroupnsMode.IsHost() || host.Cgroup != "",
			"a network":           host.NetworkMode != "bridge" && host.NetworkMode != "none",
			"a port":              len(host.PortBindings)+len(host.Links)+len(config.ExposedPorts) != 0 || host.PublishAllPorts,
			"new privileges":      len(host.SecurityOpt) != 1 || host.SecurityOpt[0] != "no-new-privileges",
			"unmasked paths":      host.MaskedPaths != nil || host.ReadonlyPaths != nil,
			"a kernel setting":    len(host.Sysctls) != 0 || len(host.Ulimits) != 0 || host.OomScoreAdj < 0 || host.OomKillDisable != nil,
			"a runtime":           host.Runtime != "" || host.CgroupParent != "" || len(host.GroupAdd) != 0 || len(host.Annotations) != 0,
			"unlimited memory":    host.Memory <= 0 || host.MemorySwap != host.Memory,
			"unlimited time":      host.NanoCPUs <= 0,
			"unlimited processes": host.PidsLimit == nil || *host.PidsLimit <= 0,
			"unlimited logs":      host.LogConfig.Type != "local" || host.LogConfig.Config["max-size"] != "10m" || host.LogConfig.Config["max-file"] != "2",
			"a second life":       host.RestartPolicy.Name != container.RestartPolicyDisabled || host.AutoRemove,
			"no init":             host.Init == nil || !*host.Init,
		} {
			if bad {
				t.Errorf("a container gets %s: %+v", what, host)
			}
		}
	})
}

func TestCPUsAreBoundByTheMachine(t *testing.T) {
	for _, c := range []struct {
		asked protocol.Cores
		ncpu  int
		want  protocol.Cores
	}{{1, 2, 1}, {8, 2, 2}, {0.5, 2, 0.5}, {8, 0, 8}} {
		if got := clampCPUs(c.asked, c.ncpu); got != c.want {
			t.Errorf("%v on %d cores: %v, want %v", c.asked, c.ncpu, got, c.want)
		}
	}
}
