package runtime

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime/machine"
)

// A Policy is what a container may have on this node. It is its owner's, and
// no message changes it. Package policyfile reads it from a file, and documents
// each key, which is named as the field. A list that is nil says nothing; an
// empty one allows nothing.
type Policy struct {
	// AllowFrom are the names or IDs of the devices that may ask; nil is all
	// of the mesh. This device itself may where AllowSelf says so.
	AllowFrom []string
	AllowSelf bool
	// Exec, Forward and Copy are the names or IDs of the devices that may run
	// commands in containers here, connect to their ports, and copy files out of
	// them or into them; nil is all that may ask. What belongs to a request is in
	// any case for the device alone that asked for it.
	Exec, Forward, Copy []string
	// Images are those that may be run; nil is all. An entry is a repository,
	// with a tag or a digest if only that one is meant; or REGISTRY/* or PATH/*
	// for all below; or an image's ID or digest alone. Names are normalised as
	// docker does it: busybox is docker.io/library/busybox.
	Images []string
	// RequireDigest refuses images that are named by a tag.
	RequireDigest bool
	// Registries are those that may be asked for images; nil is "default". Those
	// that Images names may be asked, too. See MayAsk.
	Registries []string
	// Networks are those that may be asked for, the first is for who asks for
	// none. "none" is always allowed, and the default where there are none.
	Networks []string
	// Mounts are paths of which a container may see what is at or below them.
	// WritableMounts are paths that it may see and change: only just these,
	// since what is below them is under the containers' control.
	Mounts, WritableMounts []string
	// Devices are paths of device files.
	Devices []string
	// AcceleratorKinds are the kinds of accelerators lent: "gpu", "npu".
	AcceleratorKinds []string
	// DefaultCapabilities are those that every container has that runs as root,
	// Capabilities those that a service may ask for beside them. They are named as
	// in capabilities(7), without CAP_.
	DefaultCapabilities, Capabilities []string
	// PrivilegedImages are those that a stack's service may run with all of the
	// node's devices and capabilities; patterns as in Images.
	PrivilegedImages []string
	// HostNamespaces are those of the node that a stack's service may share: "pid",
	// "ipc". Unconfined is what may be switched off for it: "seccomp", "apparmor".
	HostNamespaces, Unconfined []string
	// PublishPublic lets stacks publish ports on public addresses of the node.
	PublishPublic bool
	// RunAsNonRoot refuses the user root, and gives a service that names no
	// user nobody's ID, whatever its image says.
	RunAsNonRoot bool
	// ReadOnlyRoot makes all of a container read-only but its mounts, its
	// image's volumes, and a /tmp in memory.
	ReadOnlyRoot bool
	// DefaultCPUs and DefaultMemory are what a service gets that asks for
	// none. 0 is one core, and an equal share of the memory lent.
	DefaultCPUs   protocol.Cores
	DefaultMemory protocol.Bytes
	// MaxCPUs and MaxMemory are the most that one container gets; 0 is all
	// that is lent.
	MaxCPUs   protocol.Cores
	MaxMemory protocol.Bytes
	// MaxDisk is how much one container may write to the engine's disk; 0 is
	// what is there, less DiskReserve.
	MaxDisk protocol.Bytes
	// MaxTimeout ends every container that runs for so long; 0 is none.
	MaxTimeout time.Duration
	// Pids is the limit on a container's processes and threads.
	Pids int64
	// Limits are those that the engine must be able to keep for anything to run:
	// "memory", "cpus", "pids"; nil is all.
	Limits []string
	// Logs is how much of a container's output the engine keeps on disk.
	Logs protocol.Bytes
}

// DefaultPolicy returns the policy of a node whose owner said nothing.
func DefaultPolicy() Policy {
	return Policy{
		AllowSelf: true, Networks: []string{"bridge"}, DefaultCapabilities: EntrypointCapabilities(), Pids: 512, Logs: DefaultLogs,
	}
}

// Lent is what the device lends to executions.
type Lent struct {
	CPUs   protocol.Cores
	Memory protocol.Bytes
}

// An Asker is the device whose orchestrator asks for an execution.
type Asker struct {
	Node protocol.PeerID
	// Name is the one pinned to it; empty where that is not known.
	Name string
	// Self says that it is this device.
	Self bool
}

// Here is what Apply has to know of the machine: all that it looks at beside
// policy and service.
type Here struct {
	Lent Lent
	// Accelerators are those found.
	Accelerators []machine.Accelerator
	// Private are paths that no mount may reach unless the policy names one at
	// or below them, beside those that are private everywhere.
	Private []string
	// Remote says that the engine has another file system than this process.
	Remote bool
	// NoSecrets is Info's.
	NoSecrets string
	// NoLimits are those that the engine cannot keep.
	NoLimits []string
	// Has reports whether an image is on the engine, so that no registry is asked
	// for it; nil is none. Logins tells the registries that the owner is logged in
	// to; it may be nil.
	Has    func(image string) bool
	Logins func() []string
	// Look finds a file; see LookFile.
	Look func(path string) (File, error)
}

// A Verdict is what a policy says about one thing that a service asks for.
type Verdict struct {
	// Aspect names it for people: "image", "mount /srv/photos".
	Aspect string
	// Key of the policy that decides.
	Key string
	// Grant is what the container gets, for people; empty with Err.
	Grant string
	// Err says why it is refused: a *protocol.Error.
	Err error
}

// Apply returns what a driver is to run for the service: the service with the
// policy's limits, and nothing that the policy does not allow. Given what is
// here, it is a pure function. The error is a *protocol.Error: CodePolicy for
// what the owner does not allow, CodeResources for more than is lent,
// CodeConstraint for files that are not there, CodeInvalid for amounts that
// make no sense.
func (p *Policy) Apply(id ExecutionID, asker Asker, s protocol.Service, here Here) (Spec, error) {
	spec, verdicts := p.Explain(asker, s, here)
	for _, v := range verdicts {
		if v.Err != nil {
			return Spec{}, v.Err
		}
	}
	spec.ID = id
	return spec, nil
}

// Explain is Apply with a verdict on everything that is asked for, in the order
// in which Apply decides. The Spec is only good where no verdict has an error.
func (p *Policy) Explain(asker Asker, s protocol.Service, here Here) (Spec, []Verdict) {
	j := judgement{policy: p, service: &s, here: &here, spec: Spec{
		Entrypoint: s.Entrypoint, NoEntrypoint: s.NoEntrypoint, Args: s.Args, Env: s.Env, WorkDir: s.WorkDir,
		Stdin: s.Stdin, TTY: s.TTY, TTYRows: s.TTYRows, TTYColumns: s.TTYColumns, Hostname: s.Hostname, Pull: s.Pull,
		Pids: p.Pids, Logs: p.Logs, ReadOnlyRoot: p.ReadOnlyRoot || s.ReadOnlyRoot,
	}}
	j.say("asker", "allow_from", asker.text(), p.mayAsk(asker))
	j.image()
	j.registry()
	j.user()
	j.amounts()
	j.kept()
	j.inMemory()
	j.network()
	j.files()
	j.capabilities()
	j.secrets()
	return j.spec, j.verdicts
}

// A judgement is Explain at work.
type judgement struct {
	policy   *Policy
	service  *protocol.Service
	here     *Here
	spec     Spec
	verdicts []Verdict
}

func (j *judgement) say(aspect, key, grant string, err error) {
	if err != nil {
		grant = ""
	}
	j.verdicts = append(j.verdicts, Verdict{Aspect: aspect, Key: key, Grant: grant, Err: err})
}

func (a Asker) text() string {
	if a.Name == "" {
		return string(a.Node)
	}
	return a.Name
}

// Admit says whether a device may ask for work here: nil, or a *protocol.Error.
func (p *Policy) Admit(a Asker) error { return p.mayAsk(a) }

func (p *Policy) mayAsk(a Asker) error {
	switch {
	case a.Self && !p.AllowSelf:
		return deny("allow_self", line("allow_self", "true"), "runs nothing for itself")
	case a.Self || p.AllowFrom == nil:
		return nil
	case a.Name != "" && slices.Contains(p.AllowFrom, a.Name), a.Node != "" && slices.Contains(p.AllowFrom, string(a.Node)):
		return nil
	}
	fix := ""
	if name := a.text(); checkAsker(name) == nil {
		fix = listing("allow_from", p.AllowFrom, nil, name)
	}
	return deny("allow_from", fix, "runs nothing for %s", quoted(a.text()))
}

func (j *judgement) network() {
	asked := j.service.Network
	switch {
	case asked == "none" || asked == "" && len(j.policy.Networks) == 0:
		j.spec.Network = "none"
	case asked == "":
		j.spec.Network = j.policy.Networks[0]
	case slices.Contains(j.policy.Networks, asked):
		j.spec.Network = asked
	default:
		fix := listing("networks", j.policy.Networks, DefaultPolicy().Networks, asked)
		j.say("network", "networks", "", deny("networks", fix, "lets no container on the network %s", quoted(asked)))
		return
	}
	j.say("network", "networks", j.spec.Network, nil)
}

func (j *judgement) capabilities() {
	for _, name := range j.policy.DefaultCapabilities {
		j.give(name)
	}
	grant := "none"
	if len(j.spec.Capabilities) > 0 {
		grant = strings.Join(j.spec.Capabilities, " ")
	}
	j.say("capabilities", "default_capabilities", grant, nil)
	for _, name := range j.service.Capabilities {
		if given := slices.Contains(j.spec.Capabilities, name); !given && !slices.Contains(j.policy.Capabilities, name) || !isCapability(name) {
			j.say("capability "+name, "capabilities", "", j.noCapability(name))
			continue
		}
		j.say("capability "+name, "capabilities", name, nil)
		j.give(name)
	}
}

// noCapability refuses one that is asked for.
func (j *judgement) noCapability(name string) error {
	if !isCapability(name) {
		return protocol.Errorf(protocol.CodePolicy, "knows no capability %s: see capabilities(7)", quoted(name))
	}
	return deny("capabilities", listing("capabilities", j.policy.Capabilities, nil, name), "does not give the capability %s", quoted(name))
}

// give adds a capability, once.
func (j *judgement) give(name string) {
	if isCapability(name) && !slices.Contains(j.spec.Capabilities, name) {
		j.spec.Capabilities = append(j.spec.Capabilities, name)
	}
}

// Validate says what in a policy makes no sense. The error names the value, and
// what to write instead.
func (p *Policy) Validate() error {
	for _, list := range []struct {
		values []string
		check  func(string) error
	}{
		{p.AllowFrom, checkAsker}, {p.Exec, checkAsker}, {p.Forward, checkAsker}, {p.Copy, checkAsker}, {p.Images, checkImagePattern}, {p.Registries, checkRegistry}, {p.Limits, checkLimit}, {p.Networks, checkNetwork}, {p.Mounts, checkMountPath},
		{p.WritableMounts, checkMountPath}, {p.Devices, checkDevicePath}, {p.AcceleratorKinds, checkAccelerator}, {p.DefaultCapabilities, checkCapability}, {p.Capabilities, checkCapability},
		{p.PrivilegedImages, checkImagePattern}, {p.HostNamespaces, oneOf("pid", "ipc")}, {p.Unconfined, oneOf("seccomp", "apparmor")},
	} {
		for _, v := range list.values {
			if err := list.check(v); err != nil {
				return err
			}
		}
	}
	if err := p.checkWritable(); err != nil {
		return err
	}
	return p.checkLimits()
}

func checkAsker(name string) error {
	if name == "" || strings.TrimSpace(name) != name {
		return fmt.Errorf("%q is not the name of a device: 'hearth nodes' shows them", name)
	}
	return nil
}

// checkNetwork knows words only: with a colon the engine takes another
// container's network.
func checkNetwork(name string) error {
	if name == "" || !isWord(name) {
		return fmt.Errorf("%q is not the name of a network: bridge, host, or one that 'docker network ls' shows", name)
	}
	return nil
}

func isWord(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("-_.", r)
	})
}

// oneOf returns a check for one of the words.
func oneOf(words ...string) func(string) error {
	return func(word string) error {
		if !slices.Contains(words, word) {
			return fmt.Errorf("%q is none of %s", word, strings.Join(words, ", "))
		}
		return nil
	}
}

func checkAccelerator(kind string) error {
	if kind != machine.GPU && kind != machine.NPU {
		return fmt.Errorf("%q is no kind of accelerator: there are %s and %s", kind, machine.GPU, machine.NPU)
	}
	return nil
}
