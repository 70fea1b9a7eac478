package p2p

import (
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

// strangerLines and strangerLineEvery bound the log lines about devices that are
// no members: anybody can be any number of strangers.
const (
	strangerLines     = 16
	strangerLineEvery = time.Minute
)

// reports keeps what the owner should know of devices that do not belong here,
// and logs each once. It is safe for concurrent use.
type reports struct {
	ours keys.Fingerprint
	log  *slog.Logger

	mu        sync.Mutex // owns what follows
	strangers []Stranger
	conflicts []Conflict
	versions  []Peer
	said      []string // what was logged
	turned    uint64
	lines     *rate.Limiter // of those about strangers
}

func newReports(ours keys.Fingerprint, log *slog.Logger) *reports {
	return &reports{ours: ours, log: log, lines: rate.NewLimiter(rate.Every(strangerLineEvery), strangerLines)}
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

// conflict notes that claimant was refused, because pinned has the name.
func (r *reports) conflict(name string, pinned, claimant peer.ID, addr string) {
	if r.note(Conflict{Name: name, Pinned: node(pinned), Claimant: node(claimant), Address: addr}) {
		r.log.Warn("a second device claims a name and was refused; start one of the two with another --name, or, if the first is no more, start this device once without its file "+PeersFile,
			"name", name, "pinned", pinned, "claimant", claimant, "address", addr)
	}
}

// refused notes that the member by refused this device, since it knows holder
// by this device's name.
func (r *reports) refused(ours string, holder, self, by peer.ID, addr string) {
	if r.note(Conflict{Name: ours, Pinned: node(holder), Claimant: node(self), Address: addr}) {
		r.log.Warn("this device was refused, because its name is another's; start it with another --name, or, if the other is no more, start the device that refused once without its file "+PeersFile,
			"name", ours, "pinned", holder, "by", by, "address", addr)
	}
}

// note keeps a conflict and reports whether it was never logged before.
func (r *reports) note(c Conflict) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !slices.ContainsFunc(r.conflicts, func(o Conflict) bool {
		return o.Name == c.Name && o.Pinned == c.Pinned && o.Claimant == c.Claimant
	}) {
		r.conflicts = bounded(append(r.conflicts, c))
	}
	return r.first("conflict " + c.Name + string(c.Pinned) + string(c.Claimant) + hostOf(c.Address))
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

func (r *reports) seenConflicts() []Conflict {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.conflicts)
}

// bounded drops the oldest of a list that is too long.
func bounded[T any](list []T) []T {
	return list[max(0, len(list)-maxReports):]
}

func node(id peer.ID) protocol.NodeID { return protocol.NodeID(id.String()) }
