package runtime

import (
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/distribution/reference"

	"github.com/hearth-edge/hearth/protocol"
)

// ReservedMemory is kept free for a service of a stack that reserves none.
const ReservedMemory protocol.Bytes = 64 << 20

// A StackGrant is what a service of a stack gets where the policy allows all that
// it asks for.
type StackGrant struct {
	Image, User  string
	Mounts       []protocol.StackMount // the binds, with sources without links
	Tmpfs        []protocol.StackMount
	Devices      []Device
	DeviceRights []string // of Devices
	Capabilities []string
	ReadOnlyRoot bool
	CPUs         protocol.Cores // hard limits; 0 is none
	Memory       protocol.Bytes
	Reserved     protocol.Bytes
	ShmSize      protocol.Bytes
	Pids         int64
	Logs         protocol.Bytes
}

// GrantStack judges a service of a stack. Given what is here, it is a pure function.
// It returns all refusals, each with the line of the policy that would lift it,
// where one would; CodeConstraint is for files and devices that are not there now.
func (p *Policy) GrantStack(s *protocol.StackService, here Here) (StackGrant, []protocol.StackRefusal) {
	asked := protocol.Service{Image: s.Image, Pull: s.Pull, User: s.User, Devices: deviceNames(s.Devices)}
	for _, m := range s.Mounts {
		if m.Kind == protocol.MountBind {
			asked.Mounts = append(asked.Mounts, protocol.Mount{Source: m.Source, Target: m.Target, Writable: !m.ReadOnly})
		}
	}
	j := stackJudgement{
		judgement: judgement{policy: p, service: &asked, here: &here, spec: Spec{Pids: p.Pids, Logs: p.Logs, ReadOnlyRoot: p.ReadOnlyRoot || s.ReadOnlyRoot}},
		stack:     s,
	}
	j.image()
	j.registry()
	j.user()
	j.takeVerdicts()
	j.sizes()
	j.inMemory()
	j.networkMode()
	j.binds()
	j.devices()
	j.capabilities()
	j.isolation()
	j.grant.Image, j.grant.User, j.grant.Capabilities = j.spec.Image, j.spec.User, j.spec.Capabilities
	j.grant.ReadOnlyRoot, j.grant.Logs = j.spec.ReadOnlyRoot, p.Logs
	return j.grant, j.refusals
}

func deviceNames(devices []protocol.StackDevice) []string {
	var names []string
	for _, d := range devices {
		names = append(names, d.Source)
	}
	return names
}

// stackJudgement is GrantStack at work.
type stackJudgement struct {
	judgement
	stack    *protocol.StackService
	grant    StackGrant
	refusals []protocol.StackRefusal
}

// refuse adds a refusal, if err is one.
func (j *stackJudgement) refuse(err error) {
	if err != nil {
		j.refusals = append(j.refusals, StackRefusal(j.stack.Name, err))
	}
}

// takeVerdicts turns what image, registry and user said into refusals.
func (j *stackJudgement) takeVerdicts() {
	for _, v := range j.verdicts {
		j.refuse(v.Err)
	}
	j.verdicts = nil
}

// repository is an image's name in full, without tag and digest.
func repository(image string) string {
	named, err := reference.ParseNormalizedNamed(image)
	if err != nil {
		return image
	}
	return named.Name()
}

// sizes judges limits and what is reserved.
func (j *stackJudgement) sizes() {
	s, p, g := j.stack, j.policy, &j.grant
	g.CPUs, g.Memory, g.Pids = s.CPUs, s.Memory, p.Pids
	if s.CPUs > 0 {
		_, err := p.cpus(s.CPUs, j.here.Lent)
		j.refuse(err)
	} else {
		g.CPUs = p.MaxCPUs
	}
	if s.Memory > 0 {
		_, err := p.memory(s.Memory, j.here.Lent)
		j.refuse(err)
	} else {
		g.Memory = p.MaxMemory
	}
	if s.Pids > p.Pids {
		j.refuse(deny("pids", line("pids", strconv.FormatInt(s.Pids, 10)), "gives a container %d processes, not %d", p.Pids, s.Pids))
	} else if s.Pids > 0 {
		g.Pids = s.Pids
	}
	g.Reserved = ReservedMemory
	if s.ReservedMemory > 0 {
		g.Reserved = s.ReservedMemory
	}
	if g.Memory > 0 {
		g.Reserved = min(g.Reserved, g.Memory)
	}
	var limits []string
	for limit, asked := range map[string]bool{LimitMemory: s.Memory > 0, LimitCPUs: s.CPUs > 0} {
		if asked && slices.Contains(p.limits(), limit) && slices.Contains(j.here.NoLimits, limit) {
			limits = append(limits, limit)
		}
	}
	if slices.Sort(limits); len(limits) > 0 {
		j.refuse(p.ErrLimits(limits))
	}
	if s.OOMScore < 0 {
		j.refuse(protocol.Errorf(protocol.CodePolicy, "oom_score_adj below 0 would have the kernel end other programs first: leave it out"))
	}
}

// inMemory judges /dev/shm and the file systems in memory.
func (j *stackJudgement) inMemory() {
	most := j.grant.Memory
	if most == 0 {
		most = j.here.Lent.Memory
	}
	fits := func(what string, size protocol.Bytes) {
		if most > 0 && size > most {
			j.refuse(protocol.Errorf(protocol.CodeResources, "%s of %s is more than the memory that it may use, %s", what, size, most))
		}
	}
	hasTmp := false
	for _, m := range j.stack.Mounts {
		hasTmp = hasTmp || m.Target == "/tmp"
		j.refuse(checkStackTarget(m.Target))
		if m.Kind != protocol.MountTmpfs {
			continue
		}
		fits("tmpfs "+m.Target, m.Size)
		if m.Size == 0 {
			m.Size = most
		}
		if m.Mode == 0 {
			m.Mode = defaultMode
		}
		j.grant.Tmpfs = append(j.grant.Tmpfs, m)
	}
	if j.policy.ReadOnlyRoot && !hasTmp {
		j.grant.Tmpfs = append(j.grant.Tmpfs, protocol.StackMount{Kind: protocol.MountTmpfs, Target: ownTmp.Target, Size: ownTmp.Size, Mode: ownTmp.Mode})
	}
	fits("/dev/shm", j.stack.ShmSize)
	j.grant.ShmSize = defaultShm
	if j.stack.ShmSize > 0 {
		j.grant.ShmSize = j.stack.ShmSize
	}
}

// checkStackTarget is less strict than checkTarget: stacks mount devices' folders
// where programs look for them, and the sources were lent.
func checkStackTarget(target string) error {
	if !path.IsAbs(target) || path.Clean(target) != target || target == "/" || hasControl(target) || isWithin(target, "/proc") {
		return protocol.Errorf(protocol.CodeInvalid, "%s is no place for a mount in a container", quoted(target))
	}
	return nil
}

// networkMode judges which network it may be on.
func (j *stackJudgement) networkMode() {
	p := j.policy
	switch mode := j.stack.NetworkMode; {
	case mode == "none", strings.HasPrefix(mode, "service:"):
	case mode == "host":
		if !slices.Contains(p.Networks, "host") {
			j.refuse(deny("networks", listing("networks", p.Networks, DefaultPolicy().Networks, "host"), `lets no container on the network "host"`))
		}
		if len(j.stack.Sysctls) > 0 {
			j.refuse(protocol.Errorf(protocol.CodeInvalid, "sysctls would be those of this device on the network \"host\": leave them out"))
		}
	case mode != "":
		j.refuse(protocol.Errorf(protocol.CodeInvalid, `%s is no network mode: "host", "none" or "service:NAME"`, quoted(mode)))
	case !slices.Contains(p.Networks, "bridge"):
		j.refuse(deny("networks", listing("networks", p.Networks, DefaultPolicy().Networks, "bridge"), "lets no container on a network of its own"))
	}
}

// binds judges the folders of the node.
func (j *stackJudgement) binds() {
	lends := j.lends()
	i := 0
	for _, m := range j.stack.Mounts {
		if m.Kind != protocol.MountBind {
			continue
		}
		asked := j.service.Mounts[i]
		i++
		got, _, err := j.mount(asked, lends)
		if err != nil {
			j.refuse(err)
			continue
		}
		m.Source = got.Source
		j.grant.Mounts = append(j.grant.Mounts, m)
	}
}

// devices judges device files, folders of them, and accelerators.
func (j *stackJudgement) devices() {
	for _, d := range j.stack.Devices {
		before := len(j.spec.Devices)
		j.refuse(j.stackDevice(d))
		for i := before; i < len(j.spec.Devices); i++ {
			if d.Target != "" {
				j.spec.Devices[i].Target = d.Target
			}
			j.grant.Devices = append(j.grant.Devices, j.spec.Devices[i])
			j.grant.DeviceRights = append(j.grant.DeviceRights, deviceRights(d.Permissions))
		}
	}
	kind := j.stack.Accelerator
	if kind == "" {
		return
	}
	before := len(j.spec.Devices)
	_, err := j.accelerator(kind)
	j.refuse(err)
	for _, d := range j.spec.Devices[before:] {
		j.grant.Devices = append(j.grant.Devices, d)
		j.grant.DeviceRights = append(j.grant.DeviceRights, "rw")
	}
}

// stackDevice gives a device or, unlike a request, a folder of devices that the
// policy names: /dev/dri, /dev/snd.
func (j *stackJudgement) stackDevice(d protocol.StackDevice) error {
	err := j.namedDevice(d.Source)
	if err == nil || !slices.Contains(j.policy.Devices, d.Source) || j.here.Remote {
		return err
	}
	f, lookErr := j.here.Look(d.Source)
	if lookErr != nil || !f.Mode.IsDir() || !isWithin(f.Path, "/dev") || f.Path == "/dev" {
		return err
	}
	j.spec.Devices = append(j.spec.Devices, Device{Source: f.Path, Target: d.Source, Group: f.Group})
	return nil
}

// deviceRights leaves out the right to make device files.
func deviceRights(asked string) string {
	switch {
	case !strings.Contains(asked, "w") && strings.Contains(asked, "r"):
		return "r"
	case !strings.Contains(asked, "r") && strings.Contains(asked, "w"):
		return "w"
	}
	return "rw"
}
