package stack

import (
	"cmp"
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

// Status tells of all stacks, by name.
func (k *Keeper) Status() []protocol.StackStatus {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := time.Now()
	var all []protocol.StackStatus
	for _, h := range k.stacks {
		if h.record.Version > 0 {
			all = append(all, k.status(h, now))
		}
	}
	slices.SortFunc(all, func(a, b protocol.StackStatus) int { return strings.Compare(string(a.Name), string(b.Name)) })
	return all
}

// Watch yields the status of a stack, then again at each change, until yield fails,
// ctx ends, or the stack is removed: then it returns nil. CodeNotFound where the
// stack is not here.
func (k *Keeper) Watch(ctx context.Context, name protocol.StackName, yield func(protocol.StackStatus) error) error {
	var last *protocol.StackStatus
	for {
		k.mu.Lock()
		h, news := k.stacks[name], k.news
		if h == nil || h.record.Version == 0 {
			k.mu.Unlock()
			if last == nil {
				return protocol.Errorf(protocol.CodeNotFound, "no stack %q is on this node: 'hearth stack ls' shows where they are", name)
			}
			return nil
		}
		now := k.status(h, time.Now())
		k.mu.Unlock()
		if last == nil || !reflect.DeepEqual(*last, now) {
			if err := yield(now); err != nil {
				return err
			}
			last = &now
		}
		select {
		case <-news:
		case <-ctx.Done():
			return fmt.Errorf("watch the stack %s: %w", name, ctx.Err())
		}
	}
}

// status tells of one; k.mu is held.
func (k *Keeper) status(h *held, now time.Time) protocol.StackStatus {
	s := protocol.StackStatus{
		Name: h.name, Version: h.record.Version, Holder: k.cfg.Node, HolderName: k.cfg.Name, Reason: h.trouble,
	}
	for i := range h.record.Stack.Services {
		s.Instances = append(s.Instances, k.instanceStatus(h, &h.record.Stack.Services[i], now))
	}
	s.State = sum(h, s.Instances)
	if why, outdated := h.outdated(); outdated && s.State == protocol.StackUp {
		s.State, s.Reason = protocol.StackStarting, cmp.Or(s.Reason, why)
	}
	switch {
	case h.gone:
		s.Reason = cmp.Or(h.trouble, "is being removed")
	case !k.up:
		s.State, s.Reason = protocol.StackDegraded, "the container engine does not answer: is it running?"
	}
	return s
}

// outdated reports whether what runs is not yet what this version says: a service
// whose image is still to come runs on as it was. why is empty where nothing is
// wrong.
func (h *held) outdated() (why string, outdated bool) {
	if h.fresh && (h.dirty || h.preparing) {
		return "", true
	}
	n := decision{desired: &h.desired, seen: h.seen}
	for i := range h.services {
		s := &h.services[i]
		if in := h.instance(s.name); in.State == Absent || !n.isStale(s, in) {
			continue
		}
		outdated = true
		if trouble := h.note(s.name).trouble; trouble != "" {
			return s.name + " runs on as it was: " + trouble, true
		}
	}
	return "", outdated
}

// sum is the state of the stack as a whole.
func sum(h *held, instances []protocol.InstanceStatus) protocol.StackState {
	if h.stopped || h.gone {
		return protocol.StackStopped
	}
	state := protocol.StackUp
	stopped := 0
	for _, i := range instances {
		switch i.State {
		case protocol.InstanceStopped:
			stopped++
		case protocol.InstanceRunning, protocol.InstanceCompleted:
		case protocol.InstanceStarting, protocol.InstancePulling:
			if state == protocol.StackUp {
				state = protocol.StackStarting
			}
		case protocol.InstanceWaiting:
			if s := h.find(i.Service); s == nil || s.blocked == "" && h.note(i.Service).trouble == "" {
				if state == protocol.StackUp {
					state = protocol.StackStarting
				}
				continue
			}
			state = protocol.StackDegraded
		default:
			state = protocol.StackDegraded
		}
	}
	switch {
	case stopped == len(instances):
		return protocol.StackStopped
	case stopped > 0:
		return protocol.StackDegraded
	}
	return state
}

// instanceStatus tells of one service; k.mu is held.
func (k *Keeper) instanceStatus(h *held, svc *protocol.StackService, now time.Time) protocol.InstanceStatus {
	i, n := h.instance(svc.Name), h.note(svc.Name)
	out := protocol.InstanceStatus{
		Service: svc.Name, Image: svc.Image, Container: i.ID, Health: i.Health, Restarts: n.restarts, Ports: svc.Ports,
		ExitCode: i.ExitCode, Exited: i.State == Exited,
	}
	out.State, out.Reason = stateOf(h, svc.Name, i, n, now)
	if i.State != Running {
		out.Health = ""
	}
	if out.State != protocol.InstanceRunning && out.State != protocol.InstanceCompleted {
		out.LastOutput = n.lastOutput
	}
	n.noteState(out.State, now)
	out.Since = n.since
	if i.State == Running && out.State == protocol.InstanceRunning && !i.Started.IsZero() {
		out.Since = i.Started
	}
	return out
}

// noteState notes when a state began.
func (n *note) noteState(state protocol.InstanceState, now time.Time) {
	if n.state != state {
		n.state, n.since = state, now
	}
}

// noteStates notes the states of all instances, whoever may ask later since when
// they are so; k.mu is held.
func (k *Keeper) noteStates(h *held, now time.Time) {
	for i := range h.record.Stack.Services {
		name := h.record.Stack.Services[i].Name
		n := h.note(name)
		state, _ := stateOf(h, name, h.instance(name), n, now)
		n.noteState(state, now)
	}
}

// stateOf says where an instance is in its life, and why it does not run.
func stateOf(h *held, name string, i *instance, n *note, now time.Time) (protocol.InstanceState, string) {
	s := h.find(name)
	switch {
	case i.State == Running && i.busy == stepStop && i.again:
		return protocol.InstanceStarting, "is being restarted"
	case i.State == Running && i.Health == "unhealthy":
		return protocol.InstanceUnhealthy, "its health check fails"
	case i.State == Running && i.Health == "starting":
		return protocol.InstanceStarting, "its health check has not passed yet"
	case i.State == Running:
		return protocol.InstanceRunning, ""
	case h.stopped || s != nil && s.stopped || h.gone:
		return protocol.InstanceStopped, ""
	case s == nil:
		return protocol.InstanceWaiting, cmp.Or(h.trouble, "the node has not looked at it yet")
	case s.blocked != "":
		return protocol.InstanceWaiting, s.blocked
	case i.busy == stepPull:
		return protocol.InstancePulling, n.progress
	case i.busy == stepCreate || i.busy == stepStart:
		return protocol.InstanceStarting, ""
	case i.State == Exited && i.done && i.ExitCode == 0:
		return protocol.InstanceCompleted, ""
	case i.State == Exited && i.done:
		return protocol.InstanceFailed, ended(i)
	case now.Before(i.notBefore) && n.trouble == "" && i.State == Exited:
		return protocol.InstanceBackoff, ended(i) + "; is started again by itself"
	case now.Before(i.notBefore):
		return protocol.InstanceBackoff, n.trouble
	}
	d := decision{desired: &h.desired, seen: h.seen, now: now}
	if why := d.waitsFor(s); why != "" {
		return protocol.InstanceWaiting, "waits for " + why
	}
	return protocol.InstanceStarting, n.trouble
}

// ended says how an instance ended.
func ended(i *instance) string {
	switch {
	case i.OOMKilled:
		return "ran out of memory"
	case i.Error != "":
		return i.Error
	}
	return fmt.Sprintf("ended with exit code %d", i.ExitCode)
}
