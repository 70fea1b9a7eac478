package stack

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime"
)

// dispatch has done what is due, until ctx ends. Nothing is looked at without a
// reason: news, the end of a back-off, or another try.
func (k *Keeper) dispatch(ctx context.Context, group *errgroup.Group) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-k.notify:
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		timer.Stop()
		if again := k.begin(ctx, group, time.Now()); !again.IsZero() {
			timer.Reset(max(0, time.Until(again)))
		}
	}
}

// begin begins what is due, and returns when to look again; zero is with news.
func (k *Keeper) begin(ctx context.Context, group *errgroup.Group, now time.Time) (again time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.up {
		return time.Time{}
	}
	later := func(at time.Time) {
		if !at.IsZero() && (again.IsZero() || at.Before(again)) {
			again = at
		}
	}
	for _, h := range k.stacks {
		k.noteStates(h, now)
		if h.record.Version == 0 && !h.gone || h.cleaning {
			continue
		}
		if h.dirty && !h.preparing && !h.gone {
			if now.Before(h.prepareAt) {
				later(h.prepareAt)
			} else {
				h.dirty, h.preparing = false, true
				group.Go(func() error { k.prepare(ctx, h); return nil })
			}
		}
		// What is being prepared may still make networks.
		if h.preparing || !h.gone && (h.services == nil || h.dirty && h.prepareAt.IsZero()) {
			continue
		}
		due, at := next(&h.desired, h.seen, now)
		later(at)
		if len(due) == 0 && !h.isBusy() {
			k.settled(ctx, group, h)
		}
		for _, a := range due {
			k.beginAction(ctx, group, h, a)
		}
	}
	return again
}

// beginAction begins one step; k.mu is held.
func (k *Keeper) beginAction(ctx context.Context, group *errgroup.Group, h *held, a action) {
	if a.step == stepCleanUp {
		h.cleaning = true
		group.Go(func() error { k.cleanUp(ctx, h); return nil })
		return
	}
	i := h.instance(a.service)
	i.busy = a.step
	t := task{action: a, held: h, container: i.Container, spec: h.specs[a.service], restarted: i.State == Exited}
	if s := h.find(a.service); s != nil && s.joins != "" {
		t.joined = h.instance(s.joins).ID
	}
	pulling := ctx
	if a.step == stepPull {
		pulling, h.pulls[a.service] = context.WithCancel(ctx)
	}
	if a.step == stepStop {
		i.signalled, i.again = true, a.cause != unwanted
	}
	group.Go(func() error { k.carryOut(ctx, pulling, t); return nil })
}

func (h *held) isBusy() bool {
	for _, i := range h.seen {
		if i.busy != idle {
			return true
		}
	}
	return false
}

// endPulls ends all pulls: what is still wanted is begun anew and goes on where
// it was. k.mu is held.
func (h *held) endPulls() {
	for _, end := range h.pulls {
		end()
	}
}

// task is an action with all that it needs.
type task struct {
	action
	held      *held
	container Container
	spec      *Spec
	joined    string // the ID of the container whose network it shares
	restarted bool
}

// carryOut does one step, and takes in what came of it. A pull has no bound but
// pulling, which ends when nobody waits for it any more.
func (k *Keeper) carryOut(ctx, pulling context.Context, t task) {
	limit := actionTimeout
	if t.spec != nil {
		limit += t.spec.Service.StopGrace.Duration()
	}
	doing := pulling
	if t.step != stepPull {
		var cancel context.CancelFunc
		doing, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	id, err := k.do(doing, t)
	var c Container
	asked := k.nextQuestion()
	if err == nil && id != "" {
		c, err = k.cfg.Engine.Container(doing, id)
	}
	missing := errors.Is(err, runtime.ErrNotFound) && t.step != stepPull && k.isGone(doing, cmp.Or(id, t.container.ID))
	if err == nil && id != "" {
		k.saw(ctx, c, asked)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	i := t.held.instance(t.service)
	i.busy = idle
	if t.step == stepPull {
		t.held.pulls[t.service]() // it frees what belongs to the context
		delete(t.held.pulls, t.service)
	}
	n := t.held.note(t.service)
	n.progress = ""
	switch {
	case missing || err == nil && t.step == stepRemove:
		if i.ID == t.container.ID || i.ID == id {
			i.removed()
		}
	case err != nil:
		k.failedStep(ctx, t, i, n, err)
	default:
		n.trouble = ""
		k.finish(t, i, n)
	}
	k.tell()
}

// isGone reports whether a container is not there: what was not found may be
// something that it needs.
func (k *Keeper) isGone(ctx context.Context, id string) bool {
	if id == "" {
		return false
	}
	_, err := k.cfg.Engine.Container(ctx, id)
	return errors.Is(err, runtime.ErrNotFound)
}

// do asks the engine for one step; id is the container that there is to look at.
func (k *Keeper) do(ctx context.Context, t task) (id string, err error) {
	e := k.cfg.Engine
	switch t.step {
	case stepPull:
		return "", k.pull(ctx, t)
	case stepCreate:
		spec := *t.spec
		if t.joined != "" {
			spec.Mode = "container:" + t.joined
		}
		if err := k.addImageVolumes(ctx, &spec); err != nil {
			return "", err
		}
		if err := k.makeVolumes(ctx, &spec); err != nil {
			return "", err
		}
		id, err := e.Create(ctx, spec)
		if protocol.CodeOf(err) == protocol.CodeConflict {
			return "", k.removeUnfinished(ctx, &spec, err)
		}
		return id, err
	case stepStart:
		if err := k.checkVolumes(ctx, t.spec); err != nil {
			return "", err
		}
		return t.container.ID, e.Start(ctx, t.container.ID, t.spec)
	case stepStop:
		grace, signal := defaultGrace, ""
		if t.spec != nil {
			signal = t.spec.Service.StopSignal
			if g := t.spec.Service.StopGrace.Duration(); g > 0 {
				grace = g
			}
		}
		return t.container.ID, e.Stop(ctx, t.container.ID, signal, grace)
	case stepRemove:
		return "", e.Remove(ctx, t.container.ID)
	}
	return "", fmt.Errorf("stack: no such step: %d", t.step)
}

// removeUnfinished removes a container that an engine made after its caller had
// given it up. Where there is none, the conflict is another's.
func (k *Keeper) removeUnfinished(ctx context.Context, spec *Spec, conflict error) error {
	all, err := k.cfg.Engine.Containers(ctx)
	if err != nil {
		return err
	}
	for _, c := range all {
		if c.Stack == spec.Stack && c.Service == spec.Service.Name && c.State == Created {
			return k.cfg.Engine.Remove(ctx, c.ID)
		}
	}
	return conflict
}

// finish takes in that a step was done; k.mu is held.
func (k *Keeper) finish(t task, i *instance, n *note) {
	switch t.step {
	case stepPull:
		i.absent, i.fetch = false, false
		// The name may stand for another image now.
		t.held.fresh, t.held.dirty, t.held.prepareAt = true, true, time.Time{}
	case stepStart:
		if t.restarted {
			n.restarts++
		}
	case stepStop:
		i.again = false
		switch t.cause {
		case foundUnwell:
			i.failed(time.Now())
		case stale, restarted:
			t.held.restartDependents(t.service)
		}
	}
}

// restartDependents restarts those that want that after a service was restarted.
func (h *held) restartDependents(name string) {
	for i := range h.record.Stack.Services {
		s := &h.record.Stack.Services[i]
		for _, d := range s.DependsOn {
			if in := h.instance(s.Name); d.Service == name && d.Restart && in.State == Running {
				in.again = true
			}
		}
	}
}

// failedStep takes in that a step could not be done; k.mu is held.
func (k *Keeper) failedStep(ctx context.Context, t task, i *instance, n *note, err error) {
	switch {
	case ctx.Err() != nil, errors.Is(err, context.Canceled), protocol.CodeOf(err) == protocol.CodeEngineDown:
		return // it is done when the engine is back, or not wanted any more
	case t.step == stepCreate && protocol.CodeOf(err) == protocol.CodeImageNotFound:
		i.absent = true // somebody removed it
		if t.spec.Service.Pull != protocol.PullNever {
			return
		}
	case t.step == stepPull && i.fetch && !i.absent:
		i.fetch = false // what is here is taken
	case t.step == stepStart && networkMissing(err):
		i.Hash = "" // its network was made anew: so is it
		t.held.dirty, t.held.prepareAt = true, time.Time{}
	case errors.Is(err, runtime.ErrNotFound):
		t.held.dirty, t.held.prepareAt = true, time.Time{}
		err = protocol.Errorf(protocol.CodeStartFailed, "a network or volume that it needs was removed: it is looked for again")
	}
	n.trouble = reason(err)
	i.couldNot(time.Now())
	if t.step == stepStop || t.step == stepRemove {
		i.stuckUntil = i.notBefore
	}
	k.cfg.Log.Warn("a step for an instance failed", "stack", t.held.name, "service", t.service, "step", t.step, "err", err)
}

// networkMissing reports whether a start failed because a network was removed. Engines
// name networking in their errors about ports, too.
func networkMissing(err error) bool {
	text := err.Error()
	return strings.Contains(text, "network") && strings.Contains(text, "not found")
}

// pull fetches an image.
func (k *Keeper) pull(ctx context.Context, t task) error {
	if t.spec.Service.Pull == protocol.PullNever {
		return protocol.Errorf(protocol.CodeImageNotFound, "the image %q is not on this node, and is not to be fetched (pull: never)", t.spec.Image)
	}
	last := ""
	return k.cfg.Engine.Pull(ctx, t.spec.Image, func(p runtime.PullStep) {
		text := p.Retry
		if text == "" && p.Total > 0 {
			text = fmt.Sprintf("%d0 %% of %s", p.Current*10/p.Total, p.Total)
		}
		if text == last {
			return
		}
		last = text
		k.mu.Lock()
		t.held.note(t.service).progress = text
		k.tell()
		k.mu.Unlock()
	})
}

// reason is an error as people are told it.
func reason(err error) string {
	text := "internal error: the log of the node has the details"
	if e, ok := errors.AsType[*protocol.Error](err); ok {
		text = e.Message
	} else if errors.Is(err, context.DeadlineExceeded) {
		text = "the container engine took too long"
	}
	if runes := []rune(text); len(runes) > maxReason {
		text = string(runes[:maxReason]) + "…"
	}
	return text
}
