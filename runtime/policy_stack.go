package runtime

import (
	"fmt"
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

// refuse adds a refusal; line is the policy's that would lift it.
func (j *stackJudgement) refuse(err error, line string) {
	if err == nil {
		return
	}
	j.refusals = append(j.refusals, protocol.StackRefusal{
		Service: j.stack.Name, Code: protocol.CodeOf(err), Reason: err.Error(), PolicyLine: line,
	})
}

// listLine is the policy's line with one more value in a list.
func listLine(key string, have []string, value string) string {
	list := slices.Clone(have)
	if !slices.Contains(list, value) {
		list = append(list, value)
	}
	quotes := make([]string, len(list))
	for i, v := range list {
		quotes[i] = strconv.Quote(v)
	}
	return key + " = [" + strings.Join(quotes, ", ") + "]"
}

// takeVerdicts turns what image, registry and user said into refusals.
func (j *stackJudgement) takeVerdicts() {
	name := repository(j.stack.Image)
	for _, v := range j.verdicts {
		if v.Err == nil {
			continue
		}
		var line string
		switch v.Key {
		case "images":
			line = listLine("images", j.policy.Images, name)
		case "registries":
			have := j.policy.Registries
			if have == nil {
				have = []string{defaultRegistries}
			}
			line = listLine("registries", have, strings.TrimPrefix(v.Aspect, "registry "))
		case "run_as_nonroot", "require_digest":
			line = v.Key + " = false"
		}
		j.refuse(v.Err, line)
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
		j.refuse(err, lineIf(p.MaxCPUs > 0 && s.CPUs > p.MaxCPUs, fmt.Sprintf("max_cpus = %v", s.CPUs)))
	} else {
		g.CPUs = p.MaxCPUs
	}
	if s.Memory > 0 {
		_, err := p.memory(s.Memory, j.here.Lent)
		j.refuse(err, lineIf(p.MaxMemory > 0 && s.Memory > p.MaxMemory, fmt.Sprintf("max_memory = %q", s.Memory)))
	} else {
		g.Memory = p.MaxMemory
	}
	if s.Pids > p.Pids {
		j.refuse(deny("pids", "gives a container %d processes, not %d", p.Pids, s.Pids), fmt.Sprintf("pids = %d", s.Pids))
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
		j.refuse(p.ErrLimits(limits), p.LimitsWithout(limits))
	}
	if s.OOMScore < 0 {
		j.refuse(protocol.Errorf(protocol.CodePolicy, "oom_score_adj below 0 would have the kernel end other programs first: leave it out"), "")
	}
}

func lineIf(is bool, line string) string {
	if is {
		return line
	}
	return ""
}

// inMemory judges /dev/shm and the file systems in memory.
func (j *stackJudgement) inMemory() {
	most := j.grant.Memory
	if most == 0 {
		most = j.here.Lent.Memory
	}
	fits := func(what string, size protocol.Bytes) {
		if most > 0 && size > most {
			j.refuse(protocol.Errorf(protocol.CodeResources, "%s of %s is more than the memory that it may use, %s", what, size, most), "")
		}
	}
	hasTmp := false
	for _, m := range j.stack.Mounts {
		hasTmp = hasTmp || m.Target == "/tmp"
		j.refuse(checkStackTarget(m.Target), "")
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
			j.refuse(deny("networks", `lets no container on the network "host"`), listLine("networks", p.Networks, "host"))
		}
		if len(j.stack.Sysctls) > 0 {
			j.refuse(protocol.Errorf(protocol.CodeInvalid, "sysctls would be those of this device on the network \"host\": leave them out"), "")
		}
	case !slices.Contains(p.Networks, "bridge"):
		j.refuse(deny("networks", "lets no container on a network of its own"), listLine("networks", p.Networks, "bridge"))
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
		got, key, err := j.mount(asked, lends)
		if err != nil {
			line := ""
			if protocol.CodeOf(err) == protocol.CodePolicy && !j.here.Remote && checkMountPath(asked.Source) == nil {
				line = listLine(key, mountsBy(key, j.policy), asked.Source)
			}
			j.refuse(err, line)
			continue
		}
		m.Source = got.Source
		j.grant.Mounts = append(j.grant.Mounts, m)
	}
}

// mountsBy is the list of mounts by its key.
func mountsBy(key string, p *Policy) []string {
	if key == "writable_mounts" {
		return p.WritableMounts
	}
	return p.Mounts
}

// devices judges device files, folders of them, and accelerators.
func (j *stackJudgement) devices() {
	for _, d := range j.stack.Devices {
		before := len(j.spec.Devices)
		err := j.stackDevice(d)
		line := ""
		if protocol.CodeOf(err) == protocol.CodePolicy && checkDevicePath(d.Source) == nil && !j.here.Remote {
			line = listLine("devices", j.policy.Devices, d.Source)
		}
		j.refuse(err, line)
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
	j.refuse(err, lineIf(protocol.CodeOf(err) == protocol.CodePolicy && checkAccelerator(kind) == nil, listLine("accelerators", j.policy.AcceleratorKinds, kind)))
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

// PublishLine is the policy's line that lets ports be published on public addresses.
const PublishLine = "publish_public = true"
