package docker

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/docker/docker/api/types/registry"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime"
)

// listener is a service on this machine's loopback that is no registry; hits
// counts who comes.
func listener(t *testing.T, answer http.HandlerFunc) (host string, hits *atomic.Int64) {
	hits = new(atomic.Int64)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		hits.Add(1)
		answer(w, req)
	}))
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://"), hits
}

func admin(w http.ResponseWriter, _ *http.Request) {
	w.WriteHeader(http.StatusForbidden)
	fmt.Fprint(w, "<html>NAS admin: api_key=SECRET-OF-LOOPBACK</html>")
}

// TestImageNamesReachNoLoopback: whatever an image is called, nothing on this
// machine hears of it unless its owner named that.
func TestImageNamesReachNoLoopback(t *testing.T) {
	host, hits := listener(t, admin)
	_, port, _ := strings.Cut(host, ":")
	d := newTestDriver(t, func(c *Config) { c.MayAsk = nil }) // as in an owner's who said nothing
	for _, ref := range []string{
		host + "/a/b:c", "localhost:" + port + "/a/b:c", "127.1:" + port + "/a:b", "2130706433:" + port + "/a:b", "0.0.0.0:" + port + "/a:b",
		"[::1]:" + port + "/a:b", "[::ffff:127.0.0.1]:" + port + "/a:b", "LOCALHOST:" + port + "/a:b", "ip6-localhost:" + port + "/a:b", "localhost.localdomain:" + port + "/a:b",
	} {
		_, inspected := d.Inspect(testContext(t), ref)
		for what, err := range map[string]error{"Pull": d.Pull(testContext(t), ref, nil), "Inspect": inspected} {
			if code := protocol.CodeOf(err); code != protocol.CodePolicy && code != protocol.CodeInvalid {
				t.Errorf("%s %s: %v", what, ref, err)
			}
		}
	}
	if n := hits.Load(); n != 0 {
		t.Errorf("the service was asked %d times", n)
	}
}

// TestPublicNamesReachNoLoopback: nor do names that lead here, as by a resolver
// that lies.
func TestPublicNamesReachNoLoopback(t *testing.T) {
	for addr, refused := range map[string]bool{
		"127.0.0.1": true, "::1": true, "0.0.0.0": true, "::": true, "169.254.169.254": true, "fe80::1": true, "::ffff:127.0.0.1": true,
		"192.0.2.1": false, "192.168.1.2": false,
	} {
		d := newTestDriver(t)
		asked := ""
		d.lookUp = func(_ context.Context, _, host string) ([]netip.Addr, error) {
			asked = host
			return []netip.Addr{netip.MustParseAddr("192.0.2.9"), netip.MustParseAddr(addr)}, nil
		}
		named, _ := pullable("busybox")
		if err := d.mayAsk(testContext(t), named); (protocol.CodeOf(err) == protocol.CodePolicy) != refused || asked != "registry-1.docker.io" {
			t.Errorf("%s leads to %s: %v", asked, addr, err)
		}
	}
	d := newTestDriver(t)
	d.lookUp = func(context.Context, string, string) ([]netip.Addr, error) { return nil, os.ErrDeadlineExceeded }
	if named, _ := pullable("busybox"); d.mayAsk(testContext(t), named) != nil {
		t.Error("a name that is not found is the engine's to judge")
	}
}

// TestRegistrysWordsStayHere: of what a registry answers the asker gets a reason
// from a closed set, and this node's log a part.
func TestRegistrysWordsStayHere(t *testing.T) {
	for status, want := range map[int]string{
		http.StatusForbidden: "", http.StatusInternalServerError: "has failed", http.StatusTeapot: "", http.StatusOK: "",
	} {
		var log bytes.Buffer
		host, hits := listener(t, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			fmt.Fprint(w, "SECRET-OF-LOOPBACK "+strings.Repeat("x", 10_000))
		})
		d := newTestDriver(t, func(c *Config) { c.Log = slog.New(slog.NewTextHandler(&log, nil)) })
		d.pause = 1
		_, inspected := d.Inspect(testContext(t), host+"/a/b:c")
		pulled := d.Pull(testContext(t), host+"/a/b:c", nil)
		if err := d.Close(); err != nil {
			t.Error(err)
		}
		for _, err := range []error{inspected, pulled} {
			if err == nil || strings.Contains(err.Error(), "SECRET") || !strings.Contains(err.Error(), want) {
				t.Errorf("%d: the asker is told: %v", status, err)
			}
		}
		if hits.Load() == 0 {
			t.Errorf("%d: its owner named it, and it was not asked", status)
		}
		for line := range strings.Lines(log.String()) {
			if len(line) > 500 {
				t.Errorf("%d: a line of %d bytes in the log", status, len(line))
			}
		}
	}
}

// TestOwnQuestionsStayOutside: a registry that is not named cannot send this
// node to an address inside, by a redirect or by its address for logins.
func TestOwnQuestionsStayOutside(t *testing.T) {
	inside := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		t.Errorf("%s was asked", req.URL)
	}))
	defer inside.Close()
	for name, answer := range map[string]http.HandlerFunc{
		"redirect": func(w http.ResponseWriter, req *http.Request) {
			http.Redirect(w, req, inside.URL+"/admin", http.StatusTemporaryRedirect)
		},
		"token": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm=%q`, inside.URL))
			w.WriteHeader(http.StatusUnauthorized)
		},
	} {
		outside := httptest.NewTLSServer(answer)
		defer outside.Close()
		at := endpoint{base: outside.URL, named: true} // it is on loopback itself, in a test
		transport := at.transport()
		trust := outside.Client().Transport.(*http.Transport).TLSClientConfig
		transport.own.TLSClientConfig, transport.public.TLSClientConfig = trust, trust
		m, err := getManifest(testContext(t), at.client(transport, &registry.AuthConfig{}), outside.URL)
		if err == nil || !strings.Contains(err.Error(), errElsewhere.Error()) {
			t.Errorf("%s: %+v, %v", name, m, err)
		}
	}
	at := endpoint{base: inside.URL}
	if _, err := getManifest(testContext(t), at.client(at.transport(), &registry.AuthConfig{}), inside.URL); err == nil {
		t.Error("one that is not named was asked inside")
	}
}

// TestOnlyPublicAddressesAreReached: each block at its first and last address, and what
// lies beside it.
func TestOnlyPublicAddressesAreReached(t *testing.T) {
	refused := strings.Fields(`127.0.0.1 0.0.0.0 0.1.2.3 10.0.0.0 10.255.255.255 172.16.0.1 172.31.255.255 192.168.1.1 169.254.169.254
		100.64.0.0 100.127.255.255 192.0.0.0 192.0.0.255 192.0.2.1 198.51.100.7 203.0.113.9 198.18.0.0 198.19.255.255 192.88.99.1
		224.0.0.251 239.1.2.3 240.0.0.1 255.255.255.255
		::1 :: ::192.168.1.1 ::ffff:192.168.1.1 ::ffff:100.64.0.1 fc00::1 fd00::1 fdff:ffff::1 fe80::1%eth0 fec0::1 ff02::fb
		64:ff9b::127.0.0.1 64:ff9b::192.168.1.1 64:ff9b::100.64.0.1 64:ff9b::169.254.169.254 64:ff9b:1::1
		100::1 2001::1 2001:1ff::1 2002::1 2002:c0a8:101::1 2001:db8::1 3fff::1 5f00::1`)
	public := strings.Fields(`93.184.216.34 1.1.1.1 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 172.15.255.255 172.32.0.0 192.0.1.1 192.0.3.1
		198.17.255.255 198.20.0.0 223.255.255.255 ::ffff:93.184.216.34 64:ff9b::93.184.216.34 2001:200::1 2003::1 2606:4700::1111 2a00:1450::1`)
	for want, addrs := range map[bool][]string{true: refused, false: public} {
		for _, addr := range addrs {
			if err := publicOnly("tcp", net.JoinHostPort(addr, "443"), nil); (err != nil) != want {
				t.Errorf("%s: %v", addr, err)
			}
		}
	}
	if err := publicOnly("tcp", "nowhere", nil); err == nil {
		t.Error("what is no address was connected to")
	}
}

func TestLogins(t *testing.T) {
	d := newTestDriver(t)
	if logins := d.Logins(); len(logins) != 0 {
		t.Error(logins)
	}
	config := `{"auths":{"https://index.docker.io/v1/":{},"nas.local:5000":{"auth":"YTpi"},"https://quay.io/v1/":{}},"credsStore":"none"}`
	if err := os.WriteFile(filepath.Join(d.cfg.ConfigDir, "config.json"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	logins := d.Logins()
	slices.Sort(logins)
	if !slices.Equal(logins, []string{"docker.io", "nas.local:5000", "quay.io"}) {
		t.Error(logins)
	}
	policy := runtime.DefaultPolicy()
	if named, err := policy.MayAsk("nas.local:5000", logins); !named || err != nil {
		t.Error(named, err)
	}
}
