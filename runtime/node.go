// Package runtime runs executions on this device: it admits them, applies the
// owner's policy to them, drives a container engine through a Driver, and
// keeps what they wrote and how they ended for whoever asks. It knows nothing
// of peers and never decides where a request runs.
//
//	Offer -> policy -> admission (slots, memory, queue) -> Driver -> Feed -> Session
package runtime

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime/machine"
)

// Config is what a Node is made of. Node, Name, Driver, CPUs, Memory, Policy
// and Log are required; functions that are nil are not called.
type Config struct {
	Node protocol.PeerID
	Name string
	// Driver runs the containers. The Node does not close it.
	Driver Driver
	// CPUs and Memory are what the device lends.
	CPUs   protocol.Cores
	Memory protocol.Bytes
	Policy Policy
	// NameOf returns the name pinned to a device, which the policy may ask for.
	NameOf func(protocol.PeerID) string
	// Accelerators tells those found; it must be quick. Private are paths that
	// the policy lends only by name: see Here.
	Accelerators func() []machine.Accelerator
	Private      []string
	// Renew asks the orchestrator whether an execution with a lease is still
	// wanted; see protocol.Orchestrator. Without it no such offer is taken.
	Renew func(ctx context.Context, orchestrator protocol.PeerID, r protocol.Renewal) error
	// Instance returns the container of a stack's service that runs here, Publishes
	// which service of a stack here has a published port, and its port in the
	// container. Their errors are *protocol.Errors. Both are nil where there are no
	// stacks.
	Instance  func(stack protocol.StackName, service string) (container string, err error)
	Publishes func(stack protocol.StackName, port uint16, udp bool) (service string, target uint16, err error)
	// Leases are needed where containers outlive this process.
	Leases Leases
	// Check says whether the service's constraints fit this node now: nil, or
	// a *protocol.Refusal.
	Check func(protocol.Service) error
	// Estimate is how long the service would take here from now to its end,
	// with running and queued executions before it and slots of its size. It
	// must be quick, and must not call the Node. Without it nothing is queued
	// but what is forced.
	Estimate func(s protocol.Service, running, queued, slots int) time.Duration
	// Expected is how long the service usually runs here; of the zero Service, how
	// long one of which nothing is known does. Like Estimate it must be quick.
	// Without it nothing counts as long-running before longer than a moment.
	Expected func(s *protocol.Service) time.Duration
	// Changed is called after the load, the readiness or the images changed.
	Changed func()
	// Finished is called once for each execution that was offered to this
	// process and ended in its time, with the last event and how long the
	// container ran: 0 where it never started.
	Finished func(s protocol.Service, end protocol.Event, ran time.Duration)
	// Space returns what is left in the file system of the engine's folder; nil
	// asks the system.
	Space func(ctx context.Context, dir string) (Space, error)
	// Dir keeps what the Node has measured over restarts; where it is empty,
	// nothing is kept.
	Dir string
	Log *slog.Logger
}

func (c *Config) validate() error {
	switch {
	case c.Driver == nil || c.Log == nil:
		return errors.New("a node needs a driver and a log")
	case !(c.CPUs > 0) || c.Memory == 0:
		return fmt.Errorf("a node lends some processor time and memory, not %s and %s", c.CPUs, c.Memory)
	}
	return c.Policy.Validate()
}

// A Node runs executions on this device. Its methods may be called
// concurrently. Run owns all its goroutines.
type Node struct {
	cfg          Config
	notifyWork   chan struct{} // filled when there may be something to launch
	notifyEngine chan struct{} // filled when the engine is to be asked
	notifyDisk   chan struct{} // filled when something may write to the engine's disk
	notifyEnded  chan struct{} // filled when something may have expired
	notifyQueue  chan struct{} // filled when an execution may have waited too long

	mu         sync.Mutex // guards all that follows; never held across I/O
	ledger     ledger
	lent       Lent   // to executions: what Reserve leaves
	unit       demand // of a service that asks for nothing
	executions map[ExecutionID]*execution
	starting   []*execution // admitted, to be launched by Run
	leased     []*execution // admitted, whose leases Run is to keep
	ended      retention
	// instances counts what reaches into the services of stacks.
	instances map[protocol.Target]*reach
	denied    denials
	engine    engine
	pulls     pullRate
	leaving   bool
	draining  struct {
		on    bool
		write sync.Mutex // is held while the file is written; never with mu
	}
}

// New makes a Node; it starts nothing.
func New(cfg Config) (*Node, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if cfg.Leases == nil {
		cfg.Leases = newOwnLeases()
	}
	if cfg.Space == nil {
		cfg.Space = spaceOf
	}
	draining, err := readDraining(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("find out whether this device drains: %w", err)
	}
	lent := cfg.lent()
	n := &Node{
		cfg:          cfg,
		lent:         lent,
		unit:         demandOf(cfg.Policy.defaultCPUs(lent), cfg.Policy.defaultMemory(lent)),
		notifyWork:   make(chan struct{}, 1),
		notifyEngine: make(chan struct{}, 1),
		notifyDisk:   make(chan struct{}, 1),
		notifyEnded:  make(chan struct{}, 1),
		notifyQueue:  make(chan struct{}, 1),
		ledger:       ledger{lent: demandOf(lent.CPUs, lent.Memory)},
		executions:   make(map[ExecutionID]*execution),
		instances:    make(map[protocol.Target]*reach),
		engine:       engine{changed: make(chan struct{})},
		pulls:        loadPullRate(cfg.Dir),
	}
	n.draining.on = draining
	return n, nil
}

// Run takes up what the engine already runs, then runs what is offered, until
// ctx ends. Containers go on after it: the next process adopts them. What
// waited then ends with CodeLeaving, and the sessions of the rest break. A
// Node runs once.
func (n *Node) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return n.watchEngine(ctx) })
	group.Go(func() error { n.askEngine(ctx); return nil })
	group.Go(func() error { n.expire(ctx); return nil })
	group.Go(func() error { n.watchQueue(ctx); return nil })
	group.Go(func() error { n.guardDisk(ctx); return nil })
	group.Go(func() error { n.launch(ctx, group); return nil })
	err := group.Wait()
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// launch starts a goroutine for each execution that was admitted.
func (n *Node) launch(ctx context.Context, group *errgroup.Group) {
	for {
		select {
		case <-n.notifyWork:
			starting, leased := n.takeStarting()
			for _, e := range leased {
				group.Go(func() error { e.renewLease(ctx); return nil })
			}
			for _, e := range starting {
				group.Go(func() error { e.run(ctx); return nil })
			}
		case <-ctx.Done():
			n.leave()
			return
		}
	}
}

func (n *Node) takeStarting() (starting, leased []*execution) {
	n.mu.Lock()
	defer n.mu.Unlock()
	starting, leased = n.starting, n.leased
	n.starting, n.leased = nil, nil
	return starting, leased
}

// lease has the execution's lease kept, where it has one; n.mu is held.
func (n *Node) lease(e *execution) {
	if e.spec.Lease > 0 {
		n.leased = append(n.leased, e)
	}
}

// leave turns away what was admitted and not launched, and what comes later.
func (n *Node) leave() {
	n.mu.Lock()
	n.leaving = true
	waiting := append(n.starting, n.ledger.queue...)
	n.starting, n.ledger.queue = nil, nil
	n.broadcast()
	n.mu.Unlock()
	for _, e := range waiting {
		if e.adopted {
			e.abandon()
			continue
		}
		n.release(e)
		e.publishEnd(e.failure(errLeaving), 0)
		e.feed.End()
	}
}

// For returns the node as the device named orchestrator meets it.
func (n *Node) For(orchestrator protocol.PeerID) protocol.Executor {
	return executor{node: n, orchestrator: orchestrator}
}

// Offer implements protocol.Executor for this device's own requests.
func (n *Node) Offer(ctx context.Context, o protocol.Offer) (protocol.Session, error) {
	return n.offer(ctx, n.cfg.Node, o)
}

// executor is the node as one orchestrator meets it.
type executor struct {
	node         *Node
	orchestrator protocol.PeerID
}

func (x executor) Offer(ctx context.Context, o protocol.Offer) (protocol.Session, error) {
	return x.node.offer(ctx, x.orchestrator, o)
}

func (x executor) Attach(ctx context.Context, a protocol.Attach) (protocol.Session, error) {
	return x.node.attach(ctx, x.orchestrator, a)
}

// Attach implements protocol.Executor for this device's own requests.
func (n *Node) Attach(ctx context.Context, a protocol.Attach) (protocol.Session, error) {
	return n.attach(ctx, n.cfg.Node, a)
}

// attach opens a session of an execution of the orchestrator. As long as the node
// has not learnt from the engine what runs there, it waits: "not found" would be a
// lie. What was not found is not started any more, should its offer come late.
func (n *Node) attach(ctx context.Context, orchestrator protocol.PeerID, a protocol.Attach) (protocol.Session, error) {
	id := ExecutionID{Orchestrator: orchestrator, Request: a.Request, Attempt: a.Attempt}
	for {
		n.mu.Lock()
		e, recovered, leaving, news := n.executions[id], n.engine.recovered, n.leaving, n.engine.changed
		if e == nil && recovered {
			n.denied.add(id, time.Now())
		}
		n.mu.Unlock()
		switch {
		case e != nil:
			return e.session(a), nil
		case recovered:
			return nil, protocol.Errorf(protocol.CodeNotFound, "this node has no execution of request %s, attempt %d", a.Request, a.Attempt)
		case leaving:
			return nil, protocol.Errorf(protocol.CodeLeaving, "the device shuts down")
		}
		select {
		case <-news:
		case <-ctx.Done():
			return nil, fmt.Errorf("attach to %s: the engine has not answered yet: %w", a.Request, ctx.Err())
		}
	}
}

func (n *Node) changed() {
	if n.cfg.Changed != nil {
		n.cfg.Changed()
	}
}

// notify fills a channel of one slot. It never blocks.
func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
