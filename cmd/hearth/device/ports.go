package device

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/hearth-edge/hearth/p2p/forward"
	"github.com/hearth-edge/hearth/protocol"
)

// publishedPorts keeps open on this device what the stacks of other nodes publish.
type publishedPorts struct {
	open *forward.Ports

	mu sync.Mutex // guards by
	// by are the ports of each device that holds stacks with any.
	by map[protocol.PeerID][]forward.Published
}

func (d *Device) buildPorts() {
	d.ports = &publishedPorts{by: make(map[protocol.PeerID][]forward.Published), open: forward.New(forward.Config{
		Dial: d.dialPublished, Public: d.cfg.Policy.PublishPublic, Interfaces: d.cfg.Interfaces, Log: d.log,
	})}
}

// seen takes in which ports another device publishes. It is called with each
// status, so it does nothing where nothing has changed.
func (p *publishedPorts) seen(s *protocol.Status) {
	var ports []forward.Published
	for _, stack := range s.Stacks {
		if stack.Stopped || stack.Down {
			continue
		}
		for _, port := range stack.Ports {
			ports = append(ports, forward.Published{Stack: stack.Name, Holder: s.Node, Port: port.Port, UDP: port.UDP, HostIP: port.HostIP})
		}
	}
	p.set(s.Node, ports)
}

// left closes the ports of a device that is gone.
func (p *publishedPorts) left(id protocol.PeerID) { p.set(id, nil) }

func (p *publishedPorts) set(id protocol.PeerID, ports []forward.Published) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if slices.Equal(p.by[id], ports) {
		return
	}
	if len(ports) == 0 {
		delete(p.by, id)
	} else {
		p.by[id] = ports
	}
	var all []forward.Published
	for _, id := range slices.Sorted(maps.Keys(p.by)) {
		all = append(all, p.by[id]...)
	}
	p.open.Set(all)
}

// dialPublished connects to a port of a stack at its holder.
func (d *Device) dialPublished(ctx context.Context, p forward.Published) (protocol.Stream, error) {
	return d.containersAt(p.Holder).Dial(ctx, protocol.Dial{
		Target: protocol.Target{Stack: p.Stack}, Port: p.Port, UDP: p.UDP, Published: true,
	})
}

// checkPorts says which ports of stacks are not open here; any is false where all
// are.
func (d *Device) checkPorts() (check protocol.Check, any bool) {
	problems := d.ports.open.Problems()
	if len(problems) == 0 {
		return protocol.Check{}, false
	}
	var texts []string
	for _, b := range problems {
		if text := fmt.Sprintf("port %s of the stack %s: %s", b.String(), b.Stack, b.Reason); !slices.Contains(texts, text) {
			texts = append(texts, text)
		}
	}
	return warning("ports", "where the stack runs, and on the other devices, its ports are open all the same", "%s", strings.Join(texts, "; ")), true
}

// instance returns the container of a stack's service that runs here.
func (d *Device) instance(stack protocol.StackName, service string) (string, error) {
	if d.stacks.keeper == nil {
		return "", protocol.Errorf(protocol.CodeNotFound, "%s runs no stacks", d.cfg.Name)
	}
	return d.stacks.keeper.Container(stack, service)
}

// publishes returns which service of a stack that runs here has a published port,
// and its port in the container.
func (d *Device) publishes(stack protocol.StackName, port uint16, udp bool) (service string, target uint16, err error) {
	if d.stacks.keeper != nil {
		for _, s := range d.stacks.keeper.Status() {
			if s.Name != stack {
				continue
			}
			for _, i := range s.Instances {
				for _, p := range i.Ports {
					if p.Published == port && p.UDP == udp {
						return i.Service, p.Target, nil
					}
				}
			}
		}
	}
	return "", 0, protocol.Errorf(protocol.CodePortClosed, "%s has no stack %s that publishes port %d", d.cfg.Name, stack, port)
}
