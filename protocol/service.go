package protocol

import (
	"time"
)

// A Service is what is to be run.
type Service struct {
	// Image is the image's reference as docker writes it, or an image ID.
	Image string
	// Args replace the image's default command where there are any.
	Args []string
	// Entrypoint replaces the image's entrypoint where it is not empty.
	// NoEntrypoint leaves the image's out, and its command too: Args are then
	// all that is run.
	Entrypoint   string
	NoEntrypoint bool
	// Env holds the variables added to the image's, each "NAME=value".
	Env []string
	// WorkDir replaces the image's working directory where it is not empty.
	WorkDir string
	// User is "uid[:gid]" or a name known in the image; empty is the image's.
	User string
	// CPUs is how many cores it needs; 0 stands for one slot, whatever that
	// is on the node.
	CPUs Cores
	// Memory is how much memory it needs and may at most use; 0 leaves it to
	// the node's default.
	Memory Bytes
	// Stdin says that input will follow. Without it the container's standard
	// input is empty.
	Stdin bool
	// TTY gives the container a terminal: its output is then all on Stdout.
	// TTYRows and TTYColumns are its size at the start, in characters; 0 is not
	// known. They do not make another service of it: see Same.
	TTY                 bool
	TTYRows, TTYColumns uint16
	// Timeout ends an execution that has run for so long, counted from the
	// container's start; 0 is never.
	Timeout time.Duration
	// Network is the network that the container is on: "none", "bridge", or
	// what else the node's owner allows; empty is the node's choice.
	Network string
	// Mounts, Devices and Capabilities are given only where the node's owner
	// allows just these. Devices are paths of device files on the node,
	// capabilities are named as in capabilities(7), without CAP_.
	Mounts       []Mount
	Devices      []string
	Capabilities []string
	// Tmpfs are file systems in memory. They count as the container's memory.
	Tmpfs []Tmpfs
	// ReadOnlyRoot lets the container change nothing of its image's files.
	ReadOnlyRoot bool
	// ShmSize is how large /dev/shm is, which counts as the container's memory;
	// 0 is the node's choice.
	ShmSize Bytes
	// Hostname is the container's; empty is the node's choice.
	Hostname string
	// Pull says when the registry is asked for the image.
	Pull PullPolicy
	// Accelerator is the kind of one that it needs, "gpu" or "npu"; empty is
	// none.
	Accelerator string
	// Retry is how many attempts may follow the first one where that was lost:
	// the service then runs at least once. 0 is at most once. It excludes Stdin.
	Retry uint32
	// AutoRemove has the request forgotten once it has ended, as Remove does. One
	// whose end is unknown stays.
	AutoRemove bool
	// Tags are what its asker writes on the request, for people and tools: a
	// name, a project. At most 64; keys are like those of labels.
	Tags map[string]string
	// Secrets are files that only the container sees.
	Secrets []Secret
	// Constraints say where it may run.
	Constraints Constraints
}

// A Mount is a folder or a file of the node that a container sees.
type Mount struct {
	// Source is the path on the node, Target the one in the container; both
	// are absolute.
	Source, Target string
	// Writable lets the container change it.
	Writable bool
}

// A Tmpfs is a file system in a container's memory.
type Tmpfs struct {
	// Target is its absolute path in the container.
	Target string
	// Size is the most it holds; 0 is the container's memory limit.
	Size Bytes
	// Mode holds the permission bits of its root, setuid and the like in Unix's
	// places; 0 is 01777.
	Mode uint32
	// Exec lets programs in it be run.
	Exec bool
}

// PullPolicy says when a registry is asked for an image.
type PullPolicy string

// The policies, named as docker does. The zero value is PullMissing.
const (
	// PullMissing asks where the node does not have the image.
	PullMissing PullPolicy = ""
	// PullAlways asks each time: what the registry has then is run.
	PullAlways PullPolicy = "always"
	// PullNever asks none: only a node that has the image can run it.
	PullNever PullPolicy = "never"
)

// Constraints say where a service may run. The zero value allows every node.
type Constraints struct {
	// Node is the only node it may run on, by name or by ID; empty is any.
	Node string `json:"node,omitempty"`
	// Labels must all be present on the node with these values. The keys
	// "arch", "os", "driver" and "name" are answered by the node itself.
	Labels map[string]string `json:"labels,omitempty"`
	// NotHere leaves the orchestrator's own device out.
	NotHere bool `json:"nothere,omitempty"`
}
