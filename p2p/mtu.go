package p2p

import (
	"context"
	"log/slog"
	"net"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	ma "github.com/multiformats/go-multiaddr"
)

const (
	// smallSegment is the maximum segment size on a path that loses large
	// packets. With headers it stays below 1280 bytes, the minimum MTU of IPv6.
	smallSegment = 1200
	// stuckRetransmits is from how often on a packet was repeated in vain, while the other
	// side is heard, that it seems too large for the path.
	stuckRetransmits = 3
	// stuckConns is how many connections to a device in a row end that way before the
	// next has small packets, each within stuckWithin of the one before.
	stuckConns  = 2
	stuckWithin = time.Minute
)

// smallPaths holds the hosts that large packets do not reach: a tunnel, PPPoE
// or a Wi-Fi bridge has a smaller MTU, and a filter drops the ICMP messages
// about it. Handshakes and pings are small, so such a device joins and is lost
// with its first large message. It is safe for concurrent use.
type smallPaths struct {
	log *slog.Logger

	mu    sync.Mutex  // owns what follows
	paths []smallPath // the latest last, at most maxDiagnostics
}

// A smallPath is the one to a device.
type smallPath struct {
	host  string
	peer  Peer
	stuck int // connections
	last  time.Time
}

// noteStuck notes that a connection ended while large packets on it got lost.
func (s *smallPaths) noteStuck(c network.Conn, name string) {
	p := smallPath{
		host: hostOf(c.RemoteMultiaddr().String()), last: time.Now(),
		peer: Peer{ID: peerID(c.RemotePeer()), Name: name, Address: c.RemoteMultiaddr().String()},
	}
	s.mu.Lock()
	if i := slices.IndexFunc(s.paths, func(o smallPath) bool { return o.host == p.host }); i >= 0 {
		if o := s.paths[i]; o.stuck >= stuckConns || p.last.Sub(o.last) < stuckWithin {
			p.stuck = o.stuck
		}
		s.paths = slices.Delete(s.paths, i, i+1)
	}
	p.stuck++
	s.paths = bounded(append(s.paths, p))
	s.mu.Unlock()
	if p.stuck == stuckConns {
		s.log.Warn("large packets between this device and another one get lost (a smaller MTU on the way?); further connections use small ones",
			"name", name, "peer", p.peer.ID, "address", p.peer.Address, "bytes", smallSegment)
	}
}

// isSmall reports whether large packets to a host get lost.
func (s *smallPaths) isSmall(host string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.paths, func(p smallPath) bool { return p.host == host && p.stuck >= stuckConns })
}

// list returns the devices to which large packets get lost.
func (s *smallPaths) list() (all []Peer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.paths {
		if p.stuck >= stuckConns {
			all = append(all, p.peer)
		}
	}
	return all
}

// dialer implements tcp.DialerForAddr. The segment size of a connection is agreed on
// when it is made, in both directions.
func (s *smallPaths) dialer(ma.Multiaddr) (tcp.ContextDialer, error) {
	return &net.Dialer{ControlContext: func(_ context.Context, _, address string, c syscall.RawConn) error {
		if s.isSmall(hostOf(address)) {
			return limitSegment(c, smallSegment)
		}
		return nil
	}}, nil
}

// isStuck reports whether what this device sends seems too large for the path: it is
// repeated in vain while the other side is heard.
func (p *pathInfo) isStuck() bool { return p.retransmits >= stuckRetransmits }

// SmallPackets returns the devices whose paths lose large packets. New
// connections to them use small ones.
func (m *Mesh) SmallPackets() []Peer { return m.small.list() }

// noteStuck counts a connection that ended while large packets got lost on it.
func (d *detector) noteStuck(w *monitor) {
	w.mu.Lock()
	stuck := w.stuck
	w.mu.Unlock()
	if stuck && d.small != nil {
		d.small.noteStuck(w.conn, w.frames.member.name)
	}
}
