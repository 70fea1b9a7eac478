package mdns

import (
	"errors"
	"net/netip"
	"slices"
	"strings"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/hearth-edge/hearth/p2p/netif"
)

const (
	dnsaddrPrefix = "dnsaddr="
	meshPrefix    = "mesh="
	version       = "v=1"

	// maxStrings is how many TXT strings of one announcement are read. DNS
	// itself bounds each to 255 bytes.
	maxStrings = 32
	maxString  = 255

	minFingerprint, maxFingerprint = 4, 64
)

var (
	errNoMesh    = errors.New("announcement without a valid fingerprint")
	errTooBig    = errors.New("announcement too big")
	errTwoMeshes = errors.New("announcement with two fingerprints")
	errTwoPeers  = errors.New("announcement for two peers")
)

// An entry is an announcement that was understood.
type entry struct {
	fingerprint string
	// peer is empty where no address was announced.
	peer peer.ID
	// addrs are at most netif.MaxAddrs of the form /ip4 or /ip6, /tcp; which of
	// them are to be believed is for believed to say.
	addrs []ma.Multiaddr
}

// parseEntry reads the TXT strings of an announcement. Strings that mean nothing to
// it are passed over, so that later versions can say more. An announcement that
// contradicts itself is an error.
func parseEntry(text []string) (entry, error) {
	var e entry
	if len(text) > maxStrings {
		return entry{}, errTooBig
	}
	for _, t := range text {
		if len(t) > maxString {
			return entry{}, errTooBig
		}
		if fp, ok := strings.CutPrefix(t, meshPrefix); ok {
			if !validFingerprint(fp) {
				return entry{}, errNoMesh
			}
			if e.fingerprint != "" && e.fingerprint != fp {
				return entry{}, errTwoMeshes
			}
			e.fingerprint = fp
		}
		addr, id, ok := parseDNSAddr(t)
		if !ok {
			continue
		}
		if e.peer != "" && e.peer != id {
			return entry{}, errTwoPeers
		}
		e.peer = id
		if addr != nil && len(e.addrs) < netif.MaxAddrs {
			e.addrs = append(e.addrs, addr)
		}
	}
	if e.fingerprint == "" {
		return entry{}, errNoMesh
	}
	return e, nil
}

// parseDNSAddr reads "dnsaddr=<address>/p2p/<id>". It is not ok where that is not
// what it is; the address is nil where it is one that no device listens on.
func parseDNSAddr(text string) (ma.Multiaddr, peer.ID, bool) {
	s, ok := strings.CutPrefix(text, dnsaddrPrefix)
	if !ok {
		return nil, "", false
	}
	full, err := ma.NewMultiaddr(s)
	if err != nil {
		return nil, "", false
	}
	addr, id := peer.SplitAddr(full)
	if id == "" || id.Validate() != nil {
		return nil, "", false
	}
	if _, ok := tcpHost(addr); !ok {
		addr = nil
	}
	return addr, id, true
}

// tcpHost is the IP address of an address that is just /ip4 or /ip6 and /tcp:
// no name to look up, no relay, no transport that the mesh doesn't speak.
func tcpHost(a ma.Multiaddr) (netip.Addr, bool) {
	if len(a) != 2 || a[0].Protocol().Code != ma.P_IP4 && a[0].Protocol().Code != ma.P_IP6 ||
		a[1].Protocol().Code != ma.P_TCP || a[1].Value() == "0" {
		return netip.Addr{}, false
	}
	raw, err := manet.ToIP(a)
	if err != nil {
		return netip.Addr{}, false
	}
	ip, ok := netip.AddrFromSlice(raw)
	return ip.Unmap(), ok
}

// onSameLink reports whether a packet that came in by an interface was sent by one
// of its neighbours (RFC 6762, section 11).
func onSameLink(from netip.Addr, on netif.Interface) bool {
	return from.IsLinkLocalUnicast() || onLink(from, on)
}

func onLink(ip netip.Addr, on netif.Interface) bool {
	return slices.ContainsFunc(on.Prefixes, func(p netip.Prefix) bool { return p.Contains(ip) })
}

// credible keeps the addresses that an announcement's sender surely may speak for:
// the one it sent from. IPv6 sends from a link-local address, which nobody
// announces; those of the same network are taken for it.
func credible(addrs []ma.Multiaddr, from netip.Addr, on netif.Interface) []ma.Multiaddr {
	var out []ma.Multiaddr
	for _, a := range addrs {
		ip, ok := tcpHost(a)
		if ok && (ip == from || ip.Is6() && from.Is6() && from.IsLinkLocalUnicast() && ip.IsGlobalUnicast() && onLink(ip, on)) {
			out = append(out, a)
		}
	}
	return out
}

// validFingerprint reports whether s could be one, and so is safe to print.
func validFingerprint(s string) bool {
	return len(s) >= minFingerprint && len(s) <= maxFingerprint &&
		strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789") == ""
}
