package lifesim

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

// key names an attempt of a request.
type key struct {
	id      protocol.RequestID
	attempt uint32
}

func (k key) String() string { return fmt.Sprintf("%s/%d", k.id, k.attempt) }

// node is a device that runs containers: its engine, which outlives the process,
// and the process, which may be gone.
type node struct {
	w  *world
	id protocol.PeerID
	// rate is how fast its clock goes.
	rate float64

	mu    sync.Mutex // guards what follows
	boxes map[key]*box
	life  *life // nil while the process is gone

	bed   sync.Mutex    // guards woken; taken after all others
	woken chan struct{} // closed when the device wakes up; nil while it is awake
}

func newNode(w *world, id protocol.PeerID) *node {
	r := w.chance("clock", id)
	return &node{w: w, id: id, rate: 1 + (r.Float64()-0.5)/500, boxes: make(map[key]*box)}
}

// life is one life of a node's process.
type life struct {
	n    *node
	ctx  context.Context
	kill context.CancelFunc

	// The node's mutex guards these.
	known  map[key]*execution
	denied map[key]bool
	leaves bool
}

// boot starts the process, which adopts the containers that the engine has.
func (n *node) boot(log bool) {
	l := &life{n: n, known: make(map[key]*execution), denied: make(map[key]bool)}
	l.ctx, l.kill = context.WithCancel(n.w.ctx)
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.life != nil {
		l.kill()
		return
	}
	n.life = l
	if log {
		n.w.log.say("%s's process starts", n.id)
	}
	for k, b := range n.boxes {
		if !b.removed {
			e := newExecution(l, k, protocol.Offer{Lease: b.length})
			e.box = b
			l.known[k] = e
			n.w.running.Go(e.adopt)
		}
	}
}

// halt kills the process; with power everything that runs dies, too.
func (n *node) halt(power bool) {
	n.mu.Lock()
	l := n.life
	n.life = nil
	if l != nil {
		l.kill()
	}
	var boxes []*box
	for _, b := range n.boxes {
		boxes = append(boxes, b)
	}
	n.mu.Unlock()
	if power {
		n.wake()
		for _, b := range boxes {
			b.end(exitPowerCut, false)
		}
	}
}

// leave shuts the process down in order: what was not started says so.
func (n *node) leave() {
	n.mu.Lock()
	l := n.life
	if l == nil {
		n.mu.Unlock()
		return
	}
	l.leaves = true
	var all []*execution
	for _, e := range l.known {
		all = append(all, e)
	}
	n.mu.Unlock()
	for _, e := range all {
		e.turnAway()
	}
}

func (n *node) sleep() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.asleep() != nil {
		return
	}
	for _, b := range n.boxes {
		b.mu.Lock()
		b.paused = n.w.now()
		b.mu.Unlock()
	}
	n.bed.Lock()
	n.woken = make(chan struct{})
	n.bed.Unlock()
}

func (n *node) wake() {
	n.bed.Lock()
	defer n.bed.Unlock()
	if n.woken != nil {
		close(n.woken)
		n.woken = nil
	}
}

func (n *node) asleep() chan struct{} {
	n.bed.Lock()
	defer n.bed.Unlock()
	return n.woken
}

// awake waits until the device is awake, and reports whether that was before ctx
// ended: a process that sleeps does nothing.
func (n *node) awake(ctx context.Context) bool {
	for woken := n.asleep(); woken != nil; woken = n.asleep() {
		select {
		case <-woken:
		case <-ctx.Done():
			return false
		}
	}
	return ctx.Err() == nil
}

// up returns the process if it answers.
func (n *node) up() *life {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.asleep() != nil {
		return nil
	}
	return n.life
}

// table returns the name that an attempt has in the node's tables.
func (l *life) table(k key) key {
	if l.n.w.bugs.IgnoreAttempt {
		k.attempt = 0
	}
	return k
}

// unwelcome is the network that each node's policy refuses half of the time, so that
// some requests end as refused.
const unwelcome = "lan"

// offer answers an offer.
func (l *life) offer(o protocol.Offer) (*execution, error) {
	k := key{o.Request, o.Attempt}
	n := l.n
	n.mu.Lock()
	defer n.mu.Unlock()
	e := l.known[l.table(k)]
	switch {
	case l.leaves:
		return nil, &protocol.Refusal{Code: protocol.CodeLeaving, Reason: "shuts down"}
	case e != nil && !n.w.bugs.ForgetDuplicates:
		return e, nil
	case l.denied[k] && !n.w.bugs.ForgetDenied:
		return nil, &protocol.Refusal{Code: protocol.CodeNotFound, Reason: "was denied"}
	case !o.Forced && n.w.chance("busy", n.id, k).IntN(4) == 0:
		return nil, &protocol.Refusal{Code: protocol.CodeBusy, Reason: "all slots taken"}
	case o.Service.Network == unwelcome && n.w.chance("policy", n.id, k).IntN(2) == 0:
		if n.w.bugs.RunRefused {
			n.w.running.Go(newExecution(l, k, o).run)
		}
		return nil, &protocol.Refusal{Code: protocol.CodePolicy, Reason: "its owner does not allow the network"}
	}
	e = newExecution(l, k, o)
	l.known[l.table(k)] = e
	n.w.log.say("%s takes %v", n.id, k)
	n.w.running.Go(e.run)
	return e, nil
}

// attach returns what the node knows; what it denies it does not start any more.
func (l *life) attach(a protocol.Attach) (*execution, error) {
	k := key{a.Request, a.Attempt}
	l.n.mu.Lock()
	defer l.n.mu.Unlock()
	if e := l.known[l.table(k)]; e != nil {
		return e, nil
	}
	l.denied[k] = true
	return nil, protocol.Errorf(protocol.CodeNotFound, "no such execution")
}

// exitPowerCut is what an engine tells of a container that ran when the power went.
const exitPowerCut = 255

// box is a container.
type box struct {
	n      *node
	k      key
	length time.Duration // of its lease; 0 is none

	mu      sync.Mutex // guards what follows
	removed bool       // the node's mutex, too: it is written under both
	exit    int
	expired bool // the end of its lease ended it
	over    bool
	done    chan struct{} // closed with over
	paused  time.Duration // since when the device sleeps; 0 while it does not

	lease time.Duration // until when it may run; of the world's time
	news  chan struct{} // holds a token when lease changed
}

// start starts a container, once for each attempt.
func (n *node) startBox(k key, lease time.Duration, length time.Duration) (*box, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if b := n.boxes[k]; b != nil && !n.w.bugs.ForgetDuplicates {
		return b, false
	}
	b := &box{n: n, k: k, length: length, lease: lease, done: make(chan struct{}), news: make(chan struct{}, 1)}
	n.boxes[k] = b
	n.w.log.begin(n.id, k)
	n.w.running.Go(b.run)
	return b, true
}

// run lets time pass, but not while the device sleeps, and kills the container
// when its lease is over.
func (b *box) run() {
	r := b.n.w.chance("work", b.n.id, b.k)
	left, code := between(r, 50*time.Millisecond, 4*time.Second), 0
	if r.IntN(2) == 0 {
		left = between(r, time.Second, 40*time.Second)
	}
	if r.IntN(3) == 0 {
		code = 1 + r.IntN(100)
	}
	for {
		since := b.n.w.now()
		work := time.NewTimer(left)
		over := time.NewTimer(b.leaseLeft())
		select {
		case <-work.C:
		case <-over.C:
		case <-b.news:
		case <-b.done:
		}
		work.Stop()
		over.Stop()
		if woken := b.n.asleep(); woken != nil {
			// Nothing happened since it fell asleep; it goes on after.
			select {
			case <-woken:
			case <-b.done:
			}
			if b.goesOn() {
				continue
			}
		}
		left -= b.n.w.now() - since
		switch {
		case b.ended():
			return
		case b.leaseLeft() <= 0:
			b.end(137, true)
			return
		case left <= 0:
			b.end(code, false)
			return
		}
	}
}

// goesOn reports whether the container goes on when its device has woken up.
func (b *box) goesOn() bool {
	if b.ended() || b.leaseLeft() <= 0 {
		return false
	}
	b.mu.Lock()
	b.paused = 0
	b.mu.Unlock()
	b.n.w.log.goesOn(b.n.id, b.k)
	return true
}

// leaseLeft returns how long the container may still run.
func (b *box) leaseLeft() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	watched := !b.n.w.bugs.IgnoreLeaseEnd
	if b.n.w.bugs.NoWatchdog && watched {
		b.n.mu.Lock()
		watched = b.n.life != nil
		b.n.mu.Unlock()
	}
	if b.length == 0 || !watched {
		return time.Hour
	}
	return b.lease - b.n.w.now()
}

func (b *box) extend(until time.Duration) {
	b.mu.Lock()
	b.lease = max(b.lease, until)
	b.mu.Unlock()
	select {
	case b.news <- struct{}{}:
	default:
	}
}

func (b *box) end(code int, expired bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.over {
		return
	}
	b.over, b.exit, b.expired = true, code, expired
	at := b.n.w.now()
	if b.paused > 0 {
		at = b.paused // it has done nothing since
	}
	b.n.w.log.exit(b.n.id, b.k, code, at)
	close(b.done)
}

func (b *box) ended() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.over
}
