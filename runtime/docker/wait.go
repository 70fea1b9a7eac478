package docker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/docker/docker/api/types/container"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime"
)

// How long to pause before the engine is asked again after it went away.
const (
	minBackoff = 200 * time.Millisecond
	maxBackoff = 5 * time.Second
)

// errStillThere says that a wait ended though the container did not.
var errStillThere = errors.New("the container has not ended")

// Wait implements runtime.Driver. It outlives restarts of the engine: what
// counts is the state that the engine tells in the end, unless that is made up.
func (d *Driver) Wait(ctx context.Context, id runtime.ExecutionID) (runtime.Exit, error) {
	losses, end := d.losses.Load(), d.endings.of(id)
	for delay := minBackoff; ; delay = min(2*delay, maxBackoff) {
		var exit runtime.Exit
		var err error
		if end != nil {
			exit, err = end.await(ctx)
		} else {
			exit, err = d.waitOnce(ctx, d.target(id), losses)
		}
		if final(err) {
			d.dropSecrets(id) // nobody reads them any more
			return exit, err
		}
		if protocol.CodeOf(err) == protocol.CodeEngineDown {
			d.losses.Add(1)
		}
		if end != nil && ctx.Err() == nil {
			d.endings.drop(id)
			end = nil
		}
		select {
		case <-ctx.Done():
			return runtime.Exit{}, fmt.Errorf("wait for container: %w", ctx.Err())
		case <-time.After(delay):
			d.cfg.Log.Debug("waiting for a container again", "request", id.Request, "attempt", id.Attempt, "err", err)
		}
	}
}

// final reports whether err, of a wait, says how the container ended.
func final(err error) bool {
	return err == nil || errors.Is(err, runtime.ErrNotFound) || protocol.CodeOf(err) == protocol.CodeStartFailed
}

// waitOnce has the engine tell the container's end before it looks at its state,
// so that no end falls in between. For losses see lost: it is the count when the
// container ran.
func (d *Driver) waitOnce(ctx context.Context, name string, losses uint64) (runtime.Exit, error) {
	end, err := d.expect(ctx, name)
	if err != nil {
		return runtime.Exit{}, err
	}
	defer end.release()
	exit, err := d.inspect(ctx, name, losses)
	if !errors.Is(err, errStillThere) {
		return exit, err
	}
	return end.await(ctx)
}

// inspect returns how the container ended, or errStillThere; for losses see lost.
func (d *Driver) inspect(ctx context.Context, name string, losses uint64) (runtime.Exit, error) {
	c, err := d.look(ctx, name)
	if err != nil {
		return runtime.Exit{}, err
	}
	state := c.State
	if state.Status != container.StateExited && state.Status != container.StateDead {
		return runtime.Exit{}, errStillThere
	}
	exit := runtime.Exit{Code: state.ExitCode, OOMKilled: state.OOMKilled, Ran: ran(state)}
	if exit.Lost, err = d.lost(ctx, c, losses); err != nil {
		return runtime.Exit{}, err
	}
	return d.neverRan(ctx, name, exit, &c)
}

// look asks the engine for all that it knows of a container.
func (d *Driver) look(ctx context.Context, name string) (c container.InspectResponse, err error) {
	err = d.within(ctx, askTimeout, "inspect container", func(ctx context.Context) (err error) {
		c, err = d.client.Load().ContainerInspect(ctx, name)
		if err == nil && (c.ContainerJSONBase == nil || c.State == nil || c.Config == nil) {
			return errors.New("the engine left out what was asked for")
		}
		return err
	})
	return c, err
}

// ran is the time from start to end on the engine's clock.
func ran(state *container.State) time.Duration {
	started, err := time.Parse(time.RFC3339Nano, state.StartedAt)
	if err != nil {
		return 0
	}
	finished, err := time.Parse(time.RFC3339Nano, state.FinishedAt)
	if err != nil {
		return 0
	}
	return max(0, finished.Sub(started))
}
