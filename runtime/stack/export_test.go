package stack

import "net/netip"

// SetHost replaces what a Keeper sees of this machine.
func (k *Keeper) SetHost(addresses []netip.Addr, routes []netip.Prefix, taken map[uint16]bool) {
	k.host.addresses = func() []netip.Addr { return addresses }
	k.host.routes = func() []netip.Prefix { return routes }
	k.host.listeners = func() []listener {
		var all []listener
		for port := range taken {
			all = append(all, listener{address: netip.IPv4Unspecified(), port: port})
		}
		return all
	}
}
