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

	mu sync.Mutex // guards what follows
	// by are the ports of each device that holds stacks with any.
	by map[protocol.PeerID][]forward.Published
	// carried counts the connections to each of them.
	carried map[protocol.PeerID]int
}

// maxCarried bounds the connections that are carried to one device, over all ports.
// They are streams like those of offers and leases, which must find room beside
// them: see p2p's limits.
const maxCarried = 256

func (d *Device) buildPorts() {
	d.ports = &publishedPorts{by: make(map[protocol.PeerID][]forward.Published), carried: make(map[protocol.PeerID]int), open: forward.New(forward.Config{
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
	done, err := d.ports.carry(p.Holder)
	if err != nil {
		return nil, err
	}
	s, err := d.containersAt(p.Holder).Dial(ctx, protocol.Dial{
		Target: protocol.Target{Stack: p.Stack}, Port: p.Port, UDP: p.UDP, Published: true,
	})
	if err != nil {
		done()
		return nil, err
	}
	return &carried{Stream: s, done: done}, nil
}

// carry counts one more connection to a device, until done is called.
func (p *publishedPorts) carry(to protocol.PeerID) (done func(), err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.carried[to] >= maxCarried {
		return nil, protocol.Errorf(protocol.CodeOverloaded, "%d connections go to that device already, the most that this one carries", maxCarried)
	}
	p.carried[to]++
	return sync.OnceFunc(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.carried[to]--; p.carried[to] == 0 {
			delete(p.carried, to)
		}
	}), nil
}

// carried is a connection that counts until it ends.
type carried struct {
	protocol.Stream
	done func()
}

// Close implements protocol.Stream.
func (c *carried) Close() error {
	defer c.done()
	return c.Stream.Close()
}

// Reset implements protocol.Stream.
func (c *carried) Reset() error {
	defer c.done()
	return c.Stream.Reset()
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
