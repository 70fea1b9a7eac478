package lifesim

import (
	"context"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/sched"
)

// Bugs are deliberate mistakes. Each leaves out what some promise rests on.
type Bugs struct {
	// SkipSync: the journal answers before its write would survive a crash.
	SkipSync bool
	// ForgetDuplicates: a node starts what it is offered, known or not.
	ForgetDuplicates bool
	// ForgetDenied: a node starts an attempt that it said it does not have.
	ForgetDenied bool
	// IgnoreAttempt: a node takes any attempt of a request for the same.
	IgnoreAttempt bool
	// RenewAnything: the orchestrator's device renews without a look at who asks
	// for which attempt.
	RenewAnything bool
	// IgnoreLeaseEnd: a node goes on when the lease is over.
	IgnoreLeaseEnd bool
	// HastyRetry: the orchestrator does not wait for the lease.
	HastyRetry bool
	// OfferIsRenewal: a node counts the lease from when the offer came.
	OfferIsRenewal bool
	// RunRefused: a node starts what its policy refuses.
	RunRefused bool
	// NoWatchdog: nobody ends the lease of a node whose process is gone.
	NoWatchdog bool
}

// home is the device whose orchestrator takes the requests; it is a node, too.
const home protocol.PeerID = "a"

// world is one simulated mesh. It lives in a synctest bubble.
type world struct {
	seed   uint64
	bugs   Bugs
	params sched.Params
	start  time.Time
	span   time.Duration // of the faults
	nodes  []*node
	links  map[protocol.PeerID]*link
	disk   *disk
	log    *history

	mu    sync.Mutex        // guards what follows
	drawn map[string]uint64 // how often was drawn by that name
	orch  *device           // nil while it is down

	running sync.WaitGroup // all goroutines of the world
	ctx     context.Context
}

// chance returns a source of its own for each question that is asked by name, so
// that what happens in one place does not change what happens in another.
func (w *world) chance(name string, args ...any) *rand.Rand {
	name += fmt.Sprint(args...)
	w.mu.Lock()
	n := w.drawn[name]
	w.drawn[name]++
	w.mu.Unlock()
	h := fnv.New64a()
	fmt.Fprint(h, w.seed, name, n)
	return rand.New(rand.NewPCG(w.seed, h.Sum64()))
}

// between draws a duration; no two are the same, so that no two things happen at
// the same time.
func between(r *rand.Rand, least, most time.Duration) time.Duration {
	return least + time.Duration(r.Int64N(int64(most-least)+1))
}

// pause waits for d, or until ctx ends, and reports whether it was d.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func (w *world) now() time.Duration { return time.Since(w.start) }

func (w *world) current() *device {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.orch
}

// Config says what is simulated.
type Config struct {
	Seed uint64
	Bugs Bugs
	// Faults is for how long there are faults; then all is well again.
	Faults time.Duration
	// Requests is how many there are.
	Requests int
}

// DefaultConfig returns what one seed of the search is.
func DefaultConfig(seed uint64) Config {
	return Config{Seed: seed, Faults: 90 * time.Second, Requests: 8}
}

// Run simulates, and returns what went wrong and the trace of what happened. It
// must be called in a synctest bubble.
func Run(ctx context.Context, cfg Config) (violations, trace []string) {
	ctx, cancel := context.WithCancel(ctx)
	w := &world{
		seed: cfg.Seed, bugs: cfg.Bugs, params: sched.DefaultParams(), start: time.Now(), span: cfg.Faults,
		links: make(map[protocol.PeerID]*link), disk: newDisk(), drawn: make(map[string]uint64), ctx: ctx,
	}
	if cfg.Bugs.HastyRetry {
		w.params.Lease, w.params.LeaseGrace = time.Millisecond, 0
	}
	w.log = newHistory(w)
	for _, id := range []protocol.PeerID{home, "b", "c", "d"} {
		n := newNode(w, id)
		w.nodes = append(w.nodes, n)
		w.links[id] = &link{w: w, node: n}
		n.boot(false)
	}
	w.powerOn()
	for _, l := range w.links {
		w.running.Go(func() { l.tend(ctx) })
	}
	var apps sync.WaitGroup
	for i := range cfg.Requests {
		apps.Go(func() { w.ask(ctx, i, cfg.Faults) })
	}
	w.haveFaults(cfg.Faults)
	w.settle(&apps)
	violations = w.log.check()
	w.powerOff()
	for _, n := range w.nodes {
		n.halt(true)
	}
	cancel()
	w.running.Wait()
	return violations, w.log.lines
}

// settleTime is how long all may take to end when nothing fails any more.
const settleTime = 10 * time.Minute

// settle waits until every request has ended, and whatever was unknown is known.
func (w *world) settle(apps *sync.WaitGroup) {
	ended := make(chan struct{})
	go func() { apps.Wait(); close(ended) }()
	timeout := time.NewTimer(settleTime)
	defer timeout.Stop()
	select {
	case <-ended:
	case <-timeout.C:
		w.log.fail("some requests have not ended %v after the last fault", settleTime)
	}
	pause(w.ctx, 2*time.Minute)
	o := w.current().orch
	for _, id := range w.log.accepted() {
		d, err := o.Inspect(w.ctx, id)
		if err != nil {
			w.log.fail("%s was accepted, and is forgotten: %v", id, err)
			continue
		}
		if !d.Last.State.Ended() || d.Last.State == protocol.StateUnknown {
			w.log.fail("%s: nobody knows how it ended: state %d, %s", id, d.Last.State, d.Last.Reason)
		}
		w.log.told(id, d.Last)
	}
}

// request returns what the i-th request asks for.
func (w *world) request(i int) protocol.Run {
	r := w.chance("request", i)
	run := protocol.Run{ID: protocol.RequestID(fmt.Sprint("r", i)), Detach: true, Service: protocol.Service{Image: "busybox"}}
	if r.IntN(3) > 0 {
		run.Service.Retry = 1 + r.Uint32N(3)
	}
	if r.IntN(5) == 0 {
		run.Service.Constraints.Node = string(w.nodes[r.IntN(len(w.nodes))].id)
	}
	if w.chance("network", i).IntN(4) == 0 {
		run.Service.Network = unwelcome
	}
	return run
}

// ask is an app: it asks until the request is accepted, and follows it until it
// is told an end. Like any app it asks again when the connection breaks.
func (w *world) ask(ctx context.Context, i int, span time.Duration) {
	run := w.request(i)
	r := w.chance("app", i)
	pause(ctx, between(r, 0, span*2/3))
	stopAt := time.Duration(-1)
	if r.IntN(6) == 0 {
		stopAt = w.now() + between(r, 0, 20*time.Second)
	}
	for ctx.Err() == nil {
		if d := w.current(); d != nil && w.follow(ctx, d, run, &stopAt) {
			return
		}
		pause(ctx, between(r, 100*time.Millisecond, 3*time.Second))
	}
}

// follow reads one session, and reports whether it told the end.
func (w *world) follow(ctx context.Context, d *device, run protocol.Run, stopAt *time.Duration) bool {
	s, err := d.orch.Accept(ctx, run)
	if err != nil || !d.alive() {
		return false // what was not heard was not promised
	}
	defer s.Close()
	defer context.AfterFunc(d.ctx, func() { s.Close() })()
	w.log.accept(run)
	if *stopAt >= 0 {
		timer := time.AfterFunc(max(*stopAt-w.now(), 0), func() {
			w.log.stop(run.ID)
			_ = s.Stop(time.Second)
		})
		defer timer.Stop()
	}
	for {
		u, err := s.Next()
		if err != nil || !d.alive() {
			return false
		}
		if u.Event == nil {
			continue
		}
		w.log.say("%s is told: attempt %d, state %d, node %s, %v %q", run.ID, u.Event.Attempt, u.Event.State, u.Event.Node, u.Event.Code, u.Event.Reason)
		if u.Event.State.Ended() {
			w.log.told(run.ID, *u.Event)
			return true
		}
	}
}

// sorted returns the links in the order of their nodes.
func (w *world) sorted() []*link {
	var all []*link
	for _, n := range w.nodes {
		all = append(all, w.links[n.id])
	}
	return slices.Clip(all)
}
