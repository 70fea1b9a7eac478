package stack

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime"
)

// preparation is what is found out of the engine before a stack is compiled.
type preparation struct {
	record  protocol.StackRecord
	fresh   bool
	subnets map[string]netip.Prefix
	made    []string // the volumes that were made
	// images are what the engine has, by reference.
	images  map[string]Image
	missing map[string]string
	shared  map[string]sharedService
	unused  []string // networks
	// own are this machine's addresses, but for those of the engine's bridges.
	own []netip.Addr
}

// prepare finds out what a stack has on the engine, makes its networks, and
// compiles it.
func (k *Keeper) prepare(ctx context.Context, h *held) {
	ctx, cancel := context.WithTimeout(ctx, actionTimeout)
	defer cancel()
	p := k.preparation(h)
	err := k.findNetworks(ctx, p)
	if err == nil {
		err = k.findVolumes(ctx, p)
	}
	if err == nil {
		err = k.findImages(ctx, p)
	}
	if err == nil {
		err = k.keepSubnets(h, p)
	}
	k.prepared(h, p, err)
}

func (k *Keeper) preparation(h *held) *preparation {
	k.mu.Lock()
	defer k.mu.Unlock()
	kept := k.store.of(h.name)
	p := &preparation{
		record: h.record, fresh: h.fresh, subnets: make(map[string]netip.Prefix), made: slices.Clone(kept.Volumes),
		images: make(map[string]Image), missing: make(map[string]string), shared: make(map[string]sharedService),
	}
	for name, subnet := range kept.Subnets {
		p.subnets[name] = subnet
	}
	for _, other := range k.stacks {
		if other.gone || !other.shared.IsValid() || other.name == h.name {
			continue
		}
		for i := range other.record.Stack.Services {
			if s := &other.record.Stack.Services[i]; s.Shared && s.NetworkMode == "" {
				p.shared[string(other.name)+"/"+s.Name] = sharedService{
					network: networkName(other.name, sharedNetwork),
					address: address(protocol.StackNetwork{}, other.shared, s.Number),
				}
			}
		}
	}
	return p
}

// findNetworks makes sure that the stack's networks are there. What they had as
// addresses before they get again if that is free.
func (k *Keeper) findNetworks(ctx context.Context, p *preparation) error {
	all, err := k.cfg.Engine.Networks(ctx)
	if err != nil {
		return err
	}
	p.own = withoutBridges(k.host.addresses(), all)
	stack := &p.record.Stack
	used := usedNetworks(stack)
	taken := k.host.routes()
	for _, n := range all {
		taken = append(taken, n.Subnets...)
	}
	subnets := make(map[string]netip.Prefix)
	for _, n := range used {
		name := networkName(stack.Name, n.Name)
		at := slices.IndexFunc(all, func(have Network) bool { return have.Name == name })
		if at >= 0 {
			have := all[at]
			if have.Stack != stack.Name || len(have.Subnets) == 0 {
				return protocol.Errorf(protocol.CodeConflict, "the engine's network %s belongs to somebody else: remove it, or rename the stack", name)
			}
			if fits(n, have) {
				subnets[n.Name] = have.Subnets[0]
				continue
			}
			if err := k.cfg.Engine.RemoveNetwork(ctx, name); err != nil {
				return err
			}
			taken = slices.DeleteFunc(taken, func(t netip.Prefix) bool { return t == have.Subnets[0] })
		}
		subnet, err := wantedSubnet(n, name, p.subnets[n.Name], taken)
		if err != nil {
			return err
		}
		if !p.record.Stopped {
			gateway, engines := layout(n, subnet)
			if err := k.cfg.Engine.MakeNetwork(ctx, Network{
				Name: name, Stack: stack.Name, Subnets: []netip.Prefix{subnet}, Gateway: gateway, Range: engines, Internal: n.Internal,
			}); err != nil {
				return err
			}
		}
		subnets[n.Name] = subnet
		taken = append(taken, subnet)
	}
	p.subnets = subnets
	for _, n := range all {
		if n.Stack == stack.Name && !slices.ContainsFunc(used, func(u protocol.StackNetwork) bool { return networkName(stack.Name, u.Name) == n.Name }) {
			p.unused = append(p.unused, n.Name)
		}
	}
	return nil
}

// fits reports whether a network is what the stack says.
func fits(n protocol.StackNetwork, have Network) bool {
	if have.Internal != n.Internal {
		return false
	}
	want, err := parseSubnet(n.Subnet)
	return n.Subnet == "" && have.Subnets[0].Bits() == subnetBits || err == nil && have.Subnets[0] == want
}

// wantedSubnet is the one that the stack names, the one it had, or a free one.
func wantedSubnet(n protocol.StackNetwork, name string, had netip.Prefix, taken []netip.Prefix) (netip.Prefix, error) {
	if n.Subnet != "" {
		want, err := parseSubnet(n.Subnet)
		if err == nil && overlaps(want, taken) {
			err = protocol.Errorf(protocol.CodeConflict, "the subnet %s of the network %s is in use on this device: leave it out, and a free one is chosen", want, n.Name)
		}
		return want, err
	}
	if had.IsValid() && had.Bits() == subnetBits && !overlaps(had, taken) {
		return had, nil
	}
	free := chooseSubnet(name, taken)
	if !free.IsValid() {
		return free, protocol.Errorf(protocol.CodeResources, "no private addresses are left on this device for the network %s", n.Name)
	}
	return free, nil
}

// findVolumes finds out which of the stack's volumes cannot be used.
func (k *Keeper) findVolumes(ctx context.Context, p *preparation) error {
	stack := &p.record.Stack
	for _, v := range stack.Volumes {
		why, err := k.volumeTrouble(ctx, stack.Name, v.Name, p.made)
		if err != nil {
			return err
		}
		if why != "" {
			p.missing[v.Name] = why
		}
	}
	return nil
}

// volumeTrouble says why a volume cannot be used; empty where it can, or where it
// is still to be made.
func (k *Keeper) volumeTrouble(ctx context.Context, stack protocol.StackName, volume string, made []string) (string, error) {
	name := volumeName(stack, volume)
	have, err := k.cfg.Engine.Volume(ctx, name)
	switch {
	case errors.Is(err, runtime.ErrNotFound) && slices.Contains(made, volume):
		return fmt.Sprintf("the volume %s is missing: it was made here, and no empty one takes its place. Bring it back, or give its data up with 'hearth stack down --data %s'", name, stack), nil
	case errors.Is(err, runtime.ErrNotFound):
		return "", nil
	case err != nil:
		return "", err
	case have.Stack != stack || have.Volume != volume:
		return fmt.Sprintf("the engine's volume %s belongs to somebody else: rename it or the stack", name), nil
	}
	return "", nil
}

// findImages asks which images the engine has.
func (k *Keeper) findImages(ctx context.Context, p *preparation) error {
	for i := range p.record.Stack.Services {
		ref := p.record.Stack.Services[i].Image
		if _, asked := p.images[ref]; asked {
			continue
		}
		image, err := k.cfg.Engine.Image(ctx, ref)
		if err != nil && !errors.Is(err, runtime.ErrNotFound) {
			return err
		}
		p.images[ref] = image
	}
	return nil
}

// keepSubnets writes down which addresses the stack has, before a container has
// them.
func (k *Keeper) keepSubnets(h *held, p *preparation) error {
	k.mu.Lock()
	kept := k.store.of(h.name)
	changed := false
	for name, subnet := range p.subnets {
		changed = changed || kept.Subnets[name] != subnet
		kept.Subnets[name] = subnet
	}
	for name := range kept.Subnets {
		if !p.subnets[name].IsValid() {
			delete(kept.Subnets, name)
			changed = true
		}
	}
	k.mu.Unlock()
	if !changed {
		return nil
	}
	return k.save()
}

// prepared takes over what was found out, or tries again later.
func (k *Keeper) prepared(h *held, p *preparation, err error) {
	here := k.cfg.Here()
	here.Has = func(ref string) bool { return p.images[ref].ID != "" }
	now := time.Now()
	at := publishAt(p.own, k.cfg.Policy.PublishPublic)
	var c compiled
	if err == nil { // it looks at files, which may be on a disk that does not answer
		c = compile(&p.record.Stack, &world{
			policy: &k.cfg.Policy, here: here, own: p.own, subnets: p.subnets, shared: p.shared, missing: p.missing,
		})
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	h.preparing = false
	defer k.tell()
	if err != nil {
		h.dirty, h.prepareAt = !h.gone, now.Add(retryBlocked)
		h.trouble = reason(err)
		k.cfg.Log.Warn("a stack cannot be prepared", "stack", h.name, "err", err)
		return
	}
	if h.record.Version != p.record.Version || h.gone {
		return // it is dirty again
	}
	h.trouble, h.prepareAt = "", time.Time{}
	k.publishAt = at
	h.services, h.specs, h.unused = c.services, c.specs, p.unused
	k.takeOver(h, p, now)
	for _, used := range p.record.Stack.Uses {
		if _, ok := p.shared[used]; !ok && h.trouble == "" {
			h.trouble = "uses " + used + ", which is not shared on this node"
		}
	}
	if shared := p.subnets[sharedNetwork]; shared != h.shared {
		h.shared = shared
		k.usersOf(h.name)
	}
}

// takeOver notes what was found out of each service's image, and what its owner
// said; k.mu is held.
func (k *Keeper) takeOver(h *held, p *preparation, now time.Time) {
	kept := k.store.of(h.name)
	retry := false
	for i := range h.services {
		s := &h.services[i]
		s.stopped = slices.Contains(kept.Stopped, s.name)
		svc := &p.record.Stack.Services[i]
		image, in := p.images[svc.Image], h.instance(s.name)
		in.absent = image.ID == ""
		if p.fresh {
			s.imageID = image.ID
		}
		if image.ID != "" && !image.Runs {
			s.blocked = fmt.Sprintf("the image %s is made for %s, which this device does not run", svc.Image, image.Platform)
		}
		retry = retry || s.blocked != "" && !s.forbidden && !s.stopped && !h.stopped
	}
	if retry {
		h.dirty, h.prepareAt = true, now.Add(retryBlocked)
	}
}

// usersOf has those prepared anew that use a stack; k.mu is held.
func (k *Keeper) usersOf(name protocol.StackName) {
	for _, h := range k.stacks {
		if !h.gone && h.record.Version > 0 && slices.ContainsFunc(h.record.Stack.Uses, func(u string) bool { return ownerOf(u) == name }) {
			h.dirty, h.prepareAt = true, time.Time{}
		}
	}
}
