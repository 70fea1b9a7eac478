package p2p

import (
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"golang.org/x/time/rate"

	"github.com/hearth-edge/hearth/keys"
	"github.com/hearth-edge/hearth/protocol"
)

// maxReports bounds each list of what was seen nearby; the oldest entry goes.
const maxReports = 64

const (
	// reportLines and reportLineEvery bound the log lines about strangers, and as many
	// about names and copies: anybody can be any number of devices.
	reportLines     = 16
	reportLineEvery = time.Minute
	// copySeen is for how long a copy is told of that was not seen again. A device that
	// is refused for it tries once in lastPause.
	copySeen = 3 * lastPause
)

// reports keeps what the owner should know of devices that do not belong here,
// and logs each once. It is safe for concurrent use.
type reports struct {
	ours keys.Fingerprint
	log  *slog.Logger

	mu        sync.Mutex // owns what follows
	strangers []Stranger
	copies    []seenCopy
	versions  []Peer
	said      []string // what was logged
	turned    uint64
	// lines are of strangers, memberLines of members, whose names and copies they are.
	lines, memberLines *rate.Limiter
}

// A seenCopy is a copy, and when it was seen last.
type seenCopy struct {
	Copy
	at time.Time
}

func newReports(ours keys.Fingerprint, log *slog.Logger) *reports {
	limiter := func() *rate.Limiter { return rate.NewLimiter(rate.Every(reportLineEvery), reportLines) }
	return &reports{ours: ours, log: log, lines: limiter(), memberLines: limiter()}
}

// stranger notes a device that is not of this mesh: with the fingerprint of
// its own mesh where it was announced, else with why it was turned away.
func (r *reports) stranger(addr, fingerprint string, why error) {
	host := hostOf(addr)
	r.mu.Lock()
	i := slices.IndexFunc(r.strangers, func(s Stranger) bool {
		return hostOf(s.Address) == host && (s.Fingerprint == fingerprint || fingerprint == "")
	})
	if i < 0 {
		// The announcement says more than a failed handshake from there.
		r.strangers = slices.DeleteFunc(r.strangers, func(s Stranger) bool { return hostOf(s.Address) == host && s.Fingerprint == "" })
		r.strangers = bounded(append(r.strangers, Stranger{Address: addr, Fingerprint: fingerprint}))
	}
	if why != nil {
		r.turned++
	}
	first := r.first("stranger "+host+" "+fingerprint) && r.lines.Allow()
	r.mu.Unlock()
	switch {
	case !first:
	case fingerprint != "":
		r.log.Warn("saw a device of another mesh; if it belongs here, give it this mesh's secret", "address", addr, "fingerprint", fingerprint, "ours", r.ours)
	default:
		r.log.Warn("a device nearby is not a member of this mesh (another secret?); compare 'hearth secret fingerprint' on both", "address", addr, "ours", r.ours, "err", why)
	}
}

// conflict logs that a member claims a name that it does not have.
func (r *reports) conflict(name string, holder, claimant peer.ID, shown, addr string) {
	r.mu.Lock()
	first := r.first("conflict "+name+string(holder)+string(claimant)) && r.memberLines.Allow()
	r.mu.Unlock()
	switch {
	case !first:
	case holder == "":
		r.log.Warn("too many names have a holder, so a device goes without its own", "name", name, "shown", shown, "peer", claimant, "address", addr, "most", maxPins)
	default:
		r.log.Warn("a second device claims a name and is shown with the end of its ID; start one of the two with another --name, or, if the first is no more, 'hearth forget NAME'",
			"name", name, "holder", holder, "shown", shown, "peer", claimant, "address", addr)
	}
}

// copied notes where a copy of a device is. first is where the other one with its ID
// is; empty for this device.
func (r *reports) copied(of peer.ID, addr, first string) {
	if addr == "" {
		return
	}
	c := Copy{Of: node(of), Address: hostOf(addr)}
	if first != "" {
		c.First = hostOf(first)
	}
	switch refused, log := r.noteCopy(c); {
	case !log || refused: // which of the two is refused was said
	case first == "":
		r.log.Warn("another device runs with a copy of this device's state folder; remove 'seed' from the one that is the copy", "address", c.Address)
	default:
		r.log.Warn("two devices run with copies of one state folder, and the second is refused; remove 'seed' from the one that is the copy", "peer", of, "address", c.Address, "first", c.First)
	}
}

// refusedAsCopy notes that this device is refused, since the one at addr runs with
// the same state folder and came first.
func (r *reports) refusedAsCopy(self peer.ID, addr string) {
	if addr == "" {
		return
	}
	if _, log := r.noteCopy(Copy{Of: node(self), Address: hostOf(addr), Refused: true}); log {
		r.log.Warn("others refuse this device: it runs with a copy of another's state folder, which came first; if this one is the copy, remove 'seed' here", "address", hostOf(addr))
	}
}

// noteCopy keeps what was seen, and reports whether this device was known to be the
// one that is refused, and whether it is to be logged.
func (r *reports) noteCopy(c Copy) (known, log bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, o := range r.copies {
		known = known || o.Of == c.Of && o.Address == c.Address && o.Refused
	}
	c.Refused = c.Refused || known
	r.copies = bounded(append(slices.DeleteFunc(r.copies, func(o seenCopy) bool { return o.Of == c.Of && o.Address == c.Address }), seenCopy{c, time.Now()}))
	return known, r.first(fmt.Sprint("copy ", c.Of, c.Address, c.Refused)) && r.memberLines.Allow()
}

// seenCopies returns those that were seen lately.
func (r *reports) seenCopies() (copies []Copy) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.copies {
		if time.Since(c.at) < copySeen {
			copies = append(copies, c.Copy)
		}
	}
	return copies
}

// first reports whether key is new; the caller holds the mutex.
func (r *reports) first(key string) bool {
	if slices.Contains(r.said, key) {
		return false
	}
	r.said = bounded(append(r.said, key))
	return true
}

// turnedAway is how many handshakes were with strangers.
func (r *reports) turnedAway() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.turned
}

func (r *reports) seenStrangers() []Stranger {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.strangers)
}

// bounded drops the oldest of a list that is too long.
func bounded[T any](list []T) []T {
	return list[max(0, len(list)-maxReports):]
}

func node(id peer.ID) protocol.PeerID { return protocol.PeerID(id.String()) }
