package mdns

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/hearth-edge/hearth/p2p/netif"
)

var errNoInterface = errors.New("no network interface that can multicast is up")

// A network is what a Service needs of its machine; tests have one in memory.
type network interface {
	// list and watch are netif's.
	list(only []string) ([]netif.Interface, error)
	watch(ctx context.Context, changed func()) error
	// open joins the multicast groups on ifs. What it hears goes to out until it is
	// closed; what out has no room for is lost.
	open(ifs []netif.Interface, limiter *packetLimiter, out chan<- received) (sender, error)
}

// A sender sends packets, and hears until it is closed.
type sender interface {
	// send sends a packet on one interface, or with index 0 on all.
	send(packet []byte, index int) error
	close()
}

// machine is the network of this machine.
type machine struct{}

func (machine) list(only []string) ([]netif.Interface, error)   { return netif.List(only) }
func (machine) watch(ctx context.Context, changed func()) error { return netif.Watch(ctx, changed) }
func (machine) open(ifs []netif.Interface, limiter *packetLimiter, out chan<- received) (sender, error) {
	multicast, err := multicasting(ifs)
	if err != nil {
		return nil, err
	}
	return open(multicast, limiter, out)
}

// multicasting turns those of ifs that can multicast into what package net takes.
func multicasting(ifs []netif.Interface) ([]net.Interface, error) {
	var out []net.Interface
	for _, i := range ifs {
		if !i.Multicast && !i.Loopback {
			continue
		}
		n, err := net.InterfaceByIndex(i.Index)
		if err != nil {
			return nil, fmt.Errorf("network interface %s: %w", i.Name, err)
		}
		out = append(out, *n)
	}
	if len(out) == 0 {
		return nil, errNoInterface
	}
	return out, nil
}
