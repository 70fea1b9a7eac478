package stack

import (
	"context"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
)

// cleanUp removes what is left of a stack whose containers are gone. Where it
// fails it is tried again after a while.
func (k *Keeper) cleanUp(ctx context.Context, h *held) {
	err := k.removeRest(ctx, h)
	if err == nil {
		k.mu.Lock()
		k.forget(h)
		k.mu.Unlock()
		if err := k.save(); err != nil {
			k.cfg.Log.Error("the removal of a stack was not kept", "stack", h.name, "err", err)
		}
	} else if ctx.Err() == nil {
		k.cfg.Log.Error("a stack cannot be removed whole", "stack", h.name, "err", err)
		k.mu.Lock()
		h.trouble = reason(err)
		k.tell()
		k.mu.Unlock()
		pause := time.NewTimer(retryBlocked)
		defer pause.Stop()
		select {
		case <-pause.C:
		case <-ctx.Done():
		}
	}
	k.mu.Lock()
	h.cleaning = false
	k.tell()
	k.mu.Unlock()
}

// forget drops a stack; that its volumes were made is kept as long as they are.
// k.mu is held.
func (k *Keeper) forget(h *held) {
	kept := k.store.of(h.name)
	delete(k.stacks, h.name)
	delete(k.store.Stacks, h.name)
	if len(kept.Volumes) > 0 && !kept.Data {
		k.store.Stacks[h.name] = &keptStack{Volumes: kept.Volumes}
	}
	k.usersOf(h.name)
}

// removeRest removes the networks, and the volumes if their data is given up.
func (k *Keeper) removeRest(ctx context.Context, h *held) error {
	ctx, cancel := context.WithTimeout(ctx, actionTimeout)
	defer cancel()
	all, err := k.cfg.Engine.Networks(ctx)
	if err != nil {
		return err
	}
	for _, n := range all {
		if n.Stack == h.name {
			if err := k.cfg.Engine.RemoveNetwork(ctx, n.Name); err != nil {
				return err
			}
		}
	}
	k.mu.Lock()
	kept := k.store.of(h.name)
	volumes, data := slices.Clone(kept.Volumes), kept.Data
	k.mu.Unlock()
	if !data {
		return nil
	}
	for _, v := range volumes {
		if err := k.cfg.Engine.RemoveVolume(ctx, volumeName(h.name, v)); err != nil {
			return err
		}
	}
	return nil
}

// settled is called when nothing is due for a stack. Networks of earlier versions
// go when no container of those is left. k.mu is held.
func (k *Keeper) settled(ctx context.Context, group *errgroup.Group, h *held) {
	h.fresh = false
	n := decision{desired: &h.desired, seen: h.seen}
	for i := range h.services {
		if in := h.instance(h.services[i].name); in.State != Absent && n.isStale(&h.services[i], in) {
			return
		}
	}
	unused := h.unused
	h.unused = nil
	if len(unused) == 0 || h.gone {
		return
	}
	group.Go(func() error {
		for _, name := range unused {
			if err := k.cfg.Engine.RemoveNetwork(ctx, name); err != nil && ctx.Err() == nil {
				k.cfg.Log.Warn("a network that no service is on was not removed", "network", name, "err", err)
			}
		}
		return nil
	})
}
