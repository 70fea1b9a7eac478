package docker

import (
	"context"
	"errors"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime"
)

// How often an engine that would not take the size of a terminal is told again:
// while it starts the container each resizeInterval, then so many times, each
// after a longer pause. Docker's own command does the latter.
const (
	resizeInterval = 2 * time.Millisecond
	maxResizes     = 10
)

// terminalSize is in characters.
type terminalSize struct{ rows, columns uint16 }

// keepSize remembers the size of a terminal that Start has to tell. Engines from
// API 1.42 on took it with the container. Earlier ones can only be told once the
// container runs, so a program that asks in its first moment may find none: that
// is the engine's limit, and docker's own command has it too.
func (d *Driver) keepSize(e *engine, spec runtime.Spec) {
	if spec.TTY && spec.TTYRows > 0 && spec.TTYColumns > 0 && !e.sizesTerminals {
		d.sizes.Store(spec.ID, terminalSize{spec.TTYRows, spec.TTYColumns})
	}
}

// resizeAtStart tells the size of an execution's terminal as early as can be,
// and returns when that is done or cannot be done; started is closed when the
// start has ended. The engine is asked while it starts the container: it holds
// the question until the container runs, which saves a round trip.
func (d *Driver) resizeAtStart(ctx context.Context, id runtime.ExecutionID, size terminalSize, started <-chan struct{}) {
	options := container.ResizeOptions{Height: uint(size.rows), Width: uint(size.columns)}
	for late := 0; late <= maxResizes; {
		over := isClosed(started)
		err := d.within(ctx, askTimeout, "resize terminal", func(ctx context.Context) error {
			return d.client.Load().ContainerResize(ctx, d.name(id), options)
		})
		switch {
		case err == nil, ctx.Err() != nil, errors.Is(err, runtime.ErrNotFound), protocol.CodeOf(err) == protocol.CodeEngineDown:
			return
		case over && cerrdefs.IsConflict(err): // it has ended
			return
		case over:
			late++
		}
		select {
		case <-ctx.Done():
		case <-time.After(resizeInterval << min(late, 5)):
		}
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
