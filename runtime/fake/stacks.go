package fake

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime"
	"github.com/hearth-edge/hearth/runtime/stack"
)

// Stacks is the stack.Engine of one node on an Engine. A service's script is its
// command. Its health check may be ["CMD", "true"], which passes after its first
// interval, or ["CMD", "false"], which fails after its retries.
type Stacks struct {
	engine *Engine
	owner  owner
}

// owner is the node whose stacks they are.
type owner struct {
	mesh string
	node protocol.PeerID
}

var _ stack.Engine = (*Stacks)(nil)

// Stacks returns the part of the engine that runs the node's stacks.
func (d *Driver) Stacks() stack.Engine { return d.engine.Stacks(d.mesh, d.node) }

// Stacks is Driver's, with all methods.
func (e *Engine) Stacks(mesh string, node protocol.PeerID) *Stacks {
	return &Stacks{engine: e, owner: owner{mesh, node}}
}

// stacks is what an engine has of all nodes' stacks; its mutex guards it.
type stacks struct {
	instances map[string]*instance // by ID
	networks  map[string]owned[stack.Network]
	volumes   map[string]owned[stack.Volume]
	made      int
	events    []ownedEvent
}

type owned[T any] struct {
	owner
	thing T
}

type ownedEvent struct {
	owner
	stack.Event
}

func newStacks() stacks {
	return stacks{
		instances: make(map[string]*instance), networks: make(map[string]owned[stack.Network]), volumes: make(map[string]owned[stack.Volume]),
	}
}

// ask fails where the engine is down or the caller gone.
func (s *Stacks) ask(ctx context.Context) error {
	return (&Driver{engine: s.engine}).ask(ctx)
}

// Watch implements stack.Engine.
func (s *Stacks) Watch(ctx context.Context, up func() error, event func(stack.Event)) error {
	state, _ := s.engine.look()
	s.engine.mu.Lock()
	next := len(s.engine.stacks.events)
	s.engine.mu.Unlock()
	if state.down {
		return protocol.Errorf(protocol.CodeEngineDown, "the fake engine does not answer: it was told so")
	}
	if err := up(); err != nil {
		return err
	}
	for {
		now, news := s.engine.look()
		s.engine.mu.Lock()
		fresh := slices.Clone(s.engine.stacks.events[next:])
		next = len(s.engine.stacks.events)
		s.engine.mu.Unlock()
		for _, e := range fresh {
			if e.owner == s.owner {
				event(e.Event)
			}
		}
		switch {
		case now.down || now.starts != state.starts:
			return protocol.Errorf(protocol.CodeEngineDown, "the fake engine went away")
		case len(fresh) > 0:
			continue
		}
		select {
		case <-news:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// tell adds an event; the engine's mutex is held.
func (e *Engine) tell(i *instance, kind stack.EventKind) {
	e.stacks.events = append(e.stacks.events, ownedEvent{i.owner, stack.Event{
		Kind: kind, Container: i.id, Stack: i.spec.Stack, Service: i.spec.Service.Name,
	}})
	e.announce()
}

// Containers implements stack.Engine.
func (s *Stacks) Containers(ctx context.Context) ([]stack.Container, error) {
	if err := s.ask(ctx); err != nil {
		return nil, err
	}
	s.engine.mu.Lock()
	defer s.engine.mu.Unlock()
	var all []stack.Container
	for _, id := range slices.Sorted(maps.Keys(s.engine.stacks.instances)) {
		if i := s.engine.stacks.instances[id]; i.owner == s.owner {
			all = append(all, i.describe())
		}
	}
	return all, nil
}

// find returns an instance of this node.
func (s *Stacks) find(ctx context.Context, id string) (*instance, error) {
	if err := s.ask(ctx); err != nil {
		return nil, err
	}
	s.engine.mu.Lock()
	defer s.engine.mu.Unlock()
	if i := s.engine.stacks.instances[id]; i != nil && i.owner == s.owner {
		return i, nil
	}
	return nil, runtime.ErrNotFound
}

// Container implements stack.Engine.
func (s *Stacks) Container(ctx context.Context, id string) (stack.Container, error) {
	i, err := s.find(ctx, id)
	if err != nil {
		return stack.Container{}, err
	}
	s.engine.mu.Lock()
	defer s.engine.mu.Unlock()
	return i.describe(), nil
}

// Create implements stack.Engine.
func (s *Stacks) Create(ctx context.Context, spec stack.Spec) (string, error) {
	if err := s.ask(ctx); err != nil {
		return "", err
	}
	e := s.engine
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, i := range e.stacks.instances {
		if i.owner == s.owner && i.spec.Stack == spec.Stack && i.spec.Service.Name == spec.Service.Name {
			return "", protocol.Errorf(protocol.CodeConflict, "there is a container of %s/%s already", spec.Stack, spec.Service.Name)
		}
	}
	image := e.images[spec.Image]
	if image == nil || image.Absent {
		return "", protocol.Errorf(protocol.CodeImageNotFound, "the image %q is not on this node", spec.Image)
	}
	for _, n := range spec.Networks {
		if _, there := e.stacks.networks[n.Network]; !there {
			return "", fmt.Errorf("connect to the network %s: %w", n.Network, runtime.ErrNotFound)
		}
	}
	e.stacks.made++
	i := &instance{
		engine: e, owner: s.owner, spec: spec, id: fmt.Sprintf("stack-%08d", e.stacks.made), imageID: string(image.id(spec.Image)), stopSignal: image.StopSignal,
	}
	e.stacks.instances[i.id] = i
	e.tell(i, stack.EventChanged)
	return i.id, nil
}

// Start implements stack.Engine.
func (s *Stacks) Start(ctx context.Context, id string, _ *stack.Spec) error {
	i, err := s.find(ctx, id)
	if err != nil {
		return err
	}
	return i.start()
}

// Stop implements stack.Engine.
func (s *Stacks) Stop(ctx context.Context, id, signal string, grace time.Duration) error {
	i, err := s.find(ctx, id)
	if err != nil {
		return err
	}
	run := i.signal(cmp.Or(signal, i.stopSignal, "TERM"))
	if run == nil {
		return nil
	}
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-run.ended:
		return i.awaitEnd(ctx)
	case <-timer.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	i.signal("KILL")
	return i.awaitEnd(ctx)
}

// Remove implements stack.Engine.
func (s *Stacks) Remove(ctx context.Context, id string) error {
	i, err := s.find(ctx, id)
	if errors.Is(err, runtime.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if i.signal("KILL") != nil {
		if err := i.awaitEnd(ctx); err != nil {
			return err
		}
	}
	s.engine.mu.Lock()
	defer s.engine.mu.Unlock()
	delete(s.engine.stacks.instances, id)
	s.engine.tell(i, stack.EventGone)
	return nil
}

// Signal sends a signal to the instance of a service, as a person does with the
// engine's own command; with own, as a program on the machine does, which the engine
// does not notice.
func (s *Stacks) Signal(name protocol.StackName, service, signal string, own bool) {
	s.engine.mu.Lock()
	var found *instance
	for _, i := range s.engine.stacks.instances {
		if i.owner == s.owner && i.spec.Stack == name && i.spec.Service.Name == service {
			found = i
		}
	}
	if found != nil && !own {
		s.engine.tell(found, stack.EventSignalled)
	}
	s.engine.mu.Unlock()
	if found != nil {
		found.signal(signal)
	}
}

// Image implements stack.Engine.
func (s *Stacks) Image(ctx context.Context, ref string) (stack.Image, error) {
	if err := s.ask(ctx); err != nil {
		return stack.Image{}, err
	}
	image, ok := s.engine.image(ref)
	if !ok || image.Absent {
		return stack.Image{}, runtime.ErrNotFound
	}
	cfg := &s.engine.cfg
	return stack.Image{
		ID: string(image.id(ref)), Platform: cmp.Or(image.OS, cfg.OS) + "/" + cmp.Or(image.Arch, cfg.Arch),
		Runs: s.engine.checkPlatform(ref, image) == nil, Volumes: image.Volumes,
	}, nil
}

// Pull implements stack.Engine.
func (s *Stacks) Pull(ctx context.Context, ref string, progress func(runtime.PullStep)) error {
	return (&Driver{engine: s.engine}).PullAlways(ctx, ref, progress)
}

// Networks implements stack.Engine.
func (s *Stacks) Networks(ctx context.Context) ([]stack.Network, error) {
	if err := s.ask(ctx); err != nil {
		return nil, err
	}
	s.engine.mu.Lock()
	defer s.engine.mu.Unlock()
	var all []stack.Network
	for _, name := range slices.Sorted(maps.Keys(s.engine.stacks.networks)) {
		n := s.engine.stacks.networks[name]
		if n.owner != s.owner {
			n.thing.Stack = ""
		}
		all = append(all, n.thing)
	}
	return all, nil
}

// MakeNetwork implements stack.Engine.
func (s *Stacks) MakeNetwork(ctx context.Context, n stack.Network) error {
	if err := s.ask(ctx); err != nil {
		return err
	}
	s.engine.mu.Lock()
	defer s.engine.mu.Unlock()
	for _, have := range s.engine.stacks.networks {
		if have.thing.Name == n.Name || have.thing.Subnets[0].Overlaps(n.Subnets[0]) {
			return protocol.Errorf(protocol.CodeConflict, "the network %s has that name or those addresses", have.thing.Name)
		}
	}
	s.engine.stacks.networks[n.Name] = owned[stack.Network]{s.owner, n}
	return nil
}

// RemoveNetwork implements stack.Engine.
func (s *Stacks) RemoveNetwork(ctx context.Context, name string) error {
	if err := s.ask(ctx); err != nil {
		return err
	}
	s.engine.mu.Lock()
	defer s.engine.mu.Unlock()
	if s.engine.stacks.networks[name].owner == s.owner {
		delete(s.engine.stacks.networks, name)
	}
	return nil
}

// Volume implements stack.Engine.
func (s *Stacks) Volume(ctx context.Context, name string) (stack.Volume, error) {
	if err := s.ask(ctx); err != nil {
		return stack.Volume{}, err
	}
	s.engine.mu.Lock()
	defer s.engine.mu.Unlock()
	v, ok := s.engine.stacks.volumes[name]
	if !ok {
		return stack.Volume{}, runtime.ErrNotFound
	}
	if v.owner != s.owner {
		v.thing.Stack = ""
	}
	return v.thing, nil
}

// MakeVolume implements stack.Engine.
func (s *Stacks) MakeVolume(ctx context.Context, v stack.Volume) error {
	if err := s.ask(ctx); err != nil {
		return err
	}
	s.engine.mu.Lock()
	defer s.engine.mu.Unlock()
	if _, there := s.engine.stacks.volumes[v.Name]; !there {
		s.engine.stacks.volumes[v.Name] = owned[stack.Volume]{s.owner, v}
	}
	return nil
}

// RemoveVolume implements stack.Engine.
func (s *Stacks) RemoveVolume(ctx context.Context, name string) error {
	if err := s.ask(ctx); err != nil {
		return err
	}
	s.engine.mu.Lock()
	defer s.engine.mu.Unlock()
	if s.engine.stacks.volumes[name].owner == s.owner {
		delete(s.engine.stacks.volumes, name)
	}
	return nil
}

// Logs implements stack.Engine.
func (s *Stacks) Logs(ctx context.Context, id string, o stack.LogOptions, yield func(protocol.LogLine) error) error {
	i, err := s.find(ctx, id)
	if err != nil {
		return err
	}
	return i.logs(ctx, o, yield)
}
