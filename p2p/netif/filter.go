package netif

import (
	"net/netip"
	"slices"

	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// MaxAddrs is how many addresses a device announces at most. With more, an
// mDNS answer outgrows one Ethernet frame.
const MaxAddrs = 12

// Filter keeps those of addrs that are on one of ifs, at most MaxAddrs: private
// IPv4 first, then other IPv4, then IPv6, and loopback only where nothing
// else is left. Link-local IPv6 is left out: without its zone, which means
// something on this device only, nobody can dial it. An address such as
// /ip4/0.0.0.0/tcp/1 is not expanded; it is on no interface.
func Filter(addrs []ma.Multiaddr, ifs []Interface) []ma.Multiaddr {
	type ranked struct {
		addr ma.Multiaddr
		ip   netip.Addr
	}
	var kept []ranked
	for _, a := range addrs {
		ip, ok := multiaddrIP(a)
		if ok && (ip.IsLoopback() || dialable(ip) && on(ip, ifs)) {
			kept = append(kept, ranked{a, ip})
		}
	}
	slices.SortStableFunc(kept, func(a, b ranked) int { return rank(a.ip) - rank(b.ip) })
	if len(kept) > 0 && !kept[0].ip.IsLoopback() {
		kept = slices.DeleteFunc(kept, func(r ranked) bool { return r.ip.IsLoopback() })
	}
	var out []ma.Multiaddr
	for _, r := range kept[:min(len(kept), MaxAddrs)] {
		out = append(out, r.addr)
	}
	return out
}

// dialable reports whether an address means the same host to a neighbour.
func dialable(ip netip.Addr) bool {
	return ip.IsGlobalUnicast() || ip.Is4() && ip.IsLinkLocalUnicast()
}

// on reports whether ip is an address of one of ifs.
func on(ip netip.Addr, ifs []Interface) bool {
	return slices.ContainsFunc(ifs, func(i Interface) bool { return slices.Contains(i.Addrs, ip) })
}

// multiaddrIP is the IP address that a multiaddr starts with.
func multiaddrIP(a ma.Multiaddr) (netip.Addr, bool) {
	ip, err := manet.ToIP(a)
	if err != nil {
		return netip.Addr{}, false
	}
	addr, ok := netip.AddrFromSlice(ip)
	return addr.Unmap(), ok
}
