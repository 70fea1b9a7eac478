package docker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
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
		if c.Labels[labelStack] != "" {
			continue // no execution: see Stacks
		}
		if c.Labels[labelFiller] != "" {
			d.discardFiller(ctx, c)
			continue
		}
		r, err := recovered(c)
		if err != nil {
			d.cfg.Log.Warn("container with strange labels left alone", "container", c.ID, "err", err)
			continue
		}
		if r.Started && r.Timeout > 0 {
			r.Ran, err = d.ranFor(ctx, c, r.Running)
			if errors.Is(err, runtime.ErrNotFound) {
				continue // it was removed meanwhile
			}
			if err != nil {
				return nil, err
			}
		}
		d.recall(r.ID, c)
		found = append(found, r)
	}
	d.sweepSecrets(found)
	return found, nil
}

// ranFor returns how long a container has run, or had when it ended. As far as
// this machine's own clock tells it, the engine's, which may have been set
// meanwhile, counts only between creation and start, and between start and end.
func (d *Driver) ranFor(ctx context.Context, c container.Summary, running bool) (time.Duration, error) {
	info, err := d.look(ctx, c.ID)
	if err != nil {
		return 0, err
	}
	created, started, err := startOf(info)
	if err != nil {
		return 0, err
	}
	most, known := d.now().since(c.Labels)
	most = max(0, most-min(max(0, started.Sub(created)), changeTimeout))
	switch {
	case running && known:
		return most, nil
	case running: // created elsewhere, as on the machine's last boot
		now, err := d.engineTime(ctx)
		return max(0, now.Sub(started)), err
	default: // what ran on an earlier boot ended with that
		return min(most, ran(info.State)), nil
	}
}

// startOf returns when a container was created and started on the engine's clock.
func startOf(c container.InspectResponse) (created, started time.Time, err error) {
	if created, err = time.Parse(time.RFC3339Nano, c.Created); err != nil {
		return created, started, fmt.Errorf("creation of container: %w", err)
	}
	if started, err = time.Parse(time.RFC3339Nano, c.State.StartedAt); err != nil {
		return created, started, fmt.Errorf("start of container: %w", err)
	}
	return created, started, nil
}

// engineTime returns the time on the engine's clock.
func (d *Driver) engineTime(ctx context.Context) (now time.Time, err error) {
	err = d.within(ctx, askTimeout, "ask the engine for the time", func(ctx context.Context) error {
		info, err := d.client.Load().Info(ctx)
		if err != nil {
			return err
		}
		now, err = time.Parse(time.RFC3339Nano, info.SystemTime)
		return err
	})
	return now, err
}

// recovered reads a container's labels, which whoever may use the engine can
// have written.
func recovered(c container.Summary) (runtime.Recovered, error) {
	request, err := protocol.ParseRequestID(c.Labels[labelRequest])
	if err != nil {
		return runtime.Recovered{}, err
	}
	attempt, err := strconv.ParseUint(c.Labels[labelAttempt], 10, 32)
	if err != nil || attempt == 0 {
		return runtime.Recovered{}, fmt.Errorf("attempt %q", c.Labels[labelAttempt])
	}
	cpus, err := strconv.ParseFloat(c.Labels[labelCPUs], 64)
	if err != nil || !(cpus >= 0 && cpus <= math.MaxUint16) {
		return runtime.Recovered{}, fmt.Errorf("cpus %q", c.Labels[labelCPUs])
	}
	memory, err := strconv.ParseUint(c.Labels[labelMemory], 10, 63)
	if err != nil {
		return runtime.Recovered{}, fmt.Errorf("memory: %w", err)
	}
	timeout, err := time.ParseDuration(c.Labels[labelTimeout])
	if err != nil || timeout < 0 {
		return runtime.Recovered{}, fmt.Errorf("timeout %q", c.Labels[labelTimeout])
	}
	lease, err := time.ParseDuration(cmp.Or(c.Labels[labelLease], "0s"))
	if err != nil || lease < 0 {
		return runtime.Recovered{}, fmt.Errorf("lease %q", c.Labels[labelLease])
	}
	return runtime.Recovered{
		Lease: lease,
		ID: runtime.ExecutionID{
			Orchestrator: protocol.PeerID(c.Labels[labelOrchestrator]), Request: request, Attempt: uint32(attempt),
		},
		Container: c.ID,
		Running:   c.State == container.StateRunning || c.State == container.StatePaused || c.State == container.StateRestarting,
		Started:   c.State != container.StateCreated,
		CPUs:      protocol.Cores(cpus),
		Memory:    protocol.Bytes(memory),
		Timeout:   timeout,
	}, nil
}
