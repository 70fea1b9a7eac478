package docker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
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
	a = a.Unmap()
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
	if addr := at.Addr().Unmap(); isOwn(addr) || addr.IsPrivate() {
		return errElsewhere
	}
	return nil
}

// lookUpAddresses is what finds a registry's addresses.
type lookUpAddresses func(ctx context.Context, network, host string) ([]netip.Addr, error)

var _ lookUpAddresses = net.DefaultResolver.LookupNetIP
