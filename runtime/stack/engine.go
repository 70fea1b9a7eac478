package stack

import (
	"context"
	"net/netip"
	"time"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime"
)

// An Engine makes and runs the containers of one node's stacks. What belongs to
// another node or mesh it neither shows nor touches. Its methods may be called
// concurrently. An error without a *protocol.Error in its chain is a defect, but
// for runtime.ErrNotFound and ctx's; CodeEngineDown says that the engine does not
// answer.
type Engine interface {
	// Watch follows the engine until it is lost, up fails or ctx ends, and returns
	// why. It calls up once the engine answers and no later event is missed, then
	// event for each change of an instance's container, in order.
	Watch(ctx context.Context, up func() error, event func(Event)) error
	// Containers lists those of all stacks.
	Containers(ctx context.Context) ([]Container, error)
	// Container returns one by its ID; runtime.ErrNotFound where it is gone.
	Container(ctx context.Context, id string) (Container, error)
	// Create makes the container of a service and does not start it. Its image,
	// networks and volumes must be there. One that its stack and service has
	// already is CodeConflict.
	Create(ctx context.Context, spec Spec) (id string, err error)
	// Start starts a container that Create made of spec.
	Start(ctx context.Context, id string, spec *Spec) error
	// Stop sends the signal (empty: the image's, else TERM), and kills after grace.
	// It returns when the container has ended.
	Stop(ctx context.Context, id, signal string, grace time.Duration) error
	// Remove removes a container, and the volumes that have no name. One that is not there is no error.
	Remove(ctx context.Context, id string) error
	// Image returns the image by that name as the engine has it; runtime.ErrNotFound
	// where it has none. It asks no registry.
	Image(ctx context.Context, ref string) (Image, error)
	// Pull is runtime.Driver's PullAlways.
	Pull(ctx context.Context, ref string, progress func(runtime.PullStep)) error
	// Networks lists all of the engine, also those of others.
	Networks(ctx context.Context) ([]Network, error)
	// MakeNetwork makes a bridge; CodeConflict where its name or its addresses are
	// taken.
	MakeNetwork(ctx context.Context, n Network) error
	// RemoveNetwork removes a network of this node and disconnects what is on it.
	RemoveNetwork(ctx context.Context, name string) error
	// Volume returns the volume by that name, whoever it belongs to;
	// runtime.ErrNotFound where there is none.
	Volume(ctx context.Context, name string) (Volume, error)
	// MakeVolume makes one.
	MakeVolume(ctx context.Context, v Volume) error
	// RemoveVolume removes one of this node with its data. One that is not there is
	// no error.
	RemoveVolume(ctx context.Context, name string) error
	// Logs yields lines that the container wrote, oldest first, until there are no
	// more; with Follow until it ends. The container's name is that of the service.
	Logs(ctx context.Context, id string, o LogOptions, yield func(protocol.LogLine) error) error
}

// A Container is what the engine tells of an instance.
type Container struct {
	ID      string
	Stack   protocol.StackName
	Service string
	// Hash is the Spec's that it was made of.
	Hash string
	// ImageID is the engine's own of the image that it was made of.
	ImageID string
	State   ContainerState
	// Health is empty where nothing checks it, else "starting", "healthy" or
	// "unhealthy". HealthInterval is the time between two checks.
	Health         string
	HealthInterval time.Duration
	ExitCode       int
	OOMKilled      bool
	// Error is why the engine could not start it.
	Error string
	// Started and Finished are on the engine's clock; zero where not yet.
	Started, Finished time.Time
	// Hosts are Spec's.
	Hosts []string
	// Joined is the ID of the container whose network it shares.
	Joined string
}

// ContainerState is where a container is in its life.
type ContainerState uint8

// The states of a container.
const (
	Absent ContainerState = iota
	Created
	Running // or paused
	Exited
	Removing
)

// An Event is a change of an instance's container.
type Event struct {
	Kind      EventKind
	Container string // its ID
	Stack     protocol.StackName
	Service   string
}

// EventKind is what changed.
type EventKind uint8

// The kinds of events.
const (
	// EventChanged says that the container was made, started, ended, or that its
	// health changed.
	EventChanged EventKind = iota
	// EventSignalled says that somebody had the engine end it: that it ends is not
	// its own doing. It comes close to the end, before it or after.
	EventSignalled
	// EventGone says that it was removed.
	EventGone
)

// An Image is what the engine has by a name.
type Image struct {
	ID string
	// Runs says that this machine runs its programs; Platform names what it is
	// made for.
	Runs     bool
	Platform string
	// Volumes are the paths that it declares to hold data.
	Volumes []string
}

// A Network is a bridge.
type Network struct {
	Name  string
	Stack protocol.StackName // empty of those that are not this node's
	// Subnets are all that it has; one of a stack has one.
	Subnets  []netip.Prefix
	Gateway  netip.Addr
	Range    netip.Prefix // that the engine gives addresses of by itself
	Internal bool
}

// A Volume is an engine volume.
type Volume struct {
	Name  string
	Stack protocol.StackName // empty of those that are not this node's
	// Volume is its name in the stack.
	Volume string
}

// LogOptions say which lines are meant.
type LogOptions struct {
	// Since is the time on the engine's clock; zero is all.
	Since time.Time
	// Tail is how many of the last lines; 0 is all.
	Tail   int
	Follow bool
}

// A Spec is what an Engine is told to make of a service after the node's policy
// was applied. Nothing that is not in it is allowed. Its JSON is hashed: a field that
// is added must be left out of it where it says nothing, or each container would be
// made anew.
type Spec struct {
	Stack   protocol.StackName    `json:",omitzero"`
	Service protocol.StackService `json:",omitzero"`
	// Hash is that of all the rest.
	Hash string `json:"-"`
	// Image is the reference, in full where the policy restricts images.
	Image string `json:",omitzero"`
	User  string `json:",omitzero"`
	// Networks are those that it is on, the first is its main one. Where there are
	// none, Mode is "none", "host" or, for the engine, "container:ID".
	Networks []Endpoint `json:",omitzero"`
	Mode     string     `json:",omitzero"`
	// Hosts are entries of /etc/hosts as NAME:ADDRESS. They are not hashed: a service
	// more or less in the stack touches no other.
	Hosts []string `json:"-"`
	// Ports are published by the engine, each at one address.
	Ports  []Port                `json:",omitzero"`
	Mounts []Mount               `json:",omitzero"`
	Tmpfs  []protocol.StackMount `json:",omitzero"`
	Files  []File                `json:",omitzero"`
	// DeviceRights are those of Devices, as the control group has them: "rw".
	Devices      []runtime.Device `json:",omitzero"`
	DeviceRights []string         `json:",omitzero"`
	Capabilities []string         `json:",omitzero"`
	ReadOnlyRoot bool             `json:",omitzero"`
	// CPUs and Memory are hard limits, 0 is none. Reserved is a soft one.
	CPUs      protocol.Cores `json:",omitzero"`
	CPUShares uint32         `json:",omitzero"`
	Memory    protocol.Bytes `json:",omitzero"`
	Reserved  protocol.Bytes `json:",omitzero"`
	ShmSize   protocol.Bytes `json:",omitzero"`
	Pids      int64          `json:",omitzero"`
	Logs      protocol.Bytes `json:",omitzero"`
}

// An Endpoint puts a container on a network.
type Endpoint struct {
	Network string
	Address netip.Addr // invalid: the engine's choice
	Aliases []string
	// Internal is the network's: with another one the container is another.
	Internal bool `json:",omitzero"`
}

// A Port is published at an address of the node.
type Port struct {
	Address netip.Addr // unspecified is all
	protocol.StackPort
}

// A Mount is a volume or folder of the node that a container sees.
type Mount struct {
	// Volume is an engine volume's name, Subpath a folder in it. Source is a path
	// without symbolic links where Volume is empty.
	Volume, Subpath string
	Source          string
	Target          string
	ReadOnly        bool
	NoCopy          bool
	Propagation     string
}

// A File is put into the container before it starts.
type File struct {
	protocol.StackFile
	Target   string
	Mode     uint32
	UID, GID string
}
