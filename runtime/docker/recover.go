package docker

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime"
)

// Recover implements runtime.Driver.
func (d *Driver) Recover(ctx context.Context) ([]runtime.Recovered, error) {
	mine := filters.NewArgs(
		filters.Arg("label", labelMesh+"="+d.cfg.Mesh),
		filters.Arg("label", labelNode+"="+string(d.cfg.Node)),
	)
	var list []container.Summary
	err := d.within(ctx, askTimeout, "list containers", func(ctx context.Context) (err error) {
		list, err = d.client.Load().ContainerList(ctx, container.ListOptions{All: true, Filters: mine})
		return err
	})
	if err != nil {
		return nil, err
	}
	var found []runtime.Recovered
	for _, c := range list {
		r, err := recovered(c)
		if err != nil {
			d.cfg.Log.Warn("container with strange labels left alone", "container", c.ID, "err", err)
			continue
		}
		if r.Running && r.Timeout > 0 {
			r.Ran, err = d.runningFor(ctx, c.ID)
			if errors.Is(err, runtime.ErrNotFound) {
				continue // it was removed meanwhile
			}
			if err != nil {
				return nil, err
			}
		}
		found = append(found, r)
	}
	return found, nil
}

// runningFor returns since when a container runs, on the engine's clock.
func (d *Driver) runningFor(ctx context.Context, id string) (time.Duration, error) {
	c, err := d.look(ctx, id)
	if err != nil {
		return 0, err
	}
	started, err := time.Parse(time.RFC3339Nano, c.State.StartedAt)
	if err != nil {
		return 0, fmt.Errorf("start of container: %w", err)
	}
	var now time.Time
	err = d.within(ctx, askTimeout, "ask the engine for the time", func(ctx context.Context) error {
		info, err := d.client.Load().Info(ctx)
		if err != nil {
			return err
		}
		now, err = time.Parse(time.RFC3339Nano, info.SystemTime)
		return err
	})
	return max(0, now.Sub(started)), err
}

// recovered reads a container's labels.
func recovered(c container.Summary) (runtime.Recovered, error) {
	attempt, err := strconv.ParseUint(c.Labels[labelAttempt], 10, 32)
	if err != nil {
		return runtime.Recovered{}, fmt.Errorf("attempt: %w", err)
	}
	cpus, err := strconv.ParseFloat(c.Labels[labelCPUs], 64)
	if err != nil {
		return runtime.Recovered{}, fmt.Errorf("cpus: %w", err)
	}
	memory, err := strconv.ParseUint(c.Labels[labelMemory], 10, 64)
	if err != nil {
		return runtime.Recovered{}, fmt.Errorf("memory: %w", err)
	}
	timeout, err := time.ParseDuration(c.Labels[labelTimeout])
	if err != nil {
		return runtime.Recovered{}, fmt.Errorf("timeout: %w", err)
	}
	return runtime.Recovered{
		ID:           runtime.ExecutionID{Request: protocol.RequestID(c.Labels[labelRequest]), Attempt: uint32(attempt)},
		Orchestrator: protocol.NodeID(c.Labels[labelOrchestrator]),
		Container:    c.ID,
		Running:      c.State == container.StateRunning || c.State == container.StatePaused || c.State == container.StateRestarting,
		Started:      c.State != container.StateCreated,
		CPUs:         protocol.Cores(cpus),
		Memory:       protocol.Bytes(memory),
		Timeout:      timeout,
	}, nil
}
