package docker

import (
	"math"
	"strconv"

	"github.com/docker/docker/api/types/container"

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
)

// minCPUs is the least that the kernel's scheduler can be told to give.
const minCPUs = 0.01

// labels returns what Recover needs to know about a container.
func (d *Driver) labels(spec runtime.Spec) map[string]string {
	labels := map[string]string{
		labelMesh:         d.cfg.Mesh,
		labelNode:         string(d.cfg.Node),
		labelOrchestrator: string(spec.Orchestrator),
		labelRequest:      string(spec.ID.Request),
		labelAttempt:      strconv.FormatUint(uint64(spec.ID.Attempt), 10),
		labelCPUs:         strconv.FormatFloat(float64(spec.CPUs), 'g', -1, 64),
		labelMemory:       strconv.FormatUint(uint64(spec.Memory), 10),
		labelTimeout:      spec.Timeout.String(),
	}
	d.now().addTo(labels)
	return labels
}

// containerConfig is the whole policy of what a container gets, in one place:
// what it asks for in its image or its spec is granted here or not at all.
//
// Left at the engine's default, because the default is the safe choice:
// seccomp and AppArmor profiles, masked paths, PID, UTS, cgroup and user
// namespaces. No field of spec leads to a mount, a device, a namespace of the
// host or a capability.
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
	if spec.Entrypoint != "" {
		config.Entrypoint = []string{spec.Entrypoint}
	}

	memory := int64(min(spec.Memory, math.MaxInt64))
	pids := max(spec.Pids, 1)
	reap := true
	host := &container.HostConfig{
		CapDrop:       []string{"ALL"},
		SecurityOpt:   []string{"no-new-privileges"},
		NetworkMode:   network(spec.Network),
		IpcMode:       container.IPCModePrivate,
		RestartPolicy: container.RestartPolicy{Name: container.RestartPolicyDisabled},
		Init:          &reap,
		// Bounded, so that a talkative container cannot fill the disk; the
		// log is what a restarted device reads the output from.
		LogConfig: container.LogConfig{
			Type:   "local",
			Config: map[string]string{"max-size": "10m", "max-file": "2", "compress": "false"},
		},
		Resources: container.Resources{
			NanoCPUs: int64(max(spec.CPUs, minCPUs) * 1e9),
			Memory:   memory,
			// Equal to Memory: no swap, which would wear out memory cards and
			// slow down everything else.
			MemorySwap: memory,
			PidsLimit:  &pids,
		},
	}
	return config, host
}

// network maps a spec's word to the engine's; what is not known gets none.
func network(name string) container.NetworkMode {
	if name == "bridge" {
		return "bridge"
	}
	return "none"
}

// clampCPUs bounds a limit at the machine's cores: the engine refuses more.
func clampCPUs(cpus protocol.Cores, ncpu int) protocol.Cores {
	if ncpu > 0 {
		return min(cpus, protocol.Cores(ncpu))
	}
	return cpus
}
