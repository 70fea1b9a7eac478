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
	// pingInterval is the time between pings.
	pingInterval = time.Second
	// maxPingsPerSecond bounds the pings of a device, sent and answered together: in a
	// larger mesh there are more ticks between them. Where work is under way there
	// are not.
	maxPingsPerSecond = 16
	// checkInterval is the time between looks at a device that does not answer.
	checkInterval = 200 * time.Millisecond
	// goodbyeTimeout bounds how long leaving waits for the others to know.
	goodbyeTimeout = 250 * time.Millisecond
)

// detector watches connections and says goodbye on them. One goroutine, run, sends
// all pings, at the ticks of the device; what comes is taken by who reads (line).
type detector struct {
	epoch         time.Time // what the times in pings and the ticks count from
	members       *members
	gossip        *gossip
	names         *names
	diagnostics   *diagnostics
	small         *smallPaths
	workProtocols []libp2pproto.ID // the protocols by which devices work for each other
	log           *slog.Logger

	mu       sync.Mutex // owns watched
	monitors []*monitor
}

// run pings until ctx ends; then it says goodbye.
func (d *detector) run(ctx context.Context) {
	next := d.nextTick(pingInterval)
	timer := time.NewTimer(next)
	defer timer.Stop()
	for planned := time.Now().Add(next); ; {
		select {
		case <-ctx.Done():
			d.sayGoodbye()
			return
		case <-timer.C:
			now := time.Now()
			next = d.check(now, max(0, now.Sub(planned)))
			timer.Reset(next)
			planned = now.Add(next)
		}
	}
}

// check goes over all connections: it pings where it is time to, and ends those
// that are dead. It returns when to look again. late is by how much it was called
// too late: a device that gets no processor hears nobody, and must not take all
// others for dead.
func (d *detector) check(now time.Time, late time.Duration) time.Duration {
	all := d.all()
	ticks := max(1, (len(all)+maxPingsPerSecond-1)/maxPingsPerSecond)
	next := d.nextTick(pingInterval)
	for _, w := range all {
		next = min(next, w.check(now, late, ticks))
	}
	return next
}

// tickCount counts the ticks until now.
func (d *detector) tickCount(now time.Time) int {
	return int((now.Sub(d.epoch) + pingSlack) / pingInterval)
}

// nextTick returns when, about after that time, this device wakes up anyway: all its
// pings go out together, for what costs is to wake up.
func (d *detector) nextTick(about time.Duration) time.Duration {
	next := pingInterval - time.Since(d.epoch)%pingInterval
	return max(next+(about-next).Round(pingInterval), next)
}

func dialled(c network.Conn) bool { return c.Stat().Direction == network.DirOutbound }

// watch watches c until forget is called. It is called before anything is read from
// it, and does not block.
func (d *detector) watch(c network.Conn) {
	var on *frameConn
	if !c.As(&on) {
		go func() { _ = c.Close() }()
		return
	}
	w := newMonitor(d, c, on)
	on.handle = w.handleFrame
	d.add(w)
	go w.start()
}

// unwatch is called when a connection has ended.
func (d *detector) unwatch(c network.Conn) {
	if w := d.monitorOf(c); w != nil {
		d.noteStuck(w)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.monitors = slices.DeleteFunc(d.monitors, func(w *monitor) bool { return w.conn == c })
}

// all returns what is watched.
func (d *detector) all() []*monitor {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.monitors)
}

// monitorOf returns what watches a connection, or nil.
func (d *detector) monitorOf(c network.Conn) *monitor {
	d.mu.Lock()
	defer d.mu.Unlock()
	if i := slices.IndexFunc(d.monitors, func(w *monitor) bool { return w.conn == c }); i >= 0 {
		return d.monitors[i]
	}
	return nil
}

// sayGoodbye says goodbye to all, and waits until they know; not for long.
func (d *detector) sayGoodbye() {
	ctx, cancel := context.WithTimeout(context.Background(), goodbyeTimeout)
	defer cancel()
	var all sync.WaitGroup
	for _, w := range d.all() {
		all.Go(func() { w.sayGoodbye(ctx) })
	}
	all.Wait()
}

func (d *detector) add(w *monitor) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.monitors = append(d.monitors, w)
}

// sendPicks tells members whether this device picks them.
func (d *detector) sendPicks(conns []network.Conn) {
	for _, w := range d.all() {
		if slices.Contains(conns, w.conn) {
			go w.sendPick()
		}
	}
}

// requestStatus asks a device for its own status.
func (d *detector) requestStatus(id peer.ID) {
	if c := d.members.conn(id); c != nil {
		if w := d.monitorOf(c); w != nil {
			go w.send(frameStatusRequest, nil)
		}
	}
}

// sendStatus sends this device's status to those that have had none from it, and to those
// that are new: that gossip goes as far as them takes a moment.
func (d *detector) sendStatus(status []byte) {
	for _, w := range d.all() {
		if !w.statusSent.Load() || time.Since(w.since) < readyTimeout && !d.members.isReached(w.conn) {
			go w.sendStatus(status)
		}
	}
}
