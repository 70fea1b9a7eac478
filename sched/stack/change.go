package stack

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

// A change is a new version that is not known to be up yet.
type change struct {
	name    protocol.StackName
	version uint64
	timeout time.Duration
	abort   chan struct{} // closed where somebody wants something else
	once    sync.Once
	done    chan struct{} // closed when err says what came of it
	err     error
}

func newChange(name protocol.StackName, version uint64, timeout time.Duration) *change {
	return &change{name: name, version: version, timeout: timeout, abort: make(chan struct{}), done: make(chan struct{})}
}

func (c *change) stop() { c.once.Do(func() { close(c.abort) }) }

// PlanStack implements protocol.Stacks.
func (h *Holder) PlanStack(ctx context.Context, u protocol.UpStack) (protocol.StackPlan, error) {
	plan := h.diff(&u.Record.Stack)
	reasons, err := h.refusals(ctx, &u.Record)
	if err != nil {
		return protocol.StackPlan{}, err
	}
	h.refuse(&plan, reasons)
	return plan, nil
}

// diff is the plan without what the node says of it.
func (h *Holder) diff(now *protocol.Stack) protocol.StackPlan {
	plan := protocol.StackPlan{
		Name: now.Name, Version: 1, Holder: h.cfg.Self, HolderName: h.cfg.Name,
		Warnings: []string{}, Refused: []protocol.NodeRefusal{},
	}
	e := h.entry(now.Name)
	if e == nil {
		plan.Services = Diff(nil, now)
		return plan
	}
	k := h.latest(e)
	plan.Why = "it holds the stack"
	plan.Current, plan.Version = k.Record.Version, k.Record.Version+1
	plan.Services = Diff(&k.Record.Stack, now)
	if k.Phase != phaseUp || k.Record.Stopped {
		for i := range plan.Services {
			if plan.Services[i].Action == protocol.ActionKeep {
				plan.Services[i].Action = protocol.ActionStart
			}
		}
		return plan
	}
	if sameAsKnown(&k.Record.Stack, now) {
		plan.Version = plan.Current
	}
	return plan
}

// sameAsKnown is same for a stack that may have come without what its files hold.
func sameAsKnown(old, now *protocol.Stack) bool {
	filled := *now
	filled.Files = slices.Clone(now.Files)
	for i := range filled.Files {
		if f := fileOf(old, filled.Files[i].Name); f != nil && len(filled.Files[i].Data) == 0 && f.Size == filled.Files[i].Size {
			filled.Files[i].Data = f.Data
		}
	}
	return same(old, &filled)
}

// refusals are all reasons why this node does not run it.
func (h *Holder) refusals(ctx context.Context, r *protocol.StackRecord) ([]protocol.StackRefusal, error) {
	if h.cfg.Keeper == nil {
		return []protocol.StackRefusal{{Code: protocol.CodeEngineDown, Reason: "runs no work: " + h.cfg.NoKeeper}}, nil
	}
	var reasons []protocol.StackRefusal
	own := r.By == h.cfg.Self && h.entry(r.Stack.Name) != nil // as when it rolls back
	if err := h.cfg.Admit(r.By); err != nil && !own {
		reasons = append(reasons, protocol.StackRefusal{Code: protocol.CodeOf(err), Reason: err.Error()})
	}
	if h.entry(r.Stack.Name) == nil && len(h.names()) >= protocol.MaxStacks {
		reasons = append(reasons, protocol.StackRefusal{Code: protocol.CodeResources, Reason: fmt.Sprintf("holds %d stacks already, which is the most", protocol.MaxStacks)})
	}
	more, err := h.cfg.Keeper.Check(ctx, r.Stack)
	if protocol.CodeOf(err) == protocol.CodeEngineDown {
		return append(reasons, protocol.StackRefusal{Code: protocol.CodeEngineDown, Reason: err.Error()}), nil
	}
	return append(reasons, more...), err
}

// refuse makes a plan one that this node does not carry out.
func (h *Holder) refuse(plan *protocol.StackPlan, reasons []protocol.StackRefusal) {
	if len(reasons) == 0 {
		return
	}
	plan.Refused = append(plan.Refused, protocol.NodeRefusal{Node: h.cfg.Self, NodeName: h.cfg.Name, Reasons: reasons})
	plan.Holder, plan.HolderName = "", ""
}

// refusedError sums up why nothing was started.
func refusedError(plan *protocol.StackPlan) error {
	var parts []string
	for _, n := range plan.Refused {
		for _, r := range n.Reasons {
			text := r.Reason
			if r.Service != "" {
				text = r.Service + ": " + text
			}
			parts = append(parts, n.NodeName+": "+text)
		}
	}
	if len(parts) > 3 {
		parts = append(parts[:3], fmt.Sprintf("and %d reasons more", len(parts)-3))
	}
	if len(parts) == 0 {
		parts = []string{"no node is known"}
	}
	return protocol.Errorf(protocol.CodeNoNode, "no node can run the stack %s: %s", plan.Name, strings.Join(parts, "; "))
}

// UpStack implements protocol.Stacks.
func (h *Holder) UpStack(ctx context.Context, u protocol.UpStack, yield func(protocol.StackUpdate) error) error {
	r := &u.Record
	data, err := r.SignedBytes()
	if err != nil {
		return err
	}
	if err := h.cfg.Verify(r.By, data, r.Signature); err != nil {
		return protocol.Errorf(protocol.CodeUnauthorized, "the record of stack %s is not signed by the device that sent it", r.Stack.Name)
	}
	if !r.Stack.Complete() {
		return protocol.Errorf(protocol.CodeInvalid, "the stack %s comes without what its files hold", r.Stack.Name)
	}
	c, err := h.begin(ctx, u, yield)
	if err != nil || c == nil {
		return err
	}
	if u.Detach {
		return nil
	}
	return h.follow(ctx, c, yield)
}

// RollbackStack implements protocol.Stacks. This device signs the new version: it
// has the files.
func (h *Holder) RollbackStack(ctx context.Context, r protocol.RollbackStack, yield func(protocol.StackUpdate) error) error {
	name, _, _ := protocol.ParseStackRef(string(r.Name))
	e := h.entry(name)
	if e == nil {
		return noStack(name)
	}
	h.mu.Lock()
	history := slices.Clone(e.history)
	h.mu.Unlock()
	wanted, err := pick(history, r.Version)
	if err != nil {
		return err
	}
	record, err := h.again(&history[0].Record, wanted, fmt.Sprintf("rolled back to version %d", wanted.Version))
	if err != nil {
		return err
	}
	c, err := h.begin(ctx, protocol.UpStack{Record: record, Timeout: r.Timeout}, yield)
	if err != nil || c == nil || r.Detach {
		return err
	}
	return h.follow(ctx, c, yield)
}

// pick returns the version that is wanted, 0 for the one before the first.
func pick(history []kept, version uint64) (*protocol.StackRecord, error) {
	name := history[0].Record.Stack.Name
	if version == 0 {
		if len(history) < 2 {
			return nil, protocol.Errorf(protocol.CodeNotFound, "the stack %s has no version before %d", name, history[0].Record.Version)
		}
		return &history[1].Record, nil
	}
	for i := range history {
		if history[i].Record.Version == version {
			return &history[i].Record, nil
		}
	}
	return nil, protocol.Errorf(protocol.CodeNotFound, "the stack %s has no version %d any more: 'hearth stack history %s' lists those that are kept", name, version, name)
}

// again returns the record that makes an earlier version the next one.
func (h *Holder) again(current, earlier *protocol.StackRecord, note string) (protocol.StackRecord, error) {
	r := protocol.StackRecord{
		Stack: earlier.Stack, Version: current.Version + 1, Changed: h.cfg.Now(), By: h.cfg.Self, ByName: h.cfg.Name,
		Salt: earlier.Salt, Note: note,
	}
	return r, SignRecord(&r, h.cfg.Sign)
}

// SignRecord signs what the device that changes a stack decided.
func SignRecord(r *protocol.StackRecord, sign func([]byte) ([]byte, error)) error {
	data, err := r.SignedBytes()
	if err != nil {
		return err
	}
	r.Signature, err = sign(data)
	return err
}

// begin makes a record the current one: it is on disk, and handed to the Keeper,
// when begin returns the change. It is nil where there is nothing to change.
func (h *Holder) begin(ctx context.Context, u protocol.UpStack, yield func(protocol.StackUpdate) error) (*change, error) {
	name := u.Record.Stack.Name
	e, made := h.entryFor(name)
	select {
	case e.lock <- struct{}{}:
		defer e.release()
	default:
		return nil, underWay(name)
	}
	defer func() { h.dropUnused(name, e, made) }()
	h.mu.Lock()
	free := e.change == nil && (h.entries[name] == e || h.making[name] == e)
	h.mu.Unlock()
	if !free {
		return nil, underWay(name)
	}
	if !made && h.latest(e).Phase == phaseRemoving {
		return nil, protocol.Errorf(protocol.CodeConflict, "the stack %s cannot be changed, it is being taken down: wait for that, or repeat 'hearth stack down %s'", name, name)
	}
	plan, err := h.PlanStack(ctx, u)
	if err != nil {
		return nil, err
	}
	if err := yield(protocol.StackUpdate{Plan: &plan}); err != nil {
		return nil, err
	}
	switch {
	case plan.Holder == "":
		return nil, refusedError(&plan)
	case plan.Version == plan.Current:
		return nil, nil
	case u.Record.Version != plan.Version && plan.Current > 0:
		return nil, protocol.Errorf(protocol.CodeConflict, "the stack %s was changed by somebody else meanwhile: it is at version %d; try again", name, plan.Current)
	}
	c, err := h.commit(ctx, e, &u)
	if err != nil {
		return nil, err
	}
	return c, yield(protocol.StackUpdate{Accepted: u.Record.Version})
}

func underWay(name protocol.StackName) error {
	return protocol.Errorf(protocol.CodeConflict, "the stack %s is being changed already: wait for that, or end it with 'hearth stack stop %s'", name, name)
}

// entryFor returns the entry of a name, and whether it is one without a version.
func (h *Holder) entryFor(name protocol.StackName) (e *entry, made bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if e = h.entries[name]; e != nil {
		return e, false
	}
	if e = h.making[name]; e != nil {
		return e, true
	}
	e = &entry{lock: make(chan struct{}, 1)}
	h.making[name] = e
	return e, true
}

// dropUnused forgets an entry that got no version.
func (h *Holder) dropUnused(name protocol.StackName, e *entry, made bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if made && h.making[name] == e {
		delete(h.making, name)
	}
}

// commit writes a version down and has it kept up.
func (h *Holder) commit(ctx context.Context, e *entry, u *protocol.UpStack) (*change, error) {
	r := u.Record
	timeout := u.Timeout
	if timeout == 0 {
		timeout = protocol.DefaultUpTimeout
	}
	h.mu.Lock()
	before := make([]protocol.StackRecord, 0, len(e.history))
	for i := range e.history {
		before = append(before, e.history[i].Record)
	}
	h.mu.Unlock()
	assignNumbers(&r.Stack, before)
	if err := h.write(e, kept{Record: r, Pending: protocol.Milliseconds(timeout.Milliseconds())}); err != nil {
		return nil, err
	}
	c := newChange(r.Stack.Name, r.Version, timeout)
	h.setChange(e, c)
	h.notify()
	if err := h.cfg.Keeper.Apply(context.WithoutCancel(ctx), r); err != nil {
		h.cfg.Log.Error("a stack cannot be kept up", "stack", r.Stack.Name, "err", err)
	}
	select {
	case h.changes <- c:
	case <-h.ended: // the next start goes on with it
		c.err = errLeaving
		close(c.done)
	}
	return c, nil
}

// write makes k what is kept of its stack, on disk first.
func (h *Holder) write(e *entry, k kept) error {
	if err := h.store.put(k); err != nil {
		return err
	}
	name := k.Record.Stack.Name
	h.mu.Lock()
	if len(e.history) > 0 && e.current().Record.Version == k.Record.Version {
		e.history = append([]kept{k}, e.history[1:]...)
	} else {
		e.history = append([]kept{k}, e.history...)
	}
	var old []uint64
	for _, k := range e.history[min(len(e.history), KeptVersions):] {
		old = append(old, k.Record.Version)
	}
	e.history = e.history[:min(len(e.history), KeptVersions)]
	h.entries[name] = e
	h.mu.Unlock()
	if len(old) > 0 {
		if err := h.store.delete(name, old...); err != nil {
			h.cfg.Log.Warn("old versions of a stack could not be deleted", "stack", name, "err", err)
		}
	}
	return nil
}

// follow yields the status of a change until it is known what comes of it.
func (h *Holder) follow(ctx context.Context, c *change, yield func(protocol.StackUpdate) error) error {
	watching, cancel := context.WithCancel(ctx)
	defer cancel()
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
	for {
		select {
		case s := <-news:
			if s.Version != c.version {
				continue
			}
			if err := yield(protocol.StackUpdate{Status: &s}); err != nil {
				return err
			}
		case <-c.done:
			return c.err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
