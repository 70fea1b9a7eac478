package stack

import (
	"context"
	"net/netip"
	"runtime"
)

// SetHost replaces what a Keeper sees of this machine; AddressesChanged is for its
// news.
func (k *Keeper) SetHost(addresses []netip.Addr, routes []netip.Prefix, taken map[uint16]bool) {
	k.host.addresses = func() []netip.Addr { return addresses }
	k.host.watch = func(ctx context.Context, _ func()) error { <-ctx.Done(); return nil }
	k.host.routes = func() []netip.Prefix { return routes }
	k.host.listeners = func() []listener {
		var all []listener
		for port := range taken {
			all = append(all, listener{address: netip.IPv4Unspecified(), port: port})
		}
		return all
	}
}

// AddressesChanged is what the Keeper does at news of addresses.
func (k *Keeper) AddressesChanged(now []netip.Addr) {
	k.host.addresses = func() []netip.Addr { return now }
	k.addressesChanged(context.Background())
}

// Locked reports whether the Keeper's lock is held for long.
func (k *Keeper) Locked() bool {
	for range 1000 {
		if k.mu.TryLock() {
			k.mu.Unlock()
			return false
		}
		runtime.Gosched()
	}
	return true
}
