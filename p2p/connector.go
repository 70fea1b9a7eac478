package p2p

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/sec"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/hearth-edge/hearth/keys"
)

const (
	// maxCandidates bounds the devices that may be dialled.
	maxCandidates = 1024
	// maxDials bounds the attempts under way at once.
	maxDials = 16
	// peerDialGrace is how long the device with the higher ID leaves dialling to
	// the other: when both dial at once, connections are lost.
	peerDialGrace = 3 * time.Second
	// The pause after a failed attempt doubles from the first to the last; for a
	// member it does not grow before so many failures, some ten minutes: it is
	// back in the mesh two seconds after its network is.
	minBackoff, maxBackoff = 500 * time.Millisecond, 30 * time.Second
	maxSteadyFailures      = 256
	// minConnLifetime is how long a connection lasts that is worth making again at once; the
	// pauses before others grow as those after failures do.
	minConnLifetime = 5 * time.Second
	// copyInterval is the least time between two looks whether what announces this
	// device's own ID is another device.
	copyInterval = 30 * time.Second
	// maxFailures is after how many failures a device is forgotten that was
	// never a member: anyone can announce any ID.
	maxFailures = 8
)

// A connector decides whom to dial and when. One goroutine, run, owns the
// table. Others send it hints; it drops them when busy, since they come again.
// The end of a connection is never dropped: disconnected keeps it until run has
// seen it.
type connector struct {
	self    peer.ID
	sw      *swarm.Swarm
	secure  *membership
	book    *peerBook
	members *members
	log     *slog.Logger

	hints chan hint
	// notifyAddresses has one place: this device's own addresses changed. ended has as well:
	// there are devices in disconnected.
	notifyAddresses, notifyDisconnects chan struct{}
	done                               chan attempt

	table         map[string]*candidate // run's own
	dialing       int
	limiter       *dialLimiter
	lastCopyProbe time.Time // for a copy

	mu           sync.Mutex // owns what follows
	disconnected map[peer.ID]struct{}
}

// A hint says where a device may be.
type hint struct {
	id    peer.ID
	addrs []ma.Multiaddr
	// fresh: the device was just heard of, so that it is worth dialling now.
	fresh bool
}

// A candidate is a device to be connected to.
type candidate struct {
	key   string
	id    peer.ID // empty while only an address is known
	addrs []ma.Multiaddr
	// configured by the owner: dialled at once and never given up.
	configured  bool
	nextDial    time.Time // of the next attempt; zero while connected
	lastDial    time.Time // when the last attempt began
	connectedAt time.Time // when the last one succeeded
	failures    int
	shortConns  int       // connections in a row that did not last
	notBefore   time.Time // not dialled before, however often it is announced
	dialing     bool
	warned      bool // that it cannot be reached
}

// attempt is the outcome of one dial.
type attempt struct {
	key string
	id  peer.ID
	err error
}

func newConnector(self peer.ID, sw *swarm.Swarm, secure *membership, r *peerBook, m *members, log *slog.Logger) *connector {
	return &connector{
		self: self, sw: sw, secure: secure, book: r, members: m, log: log,
		hints: make(chan hint, 64), notifyAddresses: make(chan struct{}, 1), notifyDisconnects: make(chan struct{}, 1),
		disconnected: make(map[peer.ID]struct{}),
		done:         make(chan attempt, maxDials), table: make(map[string]*candidate), limiter: newDialLimiter(),
	}
}

// addHint tells the connector of a device; it never blocks.
func (c *connector) addHint(h hint) {
	select {
	case c.hints <- h:
	default:
	}
}

// onDisconnect tells the connector that the connection to a device ended; it never blocks.
func (c *connector) onDisconnect(id peer.ID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.disconnected[id] = struct{}{}
	notify(c.notifyDisconnects)
}

// handleDisconnects lets all be dialled again whose connections ended since it was called last.
func (c *connector) handleDisconnects() {
	c.mu.Lock()
	gone := c.disconnected
	c.disconnected = make(map[peer.ID]struct{})
	c.mu.Unlock()
	for id := range gone {
		c.redial(id)
	}
}

// run dials until ctx ends and its attempts have.
func (c *connector) run(ctx context.Context, configured []configuredPeer) {
	for _, n := range configured {
		c.addConfigured(n)
	}
	for _, known := range c.book.addresses() {
		c.handleHint(hint{id: known.ID, addrs: known.Addrs})
		// The others do not know yet that this device is back.
		c.table[string(known.ID)].nextDial = time.Now()
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		timer.Reset(c.dial(ctx))
		select {
		case h := <-c.hints:
			c.handleHint(h)
		case a := <-c.done:
			c.dialing--
			c.finish(a)
		case <-c.notifyDisconnects:
			c.handleDisconnects()
		case <-c.notifyAddresses:
			c.redialAll()
		case <-timer.C:
		case <-ctx.Done():
			for ; c.dialing > 0; c.dialing-- {
				<-c.done
			}
			return
		}
	}
}

func (c *connector) addConfigured(n configuredPeer) {
	key := n.addr.String()
	if n.id != "" {
		key = string(n.id)
	}
	if old := c.table[key]; old != nil {
		old.addrs = append(old.addrs, n.addr)
		return
	}
	c.table[key] = &candidate{key: key, id: n.id, addrs: []ma.Multiaddr{n.addr}, configured: true, nextDial: time.Now()}
}

// handleHint notes a hint.
func (c *connector) handleHint(h hint) {
	if h.id == c.self {
		c.probeCopy(h.addrs)
		return
	}
	cand := c.table[string(h.id)]
	if cand == nil {
		if len(h.addrs) == 0 || !c.makeRoom() {
			return
		}
		cand = &candidate{key: string(h.id), id: h.id}
		c.table[cand.key] = cand
	}
	news := h.fresh
	for _, a := range h.addrs {
		if !slices.ContainsFunc(cand.addrs, a.Equal) {
			// The newest address first; old ones fall off the end.
			cand.addrs = slices.Insert(cand.addrs, 0, a)
			news = true
		}
	}
	cand.addrs = cand.addrs[:min(len(cand.addrs), maxAddrs)]
	if news && !c.members.has(h.id) {
		c.schedule(cand)
	}
}

// schedule lets a candidate be dialled as if nothing had failed before.
func (c *connector) schedule(cand *candidate) {
	due := time.Now()
	if !cand.configured && c.self > cand.id {
		due = due.Add(peerDialGrace)
	}
	// However often it is announced, by whomever.
	if earliest := cand.lastDial.Add(minBackoff); due.Before(earliest) && cand.failures > 0 {
		due = earliest
	}
	if due.Before(cand.notBefore) {
		due = cand.notBefore
	}
	cand.failures = 0
	if cand.id != "" {
		c.sw.Backoff().Clear(cand.id)
	}
	if cand.nextDial.IsZero() || due.Before(cand.nextDial) {
		cand.nextDial = due
	}
}

// redial lets a device be dialled again whose connection ended.
func (c *connector) redial(id peer.ID) {
	if c.members.has(id) {
		return
	}
	if i := c.table[string(id)]; i == nil {
		if addrs := c.book.addressesOf(id); len(addrs) > 0 {
			c.handleHint(hint{id: id, addrs: addrs, fresh: true})
		}
	}
	for _, cand := range c.table {
		if cand.id != id || !cand.nextDial.IsZero() {
			continue
		}
		if time.Since(cand.connectedAt) < minConnLifetime {
			cand.shortConns++
			cand.notBefore = time.Now().Add(backoff(cand.shortConns))
		} else {
			cand.shortConns = 0
		}
		c.schedule(cand)
	}
}

// redialAll is called when this device has new addresses: what could not be
// reached may be now.
func (c *connector) redialAll() {
	for _, cand := range c.table {
		if !cand.nextDial.IsZero() {
			c.schedule(cand)
		}
	}
}

// makeRoom evicts the candidate with the most failures if the table is full.
// Members and configured peers stay. It returns false if there was nobody to
// evict.
func (c *connector) makeRoom() bool {
	if len(c.table) < maxCandidates {
		return true
	}
	var worst *candidate
	for _, cand := range c.table {
		if c.evictable(cand) && (worst == nil || cand.failures > worst.failures) {
			worst = cand
		}
	}
	if worst == nil {
		return false
	}
	delete(c.table, worst.key)
	return true
}

func (c *connector) evictable(cand *candidate) bool {
	return !cand.configured && !cand.dialing && !c.book.knows(cand.id)
}

// dial starts the attempts that are due and returns the time to the next one.
func (c *connector) dial(ctx context.Context) time.Duration {
	next := time.Hour
	for _, cand := range c.table {
		if cand.dialing || cand.nextDial.IsZero() {
			continue
		}
		if cand.id != "" && c.members.has(cand.id) {
			cand.nextDial = time.Time{}
			continue
		}
		wait := time.Until(cand.nextDial)
		if wait > 0 {
			next = min(next, wait)
			continue
		}
		if c.dialing == maxDials {
			continue // the end of another attempt comes back here
		}
		if c.evictable(cand) && !c.limiter.allow(cand.addrs, time.Now()) {
			cand.nextDial = time.Now().Add(maxBackoff)
			next = min(next, maxBackoff)
			continue
		}
		cand.dialing, cand.lastDial = true, time.Now()
		c.dialing++
		key, id, addrs := cand.key, cand.id, slices.Clone(cand.addrs)
		probe := key != string(id)
		go func() {
			got, err := c.connect(ctx, id, addrs, probe)
			c.done <- attempt{key: key, id: got, err: err}
		}()
	}
	return next
}

// finish notes the outcome of an attempt.
func (c *connector) finish(a attempt) {
	cand := c.table[a.key]
	cand.dialing = false
	if a.id == c.self && (a.err == nil || errors.Is(a.err, errCopy)) {
		delete(c.table, a.key)
		switch {
		case a.err != nil && !cand.configured:
			c.secure.diagnostics.noteCopy(c.self, hostPortOf(cand.addrs[0]), "")
		case cand.configured:
			c.log.Warn("a peer named by hand is this device itself and is not dialled", "address", cand.addrs[0])
		}
		return
	}
	if a.id != "" {
		cand.id = a.id
	}
	if a.err == nil {
		cand.failures, cand.nextDial, cand.warned, cand.connectedAt = 0, time.Time{}, false, time.Now()
		// It may have been lost again already.
		c.redial(cand.id)
		return
	}
	if cand.id != "" {
		c.sw.Backoff().Clear(cand.id)
	}
	// A known member that closes is only shutting down; the next device at its
	// address may be a new one.
	stranger := !c.book.knows(cand.id)
	if errors.Is(a.err, keys.ErrNotMember) || errors.Is(a.err, errNoCertificate) && stranger {
		c.limiter.blockFor(cand.addrs, time.Now())
	}
	if errors.Is(a.err, errDuplicateConn) {
		// The other side is connecting; look again soon whether it did.
		cand.nextDial = time.Now().Add(backoff(1))
		return
	}
	if cand.configured && !cand.warned && !errors.Is(a.err, context.Canceled) {
		cand.warned = true
		c.log.Warn("a peer named by hand cannot be reached; trying on", "address", cand.addrs[0], "peer", cand.id, "err", a.err)
	}
	cand.failures++
	if cand.failures >= maxFailures && c.evictable(cand) {
		delete(c.table, a.key)
		return
	}
	failures := cand.failures
	if !stranger {
		failures = max(1, failures-maxSteadyFailures)
	}
	if errors.Is(a.err, errVersion) {
		failures = cand.failures + maxSteadyFailures // until it is updated
	}
	if errors.As(a.err, new(sec.ErrPeerIDMismatch)) && !cand.configured || errors.Is(a.err, errCopy) {
		// Another device has this address now, or a copy of this device does.
		// Dial it rarely: a device that comes back announces itself.
		failures = cand.failures + maxSteadyFailures
	}
	cand.nextDial = time.Now().Add(backoff(failures))
}
