package compose

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"

	"github.com/hearth-edge/hearth/protocol"
)

// defaultNetwork is the one of services that name none.
const defaultNetwork = "default"

// networks adds the networks that services are on, "default" only where the
// file says something of it.
func (r *reader) networks() {
	for _, name := range r.project.NetworkNames() {
		n := r.project.Networks[name]
		path := []string{"networks", name}
		out := protocol.StackNetwork{Name: name, Internal: n.Internal}
		if n.Driver != "" && n.Driver != "bridge" {
			r.refuse(append(path, "driver"), fmt.Sprintf("a stack's networks are bridges, not %s", clip(n.Driver)), "leave the driver out; for the node's own network write network_mode: host")
		}
		if d := n.Ipam.Driver; d != "" && d != "default" {
			r.refuse(append(path, "ipam", "driver"), fmt.Sprintf("there is no address driver %s", clip(d)), "leave it out")
		}
		if n.EnableIPv4 != nil && !*n.EnableIPv4 {
			r.refuse(append(path, "enable_ipv4"), "a stack's networks are IPv4", "leave it out")
		}
		for _, pool := range n.Ipam.Config {
			if pool == nil || pool.Subnet == "" {
				continue
			}
			subnet, err := netip.ParsePrefix(pool.Subnet)
			switch {
			case err != nil:
				r.refuse(append(path, "ipam", "config"), fmt.Sprintf("%q is no subnet", clip(pool.Subnet)), "write it like 172.30.0.0/24")
			case subnet.Addr().Is6():
				r.warn(append(path, "ipam", "config"), "the subnet %s is left out: services of a stack reach each other over IPv4", subnet)
			case out.Subnet != "":
				r.refuse(append(path, "ipam", "config"), "a network has one subnet", "leave the others out")
			default:
				out.Subnet = subnet.Masked().String()
			}
		}
		if name != defaultNetwork || out.Internal || out.Subnet != "" {
			r.stack.Networks = append(r.stack.Networks, out)
		}
	}
}

// network puts the service on its networks.
func (s *serviceReader) network() {
	if mode := s.in.NetworkMode; mode != "" {
		s.networkMode(mode)
		return
	}
	for _, name := range slices.Sorted(maps.Keys(s.in.Networks)) {
		a := protocol.NetworkAttachment{Network: name}
		if n := s.in.Networks[name]; n != nil {
			for _, alias := range n.Aliases {
				if alias != s.in.Name && !slices.Contains(a.Aliases, alias) {
					a.Aliases = append(a.Aliases, alias)
				}
			}
			a.Address = n.Ipv4Address
			s.checkAddress(name, a.Address)
			if !n.ServiceNameAliasEnabled() {
				s.refuse(s.path("networks", name, "use_service_name_alias"), "a service is always reached by its name", "leave it out")
			}
		}
		s.out.Networks = append(s.out.Networks, a)
	}
	if n := s.out.Networks; len(n) == 1 && n[0].Network == defaultNetwork && len(n[0].Aliases) == 0 && n[0].Address == "" {
		s.out.Networks = nil
	}
}

// checkAddress refuses a fixed address that its network does not have.
func (s *serviceReader) checkAddress(network, address string) {
	if address == "" {
		return
	}
	path := s.path("networks", network, "ipv4_address")
	addr, err := netip.ParseAddr(address)
	if err != nil || !addr.Is4() {
		s.refuse(path, fmt.Sprintf("%q is no address of IPv4", clip(address)), "write it like 172.30.0.10, or use the service's name")
		return
	}
	for _, n := range s.stack.Networks {
		if n.Name != network || n.Subnet == "" {
			continue
		}
		if p, err := netip.ParsePrefix(n.Subnet); err == nil && !p.Contains(addr) {
			s.refuse(path, fmt.Sprintf("%s is not within the subnet %s", addr, p), "choose one within, or use the service's name")
		}
		return
	}
	s.refuse(path, "the network has no subnet that the address could be of", "give it one under ipam.config, or use the service's name")
}

func (s *serviceReader) networkMode(mode string) {
	kind, name, named := strings.Cut(mode, ":")
	switch {
	case mode == "bridge" || mode == "default":
	case mode == "none" || mode == "host":
		s.out.NetworkMode = mode
	case named && kind == "service":
		s.out.NetworkMode = mode
	case named && kind == "container":
		for _, other := range s.project.ServiceNames() {
			if s.project.Services[other].ContainerName == name {
				s.out.NetworkMode = "service:" + other
				return
			}
		}
		s.refuseKey("network_mode", fmt.Sprintf("the container %s is not of this stack", clip(name)), "move its service into this file and write service:NAME")
	default:
		s.refuseKey("network_mode", fmt.Sprintf("there is no mode %q", clip(mode)), "write bridge, host, none or service:NAME; networks of the stack stand under networks:")
	}
}

func (s *serviceReader) ports() {
	for _, text := range s.in.Expose {
		s.expose(text)
	}
	for _, p := range s.in.Ports {
		s.port(p)
	}
}

// expose notes ports that the service has, as 80, 80/tcp or 80-90.
func (s *serviceReader) expose(text string) {
	ports, proto, _ := strings.Cut(text, "/")
	first, last, ranged := strings.Cut(ports, "-")
	if !ranged {
		last = first
	}
	from, err := strconv.ParseUint(first, 10, 16)
	to, err2 := strconv.ParseUint(last, 10, 16)
	if err != nil || err2 != nil || from == 0 || to < from || proto != "" && proto != "tcp" && proto != "udp" {
		s.refuseItem(text, s.path("expose"), fmt.Sprintf("%q is no port", clip(text)), "write it like 80 or 53/udp")
		return
	}
	for p := from; p <= to && len(s.out.Expose) < maxExpose; p++ {
		if !slices.Contains(s.out.Expose, uint16(p)) {
			s.out.Expose = append(s.out.Expose, uint16(p))
		}
	}
}

func (s *serviceReader) port(p types.ServicePortConfig) {
	path := s.path("ports")
	text := strconv.FormatUint(uint64(p.Target), 10)
	if p.Target == 0 || p.Target > 65535 {
		s.refuseItem(text, path, fmt.Sprintf("%d is no port", p.Target), "ports are 1 to 65535")
		return
	}
	if other, shares := strings.CutPrefix(s.out.NetworkMode, "service:"); shares {
		s.refuseItem(text, path, fmt.Sprintf("the service is on the network of %s, which alone can publish ports of it", clip(other)), "move the port there")
		return
	}
	if s.out.NetworkMode == "none" {
		s.refuseItem(text, path, "the service is on no network", "leave the port out, or network_mode")
		return
	}
	out := protocol.StackPort{Target: uint16(p.Target), HostIP: p.HostIP}
	switch strings.ToLower(p.Protocol) {
	case "", "tcp":
	case "udp":
		out.UDP = true
	default:
		s.refuseItem(text, path, fmt.Sprintf("%s is not carried", clip(p.Protocol)), "ports are tcp or udp")
		return
	}
	if p.Published == "" || p.Published == "0" {
		s.warnings = append(s.warnings, Warning{s.src.locateItem(text, path...), fmt.Sprintf("the port %d is not published, for none was named: write %d:%d, or reach it with `hearth forward`", p.Target, p.Target, p.Target)})
		s.expose(text)
		return
	}
	published, err := strconv.ParseUint(p.Published, 10, 16)
	if err != nil || published == 0 {
		reason := fmt.Sprintf("%q is no port", clip(p.Published))
		if strings.Contains(p.Published, "-") {
			reason = fmt.Sprintf("a port is published under one number, not any of %s", clip(p.Published))
		}
		s.refuseItem(p.Published, path, reason, "write it like 8080:80")
		return
	}
	out.Published = uint16(published)
	if p.HostIP != "" {
		if _, err := netip.ParseAddr(strings.Trim(p.HostIP, "[]")); err != nil {
			s.refuseItem(p.HostIP, path, fmt.Sprintf("%q is no address to listen on", clip(p.HostIP)), "write it like 127.0.0.1:8080:80")
			return
		}
		out.HostIP = strings.Trim(p.HostIP, "[]")
	}
	if s.out.NetworkMode == "host" && out.Published != out.Target {
		s.warnings = append(s.warnings, Warning{s.src.locateItem(text, path...), fmt.Sprintf("%d:%d is left out: with network_mode host the container's ports are the node's", published, p.Target)})
		return
	}
	if !slices.Contains(s.out.Ports, out) {
		s.out.Ports = append(s.out.Ports, out)
	}
}

// hosts reads what the service finds others by.
func (s *serviceReader) hosts() {
	for _, name := range slices.Sorted(maps.Keys(s.in.ExtraHosts)) {
		for _, addr := range s.in.ExtraHosts[name] {
			addr = strings.Trim(addr, "[]")
			if _, err := netip.ParseAddr(addr); err != nil && addr != "host-gateway" {
				s.refuseItem(name, s.path("extra_hosts"), fmt.Sprintf("%q is no address", clip(addr)), "write NAME:ADDRESS; services of the stack are found by name anyway")
				continue
			}
			s.out.ExtraHosts = append(s.out.ExtraHosts, name+":"+addr)
		}
	}
	for _, d := range s.in.DNS {
		if _, err := netip.ParseAddr(d); err != nil {
			s.refuseItem(d, s.path("dns"), fmt.Sprintf("%q is no address", clip(d)), "write the address of a name server")
			continue
		}
		s.out.DNS = append(s.out.DNS, d)
	}
	s.out.DNSSearch, s.out.DNSOptions = s.in.DNSSearch, s.in.DNSOpts
}
