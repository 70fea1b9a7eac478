package p2p

import (
	"context"
	"math/rand/v2"
	"net"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
	mss "github.com/multiformats/go-multistream"
)

// connect makes a connection. With probe it asks first for the ID at the
// address, because libp2p dials known IDs only.
func (c *connector) connect(ctx context.Context, id peer.ID, addrs []ma.Multiaddr, probe bool) (peer.ID, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*dialTimeout)
	defer cancel()
	if probe {
		var err error
		if id, err = c.probe(ctx, addrs[0]); err != nil || id == c.self {
			return id, err
		}
	}
	store := c.sw.Peerstore()
	store.ClearAddrs(id)
	store.AddAddrs(id, addrs, peerstore.TempAddrTTL)
	_, err := c.sw.DialPeer(ctx, id)
	return id, err
}

// probe returns the ID of the member that listens at addr.
func (c *connector) probe(ctx context.Context, addr ma.Multiaddr) (peer.ID, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	transport, hostport, err := manet.DialArgs(addr)
	if err != nil {
		return "", err
	}
	d := net.Dialer{Timeout: connectTimeout}
	conn, err := d.DialContext(ctx, transport, hostport)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(dialTimeout)); err != nil {
		return "", err
	}
	// A device that hangs does not hold up the end of this one.
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	if err := mss.SelectProtoOrFail(securityID, conn); err != nil {
		return "", err
	}
	id, err := c.secure.probe(ctx, conn)
	if err == nil && id == c.self && !c.secure.isOwnAddr(conn.LocalAddr()) {
		err = errCopy
	}
	return id, err
}

// backoff returns the pause after so many failures in a row. It has jitter, so
// that devices started together spread out.
func backoff(failures int) time.Duration {
	d := maxBackoff
	if shift := failures - 1; shift < 6 {
		d = min(minBackoff<<shift, maxBackoff)
	}
	return d*3/4 + rand.N(d/2)
}

// probeCopy plans a look at an address that announces this device's own ID.
func (c *connector) probeCopy(addrs []ma.Multiaddr) {
	if len(addrs) == 0 || time.Since(c.lastCopyProbe) < copyInterval || !c.makeRoom() {
		return
	}
	key := addrs[0].String()
	if c.table[key] == nil {
		c.lastCopyProbe = time.Now()
		c.table[key] = &candidate{key: key, addrs: addrs[:1], nextDial: c.lastCopyProbe}
	}
}
