package mdns

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"strings"

	"github.com/libp2p/zeroconf/v2"
	ma "github.com/multiformats/go-multiaddr"
)

const (
	serviceName = "_hearth._udp"
	domain      = "local"
	// port stands in the SRV record because there must be one; the addresses in
	// the TXT record are what counts.
	port = 4100
	// ttl in seconds bounds how long others believe an announcement whose
	// device vanished without a goodbye.
	ttl = 120
)

// An advert is one registered announcement. A nil one does nothing.
type advert struct {
	server   *zeroconf.Server
	instance string
	addrs    []ma.Multiaddr
}

// announce registers an announcement of addrs on ifs, under a new name.
func announce(cfg Config, addrs []ma.Multiaddr, ifs []net.Interface) (*advert, error) {
	text := []string{version, meshPrefix + cfg.Fingerprint}
	ips := make(map[bool]string, 2) // one of each family, by whether it is IPv4
	for _, a := range addrs {
		text = append(text, fmt.Sprintf("%s%s/p2p/%s", dnsaddrPrefix, a, cfg.Peer))
		if ip, ok := tcpHost(a); ok && ips[ip.Is4()] == "" {
			ips[ip.Is4()] = ip.String()
		}
	}
	// Without an address of its own zeroconf announces those of the interface.
	var hosts []string
	for _, ip := range ips {
		hosts = append(hosts, ip)
	}
	instance := strings.ToLower(rand.Text())
	server, err := zeroconf.RegisterProxy(instance, serviceName, domain, port, instance, hosts, text, ifs, zeroconf.TTL(ttl))
	if err != nil {
		return nil, fmt.Errorf("announce by mDNS: %w", err)
	}
	return &advert{server: server, instance: instance, addrs: addrs}, nil
}

// close says goodbye and ends the announcement.
func (a *advert) close() {
	if a != nil {
		a.server.Shutdown()
	}
}

// name is the announcement's instance name.
func (a *advert) name() string {
	if a == nil {
		return ""
	}
	return a.instance
}

// browse sends to found what is announced on ifs, until ctx ends. It is an error
// where the IP family is not to be had.
func browse(ctx context.Context, family zeroconf.IPType, ifs []net.Interface, found chan<- *zeroconf.ServiceEntry) error {
	entries, over := make(chan *zeroconf.ServiceEntry), make(chan struct{})
	forwarded := make(chan struct{})
	go func() {
		defer close(forwarded)
		forward(ctx, entries, over, found)
	}()
	err := zeroconf.Browse(ctx, serviceName, domain, entries, zeroconf.SelectIPTraffic(family), zeroconf.SelectIfaces(ifs))
	close(over)
	<-forwarded
	return err
}

// forward passes entries on. After ctx ended it still takes them, since zeroconf
// would wait for ever for someone who does. Zeroconf closes entries, but not
// when it fails: then over is closed.
func forward(ctx context.Context, entries <-chan *zeroconf.ServiceEntry, over <-chan struct{}, found chan<- *zeroconf.ServiceEntry) {
	for {
		select {
		case e, ok := <-entries:
			if !ok {
				return
			}
			select {
			case found <- e:
			case <-ctx.Done():
			}
		case <-over:
			return
		}
	}
}

// claimedHost is where an announcement says that its device is, for people to
// read.
func claimedHost(z *zeroconf.ServiceEntry, e entry) (string, bool) {
	for _, a := range e.addrs {
		if ip, ok := tcpHost(a); ok {
			return ip.String(), true
		}
	}
	for _, ip := range append(z.AddrIPv4, z.AddrIPv6...) {
		return ip.String(), true
	}
	return "", false
}
