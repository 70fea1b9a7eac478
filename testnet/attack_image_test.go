package testnet_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/hearth-edge/hearth/testnet"
	"github.com/hearth-edge/hearth/testnet/netns"
)

// TestAttackByImageNames is the attack "ssrf": a member names images so that the
// victim's engine asks services on the victim's loopback. They are not asked, and
// the member is told nothing of them; nor of what a registry answers that the
// victim's owner has allowed.
func TestAttackByImageNames(t *testing.T) {
	var hits atomic.Int64
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		hits.Add(1)
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprint(w, "<html>NAS admin: api_key=SECRET-OF-LOOPBACK</html>")
	}))
	defer service.Close()
	sendsOn := httptest.NewServer(http.RedirectHandler(service.URL+"/admin/config?x=1", http.StatusTemporaryRedirect))
	defer sendsOn.Close()
	at, via := strings.TrimPrefix(service.URL, "http://"), strings.TrimPrefix(sendsOn.URL, "http://")

	secret := testnet.NewSecret(t)
	lan := netns.New(t)
	lan.AddHost("victim").StartNode(t, testnet.Options{Secret: secret})
	mallory := lan.AddHost("mallory").StartNode(t, testnet.Options{Secret: secret, Args: []string{"--driver", "none"}})
	mallory.Watch().Until("the victim able to work", func(ds []testnet.Device) bool {
		v, ok := testnet.Find(ds, "victim")
		return ok && v.Role == "node" && v.Score > 0
	})
	_, port, _ := strings.Cut(at, ":")
	for _, ref := range []string{at + "/a/b403:c", via + "/a/b:c", "localhost:" + port + "/a/b:c", "2130706433:" + port + "/a/b:c"} {
		r := mallory.Hearth("run", "--node", "victim", ref)
		registry, _, _ := strings.Cut(ref, "/")
		if line := fmt.Sprintf("registries = [\"default\", %q]", registry); r.Code == 0 || !strings.Contains(r.Stderr, line) {
			t.Errorf("%s ended with %d, without the line %s:\n%s", ref, r.Code, line, r.Stderr)
		}
		if strings.Contains(r.Stderr, "SECRET") {
			t.Errorf("%s: the service's words: %s", ref, r.Stderr)
		}
	}
	if n := hits.Load(); n != 0 {
		t.Errorf("the service on the victim's loopback was asked %d times", n)
	}
}
