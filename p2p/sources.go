package p2p

import (
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"golang.org/x/time/rate"
)

const (
	// sourceRate and sourceBurst bound the statuses a second that are taken of one device.
	sourceRate, sourceBurst = 20, 50
	// unknownRate and unknownBurst bound the forwarded statuses of unconnected
	// devices, per neighbour: anybody can sign as any number of devices. Such a
	// status only says where to dial, and it comes again.
	unknownRate, unknownBurst = 20, 200
	// statusRequestInterval is the least time between two questions for a device's own status, and
	// after it connected, when it hands one over by itself.
	statusRequestInterval = time.Second
)

// A source is the state of a connected device's statuses. There is one per
// connection, and none for other devices, so it is bounded.
type source struct {
	sequence    uint64 // of the last status that was taken
	direct      bool   // one came from the device itself
	lastRequest time.Time
	statuses    *rate.Limiter // of its own
	unknown     *rate.Limiter // of those that it passes on of unknown devices
}

func newSource() source {
	return source{statuses: rate.NewLimiter(sourceRate, sourceBurst), unknown: rate.NewLimiter(unknownRate, unknownBurst)}
}

// allowRelayed reports whether a neighbour may pass on one more status of a device that is
// not connected here.
func (m *members) allowRelayed(neighbour peer.ID) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.table[neighbour]
	return e != nil && e.source.unknown.Allow()
}

// acceptSequence takes note of a status, or tells why it is not to be taken; ask says that the
// device should be asked for its own. direct is whether it counts: the device is
// connected.
func (m *members) acceptSequence(from, sender peer.ID, sequence uint64) (direct bool, reason string, ask bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.table[from]
	if e == nil {
		return false, "", false
	}
	src, now := &e.source, time.Now()
	switch {
	case sequence <= src.sequence:
		return false, "sequence", false
	case sender != from && !src.direct:
		connected := now.Sub(e.since)
		if ask = connected > statusRequestInterval && now.Sub(src.lastRequest) > statusRequestInterval; ask {
			src.lastRequest = now
		}
		if connected < readyTimeout {
			return false, "early", ask
		}
		return false, "indirect", ask
	case !src.statuses.Allow():
		return false, "rate", false
	}
	src.sequence, src.direct = sequence, true
	return true, "", false
}
