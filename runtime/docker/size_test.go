package docker

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/registry"

	"github.com/hearth-edge/hearth/protocol"
)

// measure asks a registry for the size of what it has by the tag.
func measure(t *testing.T, d *Driver, ref string) (protocol.Bytes, error) {
	t.Helper()
	named, err := pullable(ref)
	if err != nil {
		t.Fatal(err)
	}
	return d.fetchSize(testContext(t), named, d.authorization(testContext(t), named))
}

// login writes credentials for the registry into the driver's docker config.
func login(t *testing.T, d *Driver, r *testRegistry, user, password string) {
	t.Helper()
	auth := base64.StdEncoding.EncodeToString([]byte(user + ":" + password))
	config := fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`, strings.TrimPrefix(r.server.URL, "http://"), auth)
	if err := os.WriteFile(filepath.Join(d.cfg.ConfigDir, "config.json"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestSizeWithLogin(t *testing.T) {
	for _, c := range []struct {
		name           string
		tokens         bool
		user, password string
		logins         [][2]string // the last one is right
	}{
		{"password", false, "user", "pass word", [][2]string{{"", ""}, {"user", "wrong"}, {"user", "pass word"}}},
		{"token", true, "user", "pass word", [][2]string{{"", ""}, {"user", "wrong"}, {"user", "pass word"}}},
		{"token for anyone", true, "", "", [][2]string{{"", ""}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, r := newTestDriver(t), newRegistry(t)
			d.patience = time.Minute
			r.tokens, r.user, r.password = c.tokens, c.user, c.password
			r.push(t, "private", "s390x", 1000)
			for i, l := range c.logins {
				if l[0] != "" {
					login(t, d, r, l[0], l[1])
				}
				size, err := measure(t, d, r.ref("private"))
				if right := i == len(c.logins)-1; (err == nil) != right || right && size != r.moved(t, "private") {
					t.Errorf("as %q: %d, %v", l, size, err)
				}
			}
			facts, err := d.Inspect(testContext(t), r.ref("private"))
			if err != nil || facts.Size != r.moved(t, "private") {
				t.Errorf("%+v, %v", facts, err)
			}
		})
	}
}

// TestSizeIsNotWaitedFor: a registry that tells all but the size holds nobody up,
// and one that tells nonsense does no harm.
func TestSizeIsNotWaitedFor(t *testing.T) {
	d, r := newTestDriver(t), newRegistry(t)
	r.push(t, "slow", "s390x", 1000)
	r.see = func(req *http.Request) {
		if req.UserAgent() == "hearth" {
			<-r.over
		}
	}
	facts, err := d.Inspect(testContext(t), r.ref("slow"))
	if err != nil || facts.Size != 0 || facts.Compressed || !slices.Equal(facts.Platforms, []string{"linux/s390x"}) {
		t.Errorf("%+v, %v", facts, err)
	}
	if err := d.Close(); err != nil { // waits for the question to have ended
		t.Error(err)
	}
}

func TestSizeOfNonsense(t *testing.T) {
	d, r := newTestDriver(t), newRegistry(t)
	d.patience = time.Minute
	var answer func(http.ResponseWriter)
	r.fail = func(w http.ResponseWriter) bool {
		answer(w)
		return true
	}
	for name, nonsense := range map[string]func(http.ResponseWriter){
		"words":   func(w http.ResponseWriter) { fmt.Fprint(w, "<html>") },
		"empty":   func(http.ResponseWriter) {},
		"failure": func(w http.ResponseWriter) { w.WriteHeader(http.StatusInternalServerError) },
		"no end": func(w http.ResponseWriter) {
			for block := []byte(strings.Repeat(" ", 64<<10)); ; {
				if _, err := w.Write(block); err != nil {
					return
				}
			}
		},
		"long header": func(w http.ResponseWriter) { w.Header().Set("X", strings.Repeat("x", maxHeader)) },
		"lists for ever": func(w http.ResponseWriter) {
			fmt.Fprintf(w, `{"manifests":[{"digest":%q}]}`, numbered(1))
		},
	} {
		t.Run(name, func(t *testing.T) {
			answer = nonsense
			if size, err := measure(t, d, r.ref("nonsense")); err == nil {
				t.Errorf("a size of %d", size)
			}
		})
	}
}

func TestSizeEndsWithItsContext(t *testing.T) {
	d, r := newTestDriver(t), newRegistry(t)
	asked := make(chan struct{}, 16)
	r.see = func(*http.Request) {
		asked <- struct{}{}
		<-r.over
	}
	ctx, cancel := context.WithCancel(testContext(t))
	ended := make(chan error, 1)
	named, err := pullable(r.ref("silent"))
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		_, err := d.fetchSize(ctx, named, "")
		ended <- err
	}()
	receive(t, asked, "the question to the registry")
	cancel()
	if err := receive(t, ended, "the end"); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestEndpoints(t *testing.T) {
	_, network, err := net.ParseCIDR("10.0.0.0/8")
	if err != nil {
		t.Fatal(err)
	}
	_, loop, err := net.ParseCIDR("127.0.0.0/8")
	if err != nil {
		t.Fatal(err)
	}
	known := &registry.ServiceConfig{
		InsecureRegistryCIDRs: []*registry.NetIPNet{nil, (*registry.NetIPNet)(network), (*registry.NetIPNet)(loop)},
		IndexConfigs:          map[string]*registry.IndexInfo{"tv:5000": {}, "10.0.0.2": {Secure: true}, "nothing": nil},
		Mirrors:               []string{"http://10.1.1.1:5000/", "https://mirror.example/x/"},
	}
	for domain, want := range map[string][]string{
		"docker.io":      {"http://10.1.1.1:5000", "https://mirror.example/x", "https://registry-1.docker.io"},
		"example.org":    {"https://example.org"},
		"nothing":        {"https://nothing"},
		"11.0.0.1:5000":  {"https://11.0.0.1:5000"},
		"10.0.0.2":       {"https://10.0.0.2"},
		"10.0.0.1:5000":  {"https://10.0.0.1:5000", "http://10.0.0.1:5000"},
		"tv:5000":        {"https://tv:5000", "http://tv:5000"},
		"localhost:5000": {"https://localhost:5000", "http://localhost:5000"},
		"[::1]:5000":     {"https://[::1]:5000"},
	} {
		var got []string
		for _, at := range endpoints(domain, known) {
			got = append(got, at.base)
			if at.mirror != (domain == "docker.io" && at.base != "https://registry-1.docker.io") {
				t.Errorf("%s is a mirror: %v", at.base, at.mirror)
			}
			if at.insecure != (len(want) == 2 || strings.HasPrefix(at.base, "http://")) {
				t.Errorf("%s is insecure: %v", at.base, at.insecure)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", domain, got, want)
		}
	}
}

// TestNothingGoesWithoutTLS: a registry that is to be asked with TLS cannot have
// the credentials sent without.
func TestNothingGoesWithoutTLS(t *testing.T) {
	plain := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		t.Errorf("%s was asked for without TLS", req.URL)
	}))
	defer plain.Close()
	for name, answer := range map[string]http.HandlerFunc{
		"redirect": func(w http.ResponseWriter, req *http.Request) {
			http.Redirect(w, req, plain.URL, http.StatusTemporaryRedirect)
		},
		"token": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm=%q`, plain.URL))
			w.WriteHeader(http.StatusUnauthorized)
		},
	} {
		t.Run(name, func(t *testing.T) {
			secure := httptest.NewTLSServer(answer)
			defer secure.Close()
			at := endpoint{base: secure.URL, named: true}
			transport := at.transport()
			transport.own.TLSClientConfig = secure.Client().Transport.(*http.Transport).TLSClientConfig
			m, err := getManifest(testContext(t), at.client(transport, &registry.AuthConfig{Username: "u", Password: "p"}), secure.URL)
			if !errors.Is(err, errPlain) {
				t.Errorf("%+v, %v", m, err)
			}
			if m, err := getManifest(testContext(t), at.client(at.transport(), &registry.AuthConfig{}), secure.URL); err == nil {
				t.Errorf("a certificate that anyone can make was taken, and so %+v", m)
			}
		})
	}
}
