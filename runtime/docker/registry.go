package docker

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/distribution/reference"
	"github.com/docker/docker/api/types/registry"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry/remote/auth"

	"github.com/hearth-edge/hearth/protocol"
)

const (
	// sizePatience is for how long the size of an image is waited for when all
	// else is known of it.
	sizePatience = 500 * time.Millisecond
	// maxManifest and maxHeader are the most that a registry may send.
	maxManifest = 4 << 20
	maxHeader   = 64 << 10
)

var (
	errPlain   = errors.New("it would have to be asked without TLS")
	errTooMuch = fmt.Errorf("it sends more than %d bytes", maxManifest)
)

// fetchSize asks the image's registry how much a fetch of it moves, which the
// engine does not tell. What the engine alone is set up for, as a certificate
// authority or a proxy of its own, does not count here: then there is an error.
// auth is the engine's kind of credentials.
func (d *Driver) fetchSize(ctx context.Context, named reference.Named, auth string) (protocol.Bytes, error) {
	e, err := d.describe(ctx)
	if err != nil {
		return 0, err
	}
	login, err := registry.DecodeAuthConfig(auth)
	if err != nil {
		return 0, err
	}
	var failed error
	registry := reference.Domain(named)
	known, err := d.cfg.MayAsk(registry, d.Logins())
	if err != nil {
		return 0, err
	}
	for _, at := range endpoints(registry, &e.registries) {
		at.named = known || at.mirror
		size, err := at.size(ctx, named, e.platform, login)
		if err == nil {
			return size, nil
		}
		failed = errors.Join(failed, fmt.Errorf("ask %s: %w", at.base, err))
	}
	return 0, failed
}

// endpoint is where a registry may be asked.
type endpoint struct {
	base string // as "https://example.org"
	// insecure is true where the owner of the engine trusts whoever answers, with
	// any certificate or without TLS.
	insecure bool
	// mirror says that it is somebody else who has copies: the credentials are
	// not for it.
	mirror bool
	// named says that the owner named it, so that it may be at a private address.
	named bool
}

// endpoints returns where to ask for images of the registry, in the engine's own
// order.
func endpoints(domain string, known *registry.ServiceConfig) []endpoint {
	switch {
	case domain == "docker.io":
		var all []endpoint
		for _, mirror := range known.Mirrors {
			all = append(all, endpoint{base: strings.TrimRight(mirror, "/"), insecure: strings.HasPrefix(mirror, "http://"), mirror: true})
		}
		return append(all, endpoint{base: "https://registry-1.docker.io"})
	case insecure(domain, known):
		return []endpoint{{base: "https://" + domain, insecure: true}, {base: "http://" + domain, insecure: true}}
	default:
		return []endpoint{{base: "https://" + domain}}
	}
}

// insecure reports whether the engine would talk to the registry without TLS: for
// most engines, those at loopback addresses. Names are not looked up for that, as
// anyone on the network may answer.
func insecure(domain string, known *registry.ServiceConfig) bool {
	if index := known.IndexConfigs[domain]; index != nil {
		return !index.Secure
	}
	host := (&url.URL{Host: domain}).Hostname()
	ip := net.ParseIP(host)
	if host == "localhost" {
		ip = net.IPv4(127, 0, 0, 1)
	}
	return ip != nil && slices.ContainsFunc(known.InsecureRegistryCIDRs, func(n *registry.NetIPNet) bool {
		return n != nil && (*net.IPNet)(n).Contains(ip)
	})
}

// size asks for the image that the machine would fetch.
func (at endpoint) size(ctx context.Context, named reference.Named, machine ocispec.Platform, login *registry.AuthConfig) (protocol.Bytes, error) {
	transport := at.transport()
	defer transport.CloseIdleConnections()
	client := at.client(transport, login)
	tag := ""
	switch named := named.(type) {
	case reference.Digested: // it counts where there is a tag, too
		tag = named.Digest().String()
	case reference.Tagged:
		tag = named.Tag()
	}
	manifests := at.base + "/v2/" + reference.Path(named) + "/manifests/"
	m, err := getManifest(ctx, client, manifests+tag)
	if err != nil {
		return 0, err
	}
	if image, ok := m.imageFor(machine); ok {
		if m, err = getManifest(ctx, client, manifests+image.String()); err != nil {
			return 0, err
		}
	}
	return m.moved()
}

// client makes what logs in where the registry asks for that, with its password
// or at who hands out tokens for it.
func (at endpoint) client(transport http.RoundTripper, login *registry.AuthConfig) *auth.Client {
	c := &auth.Client{
		Client: &http.Client{Transport: transport},
		Header: http.Header{"User-Agent": {"hearth"}},
		Cache:  auth.NewSingleContextCache(),
	}
	if !at.mirror {
		c.Credential = func(context.Context, string) (auth.Credential, error) {
			return auth.Credential{
				Username: login.Username, Password: login.Password,
				RefreshToken: login.IdentityToken, AccessToken: login.RegistryToken,
			}, nil
		}
	}
	return c
}

// getManifest gets one manifest.
func getManifest(ctx context.Context, client *auth.Client, from string) (*manifest, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return nil, err
	}
	req.Header["Accept"] = manifestTypes
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("it answers %s", resp.Status)
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxManifest+1))
	switch {
	case err != nil:
		return nil, err
	case len(data) > maxManifest:
		return nil, errTooMuch
	}
	return parseManifest(data)
}

// transport makes what carries the questions to one registry, and to those who
// hand out tokens for it.
func (at endpoint) transport() *guardedTransport {
	carrier := func() *http.Transport {
		return &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			TLSClientConfig:        &tls.Config{InsecureSkipVerify: at.insecure}, //nolint:gosec // the owner of the engine says so
			MaxResponseHeaderBytes: maxHeader,
			ForceAttemptHTTP2:      true,
		}
	}
	t := &guardedTransport{own: carrier(), public: carrier(), insecure: at.insecure}
	t.public.DialContext = (&net.Dialer{Control: publicOnly}).DialContext
	if base, err := url.Parse(at.base); err == nil && at.named {
		t.host = base.Host
	}
	return t
}
