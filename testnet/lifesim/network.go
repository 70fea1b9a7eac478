package lifesim

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/sched"
)

var errBroken = errors.New("the connection broke")

// link is the way between the orchestrator's device and a node. To the node on
// the same device it never fails.
type link struct {
	w    *world
	node *node

	mu    sync.Mutex    // guards what follows
	cut   chan struct{} // closed when the cut is healed; nil while there is none
	lossy bool
	conn  *connection // nil while there is none
}

// connection is one between the process of the orchestrator and that of a node.
type connection struct {
	d      *device
	life   *life
	ctx    context.Context
	broken context.CancelFunc
}

func (l *link) set(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f()
}

func (l *link) sever() {
	l.set(func() {
		if l.cut == nil {
			l.cut = make(chan struct{})
		}
	})
}

func (l *link) heal() {
	l.set(func() {
		if l.cut != nil {
			close(l.cut)
			l.cut = nil
		}
	})
}

func (l *link) state() (cut chan struct{}, lossy bool, c *connection) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cut, l.lossy, l.conn
}

func (l *link) disconnect() {
	l.mu.Lock()
	c := l.conn
	l.conn = nil
	l.mu.Unlock()
	if c != nil {
		c.broken()
		c.d.view.Left(l.node.id)
	}
}

// detection is how long it takes at most to notice that a peer is silent.
const detection = 3500 * time.Millisecond

// tend connects and disconnects, as p2p does.
func (l *link) tend(ctx context.Context) {
	r := l.w.chance("link", l.node.id)
	silent, statusAt, sequence := time.Duration(-1), time.Duration(0), uint64(0)
	for pause(ctx, between(r, 150*time.Millisecond, 250*time.Millisecond)) {
		d, life := l.w.current(), l.node.up()
		cut, _, conn := l.state()
		now := l.w.now()
		up := d != nil && life != nil && cut == nil
		gone := d == nil || conn != nil && (conn.d != d || conn.life.ctx.Err() != nil && l.node.asleep() == nil && cut == nil)
		switch {
		case conn == nil && up:
			l.connect(d, life)
			silent, statusAt = -1, 0
		case conn != nil && gone, conn != nil && silent >= 0 && now-silent > detection:
			l.disconnect()
		case up:
			silent = -1
		case silent < 0:
			silent = now
		}
		if _, _, conn = l.state(); conn != nil && (statusAt == 0 || now-statusAt > 20*time.Second) {
			statusAt = now
			sequence++
			conn.d.view.UpdateStatus(status(l.node.id, sequence))
		}
	}
}

func (l *link) connect(d *device, life *life) {
	c := &connection{d: d, life: life}
	c.ctx, c.broken = context.WithCancel(d.ctx)
	context.AfterFunc(life.ctx, func() {
		// A process that dies resets its streams; a device that is off does not,
		// but then nothing comes either.
		c.broken()
	})
	l.set(func() { l.conn = c })
	d.view.Joined(l.node.id, string(l.node.id), "somewhere")
}

func status(id protocol.PeerID, sequence uint64) protocol.Status {
	const gib = protocol.Bytes(1 << 30)
	s := protocol.Status{
		Node: id, Name: string(id), Sequence: sequence, Interval: time.Minute, Role: protocol.RoleNode,
		Speed: 1, CPUs: 4, CPUFree: 4, Slots: 4, MemoryTotal: 4 * gib, MemoryFree: 4 * gib, DiskFree: 64 * gib,
		Arch: "amd64", OS: "linux", Drivers: []string{"docker"}, Images: []uint32{protocol.HashImage("busybox")},
	}
	if id == home {
		s.Speed = 0.5
	}
	s.Score = sched.DefaultParams().Rate(&s)
	return s
}

// fate is what becomes of one question and its answer.
type fate struct {
	there, back time.Duration
	lost        bool // the question
	mute        bool // the answer
	late        time.Duration
	twice       bool
}

func (l *link) fate(r *rand.Rand) fate {
	if l.node.id == home {
		return fate{there: between(r, 0, 50*time.Microsecond), back: between(r, 0, 50*time.Microsecond)}
	}
	_, lossy, _ := l.state()
	f := fate{there: between(r, 200*time.Microsecond, 30*time.Millisecond), back: between(r, 200*time.Microsecond, 30*time.Millisecond)}
	bad := r.IntN(100)
	if lossy {
		bad /= 5
	}
	switch {
	case bad < 1:
		f.lost = true
	case bad < 3:
		f.mute = true
	case bad < 5:
		f.late = between(r, time.Second, 15*time.Second)
	case bad < 6:
		f.twice, f.late = true, between(r, time.Millisecond, 8*time.Second)
	case bad < 8:
		f.there = between(r, time.Second, 6*time.Second)
	case bad < 10:
		f.back = between(r, time.Second, 6*time.Second)
	}
	return f
}

// travel waits until a message has arrived. While the link is cut it waits, as
// TCP does, until the link is healed or the connection given up.
func (l *link) travel(ctx context.Context, took time.Duration) error {
	if !pause(ctx, took) {
		return errBroken
	}
	for {
		cut, _, _ := l.state()
		if cut == nil {
			return nil
		}
		select {
		case <-cut:
		case <-ctx.Done():
			return errBroken
		}
	}
}

// during returns a context that ends a moment after the connection; each one a
// moment of its own, so that no two things happen at the same time.
func (l *link) during(ctx context.Context, conn *connection, name string, args ...any) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	moment := between(l.w.chance(name, args...), 0, 3*time.Millisecond)
	forget := context.AfterFunc(conn.ctx, func() { time.AfterFunc(moment, cancel) })
	return ctx, func() { forget(); cancel() }
}

// executor is a node as one life of the orchestrator's process reaches it.
type executor struct {
	d    *device
	link *link
}

func (x *executor) Offer(ctx context.Context, o protocol.Offer) (protocol.Session, error) {
	_, _, conn := x.link.state()
	if conn == nil || conn.d != x.d {
		return nil, &protocol.Refusal{Code: protocol.CodeNodeLost, Reason: "cannot be reached"}
	}
	f := x.link.fate(x.d.w.chance("offer", x.link.node.id, o.Request, o.Attempt))
	later := func() { // even if nobody waits for it any more
		if pause(conn.life.ctx, f.late) && x.link.node.awake(conn.life.ctx) {
			x.d.w.log.say("an offer of %s/%d comes late to %s", o.Request, o.Attempt, x.link.node.id)
			_, _ = conn.life.offer(o)
		}
	}
	if f.late > 0 && !f.twice {
		x.d.w.running.Go(later)
	}
	return x.call(ctx, conn, f, func() (*execution, error) {
		e, err := conn.life.offer(o)
		if err == nil && f.twice { // what was refused may come once more as it is
			x.d.w.running.Go(later)
		}
		return e, err
	}, protocol.Attach{})
}

func (x *executor) Attach(ctx context.Context, a protocol.Attach) (protocol.Session, error) {
	_, _, conn := x.link.state()
	if conn == nil || conn.d != x.d {
		return nil, errBroken
	}
	f := x.link.fate(x.d.w.chance("attach", x.link.node.id, a.Request, a.Attempt))
	return x.call(ctx, conn, f, func() (*execution, error) { return conn.life.attach(a) }, a)
}

func (x *executor) call(
	ctx context.Context, conn *connection, f fate, at func() (*execution, error), a protocol.Attach,
) (protocol.Session, error) {
	ctx, cancel := x.link.during(ctx, conn, "call", a.Request, a.Attempt)
	defer cancel()
	if f.lost || f.late > 0 && !f.twice {
		<-ctx.Done()
		return nil, errBroken
	}
	if err := x.link.travel(ctx, f.there); err != nil {
		return nil, err
	}
	if !x.link.node.awake(ctx) || conn.life.ctx.Err() != nil {
		return nil, errBroken
	}
	e, err := at()
	if f.mute {
		<-ctx.Done()
		return nil, errBroken
	}
	if lost := x.link.travel(ctx, f.back); lost != nil {
		return nil, lost
	}
	if err != nil {
		return nil, err
	}
	return newRemote(x, conn, e.session(a)), nil
}

// remote is a session over a connection.
type remote struct {
	*view
	x     *executor
	ctx   context.Context
	close context.CancelFunc
}

func newRemote(x *executor, conn *connection, v *view) *remote {
	s := &remote{view: v, x: x}
	s.ctx, s.close = x.link.during(x.d.ctx, conn, "session", v.e.k)
	context.AfterFunc(s.ctx, func() { v.Close() })
	return s
}

// Next brings an update over; what was read to its end at the node is taken over
// only when the orchestrator has got it.
func (s *remote) Next() (protocol.Update, error) {
	u, err := s.FeedReader.Next()
	if s.ctx.Err() != nil {
		return protocol.Update{}, errBroken
	}
	l := s.x.link
	r := s.x.d.w.chance("update", l.node.id, s.e.k)
	if lost := l.travel(s.ctx, l.fate(r).there); lost != nil {
		return protocol.Update{}, lost
	}
	if !l.node.awake(s.ctx) {
		return protocol.Update{}, errBroken
	}
	if err != nil {
		_, _ = s.view.Next() // the end again
	}
	return u, err
}

func (s *remote) Stop(grace time.Duration) error {
	if err := s.x.link.travel(s.ctx, 5*time.Millisecond); err != nil {
		return err
	}
	return s.view.Stop(grace)
}

func (s *remote) Close() error {
	s.close()
	return nil
}

// renew carries a renewal to the orchestrator's device, and the answer back.
func (l *link) renew(life *life, r protocol.Renewal) error {
	_, _, conn := l.state()
	if conn == nil || conn.life != life {
		return errBroken
	}
	ctx, cancel := context.WithTimeout(conn.ctx, 10*time.Second)
	defer cancel()
	f := l.fate(l.w.chance("renew", l.node.id, r.Request, r.Attempt))
	if f.lost || f.mute {
		return errBroken
	}
	if err := l.travel(ctx, f.there+f.late); err != nil {
		return err
	}
	err := conn.d.renew(ctx, l.node.id, r)
	if lost := l.travel(ctx, f.back); lost != nil {
		return lost
	}
	return err
}
