package stack

import (
	"context"
	"slices"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

// Restart stops services and starts them again; none names all. It returns when they
// have stopped. CodeNotFound where the stack or a service is not here.
func (k *Keeper) Restart(ctx context.Context, name protocol.StackName, services []string) error {
	err := k.change(ctx, name, services, func(h *held, kept *keptStack, service string) bool {
		h.instance(service).startAgain()
		return k.unstop(h, kept, service)
	})
	if err != nil {
		return err
	}
	return k.await(ctx, func() bool {
		h := k.stacks[name]
		if !k.up || !h.isHere() {
			return true
		}
		for service, i := range h.seen {
			if i.again && (len(services) == 0 || slices.Contains(services, service)) {
				return false
			}
		}
		return true
	})
}

// Stop stops services until Start; that outlives restarts of the device, and ends
// with the next version of the stack.
func (k *Keeper) Stop(ctx context.Context, name protocol.StackName, services []string) error {
	return k.change(ctx, name, services, func(h *held, kept *keptStack, service string) bool {
		if end := h.pulls[service]; end != nil {
			end()
		}
		return add(&kept.Stopped, service)
	})
}

// Start starts services that were stopped, or have ended for good.
func (k *Keeper) Start(ctx context.Context, name protocol.StackName, services []string) error {
	return k.change(ctx, name, services, func(h *held, kept *keptStack, service string) bool {
		if i := h.instance(service); i.State != Running {
			i.startAgain()
		}
		return k.unstop(h, kept, service)
	})
}

// unstop lets a service run, and reports whether what is kept has changed. Of a
// stack that was stopped as a whole the others stay so. k.mu is held.
func (k *Keeper) unstop(h *held, kept *keptStack, service string) bool {
	if h.stopped {
		for i := range h.record.Stack.Services {
			add(&kept.Stopped, h.record.Stack.Services[i].Name)
		}
		h.stopped, h.record.Stopped = false, false
		h.dirty, h.prepareAt = true, time.Time{} // its networks may have to be made
	}
	resumed := drop(&kept.Completed, h.instance(service).ID)
	return drop(&kept.Stopped, service) || resumed
}

// change does something to services; do reports whether what is kept has changed.
func (k *Keeper) change(ctx context.Context, name protocol.StackName, services []string, do func(*held, *keptStack, string) bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	k.mu.Lock()
	h, err := k.chosen(name, services)
	changed := false
	if err == nil {
		kept := k.store.of(name)
		for i := range h.record.Stack.Services {
			if s := h.record.Stack.Services[i].Name; len(services) == 0 || slices.Contains(services, s) {
				changed = do(h, kept, s) || changed
			}
		}
		for i := range h.services {
			h.services[i].stopped = slices.Contains(kept.Stopped, h.services[i].name)
		}
		k.tell()
	}
	k.mu.Unlock()
	if err != nil || !changed {
		return err
	}
	k.reserve()
	return k.save()
}

// chosen returns the stack if it has the services; k.mu is held.
func (k *Keeper) chosen(name protocol.StackName, services []string) (*held, error) {
	h := k.stacks[name]
	if !h.isHere() {
		return nil, protocol.Errorf(protocol.CodeNotFound, "no stack %q is on this node: 'hearth stack ls' shows where they are", name)
	}
	for _, s := range services {
		if !hasService(&h.record.Stack, s) {
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
