package protocol

import "time"

// StackName names a stack: 1 to 63 characters of a-z, 0-9, '-' and '_', the
// first a letter or a digit.
type StackName string

// A Stack is an application: services that interact and that one node keeps up.
// Its JSON form is what a device keeps, signs and sends.
type Stack struct {
	Name     StackName      `json:"name"`
	Services []StackService `json:"services"`
	// Networks beside "default", which every service is on that names none.
	Networks []StackNetwork `json:"networks,omitempty"`
	// Volumes are the engine volumes that services mount by name.
	Volumes []StackVolume `json:"volumes,omitempty"`
	// Files travel with the stack: configs, secrets, and small files that lay
	// beside the compose file.
	Files []StackFile `json:"files,omitempty"`
	// Constraints say where the stack may run, as a whole.
	Constraints Constraints `json:"constraints,omitzero"`
	// Uses names services of other stacks, as STACK/SERVICE, that the services
	// of this one reach by that service's name. The other stack must share it.
	Uses []string `json:"uses,omitempty"`
}

// A StackService is one container of a stack that is kept up.
type StackService struct {
	// Name is also its host name on the stack's networks: 1 to 63 characters of
	// a-z, A-Z, 0-9, '-', '_' and '.', the first a letter or a digit.
	Name string `json:"name"`
	// Number is its place on the stack's network: 1 to 200. The holder assigns
	// it; a service keeps it over all versions of its stack.
	Number uint8 `json:"number,omitempty"`
	// Aliases are further names of it on all networks of the stack.
	Aliases []string   `json:"aliases,omitempty"`
	Image   string     `json:"image"`
	Pull    PullPolicy `json:"pull,omitempty"`
	// Entrypoint replaces the image's where it is not nil; an empty one leaves
	// it out. Command replaces the image's where it is not nil.
	Entrypoint []string `json:"entrypoint,omitzero"`
	Command    []string `json:"command,omitzero"`
	Env        []string `json:"env,omitempty"` // NAME=value
	WorkDir    string   `json:"workdir,omitempty"`
	User       string   `json:"user,omitempty"`
	GroupAdd   []string `json:"group_add,omitempty"`
	Hostname   string   `json:"hostname,omitempty"`
	DomainName string   `json:"domain_name,omitempty"`
	TTY        bool     `json:"tty,omitempty"`
	// StdinOpen keeps the standard input open; nothing is ever written to it.
	StdinOpen bool `json:"stdin_open,omitempty"`
	// Init runs the command under an init process. Images with an init of their
	// own (s6) must be process 1, so a stack's services have none by default.
	Init bool `json:"init,omitempty"`

	Restart   RestartPolicy `json:"restart"`
	DependsOn []Dependency  `json:"depends_on,omitempty"`
	// Health replaces the image's check where it is not nil.
	Health *HealthCheck `json:"health,omitempty"`
	// StopSignal is by name; empty is the image's, else TERM. StopGrace is how
	// long it may take to stop; 0 is 10 s.
	StopSignal string       `json:"stop_signal,omitempty"`
	StopGrace  Milliseconds `json:"stop_grace_ms,omitempty"`

	// NetworkMode is empty for the stack's networks, or "none", "host", or
	// "service:NAME" to share the network of another service.
	NetworkMode string              `json:"network_mode,omitempty"`
	Networks    []NetworkAttachment `json:"networks,omitempty"`
	Ports       []StackPort         `json:"ports,omitempty"`
	// Expose are ports that it serves, for people.
	Expose     []uint16 `json:"expose,omitempty"`
	ExtraHosts []string `json:"extra_hosts,omitempty"` // NAME:ADDRESS
	DNS        []string `json:"dns,omitempty"`
	DNSSearch  []string `json:"dns_search,omitempty"`
	DNSOptions []string `json:"dns_options,omitempty"`
	// Shared lets other stacks use it; see Stack.Uses.
	Shared bool `json:"shared,omitempty"`

	Mounts       []StackMount `json:"mounts,omitempty"`
	ShmSize      Bytes        `json:"shm_size,omitempty"`
	ReadOnlyRoot bool         `json:"read_only_root,omitempty"`

	// CPUs and Memory are hard limits; 0 is none. Reserved amounts are kept
	// free for it: 0 is the node's choice.
	CPUs           Cores  `json:"cpus,omitempty"`
	CPUShares      uint32 `json:"cpu_shares,omitempty"`
	Memory         Bytes  `json:"memory,omitempty"`
	ReservedCPUs   Cores  `json:"reserved_cpus,omitempty"`
	ReservedMemory Bytes  `json:"reserved_memory,omitempty"`
	Pids           int64  `json:"pids,omitempty"`

	// What follows only a node gives whose owner allows it.
	Devices     []StackDevice `json:"devices,omitempty"`
	Accelerator string        `json:"accelerator,omitempty"` // "gpu" or "npu"
	CapAdd      []string      `json:"cap_add,omitempty"`
	CapDrop     []string      `json:"cap_drop,omitempty"`
	Privileged  bool          `json:"privileged,omitempty"`
	// PIDMode and IPCMode are empty for namespaces of its own, or "host".
	PIDMode string `json:"pid_mode,omitempty"`
	IPCMode string `json:"ipc_mode,omitempty"`
	// Unconfined names what is switched off for it: "seccomp", "apparmor".
	Unconfined []string          `json:"unconfined,omitempty"`
	Sysctls    map[string]string `json:"sysctls,omitempty"`
	Ulimits    []Ulimit          `json:"ulimits,omitempty"`
	OOMScore   int               `json:"oom_score_adj,omitempty"`

	// Labels are the container's, for tools that read them.
	Labels map[string]string `json:"labels,omitempty"`
}

// Milliseconds is a duration in JSON.
type Milliseconds int64

// Duration returns m as the standard library has it.
func (m Milliseconds) Duration() time.Duration { return time.Duration(m) * time.Millisecond }

// RestartPolicy says when an instance that has ended is started again.
type RestartPolicy string

// The policies. A stop that was asked for is never undone by any of them.
const (
	// RestartAlways starts it again however it ended.
	RestartAlways RestartPolicy = "always"
	// RestartOnFailure starts it again unless it ended with exit code 0. It is
	// the default of a compose file that says nothing.
	RestartOnFailure RestartPolicy = "on-failure"
	// RestartNo lets it run once.
	RestartNo RestartPolicy = "no"
)

// A Dependency is a service that must be in Condition before another starts.
type Dependency struct {
	Service   string    `json:"service"`
	Condition Condition `json:"condition"`
	// Restart restarts the dependent service after Service was restarted.
	Restart bool `json:"restart,omitempty"`
	// Optional lets the dependent start also where Service cannot.
	Optional bool `json:"optional,omitempty"`
}

// Condition is what a dependency waits for.
type Condition string

// The conditions.
const (
	ConditionStarted   Condition = "started"
	ConditionHealthy   Condition = "healthy"
	ConditionCompleted Condition = "completed" // ended with exit code 0
)

// A HealthCheck is run by the engine in the container.
type HealthCheck struct {
	// Test is ["CMD", args…], ["CMD-SHELL", command] or ["NONE"]; empty is the
	// image's.
	Test          []string     `json:"test,omitempty"`
	Interval      Milliseconds `json:"interval_ms,omitempty"`
	Timeout       Milliseconds `json:"timeout_ms,omitempty"`
	StartPeriod   Milliseconds `json:"start_period_ms,omitempty"`
	StartInterval Milliseconds `json:"start_interval_ms,omitempty"`
	Retries       uint32       `json:"retries,omitempty"`
}

// A StackNetwork is one bridge of a stack on its node.
type StackNetwork struct {
	Name string `json:"name"`
	// Internal cuts it off from all other networks.
	Internal bool `json:"internal,omitempty"`
	// Subnet is chosen by the node where it is empty.
	Subnet string `json:"subnet,omitempty"`
}

// A NetworkAttachment puts a service on one network of its stack.
type NetworkAttachment struct {
	Network string   `json:"network"`
	Aliases []string `json:"aliases,omitempty"`
	// Address is a fixed one within the network's Subnet; empty is that of the
	// service's Number.
	Address string `json:"address,omitempty"`
}

// A StackPort publishes a port of a service.
type StackPort struct {
	// HostIP is the address to listen on; empty is loopback and all private
	// addresses of every device.
	HostIP string `json:"host_ip,omitempty"`
	// Published is the port on the devices, Target the one in the container.
	Published uint16 `json:"published"`
	Target    uint16 `json:"target"`
	UDP       bool   `json:"udp,omitempty"`
}

// A StackVolume is an engine volume that belongs to a stack. Its data lives on
// one node.
type StackVolume struct {
	Name string `json:"name"`
	// Path is the folder beside the compose file that it stands for; empty for
	// one that was named.
	Path string `json:"path,omitempty"`
}

// MountKind is where what is mounted comes from.
type MountKind string

// The kinds of mounts.
const (
	MountVolume MountKind = "volume" // Source names one of the stack's volumes
	MountBind   MountKind = "bind"   // Source is an absolute path on the node
	MountTmpfs  MountKind = "tmpfs"  // in memory; no Source
	MountFile   MountKind = "file"   // Source names one of the stack's files
)

// A StackMount is a volume, folder or file that a container sees.
type StackMount struct {
	Kind   MountKind `json:"kind"`
	Source string    `json:"source,omitempty"`
	// Subpath is a folder below the volume's root, made where it is missing.
	Subpath  string `json:"subpath,omitempty"`
	Target   string `json:"target"`
	ReadOnly bool   `json:"read_only,omitempty"`
	// NoCopy leaves a new volume empty; else the image's files at Target are
	// copied into it.
	NoCopy bool `json:"no_copy,omitempty"`
	// Propagation of a bind mount, as mount(8) names it; empty is private.
	Propagation string `json:"propagation,omitempty"`
	// Size and Mode are a tmpfs's, Mode a file's, too. 0 is the default: the
	// container's memory, 01777, 0444 (a secret: 0400).
	Size Bytes  `json:"size,omitempty"`
	Mode uint32 `json:"mode,omitempty"`
	// UID and GID own a file in the container; empty is root, a secret's is the
	// container's user.
	UID string `json:"uid,omitempty"`
	GID string `json:"gid,omitempty"`
}

// A StackFile is a file, or a folder of files, that travels with its stack.
type StackFile struct {
	Name string `json:"name"`
	// Data is the file's content; of a Folder a tar archive. All files of a
	// stack together hold at most MaxStackFiles.
	Data []byte `json:"data,omitempty"`
	// Size is how many bytes Data has, also where it is left out. What makes a
	// stack need not set it: see Stack.Normalize.
	Size   Bytes `json:"size,omitempty"`
	Folder bool  `json:"folder,omitempty"`
	// Secret files are kept sealed, are mounted from memory, and are told to
	// nobody but the node that runs the stack: others see Data empty.
	Secret bool `json:"secret,omitempty"`
}

// A StackDevice is a device file of the node that a container may use.
type StackDevice struct {
	Source string `json:"source"`
	Target string `json:"target,omitempty"` // empty is Source
	// Permissions of "r", "w", "m"; empty is "rw".
	Permissions string `json:"permissions,omitempty"`
}

// A Ulimit is a limit of processes as setrlimit(2) has it; -1 is unlimited.
type Ulimit struct {
	Name string `json:"name"`
	Soft int64  `json:"soft"`
	Hard int64  `json:"hard"`
}

// Limits of a stack.
const (
	MaxStack         = 1 << 20 // bytes of its JSON without its files' data
	MaxStackFiles    = 4 << 20 // bytes of its files' data
	MaxStackServices = 64
	MaxStacks        = 100 // on one device
)
