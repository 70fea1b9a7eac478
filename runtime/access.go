package runtime

import (
	"context"
	"io"
	"io/fs"

	"github.com/hearth-edge/hearth/protocol"
)

// Access is a Driver's way into containers that run. A container is named by
// what Create returned for it. ErrNotFound says that there is none,
// CodeConflict that it does not run.
type Access interface {
	// Exec starts a command in a container, with the container's capabilities and
	// limits, and with no more than those. CodeStartFailed says that it cannot be
	// run; an engine that notices only later lets Process.Wait say so.
	Exec(ctx context.Context, container string, c Command) (Process, error)
	// Dial connects to a port of the container, over TCP or UDP: at its address,
	// and where nobody listens there on its loopback, as far as the driver can
	// reach that. A read from a UDP stream yields one datagram. CodePortClosed
	// says that nobody listens.
	Dial(ctx context.Context, container string, port uint16, udp bool) (protocol.Stream, error)
	// Stat tells of a file; fs.ErrNotExist where it is not there. Of a symbolic
	// link it tells of what the link leads to, and Link is set.
	Stat(ctx context.Context, container, path string) (PathStat, error)
	// CopyFrom reads a file or folder as a tar archive, whose first entry is named
	// as path is. What is mounted from memory need not be seen.
	CopyFrom(ctx context.Context, container, path string) (io.ReadCloser, error)
	// CopyInto extracts an archive below the folder dir. A file never takes the
	// place of a folder, or the other way.
	CopyInto(ctx context.Context, container, dir string, archive io.Reader) error
}

// A Command is what Exec runs.
type Command struct {
	Args, Env           []string
	WorkDir, User       string // empty: the container's
	Stdin, TTY          bool
	TTYRows, TTYColumns uint16 // 0 is not known
	// Detach drops its output; its Process has no streams.
	Detach bool
}

// A Process is a command in a container. Closing its Output lets go of it; it
// goes on.
type Process interface {
	// Stdio returns its streams, as of a container.
	Stdio() Stdio
	// Wait blocks until the command has ended. CodeStartFailed with 126 or 127
	// says that it could not be run. Wait is called after Output has ended.
	Wait(ctx context.Context) (ProcessExit, error)
	// Signal sends a signal by one of the names that protocol.ParseSignal
	// returns. CodeConflict says that this engine cannot.
	Signal(ctx context.Context, signal string) error
	// Resize tells its terminal its size in characters.
	Resize(ctx context.Context, rows, columns uint16) error
}

// A ProcessExit is how a command ended.
type ProcessExit struct {
	Code int
	// ContainerEnded says that the container ended under it.
	ContainerEnded bool
}

// PathStat is what is told of a file in a container.
type PathStat struct {
	Mode fs.FileMode
	Size protocol.Bytes
	// Link is the path that a symbolic link leads to, in the container; empty
	// where path is none. Mode is then that of the link's target.
	Link string
}
