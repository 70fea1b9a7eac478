package runtime

import (
	"slices"

	"github.com/hearth-edge/hearth/protocol"
)

// What a container has in memory where nothing else is said, as with docker.
const (
	defaultShm  protocol.Bytes = 64 << 20
	defaultMode                = 0o1777
)

// ownTmp is the /tmp of a container of which the policy makes all else
// read-only: hardly any program does without one.
var ownTmp = protocol.Tmpfs{Target: "/tmp", Size: 64 << 20, Mode: defaultMode}

// inMemory judges the file systems in memory. None is larger than the memory
// that the container may use: what is in them counts as that, but only where the
// kernel keeps the limit.
func (j *judgement) inMemory() {
	s := j.service
	for _, t := range s.Tmpfs {
		if t.Size == 0 {
			t.Size = j.spec.Memory
		}
		if t.Mode == 0 {
			t.Mode = defaultMode
		}
		err := checkTarget("tmpfs", t.Target)
		if err == nil {
			err = j.within("tmpfs "+t.Target, t.Size)
		}
		j.say("tmpfs "+t.Target, "max_memory", t.Size.String(), err)
		j.spec.Tmpfs = append(j.spec.Tmpfs, t)
	}
	if j.policy.ReadOnlyRoot && !j.hasTmp() {
		tmp := ownTmp
		tmp.Size = min(tmp.Size, j.spec.Memory)
		j.spec.Tmpfs = append(j.spec.Tmpfs, tmp)
	}
	j.spec.ShmSize = min(defaultShm, j.spec.Memory)
	if s.ShmSize > 0 {
		j.spec.ShmSize = s.ShmSize
		j.say("/dev/shm", "max_memory", s.ShmSize.String(), j.within("/dev/shm", s.ShmSize))
	}
	if j.spec.ReadOnlyRoot {
		j.say("root", "read_only_root", "read-only", nil)
	}
}

// within refuses what is larger than the container's memory.
func (j *judgement) within(what string, size protocol.Bytes) error {
	if size <= j.spec.Memory || j.spec.Memory == 0 { // 0: what it asks for is refused itself
		return nil
	}
	return protocol.Errorf(protocol.CodeResources,
		"%s of %s is more than the memory of the container, %s: ask for more with --memory", what, size, j.spec.Memory)
}

// hasTmp reports whether the service brings a /tmp of its own.
func (j *judgement) hasTmp() bool {
	return slices.ContainsFunc(j.service.Mounts, func(m protocol.Mount) bool { return m.Target == "/tmp" }) ||
		slices.ContainsFunc(j.service.Tmpfs, func(t protocol.Tmpfs) bool { return t.Target == "/tmp" })
}
