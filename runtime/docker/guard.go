package docker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/distribution/reference"
	"github.com/docker/cli/cli/config"

	"github.com/hearth-edge/hearth/protocol"
)

// lookUpTimeout bounds how long a registry's name is looked up before the
// engine is asked. A name that is not found by then is the engine's to judge.
const lookUpTimeout = 2 * time.Second

// mayAsk returns nil where the owner lets the image's registry be asked, else
// an *Error with CodePolicy. It comes before each question to a registry: a
// member chooses the name, and this machine asks, from inside the owner's
// network.
func (d *Driver) mayAsk(ctx context.Context, named reference.Named) error {
	registry := reference.Domain(named)
	known, err := d.cfg.MayAsk(registry, d.Logins())
	if err != nil || known {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, lookUpTimeout)
	defer cancel()
	addrs, err := d.lookUp(ctx, "ip", hostOf(registry))
	if err != nil { // the engine may have a proxy that finds it
		return nil
	}
	for _, addr := range addrs {
		if isOwn(addr) {
			return protocol.Errorf(protocol.CodePolicy, "does not ask the registry %s, which leads to %s here: see the node's DNS, or name it in registries of its owner's policy", registry, addr.Unmap())
		}
	}
	return nil
}

// hostOf returns where a registry is asked, without a port.
func hostOf(registry string) string {
	if registry == "docker.io" {
		return "registry-1.docker.io"
	}
	return (&url.URL{Host: registry}).Hostname()
}

// isOwn reports whether an address is this machine's or of its link only:
// no registry that others know is there.
func isOwn(a netip.Addr) bool {
	a = behind(a)
	return !a.IsValid() || a.IsLoopback() || a.IsUnspecified() || a.IsLinkLocalUnicast() || a.IsMulticast()
}

// Logins implements runtime.Driver.
func (d *Driver) Logins() []string {
	file, err := config.Load(d.cfg.ConfigDir)
	if err != nil {
		d.cfg.Log.Debug("logins not known", "err", err)
		return nil
	}
	var names []string
	for key := range file.AuthConfigs {
		if key == hubKey {
			key = "docker.io"
		}
		// Old ones are URLs.
		if _, rest, ok := strings.Cut(key, "://"); ok {
			key, _, _ = strings.Cut(rest, "/")
		}
		names = append(names, strings.ToLower(key))
	}
	return names
}

var errElsewhere = errors.New("it sends on to an address inside this network")

// guardedTransport carries the questions to one registry, and to those that it
// sends on to: whoever hands out tokens, or has its blobs.
type guardedTransport struct {
	// own is for the registry itself where its owner named it, public for all
	// others: it reaches public addresses only.
	own, public *http.Transport
	host        string // which own is for; empty is none
	insecure    bool
}

// RoundTrip implements http.RoundTripper. Nothing is sent without TLS unless it
// may be.
func (t *guardedTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	own := req.URL.Host == t.host
	if req.URL.Scheme != "https" && (!t.insecure || !own) {
		return nil, errPlain
	}
	if own {
		return t.own.RoundTrip(req)
	}
	if proxy, err := http.ProxyFromEnvironment(req); proxy != nil && err == nil {
		return t.own.RoundTrip(req) // the proxy connects, and it is the owner's
	}
	return t.public.RoundTrip(req)
}

func (t *guardedTransport) CloseIdleConnections() {
	t.own.CloseIdleConnections()
	t.public.CloseIdleConnections()
}

// publicOnly is a net.Dialer's Control that connects to no private address,
// whatever name it was found by.
func publicOnly(_, address string, _ syscall.RawConn) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	if !isPublic(at.Addr()) {
		return errElsewhere
	}
	return nil
}

// isPublic reports whether an address is one of the internet's.
func isPublic(a netip.Addr) bool {
	a = behind(a)
	return !isOwn(a) && !slices.ContainsFunc(special, func(p netip.Prefix) bool { return p.Contains(a) })
}

// behind returns the address that a leads to, without a zone: the IPv4 address in a
// mapped one, and in one of NAT64 (RFC 6052), which is how a network without IPv4
// reaches the registries that have nothing else.
func behind(a netip.Addr) netip.Addr {
	a = a.WithZone("").Unmap()
	if nat64.Contains(a) {
		raw := a.As16()
		return netip.AddrFrom4([4]byte(raw[12:]))
	}
	return a
}

var nat64 = netip.MustParsePrefix("64:ff9b::/96")

// special are the blocks of addresses that lead nowhere in the internet, or that hide
// another address (6to4, Teredo), after IANA's registries of special-purpose
// addresses (RFC 6890).
var special = prefixes(
	"0.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", // this network, private
	"100.64.0.0/10",                                   // shared by a provider's customers (RFC 6598)
	"192.0.0.0/24", "192.88.99.0/24", "198.18.0.0/15", // protocol assignments, 6to4 relays, benchmarks
	"192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", // documentation
	"240.0.0.0/4",                    // reserved, broadcast
	"::/96", "fc00::/7", "fec0::/10", // IPv4-compatible, unique local, site-local
	"64:ff9b:1::/48",                     // NAT64 of one network's own (RFC 8215)
	"100::/64", "2001::/23", "2002::/16", // discard, protocol assignments with Teredo, 6to4
	"2001:db8::/32", "3fff::/20", "5f00::/16", // documentation, segment routing
)

func prefixes(texts ...string) (all []netip.Prefix) {
	for _, text := range texts {
		all = append(all, netip.MustParsePrefix(text))
	}
	return all
}

// lookUpAddresses is what finds a registry's addresses.
type lookUpAddresses func(ctx context.Context, network, host string) ([]netip.Addr, error)

var _ lookUpAddresses = net.DefaultResolver.LookupNetIP
