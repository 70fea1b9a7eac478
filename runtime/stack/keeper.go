package stack

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime"
)

// Config is what a Keeper is made of; all of it is required.
type Config struct {
	// Node is this device's ID, Name its name.
	Node protocol.PeerID
	Name string
	// Engine is that of the driver: *docker.Driver has it as Stacks.
	Engine Engine
	Policy runtime.Policy
	// Here tells what the policy has to know of this machine now: *runtime.Node's.
	Here func() runtime.Here
	// Reserve sets aside what all stacks together reserve: *runtime.Node's.
	Reserve func(protocol.Cores, protocol.Bytes)
	// Dir keeps which volumes and addresses stacks have; it is made if need be.
	Dir string
	Log *slog.Logger
}

// A Keeper keeps the instances of this node's stacks up. Its methods may be
// called concurrently, before Run, too. Errors are *protocol.Errors, but for ctx's.
type Keeper struct {
	cfg    Config
	host   host
	notify chan struct{} // holds a token when something may be due
	// saving is held while the file is written; it is taken before mu.
	saving sync.Mutex

	mu     sync.Mutex // guards all that follows; never held across I/O
	store  *store
	stacks map[protocol.StackName]*held
	up     bool          // the engine answers, and seen is what it has
	news   chan struct{} // closed and replaced when a status may have changed
	asked  uint64        // how often the engine was asked what a container is
	// publishAt is where ports were published when a stack was prepared last.
	publishAt []netip.Addr
}

// host is this machine as the Keeper sees it.
type host struct {
	addresses func() []netip.Addr
	routes    func() []netip.Prefix
	listeners func() []listener
	// watch calls changed when an address came or went, until ctx ends.
	watch func(ctx context.Context, changed func()) error
}

// held is a stack of this node.
type held struct {
	name   protocol.StackName
	record protocol.StackRecord
	desired
	specs map[string]*Spec
	seen  map[string]*instance
	notes map[string]*note
	// dirty says that the stack is to be prepared before anything is done, not
	// before prepareAt; preparing that this is under way.
	dirty, preparing bool
	prepareAt        time.Time
	// fresh says that a new version was applied: only then it matters which image
	// a name stands for now.
	fresh bool
	// trouble is what is wrong with the stack as a whole.
	trouble string
	// shared is the subnet on which others reach it.
	shared netip.Prefix
	// pulls end the pulls that are under way, by service.
	pulls map[string]context.CancelFunc
	// unused are networks of earlier versions.
	unused []string
	// cleaning says that its networks and volumes are being removed.
	cleaning bool
}

// note is what people are told of an instance beside its state.
type note struct {
	restarts   uint32
	trouble    string // the last step's failure
	lastOutput string
	state      protocol.InstanceState
	since      time.Time
	progress   string // of a pull
}

// New makes a Keeper and reads what is kept in its folder. It starts nothing.
func New(cfg Config) (*Keeper, error) {
	if cfg.Engine == nil || cfg.Here == nil || cfg.Reserve == nil || cfg.Dir == "" || cfg.Log == nil {
		return nil, errors.New("a keeper of stacks needs an engine, what is here, somebody who reserves, a folder and a log")
	}
	s, err := openStore(cfg.Dir)
	if err != nil {
		return nil, err
	}
	k := &Keeper{
		cfg: cfg, host: host{addresses: ownAddresses, routes: hostRoutes, listeners: findListeners, watch: watchAddresses},
		notify: make(chan struct{}, 1), store: s, stacks: make(map[protocol.StackName]*held), news: make(chan struct{}),
	}
	for name, kept := range s.Stacks {
		if kept.Removing {
			h := k.hold(name)
			h.gone = true
		}
	}
	return k, nil
}

// Run follows the engine and keeps all applied stacks up until ctx ends. The
// containers go on after it. A Keeper runs once.
func (k *Keeper) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { k.follow(ctx); return nil })
	group.Go(func() error { k.followAddresses(ctx); return nil })
	group.Go(func() error { k.dispatch(ctx, group); return nil })
	return group.Wait()
}

// hold returns the stack of that name; k.mu is held, or nobody else knows k yet.
func (k *Keeper) hold(name protocol.StackName) *held {
	h := k.stacks[name]
	if h == nil {
		h = &held{name: name, seen: make(map[string]*instance), notes: make(map[string]*note), pulls: make(map[string]context.CancelFunc), dirty: true}
		k.stacks[name] = h
	}
	return h
}

// instance returns what was seen of a service, for change.
func (h *held) instance(service string) *instance {
	i := h.seen[service]
	if i == nil {
		i = &instance{}
		h.seen[service] = i
	}
	return i
}

func (h *held) note(service string) *note {
	n := h.notes[service]
	if n == nil {
		n = &note{}
		h.notes[service] = n
	}
	return n
}

// isHere reports whether a record of it is kept up: of others only containers were
// found. h may be nil.
func (h *held) isHere() bool { return h != nil && !h.gone && h.record.Version > 0 }

// find returns a service, or nil.
func (h *held) find(name string) *service {
	for i := range h.services {
		if h.services[i].name == name {
			return &h.services[i]
		}
	}
	return nil
}

// restartPolicy of a service; that of one which the stack does not have any more is no.
func (h *held) restartPolicy(name string) protocol.RestartPolicy {
	for i := range h.record.Stack.Services {
		if s := &h.record.Stack.Services[i]; s.Name == name {
			if s.Restart == "" {
				return protocol.RestartOnFailure
			}
			return s.Restart
		}
	}
	return protocol.RestartNo
}

// tell wakes who waits for news, and has looked what is due; k.mu is held.
func (k *Keeper) tell() {
	close(k.news)
	k.news = make(chan struct{})
	select {
	case k.notify <- struct{}{}:
	default:
	}
}

// save writes what is kept; k.mu is not held.
func (k *Keeper) save() error {
	k.saving.Lock()
	defer k.saving.Unlock()
	k.mu.Lock()
	text, err := k.store.encode()
	k.mu.Unlock()
	if err != nil {
		return err
	}
	return k.store.write(text)
}

// Apply makes a record the one that is kept up; the same or an older version
// changes nothing. It returns at once: Watch tells what comes of it. What Check
// would refuse is not refused here, its services wait and say why.
func (k *Keeper) Apply(ctx context.Context, r protocol.StackRecord) error {
	if err := validate(&r.Stack); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	changed, err := k.apply(r)
	if err != nil {
		return err
	}
	k.reserve()
	if !changed {
		return nil
	}
	return k.save()
}

// apply reports whether anything is to be written.
func (k *Keeper) apply(r protocol.StackRecord) (changed bool, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	name := r.Stack.Name
	if h := k.stacks[name]; h != nil && h.gone {
		return false, protocol.Errorf(protocol.CodeConflict, "the stack %s is being removed: try again when that is done", name)
	}
	h := k.hold(name)
	if h.record.Version >= r.Version {
		return false, nil
	}
	kept := k.store.of(name)
	if r.Version > kept.Version {
		h.fresh, changed = true, true
		kept.Version, kept.Stopped = r.Version, nil
		kept.Removing, kept.Data = false, false // what could not be written down is not wanted any more
		for _, n := range h.notes {
			n.restarts = 0
		}
	}
	first := h.record.Version == 0
	h.record, h.stopped = r, r.Stopped
	h.dirty, h.prepareAt = true, time.Time{}
	h.endPulls()
	for i := range r.Stack.Services {
		s := &r.Stack.Services[i]
		in := h.instance(s.Name)
		in.fetch = in.fetch || changed && s.Pull == protocol.PullAlways
		in.failures, in.notBefore = 0, time.Time{}
		if first {
			_, completed := slices.BinarySearch(kept.Completed, in.ID)
			in.adopted(h.restartPolicy(s.Name), completed)
		}
	}
	k.tell()
	return changed, nil
}

// reserve tells how much is to be kept free.
func (k *Keeper) reserve() {
	k.mu.Lock()
	cpus, memory := k.reserved("")
	k.mu.Unlock()
	k.cfg.Reserve(cpus, memory)
}

// reserved sums up what stacks but one reserve; k.mu is held.
func (k *Keeper) reserved(but protocol.StackName) (cpus protocol.Cores, memory protocol.Bytes) {
	for name, h := range k.stacks {
		if name == but || h.gone || h.record.Stopped {
			continue
		}
		var stopped []string
		if kept := k.store.Stacks[name]; kept != nil {
			stopped = kept.Stopped
		}
		c, m := reserves(&h.record.Stack, stopped)
		cpus, memory = cpus+c, memory+m
	}
	return cpus, memory
}

// reserves sums up what a stack reserves, but for the services that are stopped.
func reserves(s *protocol.Stack, stopped []string) (cpus protocol.Cores, memory protocol.Bytes) {
	for i := range s.Services {
		svc := &s.Services[i]
		if slices.Contains(stopped, svc.Name) {
			continue
		}
		asked := runtime.ReservedMemory
		if svc.ReservedMemory > 0 {
			asked = svc.ReservedMemory
		}
		if svc.Memory > 0 {
			asked = min(asked, svc.Memory)
		}
		cpus, memory = cpus+svc.ReservedCPUs, memory+asked
	}
	return cpus, memory
}

// Remove stops a stack and removes its containers and networks, with data its
// volumes, too. It returns when that is done; where ctx ends before, it is done all
// the same, also by the next process. A stack that is not here is no error.
func (k *Keeper) Remove(ctx context.Context, name protocol.StackName, data bool) error {
	k.mu.Lock()
	if k.stacks[name] == nil && k.store.Stacks[name] == nil {
		k.mu.Unlock()
		return nil
	}
	h, kept := k.hold(name), k.store.of(name)
	kept.Removing, kept.Data = true, kept.Data || data
	k.mu.Unlock()
	if err := k.save(); err != nil {
		return err
	}
	k.mu.Lock()
	h.gone = true
	h.endPulls()
	k.tell()
	k.mu.Unlock()
	k.reserve()
	return k.await(ctx, func() bool { return k.stacks[name] == nil })
}

// await blocks until is says so, which is called with k.mu held, or ctx ends.
func (k *Keeper) await(ctx context.Context, is func() bool) error {
	for {
		k.mu.Lock()
		done, news := is(), k.news
		k.mu.Unlock()
		if done {
			return nil
		}
		select {
		case <-news:
		case <-ctx.Done():
			return fmt.Errorf("wait for the stack: %w", ctx.Err())
		}
	}
}
