package stack

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"hash/fnv"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/hearth-edge/hearth/protocol"
)

// A stack's network has 512 addresses. The lower half belongs to the services:
// each has that of its number, over all versions; the gateway has one above them.
// The engine gives out the upper half.
const (
	subnetBits    = 23
	gatewayNumber = 254
)

// defaultNetwork is the one of services that name none; sharedNetwork that on
// which other stacks reach those that are shared. No network of a stack is called
// so: its names have no dot.
const (
	defaultNetwork = "default"
	sharedNetwork  = ".shared"
)

// pools are where subnets are chosen, in this order.
var pools = [...]netip.Prefix{
	netip.MustParsePrefix("10.128.0.0/9"), netip.MustParsePrefix("172.16.0.0/12"), netip.MustParsePrefix("192.168.0.0/16"),
}

// networkName is the engine's name of a stack's network.
func networkName(stack protocol.StackName, network string) string {
	if network == sharedNetwork {
		return "hearth_" + string(stack) + sharedNetwork
	}
	return "hearth_" + string(stack) + "_" + network
}

// volumeName is the engine's name of a stack's volume.
func volumeName(stack protocol.StackName, volume string) string {
	return "hearth_" + string(stack) + "_" + volume
}

// chooseSubnet returns one that overlaps none of those taken; invalid where all
// are. It begins at a place that depends on the name alone, so that a network that
// was lost gets the same again.
func chooseSubnet(name string, taken []netip.Prefix) netip.Prefix {
	h := fnv.New32a()
	_, _ = io.WriteString(h, name)
	for _, pool := range pools {
		first := binary.BigEndian.Uint32(pool.Addr().AsSlice())
		count := uint32(1) << (subnetBits - pool.Bits())
		for i := range count {
			var a [4]byte
			binary.BigEndian.PutUint32(a[:], first+((h.Sum32()+i)%count)<<(32-subnetBits))
			if p := netip.PrefixFrom(netip.AddrFrom4(a), subnetBits); !overlaps(p, taken) {
				return p
			}
		}
	}
	return netip.Prefix{}
}

func overlaps(p netip.Prefix, taken []netip.Prefix) bool {
	return slices.ContainsFunc(taken, p.Overlaps)
}

// layout returns a network's gateway and the range that the engine gives out. In a
// subnet that its stack names, which may be small, the gateway has the first
// address, as people expect it.
func layout(n protocol.StackNetwork, p netip.Prefix) (gateway netip.Addr, engines netip.Prefix) {
	if n.Subnet != "" {
		quarter := min(p.Bits()+2, 30)
		return offset(p, 1), netip.PrefixFrom(offset(p, size(p)-1<<(32-quarter)), quarter)
	}
	return offset(p, gatewayNumber), netip.PrefixFrom(offset(p, size(p)/2), p.Bits()+1)
}

// address is the one of a service's number in the network.
func address(n protocol.StackNetwork, p netip.Prefix, number uint8) netip.Addr {
	if n.Subnet != "" {
		return offset(p, uint32(number)+1)
	}
	return offset(p, uint32(number))
}

func size(p netip.Prefix) uint32 { return 1 << (32 - p.Bits()) }

// offset returns the address so far into a network; invalid beyond its end.
func offset(p netip.Prefix, by uint32) netip.Addr {
	if by >= size(p) {
		return netip.Addr{}
	}
	var a [4]byte
	binary.BigEndian.PutUint32(a[:], binary.BigEndian.Uint32(p.Masked().Addr().AsSlice())+by)
	return netip.AddrFrom4(a)
}

// parseSubnet reads the subnet that a stack names.
func parseSubnet(text string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(text)
	if err != nil || !p.Addr().Is4() || p.Bits() < 8 || p.Bits() > 29 {
		return netip.Prefix{}, protocol.Errorf(protocol.CodeInvalid, "%q is no network of IPv4 addresses between /8 and /29", text)
	}
	return p.Masked(), nil
}

// hostRoutes returns the networks that this machine has routes to, but for the
// default one.
func hostRoutes() []netip.Prefix {
	f, err := os.Open("/proc/net/route")
	if err != nil {
		return nil
	}
	defer f.Close()
	return append(parseRoutes(f), interfacePrefixes()...)
}

// parseRoutes reads /proc/net/route: destination and mask are the third and the
// eighth last column, in hexadecimal and the machine's byte order.
func parseRoutes(r io.Reader) []netip.Prefix {
	var all []netip.Prefix
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) < 8 {
			continue
		}
		destination, err1 := hex.DecodeString(f[1])
		mask, err2 := hex.DecodeString(f[7])
		if err1 != nil || err2 != nil || len(destination) != 4 || len(mask) != 4 {
			continue
		}
		slices.Reverse(destination)
		slices.Reverse(mask)
		ones, bits := net.IPMask(mask).Size()
		if bits == 32 && ones > 0 {
			all = append(all, netip.PrefixFrom(netip.AddrFrom4([4]byte(destination)), ones))
		}
	}
	return all
}

// interfacePrefixes are the networks of this machine's own addresses.
func interfacePrefixes() []netip.Prefix {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	var all []netip.Prefix
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok {
			if addr, ok := netip.AddrFromSlice(n.IP); ok && addr.Unmap().Is4() {
				ones, _ := n.Mask.Size()
				all = append(all, netip.PrefixFrom(addr.Unmap(), ones).Masked())
			}
		}
	}
	return all
}

// publishAt returns the addresses at which the engine publishes a port that names
// none: all of IPv4 where none of this machine's is public, so that a new lease
// from the router changes nothing; else loopback and the private ones. IPv6 is left
// out, where nearly every address is public.
func publishAt(own []netip.Addr, public bool) []netip.Addr {
	all := []netip.Addr{netip.IPv4Unspecified()}
	if public {
		return all
	}
	var private []netip.Addr
	exposed := false
	for _, a := range own {
		switch a = a.Unmap(); {
		case !a.Is4() || a.IsLinkLocalUnicast():
		case isPrivate(a):
			private = append(private, a)
		default:
			exposed = true
		}
	}
	if !exposed {
		return all
	}
	if !slices.ContainsFunc(private, netip.Addr.IsLoopback) {
		private = append(private, netip.AddrFrom4([4]byte{127, 0, 0, 1}))
	}
	slices.SortFunc(private, netip.Addr.Compare)
	return slices.Compact(private)
}

// withoutBridges leaves out the addresses that the machine has on the engine's
// networks, which come and go with stacks.
func withoutBridges(own []netip.Addr, networks []Network) []netip.Addr {
	return slices.DeleteFunc(slices.Clone(own), func(a netip.Addr) bool {
		return slices.ContainsFunc(networks, func(n Network) bool {
			return slices.ContainsFunc(n.Subnets, func(p netip.Prefix) bool { return p.Contains(a) })
		})
	})
}

// sharedCarrier is what RFC 6598 sets aside for providers' own networks.
var sharedCarrier = netip.MustParsePrefix("100.64.0.0/10")

func isPrivate(a netip.Addr) bool {
	return a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast() || sharedCarrier.Contains(a.Unmap())
}

// ownAddresses are this machine's.
func ownAddresses() []netip.Addr {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	var all []netip.Addr
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok {
			if addr, ok := netip.AddrFromSlice(n.IP); ok {
				all = append(all, addr.Unmap())
			}
		}
	}
	return all
}
