// Package netif says which network interfaces a device speaks on, and when
// that changes.
//
// A home computer often has a dozen interfaces and one or two that lead to its
// neighbours. The others belong to containers, virtual machines and tunnels:
// announcing on them finds nobody, and announcing their addresses makes others
// dial into the void. List leaves them out by their names. The name and not
// the driver decides, because inside a container the way to the neighbours
// is itself a virtual device, only called eth0.
//
// A device with no network at all is left with its loopback interface, so
// that several devices on one lone machine still find each other.
//
// The flow: List at the start, Watch for the news that something changed, List
// again, compare with Equal. Nothing is polled. Filter then reduces a host's
// addresses to those worth announcing on the listed interfaces.
//
// The package opens no socket towards the network and sends nothing.
package netif

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// An Interface is a network interface that is up and has a carrier.
type Interface struct {
	Name  string
	Index int
	// Addrs are the usable addresses: IPv4, then global and unique local IPv6,
	// then link-local IPv6. Addresses that the kernel still checks for
	// duplicates are left out. It may be empty.
	Addrs []netip.Addr
	// Prefixes are the networks of Addrs, in the same order.
	Prefixes  []netip.Prefix
	Multicast bool
	Loopback  bool
}

// List returns the interfaces that a device should speak on, by index. Where
// only is not empty these are the ones named there, whatever they are called;
// one that does not exist is an error that names those that do, and one that
// is down is left out. Else it is every interface with an address that List
// takes for a real one, or the loopback interface where none is left. The
// result is empty, and no error, where nothing is up.
func List(only []string) ([]Interface, error) {
	all, err := system()
	if err != nil {
		return nil, fmt.Errorf("list network interfaces: %w", err)
	}
	return choose(all, only)
}

// Equal reports whether two lists say the same, in the same order.
func Equal(a, b []Interface) bool {
	return slices.EqualFunc(a, b, func(x, y Interface) bool {
		return x.Name == y.Name && x.Index == y.Index && x.Multicast == y.Multicast &&
			slices.Equal(x.Addrs, y.Addrs) && slices.Equal(x.Prefixes, y.Prefixes)
	})
}

// link is an interface as the system tells of it, up or not.
type link struct {
	Interface
	up bool
}

// choose is List without the system.
func choose(all []link, only []string) ([]Interface, error) {
	var chosen, loopback []Interface
	if len(only) > 0 {
		if err := unknown(all, only); err != nil {
			return nil, err
		}
	}
	for _, l := range all {
		sortAddrs(&l.Interface)
		switch {
		case !l.up || len(only) > 0 && !slices.Contains(only, l.Name):
		case len(only) > 0:
			chosen = append(chosen, l.Interface)
		case l.Loopback:
			loopback = append(loopback, l.Interface)
		case !virtual(l.Name) && len(l.Addrs) > 0:
			chosen = append(chosen, l.Interface)
		}
	}
	if len(chosen) == 0 && len(only) == 0 {
		return loopback, nil
	}
	return chosen, nil
}

// unknown is an error where only names an interface that does not exist.
func unknown(all []link, only []string) error {
	var exist []string
	for _, l := range all {
		exist = append(exist, l.Name)
	}
	for _, name := range only {
		if !slices.Contains(exist, name) {
			return fmt.Errorf("there is no network interface %q; this device has: %s", name, strings.Join(exist, ", "))
		}
	}
	return nil
}

// virtual reports whether an interface of that name belongs to containers,
// virtual machines or tunnels.
func virtual(name string) bool {
	for _, prefix := range []string{
		"docker", "podman", "veth", "tun", "tap", "utun", "wg", "zt", "tailscale", "virbr", "vnet", "vmnet", "vboxnet",
		"cni", "flannel", "cali", "cilium", "lxc", "lxd", "incusbr", "kube-", "weave", "nerdctl", "dummy", "ifb",
	} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return dockerBridge(name)
}

// dockerBridge reports whether name is br- and twelve hexadecimal digits, as Docker
// calls the bridge of a network. People call theirs br-lan or br0.
func dockerBridge(name string) bool {
	id, ok := strings.CutPrefix(name, "br-")
	return ok && len(id) == 12 && strings.Trim(id, "0123456789abcdef") == ""
}

// sortAddrs puts the addresses of an interface, and its prefixes with them, in
// the order that Interface promises.
func sortAddrs(i *Interface) {
	slices.SortStableFunc(i.Prefixes, func(a, b netip.Prefix) int { return rank(a.Addr()) - rank(b.Addr()) })
	i.Addrs = i.Addrs[:0:0]
	for n, p := range i.Prefixes {
		i.Addrs = append(i.Addrs, p.Addr())
		i.Prefixes[n] = p.Masked()
	}
}

// rank orders addresses by how likely a neighbour reaches them; lower is better.
func rank(a netip.Addr) int {
	switch {
	case a.IsLoopback():
		return 4
	case a.Is6() && a.IsLinkLocalUnicast():
		return 3
	case a.Is6():
		return 2
	case a.IsPrivate():
		return 0
	default:
		return 1
	}
}
