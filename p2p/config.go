package p2p

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	libp2pproto "github.com/libp2p/go-libp2p/core/protocol"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/hearth-edge/hearth/keys"
	"github.com/hearth-edge/hearth/protocol"
)

// DefaultPort is the TCP port that is listened on where none was named.
const DefaultPort = 7117

// A Config holds the device's identity, its addresses and its callbacks.
type Config struct {
	Secret keys.Secret
	// Key is the device's identity, as made by keys.Identity.
	Key crypto.PrivKey
	// Name of the device, as keys.ValidName allows it.
	Name string
	// ProtectedNames stay with their holders: the owners of other devices
	// cannot free them. The names in a policy are such.
	ProtectedNames []string
	// StateDir holds the known peers, names and the boot counter. Empty keeps none:
	// the device is then found anew after each restart.
	StateDir string
	// Listen are the addresses to listen on. Empty is DefaultPort on every
	// interface, where a taken port gives way to a free one; a named port that is
	// taken is an error.
	Listen []ma.Multiaddr
	// Interfaces restricts discovery and the announced addresses to these
	// network interfaces; empty is all that look real.
	Interfaces []string
	// Peers are dialled for ever, with or without /p2p/ID at their end.
	Peers []ma.Multiaddr
	// Discovery looks for other devices by mDNS.
	Discovery bool
	// OnStatus is told each fresh and valid status of other devices, by one
	// goroutine. May be nil.
	OnStatus func(protocol.Status)
	// OnPeer is called when a device joined or left. A device has joined once
	// streams and gossip work. One goroutine calls it, in order. May be nil.
	OnPeer func(p Peer, joined bool, how Departure)
	// OnRTT is told the smoothed round trip time to a device, after each ping; it
	// must not block. May be nil.
	OnRTT func(id protocol.PeerID, rtt time.Duration)
	Log   *slog.Logger
	// muxID is muxID, but where a test has a device of another version.
	muxID libp2pproto.ID
}

// listenEverywhere is a TCP port on every interface.
func listenEverywhere(port int) []ma.Multiaddr {
	return []ma.Multiaddr{
		ma.StringCast(fmt.Sprintf("/ip4/0.0.0.0/tcp/%d", port)),
		ma.StringCast(fmt.Sprintf("/ip6/::/tcp/%d", port)),
	}
}

// validate says what is wrong with the configuration.
func (c *Config) validate() error {
	if c.Secret.IsZero() {
		return errors.New("no secret: make one with 'hearth secret new'")
	}
	if c.Key == nil {
		return errors.New("no identity key")
	}
	if c.Log == nil {
		return errors.New("no logger")
	}
	if err := keys.ValidName(c.Name); err != nil {
		return err
	}
	for _, a := range c.Listen {
		if !isTCP(a) {
			return fmt.Errorf("cannot listen on %s: it must look like /ip4/0.0.0.0/tcp/%d", a, DefaultPort)
		}
	}
	for _, a := range c.Peers {
		if _, err := parsePeer(a); err != nil {
			return err
		}
	}
	return nil
}

// isTCP reports whether a is an IP address or DNS name with a TCP port and
// nothing more.
func isTCP(a ma.Multiaddr) bool {
	network, _, err := manet.DialArgs(a)
	return err == nil && len(network) >= 3 && network[:3] == "tcp" && len(a) == 2
}

// A configuredPeer is a peer named by hand: an address, and its ID where it was given.
type configuredPeer struct {
	addr ma.Multiaddr
	id   peer.ID
}

func parsePeer(a ma.Multiaddr) (configuredPeer, error) {
	addr, id := peer.SplitAddr(a)
	if addr == nil || !isTCP(addr) {
		return configuredPeer{}, fmt.Errorf("cannot dial peer %s: it must look like /ip4/192.168.1.2/tcp/%d or /dns4/nas.local/tcp/%d", a, DefaultPort, DefaultPort)
	}
	return configuredPeer{addr: addr, id: id}, nil
}
