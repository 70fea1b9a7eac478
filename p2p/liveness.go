package p2p

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	libp2pproto "github.com/libp2p/go-libp2p/core/protocol"
)

const (
	// pingEvery is the time between pings.
	pingEvery = time.Second
	// pingsPerSecond bounds the pings of a device, sent and answered together: in a
	// larger mesh there are more ticks between them. Where work is under way there
	// are not.
	pingsPerSecond = 16
	// lookEvery is the time between looks at a device that does not answer.
	lookEvery = 200 * time.Millisecond
	// goodbyeTimeout bounds how long leaving waits for the others to know.
	goodbyeTimeout = 250 * time.Millisecond
)

// liveness watches connections and says goodbye on them. One goroutine, run, sends
// all pings, at the ticks of the device; each connection has one that reads.
type liveness struct {
	born    time.Time // what the times in pings and the ticks count from
	members *members
	gossip  *gossip
	work    []libp2pproto.ID // the protocols by which devices work for each other
	log     *slog.Logger

	mu      sync.Mutex // owns what follows
	watched []*watched
	// awaited are the connections whose other side is to open the stream.
	awaited map[network.Conn]chan network.Stream
}

// run pings until ctx ends.
func (l *liveness) run(ctx context.Context) {
	next := l.tick(pingEvery)
	timer := time.NewTimer(next)
	defer timer.Stop()
	for planned := time.Now().Add(next); ; {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			now := time.Now()
			next = l.look(now, max(0, now.Sub(planned)))
			timer.Reset(next)
			planned = now.Add(next)
		}
	}
}

// look goes over all connections: it pings where it is time to, and ends those
// that are dead. It returns when to look again. late is by how much it was called
// too late: a device that gets no processor hears nobody, and must not take all
// others for dead.
func (l *liveness) look(now time.Time, late time.Duration) time.Duration {
	l.mu.Lock()
	all := slices.Clone(l.watched)
	l.mu.Unlock()
	ticks := max(1, (len(all)+pingsPerSecond-1)/pingsPerSecond)
	next := l.tick(pingEvery)
	for _, w := range all {
		next = min(next, w.look(now, late, ticks))
	}
	return next
}

// ticked counts the ticks until now.
func (l *liveness) ticked(now time.Time) int { return int((now.Sub(l.born) + atOnce) / pingEvery) }

// tick returns when, about after that time, this device wakes up anyway: all its
// pings go out together, for what costs is to wake up.
func (l *liveness) tick(about time.Duration) time.Duration {
	next := pingEvery - time.Since(l.born)%pingEvery
	return max(next+(about-next).Round(pingEvery), next)
}

// expect is called for each new connection, before it can bring a stream.
func (l *liveness) expect(c network.Conn) {
	if dialled(c) {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.awaited[c] = make(chan network.Stream, 1)
}

func dialled(c network.Conn) bool { return c.Stat().Direction == network.DirOutbound }

// serve is the handler of streams that others open.
func (l *liveness) serve(s network.Stream) {
	l.mu.Lock()
	to := l.awaited[s.Conn()]
	l.mu.Unlock()
	select {
	case to <- s:
	default: // nobody waits for one, or for no other
		_ = s.Reset()
	}
}

// watch watches c until it is closed, and then calls ended. When ctx ends it says
// goodbye, and waits until the other side knows. A connection over which nothing
// comes any more is closed.
func (l *liveness) watch(ctx context.Context, c network.Conn, ended func()) {
	w, forget := l.meet(ctx, c)
	if w == nil {
		_ = c.Close()
		ended()
		return
	}
	go func() { // on a stack that opening the stream has not made large; ends with the connection
		defer ended()
		defer forget()
		w.read(ctx)
		_ = w.stream.Reset()
		if ctx.Err() == nil {
			w.end()
		}
	}()
}

// meet starts to watch a connection until forget is called; it returns nil where
// that cannot be.
func (l *liveness) meet(ctx context.Context, c network.Conn) (w *watched, forget func()) {
	s := l.stream(ctx, c)
	var conn *memberConn
	if s == nil || !c.As(&conn) {
		return nil, nil
	}
	w = &watched{l: l, conn: c, member: conn, stream: s, dialled: dialled(c)}
	l.add(w)
	// Closing the connection alone could tell the other side nothing: TCP may drop
	// what was sent last.
	stop := context.AfterFunc(ctx, w.sayGoodbye)
	w.begin()
	return w, func() {
		stop()
		l.remove(w)
	}
}

// stream returns the connection's stream: it opens it, or waits for it. It is nil
// if none comes.
func (l *liveness) stream(ctx context.Context, c network.Conn) network.Stream {
	if dialled(c) {
		s, err := openAlive(c)
		if err != nil {
			return nil
		}
		return s
	}
	l.mu.Lock()
	from := l.awaited[c]
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.awaited, c)
	}()
	timeout := time.NewTimer(handshakeTimeout)
	defer timeout.Stop()
	select {
	case s := <-from:
		return s
	case <-timeout.C:
	case <-ctx.Done():
	}
	return nil
}

// openAlive opens a stream on this connection and no other, so that each
// connection is watched by itself. It waits for nothing from the other side.
func openAlive(c network.Conn) (network.Stream, error) {
	ctx, cancel := context.WithTimeout(context.Background(), maxSilence)
	defer cancel()
	s, err := c.NewStream(ctx)
	if err != nil {
		return nil, err
	}
	return speak(s, aliveProtocol)
}

func (l *liveness) add(w *watched) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.watched = append(l.watched, w)
}

func (l *liveness) remove(w *watched) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.watched = slices.DeleteFunc(l.watched, func(o *watched) bool { return o == w })
}

// handOver sends this device's score to those that gossip does not reach yet.
func (l *liveness) handOver(score []byte) {
	l.mu.Lock()
	all := slices.Clone(l.watched)
	l.mu.Unlock()
	for _, w := range all {
		if !l.members.reached(w.conn) {
			go w.send(frameScore, score)
		}
	}
}
