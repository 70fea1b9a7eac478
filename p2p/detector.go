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

// detector finds dead connections and says goodbye on live ones. One goroutine,
// run, sends all pings of the device at the same ticks. The reader of each
// frameConn calls the handlers of frames.
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

// check pings the connections whose turn it is and ends the dead ones. It
// returns when to check again. late is how much later than planned it was
// called: a device without processor time hears nobody, and must not blame the
// others.
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

// nextTick returns the time until the tick nearest to about. All pings go out
// together, because waking up is the expensive part.
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

// sendStatus sends this device's status to every device without one. New
// devices get it too, since gossip takes a moment to reach them.
func (d *detector) sendStatus(status []byte) {
	for _, w := range d.all() {
		if !w.statusSent.Load() || time.Since(w.since) < readyTimeout && !d.members.isReached(w.conn) {
			go w.sendStatus(status)
		}
	}
}
