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
	// maxGuests bounds the connections that others made and that have proved
	// nothing yet, maxGuestsOfOne those of one address.
	maxGuests, maxGuestsOfOne = 64, 16
)

// A doorman bounds how many connections wait to prove that they are of a member.
// When there are too many the oldest goes, not the newest: a member is done in
// milliseconds, and so is never the oldest of many that hold still. It is an
// upgrader, since that is where libp2p accepts connections.
type doorman struct {
	transport.Upgrader

	mu      sync.Mutex // owns what follows
	waiting []*guest   // the oldest first
	ejected uint64
}

// GateMaListener implements transport.Upgrader.
func (d *doorman) GateMaListener(l manet.Listener) transport.GatedMaListener {
	return &door{GatedMaListener: d.Upgrader.GateMaListener(l), doorman: d}
}

type door struct {
	transport.GatedMaListener
	doorman *doorman
}

// Accept implements transport.GatedMaListener.
func (l *door) Accept() (manet.Conn, network.ConnManagementScope, error) {
	c, scope, err := l.GatedMaListener.Accept()
	if err != nil {
		return nil, nil, err
	}
	g := &guest{Conn: c, doorman: l.doorman}
	if ap, err := netip.ParseAddrPort(c.RemoteAddr().String()); err == nil {
		g.from = ap.Addr().Unmap().WithZone("")
	}
	g.tcpOptions, _ = c.(tcpOptions)
	l.doorman.welcome(g)
	return g, scope, nil
}

// welcome takes note of a guest, and shows another the door if need be.
func (d *doorman) welcome(g *guest) {
	d.mu.Lock()
	d.waiting = append(d.waiting, g)
	var oldest *guest
	same := 0
	for i := len(d.waiting) - 1; i >= 0; i-- {
		if d.waiting[i].from == g.from {
			same++
			oldest = d.waiting[i]
		}
	}
	if same <= maxGuestsOfOne {
		oldest = nil
		if len(d.waiting) > maxGuests {
			oldest = d.waiting[0]
		}
	}
	if oldest != nil {
		d.ejected++
	}
	d.mu.Unlock()
	if oldest != nil {
		_ = oldest.Close()
	}
}

// done strikes a guest off: it proved its membership, or is gone.
func (d *doorman) done(g *guest) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i, o := range d.waiting {
		if o == g {
			d.waiting = append(d.waiting[:i], d.waiting[i+1:]...)
			return
		}
	}
}

// refused is how many were shown the door.
func (d *doorman) refused() uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.ejected
}

// tcpOptions are what libp2p and tolerance ask of a TCP connection.
type tcpOptions interface {
	SetLinger(seconds int) error
	SetKeepAlive(keep bool) error
	SetKeepAlivePeriod(d time.Duration) error
}

// A guest is a connection that another device made.
type guest struct {
	manet.Conn
	tcpOptions
	from    netip.Addr
	doorman *doorman
}

// Close implements net.Conn.
func (g *guest) Close() error {
	g.doorman.done(g)
	return g.Conn.Close()
}

// proved is called when it is of a member.
func (g *guest) proved() { g.doorman.done(g) }

// NetConn returns the connection below.
func (g *guest) NetConn() net.Conn { return g.Conn }
