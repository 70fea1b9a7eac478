package stack

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

// errAborted says that somebody wants something else of the stack.
var errAborted = errors.New("aborted")

// errLeaving says that the next process goes on with it.
var errLeaving = protocol.Errorf(protocol.CodeLeaving, "the device shuts down; the stack goes on with it")

// settle waits until a change is up, and brings the version before back where it is
// not in time.
func (h *Holder) settle(ctx context.Context, c *change) {
	why := h.await(ctx, c)
	switch {
	case ctx.Err() != nil:
		c.err = errLeaving
	case errors.Is(why, errAborted):
		c.err = protocol.Errorf(protocol.CodeCancelled, "somebody stopped the stack %s meanwhile", c.name)
	default:
		c.err = h.conclude(ctx, c, why)
	}
	h.mu.Lock()
	if e := h.entries[c.name]; e != nil && e.change == c {
		e.change = nil
	}
	h.mu.Unlock()
	h.notify()
	close(c.done)
}

// conclude writes down what came of a change; why is nil where it is up.
func (h *Holder) conclude(ctx context.Context, c *change, why error) error {
	e := h.entry(c.name)
	if e == nil || !e.acquire(ctx) {
		return why
	}
	defer e.release()
	k := h.latest(e)
	if k.Record.Version != c.version || k.Phase != phaseUp {
		return protocol.Errorf(protocol.CodeCancelled, "somebody changed the stack %s meanwhile", c.name)
	}
	k.Pending = 0
	if err := h.write(e, k); err != nil {
		h.cfg.Log.Error("what came of a change could not be written down", "stack", c.name, "err", err)
	}
	if why == nil {
		return nil
	}
	return h.goBack(ctx, e, &k.Record, why)
}

// goBack makes the version before the next one.
func (h *Holder) goBack(ctx context.Context, e *entry, failed *protocol.StackRecord, why error) error {
	h.mu.Lock()
	var before *protocol.StackRecord
	if len(e.history) > 1 && e.history[1].Phase == phaseUp {
		before = &e.history[1].Record
	}
	h.mu.Unlock()
	if before == nil {
		return protocol.Errorf(protocol.CodeStackUnhealthy, "%s: %v; there is no version before, so it stays as it is: 'hearth stack logs %s' tells more, 'hearth stack down %s' ends it",
			failed.Stack.Name, why, failed.Stack.Name, failed.Stack.Name)
	}
	r, err := h.again(failed, before, fmt.Sprintf("back to version %d: %v", before.Version, why))
	r.Stopped = before.Stopped
	if err == nil {
		err = h.write(e, kept{Record: r})
	}
	if err == nil {
		err = h.apply(ctx, &r)
	}
	if err != nil {
		h.cfg.Log.Error("the version before cannot be brought back", "stack", failed.Stack.Name, "err", err)
		return protocol.Errorf(protocol.CodeStackUnhealthy, "%s: %v; version %d could not be brought back: this device's log says why", failed.Stack.Name, why, before.Version)
	}
	return protocol.Errorf(protocol.CodeStackUnhealthy, "%s: %v; version %d is back, as version %d", failed.Stack.Name, why, before.Version, r.Version)
}

// await returns nil when the change is up and stays so, else why it is not.
func (h *Holder) await(ctx context.Context, c *change) error {
	watching, cancel := context.WithCancel(ctx)
	var watcher sync.WaitGroup
	defer watcher.Wait()
	defer cancel()
	news := make(chan protocol.StackStatus)
	watcher.Go(func() { // ends with watching
		_ = h.cfg.Keeper.Watch(watching, c.name, func(s protocol.StackStatus) error {
			select {
			case news <- s:
				return nil
			case <-watching.Done():
				return watching.Err()
			}
		})
	})
	deadline, stable := time.NewTimer(c.timeout), time.NewTimer(0)
	defer deadline.Stop()
	defer stable.Stop()
	stable.Stop()
	var last protocol.StackStatus
	for up := false; ; {
		select {
		case s := <-news:
			if s.Version != c.version {
				continue
			}
			if hopeless(&s) {
				return notUp(&s)
			}
			if is := s.State == protocol.StackUp; is != up || restarts(&s) != restarts(&last) {
				if up = is; up {
					stable.Reset(steadyFor(&s))
				} else {
					stable.Stop()
				}
			}
			last = s
		case <-stable.C:
			return nil
		case <-deadline.C:
			return fmt.Errorf("it was not up within %v: %w", c.timeout, notUp(&last))
		case <-c.abort:
			return errAborted
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func restarts(s *protocol.StackStatus) (n uint32) {
	for i := range s.Instances {
		n += s.Instances[i].Restarts
	}
	return n
}

// steadyFor is how long it must stay up: what ended once may do so again.
func steadyFor(s *protocol.StackStatus) time.Duration {
	if restarts(s) > 0 {
		return stableAfterRestart
	}
	return stableFor
}

// hopeless reports whether an instance has failed for good.
func hopeless(s *protocol.StackStatus) bool {
	for i := range s.Instances {
		if s.Instances[i].State == protocol.InstanceFailed {
			return true
		}
	}
	return false
}

// notUp says what is wrong, instance by instance, with the last line that each of
// them wrote.
func notUp(s *protocol.StackStatus) error {
	var parts []string
	for i := range s.Instances {
		n := &s.Instances[i]
		switch n.State {
		case protocol.InstanceRunning, protocol.InstanceCompleted:
			continue
		}
		text := fmt.Sprintf("%s is %s", n.Service, n.State)
		if n.Reason != "" {
			text += " (" + n.Reason + ")"
		}
		if lines := strings.Split(strings.TrimSpace(n.LastOutput), "\n"); lines[len(lines)-1] != "" {
			text += fmt.Sprintf(", its last line is %q", lines[len(lines)-1])
		}
		parts = append(parts, text)
	}
	if len(parts) == 0 && s.Reason != "" {
		parts = []string{s.Reason}
	}
	if len(parts) == 0 {
		parts = []string{"its containers were not started"}
	}
	return errors.New(strings.Join(parts[:min(len(parts), 3)], "; "))
}
