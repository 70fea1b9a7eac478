package stack

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime"
)

// Check returns all reasons why this node cannot run the stack as it is now; none
// where it can. It changes nothing and asks no registry. What the stack of that
// name has here already does not stand in its way. The error is for an engine that
// does not answer, and for a stack that makes no sense.
func (k *Keeper) Check(ctx context.Context, s protocol.Stack) ([]protocol.StackRefusal, error) {
	s = numbered(s)
	if err := validate(&s); err != nil {
		return nil, err
	}
	c := check{keeper: k, stack: &s, here: k.cfg.Here()}
	present, err := c.images(ctx)
	if err != nil {
		return nil, err
	}
	c.here.Has = func(ref string) bool { return present[ref] }
	networks, err := k.cfg.Engine.Networks(ctx)
	if err != nil {
		return nil, err
	}
	c.own = withoutBridges(k.host.addresses(), networks)
	c.grants()
	c.resources()
	c.ports()
	c.networks(networks)
	if err := c.volumes(ctx); err != nil {
		return nil, err
	}
	return c.refusals, nil
}

// numbered gives services without a number one: that of a stack which is only
// planned does not matter.
func numbered(s protocol.Stack) protocol.Stack {
	s.Services = slices.Clone(s.Services)
	used := make(map[uint8]bool)
	for i := range s.Services {
		used[s.Services[i].Number] = true
	}
	next := uint8(1)
	for i := range s.Services {
		if s.Services[i].Number != 0 {
			continue
		}
		for used[next] {
			next++
		}
		s.Services[i].Number, used[next] = next, true
	}
	return s
}

// check is Check at work.
type check struct {
	keeper   *Keeper
	stack    *protocol.Stack
	here     runtime.Here
	own      []netip.Addr // this machine's
	refusals []protocol.StackRefusal
}

func (c *check) refuse(service string, code protocol.Code, format string, args ...any) {
	c.refusals = append(c.refusals, protocol.StackRefusal{Service: service, Code: code, Reason: fmt.Sprintf(format, args...)})
}

// grants judges the policy and what of it is public.
func (c *check) grants() {
	w := &world{policy: &c.keeper.cfg.Policy, here: c.here, own: c.own}
	c.refusals = append(c.refusals, compile(c.stack, w).refusals...)
	k := c.keeper
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, used := range c.stack.Uses {
		other := k.stacks[ownerOf(used)]
		if !other.isHere() {
			continue // it may come later
		}
		for i := range other.record.Stack.Services {
			if o := &other.record.Stack.Services[i]; string(other.name)+"/"+o.Name == used && !o.Shared {
				c.refuse("", protocol.CodePolicy, "the stack %s does not share its service %s: set x-hearth-shared there", other.name, o.Name)
			}
		}
	}
}

// leftForRequests is what stacks cannot reserve.
const leftForRequests protocol.Bytes = 64 << 20

// resources compares what the stack reserves with what others leave.
func (c *check) resources() {
	k := c.keeper
	k.mu.Lock()
	cpus, memory := k.reserved(c.stack.Name)
	k.mu.Unlock()
	wantCPUs, want := reserves(c.stack, nil)
	lent := c.here.Lent
	if left := lent.Memory - min(memory+leftForRequests, lent.Memory); want > left {
		c.refuse("", protocol.CodeResources, "reserves %s of memory in all, and %s of the %s that this node lends are left for it; other stacks reserve %s",
			want, left, lent.Memory, memory)
	}
	if left := max(lent.CPUs-cpus, 0); wantCPUs > left {
		c.refuse("", protocol.CodeResources, "reserves %v in all, and %v of the %v that this node lends are left for it", wantCPUs, left, lent.CPUs)
	}
}

// wanted is a port that a service is to listen on, on this machine.
type wanted struct {
	service string
	at      netip.Addr
	port    uint16
	udp     bool
}

// ports looks for who has the ports that the stack publishes, and those of the
// host's network that it says it listens on.
func (c *check) ports() {
	k := c.keeper
	own := c.own
	mine := wants(c.stack, own, k.cfg.Policy.PublishPublic)
	var listeners []listener
	if len(mine) > 0 && !c.here.Remote {
		listeners = k.host.listeners()
	}
	k.mu.Lock()
	others := make(map[protocol.StackName][]wanted)
	for name, h := range k.stacks {
		if h.isHere() {
			others[name] = wants(&h.record.Stack, own, k.cfg.Policy.PublishPublic)
		}
	}
	k.mu.Unlock()
	told := make(map[wanted]bool)
	for i, w := range mine {
		key := wanted{w.service, netip.Addr{}, w.port, w.udp}
		if told[key] {
			continue
		}
		who := holderOf(w, c.stack.Name, others)
		for _, earlier := range mine[:i] {
			if earlier.service != w.service && earlier.clashes(w) {
				who = cmp.Or(who, "the service "+earlier.service+" of the same stack")
			}
		}
		if who == "" && !slices.ContainsFunc(others[c.stack.Name], w.clashes) {
			who = programAt(w, listeners)
		}
		if who != "" {
			told[key] = true
			c.refuse(w.service, protocol.CodeConflict, "port %d%s is taken by %s: %d is free", w.port, protocolOf(w.udp), who, freePort(w, mine, listeners, others))
		}
	}
}

func protocolOf(udp bool) string {
	if udp {
		return "/udp"
	}
	return ""
}

// wants lists the ports of this machine that a stack takes.
func wants(s *protocol.Stack, own []netip.Addr, public bool) []wanted {
	var all []wanted
	for i := range s.Services {
		svc := &s.Services[i]
		if svc.NetworkMode == "host" {
			for _, p := range svc.Expose {
				all = append(all, wanted{svc.Name, netip.IPv4Unspecified(), p, false})
			}
			for _, p := range svc.Ports {
				all = append(all, wanted{svc.Name, netip.IPv4Unspecified(), p.Target, p.UDP})
			}
			continue
		}
		for _, p := range svc.Ports {
			at := publishAt(own, public)
			if ip, err := netip.ParseAddr(p.HostIP); err == nil && !ip.IsUnspecified() {
				at = []netip.Addr{ip}
			}
			for _, a := range at {
				all = append(all, wanted{svc.Name, a, p.Published, p.UDP})
			}
		}
	}
	return all
}

// clashes reports whether two cannot both have what they want.
func (w wanted) clashes(o wanted) bool {
	return w.port == o.port && w.udp == o.udp && (w.at == o.at || w.at.IsUnspecified() || o.at.IsUnspecified())
}

// holderOf names the stack that has a port; empty where none has.
func holderOf(w wanted, but protocol.StackName, others map[protocol.StackName][]wanted) string {
	var names []protocol.StackName
	for name := range others {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if name == but {
			continue
		}
		if i := slices.IndexFunc(others[name], w.clashes); i >= 0 {
			return fmt.Sprintf("the stack %s (service %s)", name, others[name][i].service)
		}
	}
	return ""
}

func programAt(w wanted, listeners []listener) string {
	for i := range listeners {
		if l := &listeners[i]; l.blocks(w.at, w.port, w.udp) {
			return l.owner()
		}
	}
	return ""
}

// freePort is the next port that nobody has.
func freePort(w wanted, mine []wanted, listeners []listener, others map[protocol.StackName][]wanted) uint16 {
	for port := w.port + 1; port != w.port; port++ {
		w.port = port
		if port == 0 || slices.ContainsFunc(mine, w.clashes) || holderOf(w, "", others) != "" ||
			slices.ContainsFunc(listeners, func(l listener) bool { return l.blocks(w.at, port, w.udp) }) {
			continue
		}
		return port
	}
	return 0
}

// networks looks whether subnets that the stack names are free.
func (c *check) networks(all []Network) {
	for _, n := range usedNetworks(c.stack) {
		name := networkName(c.stack.Name, n.Name)
		taken := c.keeper.host.routes()
		for _, have := range all {
			if have.Name == name && have.Stack != c.stack.Name {
				c.refuse("", protocol.CodeConflict, "the engine's network %s belongs to somebody else: remove it, or rename the stack", name)
			}
			if have.Name != name {
				taken = append(taken, have.Subnets...)
				continue
			}
			taken = slices.DeleteFunc(taken, func(t netip.Prefix) bool { return slices.Contains(have.Subnets, t) })
		}
		if n.Subnet != "" {
			if _, err := wantedSubnet(n, name, netip.Prefix{}, taken); err != nil {
				c.refuse("", protocol.CodeOf(err), "%s", reason(err))
			}
		}
	}
}

// volumes looks for those that are lost, or somebody else's.
func (c *check) volumes(ctx context.Context) error {
	k := c.keeper
	k.mu.Lock()
	var made []string
	if kept := k.store.Stacks[c.stack.Name]; kept != nil {
		made = slices.Clone(kept.Volumes)
	}
	k.mu.Unlock()
	for _, v := range c.stack.Volumes {
		why, err := k.volumeTrouble(ctx, c.stack.Name, v.Name, made)
		if err != nil {
			return err
		}
		if why != "" {
			c.refuse("", protocol.CodeConflict, "%s", why)
		}
	}
	return nil
}

// images looks whether those that are here run on this machine, and returns which
// are here.
func (c *check) images(ctx context.Context) (present map[string]bool, err error) {
	present = make(map[string]bool)
	for i := range c.stack.Services {
		svc := &c.stack.Services[i]
		image, err := c.keeper.cfg.Engine.Image(ctx, svc.Image)
		switch {
		case errors.Is(err, runtime.ErrNotFound):
			if svc.Pull == protocol.PullNever {
				c.refuse(svc.Name, protocol.CodeImageNotFound, "the image %q is not on this node, and is not to be fetched (pull: never)", svc.Image)
			}
		case err != nil:
			return nil, err
		case !image.Runs:
			c.refuse(svc.Name, protocol.CodeImagePlatform, "the image %q is made for %s, which this node does not run", svc.Image, image.Platform)
		}
		present[svc.Image] = err == nil
	}
	return present, nil
}
