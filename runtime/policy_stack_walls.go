package runtime

import (
	"slices"
	"strings"

	"github.com/distribution/reference"

	"github.com/hearth-edge/hearth/protocol"
)

// capabilities gives the default ones less those dropped, and those added.
func (j *stackJudgement) capabilities() {
	var dropped []string
	for _, name := range j.stack.CapDrop {
		dropped = append(dropped, capability(name))
	}
	for _, name := range j.policy.DefaultCapabilities {
		if !slices.Contains(dropped, name) && !slices.Contains(dropped, "ALL") {
			j.give(name)
		}
	}
	for _, asked := range j.stack.CapAdd {
		name := capability(asked)
		switch {
		case !isCapability(name):
			j.refuse(protocol.Errorf(protocol.CodePolicy, "the capability %s is not given: name each that is needed", quoted(asked)))
		case slices.Contains(j.policy.DefaultCapabilities, name) || slices.Contains(j.policy.Capabilities, name):
			j.give(name)
		default:
			j.refuse(deny("capabilities", listing("capabilities", j.policy.Capabilities, nil, name), "does not give the capability %s", name))
		}
	}
}

// capability is a capability's name as the policy has it.
func capability(name string) string { return strings.TrimPrefix(strings.ToUpper(name), "CAP_") }

// isolation judges what would take walls away.
func (j *stackJudgement) isolation() {
	s, p := j.stack, j.policy
	if s.Privileged && !j.mayBePrivileged() {
		j.refuse(deny("privileged_images", listing("privileged_images", p.PrivilegedImages, nil, repository(s.Image)),
			"runs nothing privileged of the image %s: it would have this device; a device, a capability or a folder is mostly enough", quoted(s.Image)))
	}
	for _, space := range []struct{ name, mode string }{{"pid", s.PIDMode}, {"ipc", s.IPCMode}} {
		if space.mode != "" && space.mode != "host" {
			j.refuse(protocol.Errorf(protocol.CodeInvalid, `%s is no mode of the %s namespace: "host", or none`, quoted(space.mode), space.name))
			continue
		}
		if space.mode == "host" && !slices.Contains(p.HostNamespaces, space.name) {
			j.refuse(deny("host_namespaces", listing("host_namespaces", p.HostNamespaces, nil, space.name), "shares its %s namespace with no container", space.name))
		}
	}
	for _, what := range s.Unconfined {
		if !slices.Contains(p.Unconfined, what) {
			j.refuse(deny("unconfined", listing("unconfined", p.Unconfined, nil, what), "switches %s off for no container", quoted(what)))
		}
	}
	for _, name := range sortedKeys(s.Sysctls) {
		if !ownSysctl(name) || s.IPCMode == "host" && !strings.HasPrefix(name, "net.") {
			j.refuse(protocol.Errorf(protocol.CodePolicy, "the sysctl %s is this device's, not the container's: set it on the device", quoted(name)))
		}
	}
}

func (j *stackJudgement) mayBePrivileged() bool {
	ref, err := reference.ParseAnyReference(j.stack.Image)
	return err == nil && matchesAny(j.policy.PrivilegedImages, ref)
}

// ownSysctl reports whether each container has its own value: see namespaces(7).
func ownSysctl(name string) bool {
	switch name {
	case "kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall", "kernel.shmmax", "kernel.shmmni", "kernel.shm_rmid_forced":
		return true
	}
	return strings.HasPrefix(name, "net.") || strings.HasPrefix(name, "fs.mqueue.")
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
