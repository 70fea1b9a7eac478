package stack

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

// A Keeper keeps the instances of this node's stacks up; package runtime/stack has
// it, and says what is promised.
type Keeper interface {
	Check(ctx context.Context, s protocol.Stack) ([]protocol.StackRefusal, error)
	Apply(ctx context.Context, r protocol.StackRecord) error
	Remove(ctx context.Context, name protocol.StackName, data bool) error
	// HasData reports whether the stack has volumes here, also after Remove.
	HasData(name protocol.StackName) bool
	Restart(ctx context.Context, name protocol.StackName, services []string) error
	Stop(ctx context.Context, name protocol.StackName, services []string) error
	Start(ctx context.Context, name protocol.StackName, services []string) error
	Status() []protocol.StackStatus
	// Watch yields the status of a stack now and at each change.
	Watch(ctx context.Context, name protocol.StackName, yield func(protocol.StackStatus) error) error
	Logs(ctx context.Context, l protocol.StackLogs, yield func(protocol.LogLine) error) error
}

// HolderConfig is what a Holder is made of; all of it is required.
type HolderConfig struct {
	Self protocol.PeerID
	Name string
	// Dir keeps the records, secrets in them sealed by Sealer.
	Dir    string
	Sealer Sealer
	// Keeper is nil on a device that runs no work; NoKeeper says why.
	Keeper   Keeper
	NoKeeper string
	// Admit says whether the owner lets stacks of that device run here: nil, or an
	// *protocol.Error.
	Admit func(by protocol.PeerID) error
	Keys
	Now func() time.Time // for people
	// Changed is called when what Published returns may differ; it must not block.
	Changed func()
	Log     *slog.Logger
}

// Keys sign and verify records.
type Keys struct {
	Sign   func(data []byte) (signature []byte, err error)
	Verify func(by protocol.PeerID, data, signature []byte) error
}

// A Holder has the stacks that this device holds: it keeps their records, has the
// Keeper keep them up, and decides whether a change stays. It implements
// protocol.Stacks for them. Its methods may be called concurrently; those that
// change a stack wait for Run.
type Holder struct {
	cfg     HolderConfig
	store   *store
	damaged []string
	changes chan *change  // to Run
	ends    chan *removal // to Run
	ended   chan struct{} // closed when Run has ended

	mu      sync.Mutex // guards the rest; never held across I/O
	entries map[protocol.StackName]*entry
	making  map[protocol.StackName]*entry // without a version yet
	changed chan struct{}                 // closed at the next change of entries; nil if nobody waits
}

// entry is one stack. lock is held by whoever changes it; Holder.mu guards the
// fields.
type entry struct {
	lock    chan struct{} // one slot
	history []kept        // the latest first; never empty
	change  *change       // under way; nil for none
}

func (e *entry) current() *kept { return &e.history[0] }

var _ protocol.Stacks = (*Holder)(nil)

// NewHolder reads what is kept. It starts nothing.
func NewHolder(cfg HolderConfig) (*Holder, error) {
	store, err := openStore(cfg.Dir, cfg.Sealer, cfg.Log)
	if err != nil {
		return nil, fmt.Errorf("the folder of stacks: %w", err)
	}
	all, damaged, err := store.load()
	if err != nil {
		return nil, fmt.Errorf("the folder of stacks: %w", err)
	}
	h := &Holder{cfg: cfg, store: store, damaged: damaged, changes: make(chan *change), ends: make(chan *removal), ended: make(chan struct{}), entries: make(map[protocol.StackName]*entry), making: make(map[protocol.StackName]*entry)}
	for name, history := range all {
		h.entries[name] = &entry{lock: make(chan struct{}, 1), history: history}
	}
	return h, nil
}

// Damaged names the files that could not be read and were put aside.
func (h *Holder) Damaged() []string { return h.damaged }

// Run has all stacks kept up, goes on with what was under way when the process
// before ended, waits for changes to be up, and removes what is taken down, until
// ctx ends.
func (h *Holder) Run(ctx context.Context) error {
	defer close(h.ended)
	var waiting sync.WaitGroup
	defer waiting.Wait()
	waiting.Go(func() { h.resume(ctx, &waiting) })
	for {
		select {
		case <-ctx.Done():
			return nil
		case c := <-h.changes:
			waiting.Go(func() { h.settle(ctx, c) })
		case r := <-h.ends:
			waiting.Go(func() { h.end(ctx, r) })
		}
	}
}

// resume hands all that is kept to the Keeper.
func (h *Holder) resume(ctx context.Context, waiting *sync.WaitGroup) {
	if h.cfg.Keeper == nil {
		return
	}
	for _, name := range h.names() {
		e := h.entry(name)
		if e == nil || !e.acquire(ctx) {
			continue
		}
		h.resumeOne(ctx, name, e, waiting)
		e.release()
	}
}

func (h *Holder) resumeOne(ctx context.Context, name protocol.StackName, e *entry, waiting *sync.WaitGroup) {
	k := h.latest(e)
	log := h.cfg.Log.With("stack", name)
	switch k.Phase {
	case phaseDown:
	case phaseRemoving:
		waiting.Go(func() {
			if err := h.remove(ctx, name, k.Data); err != nil && ctx.Err() == nil {
				log.Error("a stack that was taken down is not all gone", "err", err)
			}
		})
	default:
		if err := h.apply(ctx, &k.Record); err != nil {
			log.Error("a stack cannot be kept up", "err", err)
			return
		}
		h.mu.Lock()
		fresh := e.change != nil // it was accepted since the start
		h.mu.Unlock()
		if k.Pending > 0 && !fresh {
			c := newChange(name, k.Record.Version, k.Pending.Duration())
			h.setChange(e, c)
			waiting.Go(func() { h.settle(ctx, c) })
		}
	}
}

// apply hands a record to the Keeper.
func (h *Holder) apply(ctx context.Context, r *protocol.StackRecord) error {
	if err := h.cfg.Keeper.Apply(ctx, *r); err != nil || !r.Stopped {
		return err
	}
	return h.cfg.Keeper.Stop(ctx, r.Stack.Name, nil)
}

// acquire waits for the stack's lock.
func (e *entry) acquire(ctx context.Context) bool {
	select {
	case e.lock <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

func (e *entry) release() { <-e.lock }

func (h *Holder) entry(name protocol.StackName) *entry {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.entries[name]
}

// latest returns a copy of what is kept of the current version.
func (h *Holder) latest(e *entry) kept {
	h.mu.Lock()
	defer h.mu.Unlock()
	return *e.current()
}

func (h *Holder) names() []protocol.StackName {
	h.mu.Lock()
	defer h.mu.Unlock()
	names := make([]protocol.StackName, 0, len(h.entries))
	for name := range h.entries {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// notify tells those who watch that something changed.
func (h *Holder) notify() {
	h.mu.Lock()
	if h.changed != nil {
		close(h.changed)
		h.changed = nil
	}
	h.mu.Unlock()
	h.cfg.Changed()
}

func (h *Holder) whenChanged() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.changed == nil {
		h.changed = make(chan struct{})
	}
	return h.changed
}

func (h *Holder) setChange(e *entry, c *change) {
	h.mu.Lock()
	defer h.mu.Unlock()
	e.change = c
}

// Published returns what is gossiped of the stacks held, by name.
func (h *Holder) Published() []protocol.PublishedStack {
	h.mu.Lock()
	defer h.mu.Unlock()
	list := make([]protocol.PublishedStack, 0, len(h.entries))
	for name, e := range h.entries {
		k := e.current()
		p := protocol.PublishedStack{Name: name, Version: k.Record.Version, Stopped: k.Record.Stopped, Down: k.Phase != phaseUp}
		if !p.Stopped && !p.Down {
			p.Ports = publishedPorts(&k.Record.Stack)
		}
		list = append(list, p)
	}
	slices.SortFunc(list, func(a, b protocol.PublishedStack) int { return strings.Compare(string(a.Name), string(b.Name)) })
	return list
}

func publishedPorts(s *protocol.Stack) []protocol.PublishedPort {
	var ports []protocol.PublishedPort
	for i := range s.Services {
		for _, p := range s.Services[i].Ports {
			ports = append(ports, protocol.PublishedPort{Port: p.Published, UDP: p.UDP, HostIP: p.HostIP})
		}
	}
	return ports
}

// noStack is the error for one that this device does not hold.
func noStack(name protocol.StackName) error {
	return protocol.Errorf(protocol.CodeNotFound, "no stack %s is known; see 'hearth stack ls'", name)
}

// ListStacks implements protocol.Stacks.
func (h *Holder) ListStacks(ctx context.Context, l protocol.ListStacks, yield func([]protocol.StackStatus) error) error {
	name, _, _ := protocol.ParseStackRef(string(l.Name))
	if !l.Watch {
		return yield(h.list(name, l.All))
	}
	return h.watch(ctx, func() error { return yield(h.list(name, l.All)) })
}

// list returns the statuses; of one stack where name is not empty.
func (h *Holder) list(only protocol.StackName, all bool) []protocol.StackStatus {
	seen := make(map[protocol.StackName]protocol.StackStatus)
	if h.cfg.Keeper != nil {
		for _, s := range h.cfg.Keeper.Status() {
			seen[s.Name] = s
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	list := make([]protocol.StackStatus, 0, len(h.entries))
	for name, e := range h.entries {
		if only != "" && name != only {
			continue
		}
		k := e.current()
		s, ok := seen[name]
		switch {
		case k.Phase == phaseDown && !all:
			continue
		case k.Phase == phaseDown:
			s = protocol.StackStatus{State: protocol.StackGone, Reason: "it was taken down, and its data is kept"}
		case !ok && h.cfg.Keeper == nil:
			s = protocol.StackStatus{State: protocol.StackDegraded, Reason: "this device runs no work: " + h.cfg.NoKeeper}
		case !ok:
			s = protocol.StackStatus{State: protocol.StackStarting}
		}
		if k.Phase == phaseRemoving {
			s.Reason = "it is being taken down"
		}
		s.Name, s.Version, s.Holder, s.HolderName = name, k.Record.Version, h.cfg.Self, h.cfg.Name
		if s.Instances == nil {
			s.Instances = []protocol.InstanceStatus{}
		}
		list = append(list, s)
	}
	slices.SortFunc(list, func(a, b protocol.StackStatus) int { return strings.Compare(string(a.Name), string(b.Name)) })
	return list
}

// watch calls tell now and whenever a stack changed, until ctx ends.
func (h *Holder) watch(ctx context.Context, tell func() error) error {
	ctx, cancel := context.WithCancel(ctx)
	var watchers sync.WaitGroup
	defer watchers.Wait()
	defer cancel()
	news := make(chan struct{}, 1)
	watched := make(map[protocol.StackName]bool)
	ended := make(chan protocol.StackName)
	for {
		changed := h.whenChanged()
		for _, name := range h.names() {
			if watched[name] || h.cfg.Keeper == nil {
				continue
			}
			watched[name] = true
			watchers.Go(func() {
				_ = h.cfg.Keeper.Watch(ctx, name, func(protocol.StackStatus) error {
					poke(news)
					return nil
				})
				select {
				case ended <- name: // it is watched anew with the next change
				case <-ctx.Done():
				}
			})
		}
		if err := tell(); err != nil {
			return err
		}
		select {
		case <-news:
		case <-changed:
		case name := <-ended:
			delete(watched, name)
			select { // not at once: it may not be there yet
			case <-changed:
			case <-news:
			case <-ctx.Done():
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// AdmitStacks says whether the owner lets stacks of that device run here.
func (h *Holder) AdmitStacks(by protocol.PeerID) error { return h.cfg.Admit(by) }

// StackLogs implements protocol.Stacks.
func (h *Holder) StackLogs(ctx context.Context, l protocol.StackLogs, yield func(protocol.LogLine) error) error {
	e, err := h.up(&l.Name)
	if err != nil {
		return err
	}
	if err := hasServices(h.latest(e), l.Services); err != nil {
		return err
	}
	return h.cfg.Keeper.Logs(ctx, l, yield)
}

// StackHistory implements protocol.Stacks.
func (h *Holder) StackHistory(_ context.Context, name protocol.StackName, yield func(protocol.StackRecord) error) error {
	name, _, _ = protocol.ParseStackRef(string(name))
	e := h.entry(name)
	if e == nil {
		return noStack(name)
	}
	h.mu.Lock()
	history := slices.Clone(e.history)
	h.mu.Unlock()
	for i := range history {
		if err := yield(history[i].Record.Public()); err != nil {
			return err
		}
	}
	return nil
}

// up returns a stack that is not down, and leaves the device out of its name.
func (h *Holder) up(name *protocol.StackName) (*entry, error) {
	*name, _, _ = protocol.ParseStackRef(string(*name))
	e := h.entry(*name)
	switch {
	case e == nil:
		return nil, noStack(*name)
	case h.cfg.Keeper == nil:
		return nil, protocol.Errorf(protocol.CodeEngineDown, "this device runs no work: %s", h.cfg.NoKeeper)
	case h.latest(e).Phase != phaseUp:
		return nil, protocol.Errorf(protocol.CodeConflict, "the stack %s was taken down: 'hearth stack up' or 'hearth stack rollback' brings it back", *name)
	}
	return e, nil
}

func hasServices(k kept, names []string) error {
	services := byName(&k.Record.Stack)
	for _, n := range names {
		if services[n] == nil {
			return protocol.Errorf(protocol.CodeNotFound, "the stack %s has no service %s; see 'hearth stack ps %s'", k.Record.Stack.Name, n, k.Record.Stack.Name)
		}
	}
	return nil
}
