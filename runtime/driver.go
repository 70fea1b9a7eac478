package runtime

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

// ErrNotFound is returned by a Driver for an execution that it does not have.
var ErrNotFound = errors.New("no such execution")

// ErrExists is returned by Driver.Create where the execution already has a
// container: it is what keeps a request from ever running twice on a node.
var ErrExists = errors.New("execution already exists")

// An ExecutionID names one attempt at a request of one orchestrator. Request
// IDs are chosen by askers, so two orchestrators may use the same one.
type ExecutionID struct {
	Orchestrator protocol.PeerID
	Request      protocol.RequestID
	Attempt      uint32
}

// A Spec is what a driver is told to run: a service after the node's policy
// has been applied to it. Nothing that is not in it is allowed.
type Spec struct {
	ID ExecutionID
	// Image is the reference as asked for, or where the policy restricts images
	// in full.
	Image string
	// ImageID is the only one that may run by that name; empty is any. Where the
	// engine does not tell IDs it is not compared.
	ImageID protocol.ImageID
	// Entrypoint replaces the image's where it is not empty; NoEntrypoint leaves
	// that out, so that Args are all that is run.
	Entrypoint   string
	NoEntrypoint bool
	Args         []string
	Env          []string
	WorkDir      string
	User         string
	Stdin        bool
	// TTY gives it a terminal: its output is then all on protocol.Stdout, and
	// the end of the input is a typed end-of-transmission.
	TTY bool
	// TTYRows and TTYColumns are the terminal's size at the start, for engines
	// that can make it so: others are told it right after the start. 0 is not
	// known.
	TTYRows, TTYColumns uint16
	// CPUs and Memory are hard limits, never 0.
	CPUs   protocol.Cores
	Memory protocol.Bytes
	// Pids is the limit on processes and threads, never 0.
	Pids int64
	// Limits are those of CPUs, Memory and Pids that must be kept: where the
	// engine drops one, nothing is made.
	Limits []string
	// Network is "none", "bridge", "host", or the name of one that the engine
	// has.
	Network string
	// Mounts have sources without symbolic links. What is mounted elsewhere
	// below a source is not part of it.
	Mounts  []protocol.Mount
	Devices []Device
	// Capabilities are all that it has where it runs as root. Another user has
	// none.
	Capabilities []string
	// Secrets are files in protocol.SecretsDir that only its user can read, in
	// memory and never on a disk.
	Secrets []protocol.Secret
	// ReadOnlyRoot leaves it nothing to write to but Mounts, Tmpfs, the image's
	// volumes, and /dev/shm.
	ReadOnlyRoot bool
	// Tmpfs are file systems in memory, each with a size and a mode. ShmSize is
	// that of /dev/shm, never 0. What is in them counts as Memory.
	Tmpfs   []protocol.Tmpfs
	ShmSize protocol.Bytes
	// Hostname is the container's own; empty is the engine's choice.
	Hostname string
	// Pull is when the registry is asked.
	Pull protocol.PullPolicy
	// Logs is how much output is kept for Attach; 0 is DefaultLogs.
	Logs    protocol.Bytes
	Timeout time.Duration
	// Lease is 0, or how long after its last renewal the container runs on. It
	// is for Recover: the Node sees to it.
	Lease time.Duration
}

// An Exit is how a container ended.
type Exit struct {
	Code int
	// OOMKilled says that it ran out of its memory limit: as a whole, or a process
	// in it, which may have gone on.
	OOMKilled bool
	// Lost is set where it did not end by itself, and Code says nothing of it: to
	// CodeNodeLost where the device went down under it, to CodeEngineDown where the
	// engine did.
	Lost protocol.Code
	// Ran is from start to end on the engine's clock.
	Ran time.Duration
}

// Info is what a driver tells of its engine.
type Info struct {
	// Version of the engine, for people.
	Version string
	// Arch and OS that it runs natively, in Go's words.
	Arch, OS string
	// DataDir is where images are kept; empty where that is unknown.
	DataDir string
	// Socket is the engine's, where it has one on this machine. Remote says
	// that the engine is on another one.
	Socket string
	Remote bool
	// NoSecrets says why containers can be given no secrets here; empty where they
	// can.
	NoSecrets string
	// Images holds the references present, most recently created first, and
	// Sizes how much each takes on the disk.
	Images []string
	Sizes  []protocol.Bytes
	// Published says of each whether a registry is known to have it by that
	// name.
	Published []bool
	// NoLimits are the limits that the engine cannot keep: LimitMemory…
	NoLimits []string
	// TellsImageIDs says that the engine tells images' IDs as protocol.ImageID:
	// some only tell another digest, which depends on how an image came there.
	TellsImageIDs bool
}

// LocalImage is what an engine has by a name.
type LocalImage struct {
	// ID is empty where the engine does not tell it.
	ID protocol.ImageID
	// Published says that a registry is known to have it by that name; else it
	// was built or loaded here.
	Published bool
}

// MaxPlatforms is the most platforms that are told of an image.
const MaxPlatforms = 64

// ImageFacts is what can be known of an image without fetching it.
type ImageFacts struct {
	// Present says that it is on this engine.
	Present bool
	// Size is how much a fetch moves, where Compressed is set; else how much
	// the image takes on the disk. 0 where neither could be found out.
	Size       protocol.Bytes
	Compressed bool
	// Platforms that it is made for, in Go's words: "linux/amd64",
	// "linux/arm/v7"; of other architectures than arm no variants are told.
	// Empty where it says nothing of that, and so fits every machine. At most
	// MaxPlatforms are told.
	Platforms []string
}

// A PullStep is news of a pull.
type PullStep struct {
	protocol.Progress
	// Retry says for people why the fetch is tried again; empty while nothing
	// went wrong.
	Retry string
}

// Stdio is the live connection to a container's standard streams.
type Stdio struct {
	// Stdin is nil unless Spec.Stdin. Closing it is the end of the input.
	Stdin io.WriteCloser
	// Output yields what the container writes, in order; the driver stops
	// reading from the container while Next is not called. io.EOF comes when
	// the container has ended and everything was read.
	Output OutputReader
}

// An OutputReader yields a container's output.
type OutputReader interface {
	// Next returns the next piece; the slice is valid until the next call. An
	// error other than io.EOF says that the connection was lost, and nothing
	// about the container.
	Next() (protocol.Channel, []byte, error)
	// Close lets go of the container's streams and unblocks Next.
	Close() error
}

// Recovered is an execution that a driver found on its engine.
type Recovered struct {
	ID        ExecutionID
	Container string
	Running   bool
	// Started is false for one that was created and never started: waiting
	// for its end would take for ever.
	Started bool
	CPUs    protocol.Cores
	Memory  protocol.Bytes
	// Timeout is Spec's. Ran is how long it has run by now, or had when it ended,
	// on a clock that nobody sets where there is one. It is only told of what has
	// a Timeout; 0 of what ended and nobody knows.
	Timeout, Ran time.Duration
	// Lease is Spec's.
	Lease time.Duration
}

// A Driver runs executions on one kind of engine. Its methods may be called
// concurrently. Errors that a user should see are *protocol.Error with the
// fitting code (CodeImageNotFound, CodeImagePlatform, CodePullFailed,
// CodeEngineDown, CodeStartFailed, CodeDiskFull); every call ends when its
// context does. runtimetest.Conformance states the contract as tests.
type Driver interface {
	Access
	// Name as it is gossiped and constrained: "docker".
	Name() string
	// Info asks the engine; CodeEngineDown where it does not answer.
	Info(ctx context.Context) (Info, error)
	// Watch calls up(true) when the engine answers, up(false) when it stops
	// answering, and changed() when its images changed or may have. It blocks
	// until ctx ends, returns nil then, and outlives restarts of the engine.
	Watch(ctx context.Context, up func(bool), changed func()) error
	// Logins names the registries ("ghcr.io") that the owner is logged in to. It
	// asks neither the engine nor a registry.
	Logins() []string
	// Image tells what the engine has by that name; ErrNotFound where nothing.
	Image(ctx context.Context, image string) (LocalImage, error)
	// Inspect tells what can be known of an image without fetching it. The
	// engine's own image counts, the registry is asked only where there is
	// none, and where the owner lets it be asked: else CodePolicy. CodeImageNotFound where neither has it, CodePullFailed where the
	// registry does not say.
	Inspect(ctx context.Context, image string) (ImageFacts, error)
	// Pull makes the image present. It asks the registry only if the image is
	// not there and the owner lets it be asked (else CodePolicy), and reports progress of a fetch: its bytes and layers never
	// become fewer. It checks the platform. What may pass, as a network that
	// is down, is tried again a few times; CodeDiskFull, and what the registry
	// denies or does not have, is not.
	Pull(ctx context.Context, image string, progress func(PullStep)) error
	// PullAlways is Pull for an image that may be present already: the registry
	// is asked all the same, and what it has is present then.
	PullAlways(ctx context.Context, image string, progress func(PullStep)) error
	// Create makes the container and connects its streams without starting
	// it, and returns its ID at the engine. ErrExists where there is one,
	// CodeImageNotFound where the image is not present: nothing was made then,
	// and Pull may help. It checks the platform, and Spec.ImageID
	// (CodeImageMismatch), too. The streams outlive ctx.
	Create(ctx context.Context, spec Spec) (container string, stdio Stdio, err error)
	// Start starts a created container. CodeStartFailed where that cannot be
	// done; an engine that notices only later lets Wait say so.
	Start(ctx context.Context, id ExecutionID) error
	// Attach connects to the output of a container that is there already,
	// from its first byte as far as the engine kept it. It has no input.
	Attach(ctx context.Context, id ExecutionID) (Stdio, error)
	// Wait blocks until the container has ended. Called after Create, it
	// misses no end however short the container lives. It outlives restarts of
	// the engine, and does not take what the engine ended when it stopped or
	// started for the container's own end. ErrNotFound where the container is gone, CodeStartFailed
	// where its command could not be run: the exit code is then 127 if there is no
	// such command, 126 if it cannot be executed.
	Wait(ctx context.Context, id ExecutionID) (Exit, error)
	// Signal sends a signal by one of the names that protocol.ParseSignal
	// returns; "" is the one that its image names for stopping it, else TERM.
	// Where the container does not run, it does nothing.
	Signal(ctx context.Context, id ExecutionID, signal string) error
	// Resize tells the container's terminal its size in characters. Where it
	// has none, or does not run, that does nothing.
	Resize(ctx context.Context, id ExecutionID, rows, columns uint16) error
	// Written returns how much of the engine's disk the container has taken: its
	// own files, and those in the image's volumes as far as they are seen. It
	// looks at each file, so it may take a while.
	Written(ctx context.Context, id ExecutionID) (protocol.Bytes, error)
	// Remove deletes the container, killing it if it runs. Removing what is
	// not there is no error.
	Remove(ctx context.Context, id ExecutionID) error
	// Recover lists the executions of this mesh and node on the engine.
	Recover(ctx context.Context) ([]Recovered, error)
	// Close releases the connection to the engine; containers go on.
	Close() error
}
