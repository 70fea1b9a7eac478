package p2p

import (
	"net/netip"
	"slices"
	"sync/atomic"

	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/hearth-edge/hearth/p2p/netif"
)

// announcedAddrs holds the addresses that this device tells others. It is kept, for
// libp2p asks often and asking the kernel takes long.
type announcedAddrs struct {
	interfaces []string // names of interfaces; empty is all that look real
	list       atomic.Pointer[[]ma.Multiaddr]
}

// get returns the addresses; the caller must not change them.
func (a *announcedAddrs) get() []ma.Multiaddr {
	if list := a.list.Load(); list != nil {
		return *list
	}
	return nil
}

// refresh computes the addresses to announce from the addresses listened on. It
// reports whether they changed. An address that the owner named is announced as
// it is; "every interface" is spelt out and filtered.
func (a *announcedAddrs) refresh(listening []ma.Multiaddr) (bool, error) {
	ifs, err := netif.List(a.interfaces)
	if err != nil {
		return false, err
	}
	var exact, spelt []ma.Multiaddr
	for _, l := range listening {
		if manet.IsIPUnspecified(l) {
			spelt = append(spelt, onInterfaces(l, ifs)...)
		} else {
			exact = append(exact, l)
		}
	}
	list := append(exact, netif.Filter(spelt, ifs)...)
	list = list[:min(len(list), maxAddrs)]
	old := a.list.Swap(&list)
	return old == nil || !slices.EqualFunc(*old, list, func(x, y ma.Multiaddr) bool { return x.Equal(y) }), nil
}

// onInterfaces spells out "every interface, this port".
func onInterfaces(wild ma.Multiaddr, ifs []netif.Interface) []ma.Multiaddr {
	any4 := wild[0].Protocol().Code == ma.P_IP4
	var out []ma.Multiaddr
	for _, i := range ifs {
		for _, ip := range i.Addrs {
			if ip.Is4() != any4 {
				continue
			}
			if a, err := manet.FromIP(ip.AsSlice()); err == nil {
				out = append(out, a.Encapsulate(wild[1:]))
			}
		}
	}
	return out
}

// hostPortOf returns the IP:port in a multiaddr; empty where there is none.
func hostPortOf(a ma.Multiaddr) string {
	_, hostport, err := manet.DialArgs(a)
	if err != nil {
		return ""
	}
	return hostport
}

// hostOf returns the IP address in a multiaddr or an IP:port, or else addr
// itself: the port of a device that dials changes each time.
func hostOf(addr string) string {
	if a, err := ma.NewMultiaddr(addr); err == nil {
		if ip, err := manet.ToIP(a); err == nil {
			return ip.String()
		}
	}
	if ap, err := netip.ParseAddrPort(addr); err == nil {
		return ap.Addr().Unmap().String()
	}
	return addr
}
