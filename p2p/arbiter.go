package p2p

import (
	"errors"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// errSurplus ends a handshake because another one between the same devices is
// ahead.
var errSurplus = errors.New("another connection to the same device is ahead")

// An arbiter sees to it that two devices which dial each other end up with one
// connection. Closing the second one afterwards would be too late: gossip may
// have settled on it already. So the device with the lower ID decides, within
// the handshake: it has one place for each other device, and whichever
// handshake takes that place first, its own or the other's, goes through. The
// device with the higher ID welcomes what comes, and uses its places only to
// not dial two addresses of one device at once.
type arbiter struct {
	self peer.ID

	mu    sync.Mutex // owns what follows
	taken map[peer.ID]time.Time
}

// dial takes the place for a connection that this device makes.
func (a *arbiter) dial(id peer.ID) bool { return a.take(id) }

// admit takes the place for a connection that the other device makes.
func (a *arbiter) admit(id peer.ID) bool { return a.self > id || a.take(id) }

// release gives back what admit took.
func (a *arbiter) release(id peer.ID) {
	if a.self < id {
		a.free(id)
	}
}

// take takes the place for as long as a handshake lasts. After a good one it
// stays taken as long again, for what the other device began before; after
// that, a device that dials has lost the connection, and may.
func (a *arbiter) take(id peer.ID) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	if until, ok := a.taken[id]; ok && now.Before(until) {
		return false
	}
	a.taken[id] = now.Add(2 * handshakeTimeout)
	return true
}

// free gives the place back: the handshake failed, or the connection ended.
func (a *arbiter) free(id peer.ID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.taken, id)
}
