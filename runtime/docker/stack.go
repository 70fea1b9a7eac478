package docker

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/filters"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime"
	"github.com/hearth-edge/hearth/runtime/stack"
)

// The labels on what belongs to a stack: containers have the first four,
// networks the first, volumes the first and the last.
const (
	labelStack   = "dev.hearth.stack"
	labelService = "dev.hearth.service"
	labelHash    = "dev.hearth.hash"
	labelImage   = "dev.hearth.image" // the engine's ID of it
	labelVolume  = "dev.hearth.volume"
	// labelPrefix begins all of Hearth's labels.
	labelPrefix = "dev.hearth."
)

// Stacks is the stack.Engine of a Driver. What it makes bears the labels of the
// driver's mesh and node, and it touches nothing else.
type Stacks struct{ driver *Driver }

var _ stack.Engine = (*Stacks)(nil)

// Stacks returns the part of the driver that runs the node's stacks. Driver.Watch
// need not run for it, but finds out when the engine hangs.
func (d *Driver) Stacks() stack.Engine { return &Stacks{driver: d} }

// stackContainer names the container of a service: the engine refuses a second one.
// Stacks have no dot in their names, so no two share a name.
func (d *Driver) stackContainer(name protocol.StackName, service string) string {
	return d.prefix() + string(name) + "." + service
}

// owned are the labels of what belongs to a stack of this node.
func (d *Driver) owned(name protocol.StackName) map[string]string {
	return map[string]string{labelMesh: d.cfg.Mesh, labelNode: string(d.cfg.Node), labelStack: string(name)}
}

// ownerOf returns the stack that labels name; empty where they are another node's.
func (d *Driver) ownerOf(labels map[string]string) protocol.StackName {
	if labels[labelMesh] != d.cfg.Mesh || labels[labelNode] != string(d.cfg.Node) {
		return ""
	}
	return protocol.StackName(labels[labelStack])
}

// ofStacks selects what belongs to stacks of this node.
func (d *Driver) ofStacks(more ...filters.KeyValuePair) filters.Args {
	return filters.NewArgs(append(more, filters.Arg("label", labelStack),
		filters.Arg("label", labelMesh+"="+d.cfg.Mesh), filters.Arg("label", labelNode+"="+string(d.cfg.Node)))...)
}

// Watch implements stack.Engine.
func (s *Stacks) Watch(ctx context.Context, up func() error, event func(stack.Event)) error {
	d := s.driver
	following, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := d.ping(ctx, firstPingTimeout); err != nil {
		return err
	}
	if _, err := d.describe(ctx); err != nil { // it settles the version of the API
		return err
	}
	filter := d.ofStacks(filters.Arg("type", string(events.ContainerEventType)))
	for _, action := range []events.Action{
		events.ActionCreate, events.ActionStart, events.ActionKill, events.ActionDie, events.ActionDestroy, events.ActionHealthStatus,
	} {
		filter.Add("event", string(action))
	}
	var news <-chan events.Message
	var lost <-chan error
	if err := d.begin(ctx, "follow the engine's events", cancel, func() error {
		news, lost = d.client.Load().Events(following, events.ListOptions{Filters: filter})
		return nil
	}); err != nil {
		return err
	}
	if err := up(); err != nil {
		return err
	}
	for {
		select {
		case m := <-news:
			e := stackEvent(m)
			if m.Action == events.ActionKill && e.Kind != stack.EventSignalled && s.isStopSignal(ctx, m) {
				e.Kind = stack.EventSignalled
			}
			event(e)
		case err := <-lost:
			return d.explain(ctx, "follow the engine's events", err)
		}
	}
}

// stackEvent reads an event of the engine.
func stackEvent(m events.Message) stack.Event {
	e := stack.Event{
		Container: m.Actor.ID, Stack: protocol.StackName(m.Actor.Attributes[labelStack]), Service: m.Actor.Attributes[labelService],
	}
	switch m.Action {
	case events.ActionKill:
		// Others, as HUP for a reload, are not meant to end it.
		if slices.Contains([]string{"2", "3", "9", "15"}, m.Actor.Attributes["signal"]) {
			e.Kind = stack.EventSignalled
		}
	case events.ActionDestroy:
		e.Kind = stack.EventGone
	}
	return e
}

// isStopSignal reports whether the signal of an event is the one by which the image
// or the service has itself ended, as WINCH is for some servers.
func (s *Stacks) isStopSignal(ctx context.Context, m events.Message) bool {
	c, err := s.driver.look(ctx, m.Actor.ID)
	if err != nil || c.Config.StopSignal == "" {
		return false
	}
	return signalNumber(c.Config.StopSignal) == m.Actor.Attributes["signal"]
}

// Containers implements stack.Engine.
func (s *Stacks) Containers(ctx context.Context) ([]stack.Container, error) {
	d := s.driver
	var list []container.Summary
	err := d.within(ctx, askTimeout, "list the containers of stacks", func(ctx context.Context) (err error) {
		list, err = d.client.Load().ContainerList(ctx, container.ListOptions{All: true, Filters: d.ofStacks(filters.Arg("label", labelService))})
		return err
	})
	if err != nil {
		return nil, err
	}
	var all []stack.Container
	for _, one := range list {
		c, err := s.Container(ctx, one.ID)
		if errors.Is(err, runtime.ErrNotFound) {
			continue // it was removed meanwhile
		}
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	return all, nil
}

// Container implements stack.Engine.
func (s *Stacks) Container(ctx context.Context, id string) (stack.Container, error) {
	c, err := s.driver.look(ctx, id)
	if err != nil {
		return stack.Container{}, err
	}
	if s.driver.ownerOf(c.Config.Labels) == "" {
		return stack.Container{}, runtime.ErrNotFound
	}
	return instanceOf(&c), nil
}

// instanceOf reads what the engine tells of an instance's container.
func instanceOf(c *container.InspectResponse) stack.Container {
	labels := c.Config.Labels
	out := stack.Container{
		ID: c.ID, Stack: protocol.StackName(labels[labelStack]), Service: labels[labelService], Hash: labels[labelHash], ImageID: labels[labelImage],
		State: stateOf(c.State.Status), ExitCode: c.State.ExitCode, OOMKilled: c.State.OOMKilled, Error: c.State.Error,
		Started: engineClock(c.State.StartedAt), Finished: engineClock(c.State.FinishedAt),
	}
	if c.HostConfig != nil {
		out.Hosts = c.HostConfig.ExtraHosts
		if c.HostConfig.NetworkMode.IsContainer() {
			out.Joined = c.HostConfig.NetworkMode.ConnectedContainer()
		}
	}
	if h := c.State.Health; h != nil && h.Status != container.NoHealthcheck {
		out.Health = h.Status
	}
	if h := c.Config.Healthcheck; h != nil {
		out.HealthInterval = h.Interval
	}
	return out
}

func stateOf(status container.ContainerState) stack.ContainerState {
	switch status {
	case container.StateCreated:
		return stack.Created
	case container.StateRunning, container.StatePaused, container.StateRestarting:
		return stack.Running
	case container.StateRemoving:
		return stack.Removing
	default:
		return stack.Exited
	}
}

// engineClock reads a time of the engine; zero where it has none.
func engineClock(text string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil || t.Year() <= 1 {
		return time.Time{}
	}
	return t
}

// Start implements stack.Engine. An engine that is about to end takes no new
// connections, though it would still start what it then kills.
func (s *Stacks) Start(ctx context.Context, id string, spec *stack.Spec) error {
	d := s.driver
	if err := d.knock(ctx); err != nil {
		return err
	}
	if err := s.makeFolders(ctx, spec); err != nil {
		return err
	}
	if err := s.refillMemory(ctx, id, spec); err != nil {
		return err
	}
	return d.within(ctx, changeTimeout, "start container", func(ctx context.Context) error {
		err := d.client.Load().ContainerStart(ctx, id, container.StartOptions{})
		if err == nil || ctx.Err() != nil || disconnected(err) || isNoContainer(err) {
			return err
		}
		return startFailure(err)
	})
}

func isNoContainer(err error) bool { return strings.Contains(err.Error(), "No such container") }

// Stop implements stack.Engine. Engines before API 1.42 take no signal here: so
// Create has written it into the container.
func (s *Stacks) Stop(ctx context.Context, id, signal string, grace time.Duration) error {
	d := s.driver
	seconds := int((grace + time.Second - 1) / time.Second)
	return d.within(ctx, changeTimeout+grace, "stop container", func(ctx context.Context) error {
		return d.client.Load().ContainerStop(ctx, id, container.StopOptions{Signal: signal, Timeout: &seconds})
	})
}

// Remove implements stack.Engine.
func (s *Stacks) Remove(ctx context.Context, id string) error {
	d := s.driver
	c, err := d.look(ctx, id)
	if errors.Is(err, runtime.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if d.ownerOf(c.Config.Labels) == "" {
		return nil
	}
	if err := d.remove(ctx, c.ID); err != nil {
		return err
	}
	return s.dropMemory(strings.TrimPrefix(c.Name, "/"))
}

// Image implements stack.Engine.
func (s *Stacks) Image(ctx context.Context, ref string) (stack.Image, error) {
	d := s.driver
	found, present, err := d.local(ctx, ref)
	if err != nil {
		return stack.Image{}, err
	}
	if !present {
		return stack.Image{}, runtime.ErrNotFound
	}
	e, err := d.describe(ctx)
	if err != nil {
		return stack.Image{}, err
	}
	made := ocispec.Platform{OS: found.Os, Architecture: found.Architecture, Variant: found.Variant}
	image := stack.Image{ID: found.ID, Runs: runs(e.platform, made), Platform: platformName(made)}
	if found.Config != nil {
		for path := range found.Config.Volumes {
			image.Volumes = append(image.Volumes, path)
		}
	}
	return image, nil
}

// Pull implements stack.Engine.
func (s *Stacks) Pull(ctx context.Context, ref string, progress func(runtime.PullStep)) error {
	return s.driver.PullAlways(ctx, ref, progress)
}
