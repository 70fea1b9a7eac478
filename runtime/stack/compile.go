package stack

import (
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime"
)

// world is all that compile has to know beside the stack.
type world struct {
	policy *runtime.Policy
	here   runtime.Here
	// own are this machine's addresses.
	own []netip.Addr
	// subnets are those of the stack's networks, by name.
	subnets map[string]netip.Prefix
	// shared are the services of other stacks that share them, by STACK/SERVICE.
	shared map[string]sharedService
	// missing says of a volume why it cannot be used.
	missing map[string]string
}

// sharedService is how others reach a service.
type sharedService struct {
	network string // of the engine
	address netip.Addr
}

// compiled is a stack as this node is to run it.
type compiled struct {
	services []service
	specs    map[string]*Spec
	refusals []protocol.StackRefusal
}

// compile applies the policy and gives out names and addresses. Given the same it
// returns the same, so that the hash of a service tells whether it has changed.
func compile(s *protocol.Stack, w *world) compiled {
	c := compiled{specs: make(map[string]*Spec)}
	plan := addressPlan{stack: s, world: w}
	for i := range s.Services {
		svc := &s.Services[i]
		grant, refusals := w.policy.GrantStack(svc, w.here)
		spec := specOf(s, svc, &grant)
		plan.connect(svc, spec)
		if why := w.here.NoSecrets; why != "" && slices.ContainsFunc(spec.Files, func(f File) bool { return f.Secret }) {
			refusals = append(refusals, protocol.StackRefusal{Service: svc.Name, Code: protocol.CodePolicy, Reason: "secrets cannot be given here: " + why})
		}
		refusals = append(refusals, plan.publish(svc, spec)...)
		refusals = append(refusals, sharedAbove(s, svc)...)
		c.specs[svc.Name] = spec
		c.refusals = append(c.refusals, refusals...)
		out := service{name: svc.Name, restart: cmp.Or(svc.Restart, protocol.RestartOnFailure), deps: svc.DependsOn}
		out.joins, _ = strings.CutPrefix(svc.NetworkMode, "service:")
		if out.joins == svc.NetworkMode {
			out.joins = ""
		}
		for _, r := range refusals {
			out.forbidden = out.forbidden || r.Code == protocol.CodePolicy
			out.blocked = cmp.Or(out.blocked, r.Reason)
		}
		for _, m := range svc.Mounts {
			if m.Kind == protocol.MountVolume {
				out.blocked = cmp.Or(out.blocked, w.missing[m.Source])
			}
		}
		c.services = append(c.services, out)
	}
	for i := range c.services {
		c.services[i].hash = c.hash(c.services[i].name)
		c.services[i].hosts = c.specs[c.services[i].name].Hosts
	}
	return c
}

// hash is that of all that a container is made of.
func (c *compiled) hash(name string) string {
	spec := *c.specs[name]
	// How it is kept up is not part of the container.
	s := &spec.Service
	s.Restart, s.DependsOn, s.StopGrace, s.Shared, s.Pull, s.Expose = "", nil, 0, false, "", nil
	s.ReservedCPUs, s.ReservedMemory = 0, 0
	text, err := json.Marshal(&spec)
	if err != nil { // no value of these types fails
		panic(err)
	}
	sum := sha256.Sum256(text)
	hash := fmt.Sprintf("%x", sum[:16])
	c.specs[name].Hash = hash
	return hash
}

// specOf fills in what comes from the service and its grant.
func specOf(s *protocol.Stack, svc *protocol.StackService, g *runtime.StackGrant) *Spec {
	spec := &Spec{
		Stack: s.Name, Service: *svc, Image: g.Image, User: g.User, Tmpfs: g.Tmpfs, Devices: g.Devices, DeviceRights: g.DeviceRights,
		Capabilities: g.Capabilities, ReadOnlyRoot: g.ReadOnlyRoot, CPUs: g.CPUs, CPUShares: svc.CPUShares, Memory: g.Memory,
		Reserved: svc.ReservedMemory, Pids: g.Pids, Logs: g.Logs, ShmSize: g.ShmSize,
	}
	if spec.CPUShares == 0 && svc.ReservedCPUs > 0 {
		spec.CPUShares = max(uint32(svc.ReservedCPUs*defaultShares), minShares)
	}
	for _, m := range svc.Mounts {
		switch m.Kind {
		case protocol.MountVolume:
			spec.Mounts = append(spec.Mounts, Mount{
				Volume: volumeName(s.Name, m.Source), Subpath: m.Subpath, Target: m.Target, ReadOnly: m.ReadOnly, NoCopy: m.NoCopy,
			})
		case protocol.MountFile:
			if i := slices.IndexFunc(s.Files, func(f protocol.StackFile) bool { return f.Name == m.Source }); i >= 0 {
				spec.Files = append(spec.Files, File{StackFile: s.Files[i], Target: m.Target, Mode: m.Mode, UID: m.UID, GID: m.GID})
			}
		}
	}
	for _, m := range g.Mounts {
		spec.Mounts = append(spec.Mounts, Mount{Source: m.Source, Target: m.Target, ReadOnly: m.ReadOnly, Propagation: m.Propagation})
	}
	return spec
}

// The kernel's shares of a container that asks for none, and the least.
const (
	defaultShares = 1024
	minShares     = 2
)

// addressPlan gives out addresses and names.
type addressPlan struct {
	stack *protocol.Stack
	*world
}

// networksOf returns the networks that a service is on, the first is its main one.
func networksOf(svc *protocol.StackService) []protocol.NetworkAttachment {
	switch {
	case svc.NetworkMode != "":
		return nil
	case len(svc.Networks) == 0:
		return []protocol.NetworkAttachment{{Network: defaultNetwork}}
	}
	return svc.Networks
}

// network returns a network of the stack.
func network(s *protocol.Stack, name string) (protocol.StackNetwork, bool) {
	for _, n := range s.Networks {
		if n.Name == name {
			return n, true
		}
	}
	return protocol.StackNetwork{Name: name}, name == defaultNetwork || name == sharedNetwork
}

// usedNetworks returns the networks that the stack needs.
func usedNetworks(s *protocol.Stack) []protocol.StackNetwork {
	var used []protocol.StackNetwork
	add := func(name string) {
		n, ok := network(s, name)
		if ok && !slices.ContainsFunc(used, func(u protocol.StackNetwork) bool { return u.Name == name }) {
			used = append(used, n)
		}
	}
	for i := range s.Services {
		for _, a := range networksOf(&s.Services[i]) {
			add(a.Network)
		}
		if s.Services[i].Shared && s.Services[i].NetworkMode == "" {
			add(sharedNetwork)
		}
	}
	return used
}

// on returns a service's address on a network of the stack; invalid where it has none.
func (p *addressPlan) on(svc *protocol.StackService, name string) netip.Addr {
	subnet, ok := p.subnets[name]
	n, known := network(p.stack, name)
	if !ok || !known {
		return netip.Addr{}
	}
	if name == sharedNetwork && svc.Shared && svc.NetworkMode == "" {
		return address(n, subnet, svc.Number)
	}
	for _, a := range networksOf(svc) {
		if a.Network != name {
			continue
		}
		if fixed, err := netip.ParseAddr(a.Address); err == nil {
			return fixed
		}
		return address(n, subnet, svc.Number)
	}
	return netip.Addr{}
}

// connect puts a service on its networks, and tells it the addresses of others.
func (p *addressPlan) connect(svc *protocol.StackService, spec *Spec) {
	if svc.NetworkMode != "" {
		spec.Mode = svc.NetworkMode // "service:NAME" becomes "container:ID" when it is made
	}
	if strings.HasPrefix(svc.NetworkMode, "service:") || svc.NetworkMode == "none" {
		return
	}
	var networks []string
	for _, a := range networksOf(svc) {
		networks = append(networks, a.Network)
		n, _ := network(p.stack, a.Network)
		spec.Networks = append(spec.Networks, Endpoint{
			Network: networkName(p.stack.Name, a.Network), Address: p.on(svc, a.Network),
			Aliases: slices.Concat([]string{svc.Name}, svc.Aliases, a.Aliases), Internal: n.Internal,
		})
	}
	if svc.Shared && svc.NetworkMode == "" {
		spec.Networks = append(spec.Networks, Endpoint{Network: networkName(p.stack.Name, sharedNetwork), Address: p.on(svc, sharedNetwork)})
	}
	spec.Hosts = append(slices.Clone(svc.ExtraHosts), p.hosts(svc, networks)...)
	p.use(spec)
}

// hosts are the names of all services that this one reaches.
func (p *addressPlan) hosts(svc *protocol.StackService, networks []string) []string {
	if svc.NetworkMode == "host" { // it reaches all bridges
		for _, n := range usedNetworks(p.stack) {
			networks = append(networks, n.Name)
		}
	}
	var hosts []string
	for i := range p.stack.Services {
		other := &p.stack.Services[i]
		at, via := p.reach(other, networks)
		if !at.IsValid() {
			continue
		}
		names := slices.Concat([]string{other.Name}, other.Aliases)
		for _, a := range networksOf(other) {
			if a.Network == via {
				names = append(names, a.Aliases...)
			}
		}
		for _, name := range names {
			if entry := name + ":" + at.String(); !slices.Contains(hosts, entry) {
				hosts = append(hosts, entry)
			}
		}
	}
	return hosts
}

// reach returns where a service answers to those on the networks.
func (p *addressPlan) reach(other *protocol.StackService, networks []string) (at netip.Addr, via string) {
	if joined, ok := strings.CutPrefix(other.NetworkMode, "service:"); ok {
		for i := range p.stack.Services {
			if s := &p.stack.Services[i]; s.Name == joined && !strings.HasPrefix(s.NetworkMode, "service:") {
				return p.reach(s, networks)
			}
		}
		return netip.Addr{}, ""
	}
	for _, name := range networks {
		if other.NetworkMode == "host" {
			if n, ok := network(p.stack, name); ok && p.subnets[name].IsValid() {
				gateway, _ := layout(n, p.subnets[name])
				return gateway, name
			}
			continue
		}
		if at := p.on(other, name); at.IsValid() {
			return at, name
		}
	}
	return netip.Addr{}, ""
}

// use connects a container to what its stack uses of others. What is not here is
// left out: the stack's status says so.
func (p *addressPlan) use(spec *Spec) {
	for _, used := range p.stack.Uses {
		s, ok := p.shared[used]
		if !ok {
			continue
		}
		_, name, _ := strings.Cut(used, "/")
		spec.Hosts = append(spec.Hosts, name+":"+s.address.String())
		if spec.Mode == "" && !slices.ContainsFunc(spec.Networks, func(e Endpoint) bool { return e.Network == s.network }) {
			spec.Networks = append(spec.Networks, Endpoint{Network: s.network})
		}
	}
}

// publish gives each port the addresses at which the engine listens.
func (p *addressPlan) publish(svc *protocol.StackService, spec *Spec) (refusals []protocol.StackRefusal) {
	if svc.NetworkMode != "" {
		return nil
	}
	refuse := func(format string, args ...any) {
		refusals = append(refusals, runtime.StackRefusal(svc.Name, runtime.DenyPublishing(format, args...)))
	}
	for _, port := range svc.Ports {
		at := publishAt(p.own, p.policy.PublishPublic)
		if ip, err := netip.ParseAddr(port.HostIP); err == nil && !ip.IsUnspecified() {
			if !isPrivate(ip) && !p.policy.PublishPublic {
				refuse("publishes port %d on no public address, as %s is", port.Published, ip)
				continue
			}
			at = []netip.Addr{ip}
		} else if p.here.Remote && !p.policy.PublishPublic {
			refuse("publishes no ports: which addresses of its engine's machine are public is not known")
			continue
		}
		for _, a := range at {
			spec.Ports = append(spec.Ports, Port{Address: a, StackPort: port})
		}
	}
	return refusals
}

// ownerOf is the stack in STACK/SERVICE.
func ownerOf(used string) protocol.StackName {
	stack, _, _ := strings.Cut(used, "/")
	return protocol.StackName(stack)
}
