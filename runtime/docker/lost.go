package docker

import (
	"context"

	"github.com/docker/docker/api/types/container"

	"github.com/hearth-edge/hearth/protocol"
)

// Exit codes that the engine gives to what has not ended by itself.
const (
	exitKilled     = 128 + 9
	exitTerminated = 128 + 15
	// exitUnknown is for a container that an engine has as a running one when it
	// starts, and of which nothing is left.
	exitUnknown = 255
)

// lost returns what went down under a container that has ended, as a code for
// runtime.Exit; losses is how often the engine had gone away when the container
// was known to run. A program may exit with these codes, too:
// they count only where there was a reason for another end. What it exited with
// when it was asked to end is its own answer.
func (d *Driver) lost(ctx context.Context, c container.InspectResponse, losses uint64) (protocol.Code, error) {
	code := c.State.ExitCode
	if c.State.OOMKilled || code != exitKilled && code != exitTerminated && code != exitUnknown {
		return 0, nil
	}
	// An engine on another machine does not go down with this one.
	if d.socket() != "" && d.now().laterBoot(c.Config.Labels) {
		return protocol.CodeNodeLost, nil
	}
	if code != exitUnknown {
		// With live restore it leaves containers alone when it ends or starts.
		e, err := d.describe(ctx)
		if err != nil || e.liveRestore {
			return 0, err
		}
		if err := d.knock(ctx); err != nil {
			return 0, err
		}
	}
	if d.losses.Load() == losses {
		return 0, nil
	}
	return protocol.CodeEngineDown, nil
}

// knock asks whether the engine takes new connections. One that is about to end
// does not, though it goes on serving those that it has while it ends its
// containers: an error is an *Error with CodeEngineDown.
func (d *Driver) knock(ctx context.Context) error {
	fresh, err := d.newClient()
	if err != nil {
		return err
	}
	defer fresh.Close()
	return d.bounded(ctx, pingTimeout, "knock", func(ctx context.Context) error {
		_, err := fresh.Ping(ctx)
		return err
	})
}
