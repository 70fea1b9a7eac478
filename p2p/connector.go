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
	// patience is how long the device with the higher ID leaves dialling to
	// the other: when both dial at once, connections are lost.
	patience = 3 * time.Second
	// The pause after a failed attempt doubles from the first to the last; for a
	// member it does not grow before so many failures, some ten minutes: it is
	// back in the mesh two seconds after its network is.
	firstPause, lastPause = 500 * time.Millisecond, 30 * time.Second
	steadyFailures        = 256
	// shortLife is how long a connection lasts that is worth making again at once; the
	// pauses before others grow as those after failures do.
	shortLife = 5 * time.Second
	// copyInterval is the least time between two looks whether what announces this
	// device's own ID is another device.
	copyInterval = 30 * time.Second
	// maxFailures is after how many failures a device is forgotten that was
	// never a member: anyone can announce any ID.
	maxFailures = 8
)

// A connector decides whom to dial and when. One goroutine, run, owns the
// table; everybody else sends it hints, which are dropped when it is too busy,
// for they come again. That a connection ended is told once: it is kept until run
// has seen it.
type connector struct {
	self    peer.ID
	sw      *swarm.Swarm
	secure  *membership
	roster  *roster
	members *members
	log     *slog.Logger

	hints chan hint
	// renewed has one place: this device's own addresses changed. ended has as well:
	// there are devices in disconnected.
	renewed, ended chan struct{}
	done           chan attempt

	table   map[string]*candidate // run's own
	dialing int
	budget  *budget
	looked  time.Time // for a copy

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
	// named by the owner: dialled at once and never given up.
	named    bool
	due      time.Time // of the next attempt; zero while connected
	tried    time.Time // when the last attempt began
	since    time.Time // when the last one succeeded
	failures int
	short    int       // connections in a row that did not last
	rest     time.Time // not dialled before, however often it is announced
	dialing  bool
	told     bool // that it cannot be reached
}

// attempt is the outcome of one dial.
type attempt struct {
	key string
	id  peer.ID
	err error
}

func newConnector(self peer.ID, sw *swarm.Swarm, secure *membership, r *roster, m *members, log *slog.Logger) *connector {
	return &connector{
		self: self, sw: sw, secure: secure, roster: r, members: m, log: log,
		hints: make(chan hint, 64), renewed: make(chan struct{}, 1), ended: make(chan struct{}, 1),
		disconnected: make(map[peer.ID]struct{}),
		done:         make(chan attempt, maxDials), table: make(map[string]*candidate), budget: newBudget(),
	}
}

// hint tells the connector of a device; it never blocks.
func (c *connector) hint(h hint) {
	select {
	case c.hints <- h:
	default:
	}
}

// gone tells the connector that the connection to a device ended; it never blocks.
func (c *connector) gone(id peer.ID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.disconnected[id] = struct{}{}
	wake(c.ended)
}

// takeGone lets all be dialled again whose connections ended since it was called last.
func (c *connector) takeGone() {
	c.mu.Lock()
	gone := c.disconnected
	c.disconnected = make(map[peer.ID]struct{})
	c.mu.Unlock()
	for id := range gone {
		c.lost(id)
	}
}

// run dials until ctx ends and its attempts have.
func (c *connector) run(ctx context.Context, byHand []named) {
	for _, n := range byHand {
		c.addNamed(n)
	}
	for _, known := range c.roster.addresses() {
		c.take(hint{id: known.ID, addrs: known.Addrs})
		// The others do not know yet that this device is back.
		c.table[string(known.ID)].due = time.Now()
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		timer.Reset(c.dial(ctx))
		select {
		case h := <-c.hints:
			c.take(h)
		case a := <-c.done:
			c.dialing--
			c.finish(a)
		case <-c.ended:
			c.takeGone()
		case <-c.renewed:
			c.renew()
		case <-timer.C:
		case <-ctx.Done():
			for ; c.dialing > 0; c.dialing-- {
				<-c.done
			}
			return
		}
	}
}

func (c *connector) addNamed(n named) {
	key := n.addr.String()
	if n.id != "" {
		key = string(n.id)
	}
	if old := c.table[key]; old != nil {
		old.addrs = append(old.addrs, n.addr)
		return
	}
	c.table[key] = &candidate{key: key, id: n.id, addrs: []ma.Multiaddr{n.addr}, named: true, due: time.Now()}
}

// take notes a hint.
func (c *connector) take(h hint) {
	if h.id == c.self {
		c.suspect(h.addrs)
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
		c.soon(cand)
	}
}

// soon lets a candidate be dialled as if nothing had failed before.
func (c *connector) soon(cand *candidate) {
	due := time.Now()
	if !cand.named && c.self > cand.id {
		due = due.Add(patience)
	}
	// However often it is announced, by whomever.
	if earliest := cand.tried.Add(firstPause); due.Before(earliest) && cand.failures > 0 {
		due = earliest
	}
	if due.Before(cand.rest) {
		due = cand.rest
	}
	cand.failures = 0
	if cand.id != "" {
		c.sw.Backoff().Clear(cand.id)
	}
	if cand.due.IsZero() || due.Before(cand.due) {
		cand.due = due
	}
}

// lost lets a device be dialled again whose connection ended.
func (c *connector) lost(id peer.ID) {
	if c.members.has(id) {
		return
	}
	if i := c.table[string(id)]; i == nil {
		if addrs := c.roster.addressesOf(id); len(addrs) > 0 {
			c.take(hint{id: id, addrs: addrs, fresh: true})
		}
	}
	for _, cand := range c.table {
		if cand.id != id || !cand.due.IsZero() {
			continue
		}
		if time.Since(cand.since) < shortLife {
			cand.short++
			cand.rest = time.Now().Add(pause(cand.short))
		} else {
			cand.short = 0
		}
		c.soon(cand)
	}
}

// renew is called when this device has new addresses: what could not be
// reached may be now.
func (c *connector) renew() {
	for _, cand := range c.table {
		if !cand.due.IsZero() {
			c.soon(cand)
		}
	}
}

// makeRoom forgets the candidate that failed most, of those that were never
// members, if the table is full. It returns false if there is none.
func (c *connector) makeRoom() bool {
	if len(c.table) < maxCandidates {
		return true
	}
	var worst *candidate
	for _, cand := range c.table {
		if c.forgettable(cand) && (worst == nil || cand.failures > worst.failures) {
			worst = cand
		}
	}
	if worst == nil {
		return false
	}
	delete(c.table, worst.key)
	return true
}

func (c *connector) forgettable(cand *candidate) bool {
	return !cand.named && !cand.dialing && !c.roster.knows(cand.id)
}

// dial starts the attempts that are due and returns the time to the next one.
func (c *connector) dial(ctx context.Context) time.Duration {
	next := time.Hour
	for _, cand := range c.table {
		if cand.dialing || cand.due.IsZero() {
			continue
		}
		if cand.id != "" && c.members.has(cand.id) {
			cand.due = time.Time{}
			continue
		}
		wait := time.Until(cand.due)
		if wait > 0 {
			next = min(next, wait)
			continue
		}
		if c.dialing == maxDials {
			continue // the end of another attempt comes back here
		}
		if c.forgettable(cand) && !c.budget.spend(cand.addrs, time.Now()) {
			cand.due = time.Now().Add(lastPause)
			next = min(next, lastPause)
			continue
		}
		cand.dialing, cand.tried = true, time.Now()
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
		case a.err != nil && !cand.named:
			c.secure.report.copied(c.self, hostPortOf(cand.addrs[0]), "")
		case cand.named:
			c.log.Warn("a peer named by hand is this device itself and is not dialled", "address", cand.addrs[0])
		}
		return
	}
	if a.id != "" {
		cand.id = a.id
	}
	if a.err == nil {
		cand.failures, cand.due, cand.told, cand.since = 0, time.Time{}, false, time.Now()
		// It may have been lost again already.
		c.lost(cand.id)
		return
	}
	if cand.id != "" {
		c.sw.Backoff().Clear(cand.id)
	}
	// A known member that closes is only shutting down; the next device at its
	// address may be a new one.
	stranger := !c.roster.knows(cand.id)
	if errors.Is(a.err, keys.ErrNotMember) || errors.Is(a.err, errSilent) && stranger {
		c.budget.distrust(cand.addrs, time.Now())
	}
	if errors.Is(a.err, errSurplus) {
		// The other side is connecting; look again soon whether it did.
		cand.due = time.Now().Add(pause(1))
		return
	}
	if cand.named && !cand.told && !errors.Is(a.err, context.Canceled) {
		cand.told = true
		c.log.Warn("a peer named by hand cannot be reached; trying on", "address", cand.addrs[0], "peer", cand.id, "err", a.err)
	}
	cand.failures++
	if cand.failures >= maxFailures && c.forgettable(cand) {
		delete(c.table, a.key)
		return
	}
	failures := cand.failures
	if !stranger {
		failures = max(1, failures-steadyFailures)
	}
	if errors.Is(a.err, errVersion) {
		failures = cand.failures + steadyFailures // until it is updated
	}
	if errors.As(a.err, new(sec.ErrPeerIDMismatch)) && !cand.named || errors.Is(a.err, errCopy) {
		// Another device has its address, which is not to be troubled for every
		// device that once had it. When this one is back it is heard of. Or a copy of
		// this device is connected there.
		failures = cand.failures + steadyFailures
	}
	cand.due = time.Now().Add(pause(failures))
}
