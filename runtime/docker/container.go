package docker

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime"
)

// nodeSuffix is how much of the node's ID goes into a container's name: the
// end, since peer IDs all begin alike.
const nodeSuffix = 8

// name returns the container's name. It is what makes the engine refuse a
// second container for the same attempt. Request IDs have no character that
// the engine's names lack, and the attempt is last, so no two IDs share one.
func (d *Driver) name(id runtime.ExecutionID) string {
	node := string(d.cfg.Node)
	if len(node) > nodeSuffix {
		node = node[len(node)-nodeSuffix:]
	}
	return fmt.Sprintf("hearth-%s-%s-%d", node, id.Request, id.Attempt)
}

// Create implements runtime.Driver. The streams outlive ctx.
func (d *Driver) Create(ctx context.Context, spec runtime.Spec) (string, runtime.Stdio, error) {
	e, err := d.describe(ctx)
	if err != nil {
		return "", runtime.Stdio{}, err
	}
	spec.CPUs = clampCPUs(spec.CPUs, e.cpus)
	id, err := d.create(ctx, spec)
	if err != nil {
		return "", runtime.Stdio{}, err
	}
	stdio, err := d.attach(ctx, spec.ID, id, spec.Stdin)
	if err != nil {
		d.discard(ctx, id)
		return "", runtime.Stdio{}, err
	}
	return id, stdio, nil
}

// create makes the container. The engine finishes what it began even when the
// caller goes away, so the call is not cut off then but cleaned up after.
func (d *Driver) create(ctx context.Context, spec runtime.Spec) (string, error) {
	type result struct {
		id  string
		err error
	}
	config, host := containerConfig(spec, d.labels(spec))
	c := d.client.Load()
	made := make(chan result, 1)
	d.background.Go(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), changeTimeout)
		defer cancel()
		r, err := c.ContainerCreate(ctx, config, host, nil, nil, d.name(spec.ID))
		made <- result{r.ID, err}
	})
	select {
	case r := <-made:
		return r.id, d.explainCreate(ctx, spec, r.err)
	case <-ctx.Done():
		d.background.Go(func() {
			if r := <-made; r.err == nil {
				d.discard(ctx, r.id)
			}
		})
		return "", fmt.Errorf("create container: %w", ctx.Err())
	}
}

func (d *Driver) explainCreate(ctx context.Context, spec runtime.Spec, err error) error {
	switch {
	case err == nil:
		return nil
	case cerrdefs.IsConflict(err):
		return runtime.ErrExists
	case cerrdefs.IsNotFound(err):
		return protocol.Errorf(protocol.CodeImageNotFound, "the image %q is not on this node", spec.Image)
	case cerrdefs.IsInvalidArgument(err):
		return protocol.Errorf(protocol.CodeStartFailed, "the Docker engine refused to create the container: %s", message(err))
	default:
		return d.explain(ctx, "create container", err)
	}
}

// discard removes a container that nobody will ask for.
func (d *Driver) discard(ctx context.Context, id string) {
	if err := d.remove(context.WithoutCancel(ctx), id); err != nil {
		d.cfg.Log.Warn("container left behind", "container", id, "err", err)
	}
}

// Start implements runtime.Driver.
func (d *Driver) Start(ctx context.Context, id runtime.ExecutionID) error {
	return d.within(ctx, changeTimeout, "start container", func(ctx context.Context) error {
		err := d.client.Load().ContainerStart(ctx, d.name(id), container.StartOptions{})
		if err == nil || ctx.Err() != nil || disconnected(err) || cerrdefs.IsNotFound(err) && strings.Contains(err.Error(), "No such container") {
			return err
		}
		return startFailure(err)
	})
}

// startFailure is why the engine could not start a container.
func startFailure(err error) error {
	if strings.Contains(err.Error(), "no space left on device") {
		return err
	}
	return protocol.Errorf(protocol.CodeStartFailed, "the container could not be started: %s", message(err))
}

// Signal implements runtime.Driver.
func (d *Driver) Signal(ctx context.Context, id runtime.ExecutionID, signal string) error {
	return d.within(ctx, askTimeout, "signal container", func(ctx context.Context) error {
		err := d.client.Load().ContainerKill(ctx, d.name(id), signal)
		if cerrdefs.IsConflict(err) { // it does not run
			return nil
		}
		return err
	})
}

// Resize implements runtime.Driver.
func (d *Driver) Resize(ctx context.Context, id runtime.ExecutionID, rows, columns uint16) error {
	return d.within(ctx, askTimeout, "resize terminal", func(ctx context.Context) error {
		err := d.client.Load().ContainerResize(ctx, d.name(id), container.ResizeOptions{Height: uint(rows), Width: uint(columns)})
		if cerrdefs.IsConflict(err) { // it does not run
			return nil
		}
		return err
	})
}

// Remove implements runtime.Driver.
func (d *Driver) Remove(ctx context.Context, id runtime.ExecutionID) error {
	return d.remove(ctx, d.name(id))
}

func (d *Driver) remove(ctx context.Context, target string) error {
	return d.within(ctx, changeTimeout, "remove container", func(ctx context.Context) error {
		c := d.client.Load()
		err := c.ContainerRemove(ctx, target, container.RemoveOptions{Force: true, RemoveVolumes: true})
		switch {
		case err == nil || cerrdefs.IsNotFound(err):
			return nil
		case cerrdefs.IsConflict(err): // it is being removed
			return d.awaitRemoval(ctx, target)
		default:
			return err
		}
	})
}

// awaitRemoval blocks until another's removal of the container is done.
func (d *Driver) awaitRemoval(ctx context.Context, name string) error {
	removed, failed := d.client.Load().ContainerWait(ctx, name, container.WaitConditionRemoved)
	select {
	case <-removed:
		return nil
	case err := <-failed:
		if cerrdefs.IsNotFound(err) {
			return nil
		}
		return err
	}
}

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
		found = append(found, r)
	}
	return found, nil
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
	return runtime.Recovered{
		ID:           runtime.ExecutionID{Request: protocol.RequestID(c.Labels[labelRequest]), Attempt: uint32(attempt)},
		Orchestrator: protocol.NodeID(c.Labels[labelOrchestrator]),
		Container:    c.ID,
		Running:      c.State == container.StateRunning || c.State == container.StatePaused || c.State == container.StateRestarting,
		Started:      c.State != container.StateCreated,
		CPUs:         protocol.Cores(cpus),
		Memory:       protocol.Bytes(memory),
	}, nil
}
