package p2p

import (
	"errors"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// errDuplicateConn ends a handshake because another one between the same devices is
// ahead.
var errDuplicateConn = errors.New("another connection to the same device is ahead")

// A dialTieBreaker keeps two devices that dial each other to one connection.
// Closing the second one later would be too late, because gossip may use it
// already. So the device with the lower ID decides within the handshake. It has
// one place for each other device, and the first handshake to take it wins. The
// device with the higher ID accepts everything; its own places only prevent two
// dials to one device.
type dialTieBreaker struct {
	self peer.ID

	mu       sync.Mutex // owns what follows
	reserved map[peer.ID]time.Time
}

// reserveDial takes the place for a connection that this device makes.
func (t *dialTieBreaker) reserveDial(id peer.ID) bool { return t.reserve(id) }

// reserveAccept takes the place for a connection that the other device makes.
func (t *dialTieBreaker) reserveAccept(id peer.ID) bool { return t.self > id || t.reserve(id) }

// releaseAccept gives back what admit took.
func (t *dialTieBreaker) releaseAccept(id peer.ID) {
	if t.self < id {
		t.free(id)
	}
}

// reserve takes the place for the duration of a handshake. After success it
// stays taken for as long again, to cover a dial that the other side started
// before. After that, a device that dials has lost the connection and may
// connect.
func (t *dialTieBreaker) reserve(id peer.ID) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	if until, ok := t.reserved[id]; ok && now.Before(until) {
		return false
	}
	t.reserved[id] = now.Add(2 * handshakeTimeout)
	return true
}

// free gives the place back: the handshake failed, or the connection ended.
func (t *dialTieBreaker) free(id peer.ID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.reserved, id)
}
