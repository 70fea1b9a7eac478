package stack

import (
	"context"
	"errors"
	"slices"

	"github.com/hearth-edge/hearth/protocol"
)

// ControlStack implements protocol.Stacks.
func (h *Holder) ControlStack(ctx context.Context, c protocol.ControlStack) error {
	if c.Action == protocol.StackDown {
		return h.down(ctx, c)
	}
	e, err := h.up(&c.Name)
	if err != nil {
		return err
	}
	if err := hasServices(h.latest(e), c.Services); err != nil {
		return err
	}
	if c.Action == protocol.StackStop {
		h.abort(e)
	}
	if !e.acquire(ctx) {
		return ctx.Err()
	}
	defer e.release()
	k := h.latest(e)
	if k.Phase != phaseUp {
		return noStack(c.Name)
	}
	whole := len(c.Services) == 0
	switch c.Action {
	case protocol.StackRestart:
		err = h.cfg.Keeper.Restart(ctx, c.Name, c.Services)
	case protocol.StackStop:
		// Written down first, so that it stays stopped whatever happens.
		// A change that this has ended is none to go on with at the next start.
		if k.Pending > 0 || whole && !k.Record.Stopped {
			k.Record.Stopped, k.Pending = k.Record.Stopped || whole, 0
			err = h.write(e, k)
		}
		if err == nil {
			err = h.cfg.Keeper.Stop(ctx, c.Name, c.Services)
		}
		if err == nil {
			err = h.awaitStopped(ctx, c.Name, c.Services)
		}
	case protocol.StackStart:
		if err = h.cfg.Keeper.Start(ctx, c.Name, c.Services); err == nil && k.Record.Stopped {
			k.Record.Stopped = false
			err = h.write(e, k)
		}
	}
	h.notify()
	return err
}

// errStopped ends a watch that has seen what it waited for.
var errStopped = errors.New("stopped")

// awaitStopped returns when none of the services runs any more; none named is all.
func (h *Holder) awaitStopped(ctx context.Context, name protocol.StackName, services []string) error {
	err := h.cfg.Keeper.Watch(ctx, name, func(s protocol.StackStatus) error {
		for i := range s.Instances {
			n := &s.Instances[i]
			if (len(services) == 0 || slices.Contains(services, n.Service)) && !ended(n.State) {
				return nil
			}
		}
		return errStopped
	})
	if errors.Is(err, errStopped) {
		return nil
	}
	return errors.Join(err, ctx.Err())
}

func ended(s protocol.InstanceState) bool {
	return s == protocol.InstanceStopped || s == protocol.InstanceFailed || s == protocol.InstanceCompleted
}

// abort has a change under way end, and waits for that.
func (h *Holder) abort(e *entry) {
	h.mu.Lock()
	c := e.change
	h.mu.Unlock()
	if c != nil {
		c.stop()
		<-c.done
	}
}

// down ends a stack. What has data on this node keeps its record, so that its name
// stays with it, unless the data goes, too.
func (h *Holder) down(ctx context.Context, c protocol.ControlStack) error {
	name, _, _ := protocol.ParseStackRef(string(c.Name))
	e := h.entry(name)
	switch {
	case e == nil:
		return noStack(name)
	case h.cfg.Keeper == nil:
		return protocol.Errorf(protocol.CodeEngineDown, "this device runs no work: %s", h.cfg.NoKeeper)
	}
	h.abort(e)
	if !e.acquire(ctx) {
		return ctx.Err()
	}
	k := h.latest(e)
	switch {
	case h.entry(name) != e:
		e.release()
		return noStack(name)
	case k.Phase == phaseDown && !c.Data:
		e.release()
		return protocol.Errorf(protocol.CodeConflict, "the stack %s is down already, and its data is kept: --data removes that", name)
	}
	k.Phase, k.Data, k.Pending = phaseRemoving, c.Data || k.Data, 0
	err := h.write(e, k)
	e.release()
	if err != nil {
		return err
	}
	h.notify()
	return h.awaitRemoval(ctx, &removal{name: name, data: k.Data, done: make(chan struct{})})
}

// A removal is a stack that is being taken down.
type removal struct {
	name protocol.StackName
	data bool
	done chan struct{} // closed when err says what came of it
	err  error
}

// awaitRemoval has Run carry a removal out, and waits for that. What was begun goes on when
// ctx ends: a stack that is half gone could neither run nor be brought back.
func (h *Holder) awaitRemoval(ctx context.Context, r *removal) error {
	select {
	case h.ends <- r:
	case <-h.ended: // the next start goes on with it
		return errLeaving
	}
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// end is remove as Run does it.
func (h *Holder) end(ctx context.Context, r *removal) {
	defer close(r.done)
	if r.err = h.remove(ctx, r.name, r.data); r.err == nil {
		return
	}
	if ctx.Err() != nil {
		r.err = errLeaving
		return
	}
	h.cfg.Log.Error("a stack that was taken down is not all gone", "stack", r.name, "err", r.err)
}

// remove carries out what phaseRemoving says.
func (h *Holder) remove(ctx context.Context, name protocol.StackName, data bool) error {
	e := h.entry(name)
	if e == nil {
		return nil
	}
	if !e.acquire(ctx) {
		return ctx.Err()
	}
	defer e.release()
	k := h.latest(e)
	if k.Phase != phaseRemoving || h.entry(name) != e {
		return nil
	}
	if err := h.cfg.Keeper.Remove(ctx, name, data); err != nil {
		return err
	}
	defer h.notify()
	h.mu.Lock()
	history := slices.Clone(e.history)
	h.mu.Unlock()
	// What an image declares to hold data is in no record: the Keeper knows it.
	named := slices.ContainsFunc(history, func(k kept) bool { return len(k.Record.Stack.Volumes) > 0 })
	if !data && (named || h.cfg.Keeper.HasData(name)) {
		k.Phase = phaseDown
		return h.write(e, k)
	}
	var versions []uint64 // the current one last: as long as it is there, the next start goes on
	for _, k := range slices.Backward(history) {
		versions = append(versions, k.Record.Version)
	}
	if err := h.store.delete(name, versions...); err != nil {
		return err
	}
	h.mu.Lock()
	delete(h.entries, name)
	h.mu.Unlock()
	return nil
}
