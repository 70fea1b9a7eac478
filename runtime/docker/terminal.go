package docker

import (
	"context"
	"errors"
	"time"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime"
)

// maxResizes is how often an engine that cannot take the size of a terminal yet
// is told it, the second time after resizePause, then each time after twice that.
const (
	maxResizes  = 6
	resizePause = 2 * time.Millisecond
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

// resizeAtStart tells the size of the terminal of what was started just now.
func (d *Driver) resizeAtStart(ctx context.Context, id runtime.ExecutionID, size terminalSize) {
	for pause := resizePause; pause < resizePause<<maxResizes; pause *= 2 {
		err := d.Resize(ctx, id, size.rows, size.columns)
		if err == nil || ctx.Err() != nil || errors.Is(err, runtime.ErrNotFound) || protocol.CodeOf(err) == protocol.CodeEngineDown {
			return
		}
		d.cfg.Log.Debug("the size of a terminal is to be told again", "request", id.Request, "attempt", id.Attempt, "err", err)
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}
