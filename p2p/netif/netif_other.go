//go:build !linux

package netif

import (
	"context"
	"net"
	"net/netip"
)

// system asks the operating system for all interfaces.
func system() ([]link, error) {
	found, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	var all []link
	for _, f := range found {
		l := link{
			Interface: Interface{
				Name:      f.Name,
				Index:     f.Index,
				Multicast: f.Flags&net.FlagMulticast != 0,
				Loopback:  f.Flags&net.FlagLoopback != 0,
			},
			up: f.Flags&net.FlagUp != 0 && f.Flags&net.FlagRunning != 0,
		}
		addrs, err := f.Addrs()
		if err != nil {
			return nil, err
		}
		for _, a := range addrs {
			if p, err := netip.ParsePrefix(a.String()); err == nil {
				l.Prefixes = append(l.Prefixes, p)
			}
		}
		all = append(all, l)
	}
	return all, nil
}

// Watch returns nil when ctx ends: on this operating system a device does not
// learn of changes, and its mDNS finds them by looking once a minute.
func Watch(ctx context.Context, _ func()) error {
	<-ctx.Done()
	return nil
}
