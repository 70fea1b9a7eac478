package docker

import (
	"context"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"

	"github.com/hearth-edge/hearth/runtime"
)

// resizeInterval is how long after an engine said that a container does not run
// yet it is told the terminal's size again.
const resizeInterval = 2 * time.Millisecond

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
// and returns when it was told, or cannot be told and started is closed. The
// engine is asked while it starts the container: it holds the question until the
// container runs, and so loses no time with another round trip.
func (d *Driver) resizeAtStart(ctx context.Context, id runtime.ExecutionID, size terminalSize, started <-chan struct{}) {
	options := container.ResizeOptions{Height: uint(size.rows), Width: uint(size.columns)}
	for last := false; ; {
		err := d.within(ctx, askTimeout, "resize terminal", func(ctx context.Context) error {
			return d.client.Load().ContainerResize(ctx, d.name(id), options)
		})
		if last || !cerrdefs.IsConflict(err) {
			return
		}
		select {
		case <-started:
			last = true // it may have run since it was asked, or have ended
		case <-time.After(resizeInterval):
		}
	}
}
