package stack

import (
	"context"
	"slices"
	"time"
)

// followAddresses has stacks looked at again when ports are to be published
// elsewhere, until ctx ends.
func (k *Keeper) followAddresses(ctx context.Context) {
	for {
		err := k.host.watch(ctx, func() { k.addressesChanged(ctx) })
		if ctx.Err() != nil {
			return
		}
		k.cfg.Log.Warn("changes of this device's addresses are not seen: ports stay where they are published", "err", err)
		select {
		case <-time.After(reconnectMost):
		case <-ctx.Done():
			return
		}
	}
}

// addressesChanged looks whether ports are to be published elsewhere now. Bridges
// of the engine come with each stack, and change nothing.
func (k *Keeper) addressesChanged(ctx context.Context) {
	k.mu.Lock()
	up, was := k.up, k.publishAt
	k.mu.Unlock()
	if !up || was == nil {
		return // all are prepared anew anyway
	}
	networks, err := k.cfg.Engine.Networks(ctx)
	if err != nil {
		return // and when the engine is back
	}
	if slices.Equal(publishAt(withoutBridges(k.host.addresses(), networks), k.cfg.Policy.PublishPublic), was) {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, h := range k.stacks {
		if h.isHere() {
			h.dirty, h.prepareAt = true, time.Time{}
		}
	}
	k.tell()
}
