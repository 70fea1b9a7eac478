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

// maxDiagnostics bounds each list of what was seen nearby; the oldest entry goes.
const maxDiagnostics = 64

const (
	// logBurst and logInterval bound the log lines about strangers, and as many
	// about names and copies: anybody can be any number of devices.
	logBurst    = 16
	logInterval = time.Minute
	// copyTTL is how long a copy is listed after it was last seen. A refused
	// device tries again within maxBackoff.
	copyTTL = 3 * maxBackoff
)

// diagnostics keeps reports about devices for the owner: strangers, copies,
// claimed names, other versions. It logs each once. It is safe for concurrent
// use.
type diagnostics struct {
	ours keys.Fingerprint
	log  *slog.Logger

	mu        sync.Mutex // owns what follows
	strangers []Stranger
	copies    []seenCopy
	versions  []Peer
	logged    []string // what was logged
	rejected  uint64
	// strangerLimiter are of strangers, memberLimiter of members, whose names and copies they are.
	strangerLimiter, memberLimiter *rate.Limiter
}

// A seenCopy is a copy, and when it was seen last.
type seenCopy struct {
	Copy
	at time.Time
}

func newDiagnostics(ours keys.Fingerprint, log *slog.Logger) *diagnostics {
	limiter := func() *rate.Limiter { return rate.NewLimiter(rate.Every(logInterval), logBurst) }
	return &diagnostics{ours: ours, log: log, strangerLimiter: limiter(), memberLimiter: limiter()}
}

// noteStranger notes a device that is not of this mesh: with the fingerprint of
// its own mesh where it was announced, else with why it was turned away.
func (d *diagnostics) noteStranger(addr, fingerprint string, why error) {
	host := hostOf(addr)
	d.mu.Lock()
	i := slices.IndexFunc(d.strangers, func(s Stranger) bool {
		return hostOf(s.Address) == host && (s.Fingerprint == fingerprint || fingerprint == "")
	})
	if i < 0 {
		// The announcement says more than a failed handshake from there.
		d.strangers = slices.DeleteFunc(d.strangers, func(s Stranger) bool { return hostOf(s.Address) == host && s.Fingerprint == "" })
		d.strangers = bounded(append(d.strangers, Stranger{Address: addr, Fingerprint: fingerprint}))
	}
	if why != nil {
		d.rejected++
	}
	first := d.firstTime("stranger "+host+" "+fingerprint) && d.strangerLimiter.Allow()
	d.mu.Unlock()
	switch {
	case !first:
	case fingerprint != "":
		d.log.Warn("saw a device of another mesh; if it belongs here, give it this mesh's secret", "address", addr, "fingerprint", fingerprint, "ours", d.ours)
	default:
		d.log.Warn("a device nearby is not a member of this mesh (another secret?); compare 'hearth secret fingerprint' on both", "address", addr, "ours", d.ours, "err", why)
	}
}

// noteConflict logs that a member claims a name of another device.
func (d *diagnostics) noteConflict(name string, holder, claimant peer.ID, shown, addr string) {
	d.mu.Lock()
	first := d.firstTime("conflict "+name+string(holder)+string(claimant)) && d.memberLimiter.Allow()
	d.mu.Unlock()
	switch {
	case !first:
	case holder == "":
		d.log.Warn("too many names have a holder, so a device goes without its own", "name", name, "shown", shown, "peer", claimant, "address", addr, "most", maxPins)
	default:
		d.log.Warn("a second device claims a name and is shown with the end of its ID; start one of the two with another --name, or, if the first is no more, 'hearth forget NAME'",
			"name", name, "holder", holder, "shown", shown, "peer", claimant, "address", addr)
	}
}

// noteCopy notes where a copy of a device is. first is where the other one with its ID
// is; empty for this device.
func (d *diagnostics) noteCopy(of peer.ID, addr, first string) {
	if addr == "" {
		return
	}
	c := Copy{Of: peerID(of), Address: hostOf(addr)}
	if first != "" {
		c.First = hostOf(first)
	}
	switch refused, log := d.recordCopy(c); {
	case !log || refused: // which of the two is refused was said
	case first == "":
		d.log.Warn("another device runs with a copy of this device's state folder; remove 'seed' from the one that is the copy", "address", c.Address)
	default:
		d.log.Warn("two devices run with copies of one state folder, and the second is refused; remove 'seed' from the one that is the copy", "peer", of, "address", c.Address, "first", c.First)
	}
}

// noteRefused notes that this device is refused, since the one at addr runs with
// the same state folder and came first.
func (d *diagnostics) noteRefused(self peer.ID, addr string) {
	if addr == "" {
		return
	}
	if _, log := d.recordCopy(Copy{Of: peerID(self), Address: hostOf(addr), Refused: true}); log {
		d.log.Warn("others refuse this device: it runs with a copy of another's state folder, which came first; if this one is the copy, remove 'seed' here", "address", hostOf(addr))
	}
}

// recordCopy keeps c. It reports whether this device is already known to be the
// refused one, and whether to log c.
func (d *diagnostics) recordCopy(c Copy) (known, log bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, o := range d.copies {
		known = known || o.Of == c.Of && o.Address == c.Address && o.Refused
	}
	c.Refused = c.Refused || known
	d.copies = bounded(append(slices.DeleteFunc(d.copies, func(o seenCopy) bool { return o.Of == c.Of && o.Address == c.Address }), seenCopy{c, time.Now()}))
	return known, d.firstTime(fmt.Sprint("copy ", c.Of, c.Address, c.Refused)) && d.memberLimiter.Allow()
}

// seenCopies returns those that were seen lately.
func (d *diagnostics) seenCopies() (copies []Copy) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range d.copies {
		if time.Since(c.at) < copyTTL {
			copies = append(copies, c.Copy)
		}
	}
	return copies
}

// firstTime reports whether key is new; the caller holds the mutex.
func (d *diagnostics) firstTime(key string) bool {
	if slices.Contains(d.logged, key) {
		return false
	}
	d.logged = bounded(append(d.logged, key))
	return true
}

// rejectedCount is how many handshakes were with strangers.
func (d *diagnostics) rejectedCount() uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.rejected
}

func (d *diagnostics) seenStrangers() []Stranger {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.strangers)
}

// bounded drops the oldest of a list that is too long.
func bounded[T any](list []T) []T {
	return list[max(0, len(list)-maxDiagnostics):]
}

func peerID(id peer.ID) protocol.PeerID { return protocol.PeerID(id.String()) }
