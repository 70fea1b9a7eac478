package stack

import (
	"context"
	"slices"

	"github.com/hearth-edge/hearth/protocol"
)

// Restart stops and starts services at once; none names all. CodeNotFound where
// the stack or a service is not here.
func (k *Keeper) Restart(ctx context.Context, name protocol.StackName, services []string) error {
	return k.change(ctx, name, services, func(kept *keptStack, s *service, i *instance) bool {
		s.stopped = false
		i.startAgain()
		return drop(&kept.Stopped, s.name)
	})
}

// Stop stops services until Start; that outlives restarts of the device, and ends
// with the next version of the stack.
func (k *Keeper) Stop(ctx context.Context, name protocol.StackName, services []string) error {
	return k.change(ctx, name, services, func(kept *keptStack, s *service, _ *instance) bool {
		s.stopped = true
		return add(&kept.Stopped, s.name)
	})
}

// Start starts services that were stopped, or have ended for good.
func (k *Keeper) Start(ctx context.Context, name protocol.StackName, services []string) error {
	return k.change(ctx, name, services, func(kept *keptStack, s *service, i *instance) bool {
		s.stopped = false
		if i.State != Running {
			i.startAgain()
		}
		return drop(&kept.Stopped, s.name)
	})
}

// change does something to services; do reports whether what is kept has changed.
func (k *Keeper) change(ctx context.Context, name protocol.StackName, services []string, do func(*keptStack, *service, *instance) bool) error {
	if err := k.await(ctx, func() bool { h := k.stacks[name]; return !h.isHere() || h.services != nil || !k.up }); err != nil {
		return err
	}
	k.mu.Lock()
	h, err := k.chosen(name, services)
	changed := false
	if err == nil {
		for i := range h.services {
			s := &h.services[i]
			if len(services) == 0 || slices.Contains(services, s.name) {
				changed = do(k.store.of(name), s, h.instance(s.name)) || changed
			}
		}
		k.tell()
	}
	k.mu.Unlock()
	if err != nil || !changed {
		return err
	}
	return k.save()
}

// chosen returns the stack if it has the services; k.mu is held.
func (k *Keeper) chosen(name protocol.StackName, services []string) (*held, error) {
	h := k.stacks[name]
	if !h.isHere() {
		return nil, protocol.Errorf(protocol.CodeNotFound, "no stack %q is on this node: 'hearth stack ls' shows where they are", name)
	}
	if h.services == nil && !k.up {
		return nil, protocol.Errorf(protocol.CodeEngineDown, "the container engine does not answer: is it running?")
	}
	for _, s := range services {
		if h.find(s) == nil {
			return nil, protocol.Errorf(protocol.CodeNotFound, "the stack %s has no service %q: 'hearth stack ps %s' shows them", name, s, name)
		}
	}
	return h, nil
}

// Container returns the ID of the running container of a service. CodeNotFound where
// the stack or the service is not here, CodeConflict where it does not run.
func (k *Keeper) Container(name protocol.StackName, service string) (string, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	h, err := k.chosen(name, []string{service})
	if err != nil {
		return "", err
	}
	if i := h.instance(service); i.State == Running {
		return i.ID, nil
	}
	return "", protocol.Errorf(protocol.CodeConflict, "%s/%s does not run now: 'hearth stack ps %s' says why", name, service, name)
}
