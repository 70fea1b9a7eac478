package p2p

import (
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/hearth-edge/hearth/keys"
)

// How soon a device that goes is missed, on both ends of the connection.
func TestDepartures(t *testing.T) {
	for name, c := range map[string]struct {
		end    func(*relay, *device)
		how    Departure
		within time.Duration
	}{
		"leaves":     {func(_ *relay, b *device) { b.stop() }, Left, 300 * time.Millisecond},
		"is killed":  {func(w *relay, _ *device) { w.cut() }, Lost, 500 * time.Millisecond},
		"is frozen":  {func(w *relay, _ *device) { w.freeze() }, Lost, 3 * time.Second},
		"half hears": {func(w *relay, _ *device) { w.freezeOneWay() }, Lost, 3 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			secret := keys.NewSecret()
			a := start(t, secret, "a")
			w := newRelay(t, a)
			b := start(t, secret, "b", func(c *Config) { c.Peers = []ma.Multiaddr{w.addr} })
			a.joins(b)
			b.joins(a)
			if name == "is frozen" { // not just after the join
				eventually(t, func() bool { return len(a.Peers()) == 1 && a.Peers()[0].RTT > 0 })
			}
			began := time.Now()
			c.end(w, b)
			e := a.next()
			if took := e.at.Sub(began); e.joined || e.how != c.how || took > c.within {
				t.Errorf("%v (joined %v) after %v, want %v within %v", e.how, e.joined, took, c.how, c.within)
			} else {
				t.Logf("%v after %v", e.how, took)
			}
			if e.peer.ID != b.ID() || e.peer.Name != "b" {
				t.Errorf("told of %+v", e.peer)
			}
			if c.how == Lost {
				if e := b.next(); e.joined || e.how != Lost || e.at.Sub(began) > c.within {
					t.Errorf("the other side: %v (joined %v) after %v", e.how, e.joined, e.at.Sub(began))
				}
			}
		})
	}
}

// A device that is lost and reachable again is joined again.
func TestReconnects(t *testing.T) {
	t.Parallel()
	secret := keys.NewSecret()
	a := start(t, secret, "a")
	w := newRelay(t, a)
	b := start(t, secret, "b", func(c *Config) { c.Peers = []ma.Multiaddr{w.addr} })
	a.joins(b)
	b.joins(a)
	w.cut()
	if e := a.next(); e.joined {
		t.Fatalf("%+v", e)
	}
	a.joins(b)
}

// A connection full of data is not taken for a dead one.
func TestBusyConnectionIsAlive(t *testing.T) {
	t.Parallel()
	secret := keys.NewSecret()
	a := prepare(t, secret, "a")
	a.Handle(echoProtocol, echo)
	a.run()
	b := start(t, secret, "b", a.asPeer())
	a.joins(b)
	b.joins(a)
	conn := b.watches(a).frames.member
	s, err := b.Open(t.Context(), a.ID(), echoProtocol)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Reset()
	// Nothing is read: the windows fill up and stay full.
	if err := s.SetWriteDeadline(time.Now().Add(2 * silenceTimeout)); err != nil {
		t.Fatal(err)
	}
	if n, err := io.Copy(s, endless{}); err == nil {
		t.Fatalf("%d bytes were swallowed", n)
	}
	if len(a.Peers()) != 1 || len(b.Peers()) != 1 || len(b.events) > 0 || conn.silence() > silenceTimeout {
		t.Errorf("%v, %v, silent for %v", a.Peers(), b.Peers(), conn.silence())
	}
}

// Frames are answered as they should be, and those that are strange change nothing.
func TestFrames(t *testing.T) {
	secret := keys.NewSecret()
	a := start(t, secret, "a")
	b := start(t, secret, "b", a.asPeer())
	a.joins(b)
	b.joins(a)
	w := b.watches(a)
	// Frames of another kind, statuses that are none, answers to nothing.
	w.send(200, []byte{1, 2, 3})
	w.send(frameStatus, []byte("garbage"))
	w.send(frameEcho, make([]byte, pingSize))
	w.send(frameGoodbyeAck, nil)
	eventually(t, func() bool { return a.live.Load().gossip.dropped()["malformed"] == 1 })
	if len(a.events) > 0 || len(b.events) > 0 {
		t.Fatalf("%v, %v", len(a.events), len(b.events))
	}
	// A goodbye that is not followed by the end of the connection.
	w.send(frameGoodbye, nil)
	if e := a.next(); e.how != Left {
		t.Errorf("%+v", e)
	}
	a.joins(b) // once it is made anew
}

// What is no frame ends the connection.
func TestGarbage(t *testing.T) {
	secret := keys.NewSecret()
	a := start(t, secret, "a")
	b := start(t, secret, "b", a.asPeer())
	a.joins(b)
	b.joins(a)
	b.watches(a).send(framePing, []byte("too long for a ping"))
	if e := a.next(); e.how != Lost {
		t.Errorf("%+v", e)
	}
	a.joins(b)
}

// The latest status of each device is handed over on their connection; a device that
// has none yet gossips it later.
func TestStatusesAreHandedOver(t *testing.T) {
	secret := keys.NewSecret()
	a := start(t, secret, "a")
	if err := a.Publish(aStatus()); err != nil {
		t.Fatal(err)
	}
	b := start(t, secret, "b", a.asPeer())
	first := b.nextStatus(a.ID())
	b.joins(a)
	if err := b.Publish(aStatus()); err != nil { // whether or not gossip goes so far yet
		t.Fatal(err)
	}
	a.nextStatus(b.ID())
	a.gossipsTo(b)
	if err := a.Publish(aStatus()); err != nil {
		t.Fatal(err)
	}
	if next := b.nextStatus(a.ID()); next.Sequence <= first.Sequence {
		t.Errorf("%d after %d", next.Sequence, first.Sequence)
	}
}

// Both sides know the round trip time, though one of them pings.
func TestBothKnowTheRTT(t *testing.T) {
	secret := keys.NewSecret()
	a := start(t, secret, "a")
	b := start(t, secret, "b", a.asPeer())
	for _, d := range []*device{a, b} {
		eventually(t, func() bool { return len(d.Peers()) == 1 && d.Peers()[0].RTT > 0 })
	}
}

// watches returns the connection to another device.
func (d *device) watches(other *device) (found *monitor) {
	d.t.Helper()
	l := d.live.Load().detector
	eventually(d.t, func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		i := slices.IndexFunc(l.monitors, func(w *monitor) bool { return w.conn.RemotePeer() == other.id })
		if i >= 0 {
			found = l.monitors[i]
		}
		return i >= 0
	})
	return found
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

// relay is a TCP connection to a device that can be broken.
type relay struct {
	addr ma.Multiaddr

	mu     sync.Mutex
	cond   *sync.Cond
	frozen [2]bool // towards the device, and back
	conns  []net.Conn
}

func newRelay(t *testing.T, d *device) *relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &relay{}
	w.cond = sync.NewCond(&w.mu)
	if w.addr, err = manet.FromNetAddr(l.Addr()); err != nil {
		t.Fatal(err)
	}
	_, target, err := manet.DialArgs(d.live.Load().sw.ListenAddresses()[0])
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", target)
			if err != nil {
				_ = in.Close()
				continue
			}
			w.mu.Lock()
			w.conns = append(w.conns, in, out)
			w.mu.Unlock()
			wg.Go(func() { w.pipe(out, in, 0) })
			wg.Go(func() { w.pipe(in, out, 1) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		w.mu.Lock()
		w.frozen = [2]bool{}
		w.cond.Broadcast()
		w.mu.Unlock()
		w.cut()
		wg.Wait()
	})
	return w
}

func (w *relay) pipe(dst, src net.Conn, way int) {
	defer dst.Close()
	buf := make([]byte, 32<<10)
	for {
		n, err := src.Read(buf)
		w.mu.Lock()
		for w.frozen[way] {
			w.cond.Wait()
		}
		w.mu.Unlock()
		if err != nil {
			return
		}
		if _, err := dst.Write(buf[:n]); err != nil {
			return
		}
	}
}

// cut closes all connections, as the end of a process does.
func (w *relay) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.conns {
		_ = c.Close()
	}
	w.conns = nil
}

// freeze lets nothing through, and no end either.
func (w *relay) freeze() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.frozen = [2]bool{true, true}
}

func (w *relay) freezeOneWay() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.frozen[0] = true
}

// All that is done at ticks is done at once, and about when it is due.
func TestTicksAreTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &detector{epoch: time.Now()}
		for _, about := range []time.Duration{pingInterval, 1500 * time.Millisecond, 9 * time.Second} {
			for range 100 {
				time.Sleep(about / 37)
				began := time.Now()
				time.Sleep(l.nextTick(about))
				if late := (time.Since(began) - about).Abs(); late > pingInterval/2 || time.Since(l.epoch)%pingInterval != 0 {
					t.Fatalf("a tick that was due after %v came %v off, at %v", about, late, time.Since(l.epoch))
				}
			}
		}
	})
}
