package docker

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/api/types/network"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime"
)

// The labels on each container.
const (
	labelMesh         = "dev.hearth.mesh"
	labelNode         = "dev.hearth.node"
	labelOrchestrator = "dev.hearth.orchestrator"
	labelRequest      = "dev.hearth.request"
	labelAttempt      = "dev.hearth.attempt"
	labelCPUs         = "dev.hearth.cpus"
	labelMemory       = "dev.hearth.memory"
	labelTimeout      = "dev.hearth.timeout"
	labelLease        = "dev.hearth.lease"
	// labelFiller is on what secrets are filled in through, in place of the rest.
	labelFiller = "dev.hearth.secrets-of"
)

// logFiles are how many files a log has: the engine drops the older one whole.
const logFiles = "2"

// minCPUs is the least that the kernel's scheduler can be told to give, maxCPUs
// more than any machine has.
const (
	minCPUs = 0.01
	maxCPUs = 1 << 20
)

// labels returns what Recover needs to know about a container.
func (d *Driver) labels(spec runtime.Spec) map[string]string {
	labels := map[string]string{
		labelMesh:         d.cfg.Mesh,
		labelNode:         string(d.cfg.Node),
		labelOrchestrator: string(spec.ID.Orchestrator),
		labelRequest:      string(spec.ID.Request),
		labelAttempt:      strconv.FormatUint(uint64(spec.ID.Attempt), 10),
		labelCPUs:         strconv.FormatFloat(float64(spec.CPUs), 'g', -1, 64),
		labelMemory:       strconv.FormatUint(uint64(spec.Memory), 10),
		labelTimeout:      spec.Timeout.String(),
		labelLease:        spec.Lease.String(),
	}
	d.now().addTo(labels)
	return labels
}

// containerConfig is all that a container gets, in one place: what is asked for
// by its image or its spec is granted here or not at all. Mounts, devices,
// capabilities and the network come from fields of spec that only the node's
// policy fills.
//
// Left at the engine's default, because the default is the safe choice:
// seccomp and AppArmor profiles, masked paths, PID, UTS and user namespaces. No
// field of spec leads to any of these.
func containerConfig(spec runtime.Spec, labels map[string]string) (*container.Config, *container.HostConfig) {
	config := &container.Config{
		Image:        spec.Image,
		Cmd:          spec.Args,
		Env:          spec.Env,
		WorkingDir:   spec.WorkDir,
		User:         spec.User,
		Labels:       labels,
		Tty:          spec.TTY,
		AttachStdin:  spec.Stdin,
		AttachStdout: true,
		AttachStderr: true,
		OpenStdin:    spec.Stdin,
		// The input ends when the one who gives it is gone.
		StdinOnce: spec.Stdin,
		// An image's health check would run commands that nobody asked for.
		Healthcheck: &container.HealthConfig{Test: []string{"NONE"}},
	}
	switch {
	case spec.Entrypoint != "":
		config.Entrypoint = []string{spec.Entrypoint}
	case spec.NoEntrypoint:
		// To the engine a list without an entry is the image's.
		config.Entrypoint = []string{""}
	}
	config.Hostname = spec.Hostname

	memory := int64(min(max(spec.Memory, 1), math.MaxInt64)) // 0 is no limit
	pids := max(spec.Pids, 1)
	reap := true
	host := &container.HostConfig{
		CapDrop:      []string{"ALL"},
		CapAdd:       spec.Capabilities,
		SecurityOpt:  []string{"no-new-privileges"},
		NetworkMode:  networkMode(spec.Network),
		IpcMode:      container.IPCModePrivate,
		CgroupnsMode: container.CgroupnsModePrivate, // the engine's default depends on the kernel
		Mounts:       mounts(spec.Mounts),
		Tmpfs:        tmpfs(spec.Tmpfs),
		ShmSize:      int64(min(spec.ShmSize, math.MaxInt64)),
		// Engines before API 1.42 pass it over: see Start.
		ConsoleSize:    [2]uint{uint(spec.TTYRows), uint(spec.TTYColumns)},
		ReadonlyRootfs: spec.ReadOnlyRoot,
		GroupAdd:       groups(spec.Devices),
		RestartPolicy:  container.RestartPolicy{Name: container.RestartPolicyDisabled},
		Init:           &reap,
		// Bounded, so that a talkative container cannot fill the disk; the
		// log is what a restarted device reads the output from.
		LogConfig: container.LogConfig{
			Type:   "local",
			Config: map[string]string{"max-size": logSize(spec.Logs), "max-file": logFiles, "compress": "false"},
		},
		Resources: container.Resources{
			NanoCPUs: nanoCPUs(spec.CPUs),
			Memory:   memory,
			// Equal to Memory: no swap, which would wear out memory cards and
			// slow down everything else.
			MemorySwap: memory,
			PidsLimit:  &pids,
			Devices:    devices(spec.Devices),
		},
	}
	return config, host
}

// tmpfs writes the options of file systems in memory: none of them has device
// files or programs that run as somebody else.
func tmpfs(granted []protocol.Tmpfs) map[string]string {
	if len(granted) == 0 {
		return nil
	}
	out := make(map[string]string, len(granted))
	for _, t := range granted {
		exec := "noexec"
		if t.Exec {
			exec = "exec"
		}
		out[t.Target] = fmt.Sprintf("rw,nosuid,nodev,%s,size=%d,mode=%o", exec, max(t.Size, 1), t.Mode)
	}
	return out
}

// nanoCPUs is a limit whatever the amount is: to the engine 0 is none.
func nanoCPUs(c protocol.Cores) int64 {
	if !(c > minCPUs) {
		c = minCPUs
	}
	return int64(min(c, maxCPUs) * 1e9)
}

// networkMode maps a spec's word to the engine's. What is no name, as another
// container's network, is none.
func networkMode(name string) container.NetworkMode {
	switch name {
	case "bridge":
		return bridgeName
	case engineBridge:
		return network.NetworkBridge
	}
	if name == "" || strings.Contains(name, ":") {
		return "none"
	}
	return container.NetworkMode(name)
}

// mounts makes bind mounts that take along nothing mounted below their sources:
// engines before 25 would leave that writable.
func mounts(granted []protocol.Mount) []mount.Mount {
	var out []mount.Mount
	for _, m := range granted {
		out = append(out, mount.Mount{
			Type: mount.TypeBind, Source: m.Source, Target: m.Target, ReadOnly: !m.Writable,
			BindOptions: &mount.BindOptions{Propagation: mount.PropagationRPrivate, NonRecursive: true},
		})
	}
	return out
}

// devices lets device files be read and written, and none be made.
func devices(granted []runtime.Device) []container.DeviceMapping {
	var out []container.DeviceMapping
	for _, d := range granted {
		out = append(out, container.DeviceMapping{PathOnHost: d.Source, PathInContainer: d.Target, CgroupPermissions: "rw"})
	}
	return out
}

// groups are those that devices belong to: without them only root could use
// them.
func groups(granted []runtime.Device) []string {
	var out []string
	for _, d := range granted {
		if group := strconv.Itoa(d.Group); d.Group > 0 && !slices.Contains(out, group) {
			out = append(out, group)
		}
	}
	return out
}

// logSize is the most that one of the log's files takes.
func logSize(all protocol.Bytes) string {
	if all == 0 {
		all = runtime.DefaultLogs
	}
	return strconv.FormatUint(uint64(max(all/2, 1)), 10)
}

// clampCPUs bounds a limit at the machine's cores: the engine refuses more.
func clampCPUs(cpus protocol.Cores, ncpu int) protocol.Cores {
	if ncpu > 0 {
		return min(cpus, protocol.Cores(ncpu))
	}
	return cpus
}
