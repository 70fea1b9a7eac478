package p2p

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
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
// all pings, at the ticks of the device; what comes is taken by who reads (line).
type liveness struct {
	born    time.Time // what the times in pings and the ticks count from
	members *members
	gossip  *gossip
	names   *names
	report  *reports
	small   *smallPaths
	work    []libp2pproto.ID // the protocols by which devices work for each other
	log     *slog.Logger

	mu      sync.Mutex // owns watched
	watched []*watched
}

// run pings until ctx ends; then it says goodbye.
func (l *liveness) run(ctx context.Context) {
	next := l.tick(pingEvery)
	timer := time.NewTimer(next)
	defer timer.Stop()
	for planned := time.Now().Add(next); ; {
		select {
		case <-ctx.Done():
			l.leave()
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
	all := l.all()
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

func dialled(c network.Conn) bool { return c.Stat().Direction == network.DirOutbound }

// watch watches c until forget is called. It is called before anything is read from
// it, and does not block.
func (l *liveness) watch(c network.Conn) {
	var on *line
	if !c.As(&on) {
		go func() { _ = c.Close() }()
		return
	}
	w := newWatched(l, c, on)
	on.take = w.take
	l.add(w)
	go w.begin()
}

// forget is called when a connection has ended.
func (l *liveness) forget(c network.Conn) {
	if w := l.of(c); w != nil {
		l.noteStuck(w)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.watched = slices.DeleteFunc(l.watched, func(w *watched) bool { return w.conn == c })
}

// all returns what is watched.
func (l *liveness) all() []*watched {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.watched)
}

// of returns what watches a connection, or nil.
func (l *liveness) of(c network.Conn) *watched {
	l.mu.Lock()
	defer l.mu.Unlock()
	if i := slices.IndexFunc(l.watched, func(w *watched) bool { return w.conn == c }); i >= 0 {
		return l.watched[i]
	}
	return nil
}

// leave says goodbye to all, and waits until they know; not for long.
func (l *liveness) leave() {
	ctx, cancel := context.WithTimeout(context.Background(), goodbyeTimeout)
	defer cancel()
	var all sync.WaitGroup
	for _, w := range l.all() {
		all.Go(func() { w.leave(ctx) })
	}
	all.Wait()
}

func (l *liveness) add(w *watched) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.watched = append(l.watched, w)
}

// tellPicks tells members whether this device picks them.
func (l *liveness) tellPicks(conns []network.Conn) {
	for _, w := range l.all() {
		if slices.Contains(conns, w.conn) {
			go w.tellPick()
		}
	}
}

// want asks a device for its own status.
func (l *liveness) want(id peer.ID) {
	if c := l.members.conn(id); c != nil {
		if w := l.of(c); w != nil {
			go w.send(frameWanted, nil)
		}
	}
}

// handOver sends this device's status to those that have had none from it, and to those
// that are new: that gossip goes as far as them takes a moment.
func (l *liveness) handOver(status []byte) {
	for _, w := range l.all() {
		if !w.handed.Load() || time.Since(w.since) < readyTimeout && !l.members.reached(w.conn) {
			go w.hand(status)
		}
	}
}
