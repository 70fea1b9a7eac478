package stack

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime"
)

// follow learns from the engine what happens to the containers, until ctx ends. It
// is the only one that brings news of what was not done here.
func (k *Keeper) follow(ctx context.Context) {
	for pause := reconnectFirst; ctx.Err() == nil; pause = min(2*pause, reconnectMost) {
		err := k.cfg.Engine.Watch(ctx, func() error {
			pause = reconnectFirst
			return k.resync(ctx)
		}, func(e Event) { k.event(ctx, e) })
		k.lost()
		if ctx.Err() == nil {
			k.cfg.Log.Debug("the engine's events broke off", "err", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

// lost notes that nothing is known of the engine any more.
func (k *Keeper) lost() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.up {
		k.up = false
		k.tell()
	}
}

// resync takes in all that the engine has.
func (k *Keeper) resync(ctx context.Context) error {
	all, err := k.cfg.Engine.Containers(ctx)
	if err != nil {
		return fmt.Errorf("list the containers of stacks: %w", err)
	}
	now := time.Now()
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, h := range k.stacks {
		for service, i := range h.seen {
			if i.State != Absent && !slices.ContainsFunc(all, func(c Container) bool { return c.ID == i.ID }) {
				i.removed()
			}
			if h.find(service) == nil && i.State == Absent && i.busy == idle {
				delete(h.seen, service)
			}
		}
		h.dirty, h.prepareAt = !h.gone, time.Time{}
	}
	for _, c := range all {
		k.adopt(c, now)
	}
	k.up = true
	k.tell()
	return nil
}

// adopt takes in a container at a resync; k.mu is held. One of a stack that is not
// known is left alone: its record may be applied later.
func (k *Keeper) adopt(c Container, now time.Time) {
	h := k.hold(c.Stack)
	i := h.instance(c.Service)
	if c.State == Created {
		c.Hash = "" // whoever made it may not have finished: it is made anew
	}
	if i.State == Absent {
		i.Container = c
		_, completed := slices.BinarySearch(k.store.of(c.Stack).Completed, c.ID)
		i.adopted(h.restartPolicy(c.Service), completed)
		if i.State == Running {
			i.up = now
			i.sawHealth(c, now)
		}
		return
	}
	// What ended while nobody looked may have been ended by the engine.
	i.signalled = i.signalled || i.State == Running
	i.saw(c, h.restartPolicy(c.Service), now)
}

// event takes in one of the engine's.
func (k *Keeper) event(ctx context.Context, e Event) {
	switch e.Kind {
	case EventSignalled:
		k.mu.Lock()
		resumed := false
		if i := k.ofContainer(e); i != nil {
			i.endedByAnother(k.stacks[e.Stack].restartPolicy(e.Service))
			resumed = !i.done && drop(&k.store.of(e.Stack).Completed, i.ID)
			k.tell()
		}
		k.mu.Unlock()
		k.saveCompleted(resumed, e.Stack, e.Service)
	case EventGone:
		k.gone(e)
	default:
		k.look(ctx, e)
	}
}

// ofContainer returns the instance whose container an event is about, or nil;
// k.mu is held.
func (k *Keeper) ofContainer(e Event) *instance {
	if h := k.stacks[e.Stack]; h != nil {
		if i := h.seen[e.Service]; i != nil && i.ID == e.Container {
			return i
		}
	}
	return nil
}

func (k *Keeper) gone(e Event) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if i := k.ofContainer(e); i != nil {
		i.removed()
		k.tell()
	}
}

// look asks the engine what a container is now.
func (k *Keeper) look(ctx context.Context, e Event) {
	asked := k.nextQuestion()
	c, err := k.cfg.Engine.Container(ctx, e.Container)
	switch {
	case errors.Is(err, runtime.ErrNotFound):
		k.gone(e)
	case err != nil:
		if ctx.Err() == nil {
			k.cfg.Log.Debug("an event's container is not known", "stack", e.Stack, "service", e.Service, "err", err)
		}
	default:
		k.saw(ctx, c, asked)
	}
}

// nextQuestion numbers the questions to the engine: answers may overtake each other.
func (k *Keeper) nextQuestion() uint64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.asked++
	return k.asked
}

// saw takes in what the engine told of a container, and keeps the last words of one
// that failed. What was asked before another answer came is left: if it is newer
// nevertheless, an event follows.
func (k *Keeper) saw(ctx context.Context, c Container, asked uint64) {
	k.mu.Lock()
	h := k.stacks[c.Stack]
	if h == nil {
		k.mu.Unlock()
		return
	}
	i := h.instance(c.Service)
	if asked < i.asked {
		k.mu.Unlock()
		return
	}
	restart := h.restartPolicy(c.Service)
	failed := i.saw(c, restart, time.Now())
	i.asked = asked
	completed := i.done && c.ExitCode == 0 && restart != protocol.RestartNo && add(&k.store.of(c.Stack).Completed, c.ID)
	if completed {
		k.forgetCompleted(h)
	}
	resumed := c.State == Running && drop(&k.store.of(c.Stack).Completed, c.ID)
	k.tell()
	k.mu.Unlock()
	k.saveCompleted(completed || resumed, c.Stack, c.Service)
	if !failed {
		return
	}
	k.cfg.Log.Warn("an instance failed", "stack", c.Stack, "service", c.Service, "exit", c.ExitCode)
	words := k.lastWords(ctx, c.ID)
	k.mu.Lock()
	h.note(c.Service).lastOutput = words
	k.tell()
	k.mu.Unlock()
}

// saveCompleted writes down which services have completed; k.mu is not held.
func (k *Keeper) saveCompleted(changed bool, stack protocol.StackName, service string) {
	if !changed {
		return
	}
	if err := k.save(); err != nil {
		k.cfg.Log.Error("whether a service has completed was not kept: a restart may find it otherwise", "stack", stack, "service", service, "err", err)
	}
}

// forgetCompleted keeps the list of completed containers to those that are there;
// k.mu is held.
func (k *Keeper) forgetCompleted(h *held) {
	kept := k.store.of(h.name)
	kept.Completed = slices.DeleteFunc(kept.Completed, func(id string) bool {
		for _, i := range h.seen {
			if i.ID == id {
				return false
			}
		}
		return true
	})
}

// lastWords returns the last lines that a container wrote.
func (k *Keeper) lastWords(ctx context.Context, id string) string {
	ctx, cancel := context.WithTimeout(ctx, lastWordsTimeout)
	defer cancel()
	var text strings.Builder
	err := k.cfg.Engine.Logs(ctx, id, LogOptions{Tail: lastLines}, func(l protocol.LogLine) error {
		text.WriteString(l.Text)
		text.WriteByte('\n')
		return nil
	})
	if err != nil && ctx.Err() == nil {
		k.cfg.Log.Debug("the last lines of a container are not known", "container", id, "err", err)
	}
	all := strings.TrimRight(text.String(), "\n")
	return all[max(0, len(all)-lastOutput):]
}
