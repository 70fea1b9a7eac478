package p2p

import (
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/transport"
	manet "github.com/multiformats/go-multiaddr/net"
)

const (
	// maxPreauthConns bounds the inbound connections before authentication,
	// maxPreauthConnsPerIP those of one address.
	maxPreauthConns, maxPreauthConnsPerIP = 64, 16
)

// A preauthLimiter bounds the connections that have not authenticated yet. If
// there are too many it closes the oldest: a member needs milliseconds, so the
// oldest is an idle stranger. libp2p accepts connections in its upgrader, so
// this is one.
type preauthLimiter struct {
	transport.Upgrader

	mu      sync.Mutex     // owns what follows
	waiting []*pendingConn // the oldest first
	evicted uint64
}

// GateMaListener implements transport.Upgrader.
func (l *preauthLimiter) GateMaListener(inner manet.Listener) transport.GatedMaListener {
	return &preauthListener{GatedMaListener: l.Upgrader.GateMaListener(inner), limiter: l}
}

type preauthListener struct {
	transport.GatedMaListener
	limiter *preauthLimiter
}

// Accept implements transport.GatedMaListener.
func (l *preauthListener) Accept() (manet.Conn, network.ConnManagementScope, error) {
	c, scope, err := l.GatedMaListener.Accept()
	if err != nil {
		return nil, nil, err
	}
	g := &pendingConn{Conn: c, limiter: l.limiter}
	if ap, err := netip.ParseAddrPort(c.RemoteAddr().String()); err == nil {
		g.from = ap.Addr().Unmap().WithZone("")
	}
	g.tcpOptions, _ = c.(tcpOptions)
	l.limiter.admit(g)
	return g, scope, nil
}

// admit adds a connection, and closes the oldest one if there are too many.
func (l *preauthLimiter) admit(g *pendingConn) {
	l.mu.Lock()
	l.waiting = append(l.waiting, g)
	var oldest *pendingConn
	same := 0
	for i := len(l.waiting) - 1; i >= 0; i-- {
		if l.waiting[i].from == g.from {
			same++
			oldest = l.waiting[i]
		}
	}
	if same <= maxPreauthConnsPerIP {
		oldest = nil
		if len(l.waiting) > maxPreauthConns {
			oldest = l.waiting[0]
		}
	}
	if oldest != nil {
		l.evicted++
	}
	l.mu.Unlock()
	if oldest != nil {
		_ = oldest.Close()
	}
}

// remove drops a connection that has authenticated or is closed.
func (l *preauthLimiter) remove(g *pendingConn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, o := range l.waiting {
		if o == g {
			l.waiting = append(l.waiting[:i], l.waiting[i+1:]...)
			return
		}
	}
}

// evictions is how many were shown the door.
func (l *preauthLimiter) evictions() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.evicted
}

// tcpOptions are what libp2p and suspicion ask of a TCP connection.
type tcpOptions interface {
	SetLinger(seconds int) error
	SetKeepAlive(keep bool) error
	SetKeepAlivePeriod(d time.Duration) error
}

// A pendingConn is a connection that another device made.
type pendingConn struct {
	manet.Conn
	tcpOptions
	from    netip.Addr
	limiter *preauthLimiter
}

// Close implements net.Conn.
func (c *pendingConn) Close() error {
	c.limiter.remove(c)
	return c.Conn.Close()
}

// authenticated is called when it is of a member.
func (c *pendingConn) authenticated() { c.limiter.remove(c) }

// NetConn returns the connection below.
func (c *pendingConn) NetConn() net.Conn { return c.Conn }
