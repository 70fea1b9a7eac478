package mdns

import (
	"net/netip"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
)

const (
	// maxKnown is how many devices are remembered; of more, the one that was
	// silent for longest is forgotten and would be reported anew.
	maxKnown = 1024
	// maxPerSource is how many devices one address may announce: one machine may
	// run several, and a liar invent any number.
	maxPerSource = 32
	// maxFoundPerSecond is far above what a site has, so that a whole mesh
	// that answers at once is reported, and far below what a flood could do.
	maxFoundPerSecond = 256

	// maxStrangers is how many devices of other meshes are remembered as told;
	// with more, or within remind, none is reported again.
	maxStrangers   = 64
	repeatInterval = 10 * time.Minute
)

// A table remembers who was heard and reported. Its owner is Run's goroutine;
// it knows the time only from its caller.
type table struct {
	// again is after what time a device that is still heard is reported once
	// more. It is shorter than a period, so that each Browse reports it.
	again  time.Duration
	forget time.Duration

	known     map[peer.ID]known
	sources   map[netip.Addr]int     // how many of known each announced
	strangers map[stranger]time.Time // when it was reported
	second    time.Time              // the second that reported counts in
	reported  int
}

type known struct {
	from               netip.Addr
	addrs              []ma.Multiaddr
	lastSeen, reported time.Time
}

type stranger struct{ addr, fingerprint string }

func newTable(period time.Duration) *table {
	return &table{again: period / 2, forget: 3 * period, known: make(map[peer.ID]known), sources: make(map[netip.Addr]int), strangers: make(map[stranger]time.Time)}
}

// add notes an announcement and says whether to report it.
func (t *table) add(now time.Time, from netip.Addr, id peer.ID, addrs []ma.Multiaddr) bool {
	k, old := t.known[id]
	if (!old || k.from != from) && t.sources[from] >= maxPerSource {
		return false
	}
	k.lastSeen = now
	same := slices.EqualFunc(k.addrs, addrs, ma.Multiaddr.Equal)
	report := (!same || now.Sub(k.reported) >= t.again) && t.allowFound(now)
	if report {
		k.addrs, k.reported = addrs, now
	}
	if old || report {
		t.forgetOne(id)
		if len(t.known) >= maxKnown {
			t.forgetOne(t.oldest())
		}
		k.from = from
		t.known[id] = k
		t.sources[from]++
	}
	return report
}

// oldest is the device that was silent for longest.
func (t *table) oldest() (id peer.ID) {
	first := true
	for other, k := range t.known {
		if first || k.lastSeen.Before(t.known[id].lastSeen) {
			id, first = other, false
		}
	}
	return id
}

func (t *table) forgetOne(id peer.ID) {
	k, ok := t.known[id]
	if !ok {
		return
	}
	delete(t.known, id)
	if t.sources[k.from]--; t.sources[k.from] == 0 {
		delete(t.sources, k.from)
	}
}

// allowFound takes one of this second's reports, if there is one left.
func (t *table) allowFound(now time.Time) bool {
	if now.Sub(t.second) >= time.Second {
		t.second, t.reported = now, 0
	}
	t.reported++
	return t.reported <= maxFoundPerSecond
}

// addStranger notes a device of another mesh and says whether to report it.
func (t *table) addStranger(now time.Time, addr, fingerprint string) bool {
	s := stranger{addr, fingerprint}
	if _, told := t.strangers[s]; told || len(t.strangers) >= maxStrangers {
		return false
	}
	t.strangers[s] = now
	return true
}

// expire forgets those not heard for a while.
func (t *table) expire(now time.Time) {
	for id, k := range t.known {
		if now.Sub(k.lastSeen) >= t.forget {
			t.forgetOne(id)
		}
	}
	for s, told := range t.strangers {
		if now.Sub(told) >= repeatInterval {
			delete(t.strangers, s)
		}
	}
}
