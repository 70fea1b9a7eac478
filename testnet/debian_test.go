package testnet_test

import (
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hearth-edge/hearth/testnet"
	"github.com/hearth-edge/hearth/testnet/netns"
)

// TestOrdinaryImages: nginx and PostgreSQL, whose entrypoints chown files and give
// up root, run as they do with docker, and end by the signal that their images
// name. Where a node gives no capabilities, the end says so.
func TestOrdinaryImages(t *testing.T) {
	t.Parallel()
	nginx, postgres := testnet.NginxImage(t), testnet.PostgresImage(t)
	secret := testnet.NewSecret(t)
	lan := netns.New(t)
	a := lan.AddHost("a").StartNode(t, testnet.Options{Secret: secret})
	state := testnet.ShortTempDir(t)
	if err := os.WriteFile(filepath.Join(state, "policy.toml"), []byte("default_capabilities = []\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	lan.AddHost("strict").StartNode(t, testnet.Options{Secret: secret, State: state})
	a.WaitAble(2)
	start := func(id, image string) {
		t.Helper()
		if r := a.Hearth("run", "-d", "--node", "a", "--memory", "512m", "--id", id, image); r.Code != 0 {
			t.Fatalf("exit code %d: %s", r.Code, r.Stderr)
		}
	}
	start("web", nginx)
	start("database", postgres)

	if got := page(t, container(t, a, "web")); got != "served by www-data\n" {
		t.Errorf("the page is %q", got)
	}
	awaitOutput(t, a, "database", "answer 42")
	for _, id := range []string{"web", "database"} {
		if r := a.Hearth("stop", id); r.Code != 0 {
			t.Errorf("stop %s: %s", id, r.Stderr)
		}
		// By TERM PostgreSQL waits for its clients; by INT it shuts down at once.
		if r := a.Hearth("wait", id); r.Code != 0 || strings.TrimSpace(r.Stdout) != "0" {
			t.Errorf("%s ended with %d: %s\n%s", id, r.Code, r.Stderr, a.Hearth("logs", id).Stderr)
		}
	}
	if r := a.Hearth("logs", "database"); !strings.Contains(r.Stderr, "received fast shutdown request") {
		t.Errorf("the database was not stopped by its image's signal: %s", r.Stderr)
	}
	if r := a.Hearth("run", "--node", "strict", nginx); r.Code == 0 || !strings.Contains(r.Stderr, "it had no capabilities, not even as root (default_capabilities in") {
		t.Errorf("without capabilities it ended with %d: %s", r.Code, r.Stderr)
	}
}

// container returns the address of the request's container.
func container(t *testing.T, n *testnet.Node, id string) string {
	t.Helper()
	format := "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
	var address string
	until(t, "a container of "+id, func() bool {
		found := testnet.Docker(t, "ps", "--quiet", "--filter", "label="+testnet.LabelRequest+"="+id, "--filter", "label="+testnet.LabelMesh+"="+fingerprint(n))
		if found == "" {
			return false
		}
		address = testnet.Docker(t, "inspect", "--format", format, found)
		return address != ""
	})
	return address
}

func fingerprint(n *testnet.Node) string {
	return strings.TrimSpace(n.Hearth("secret", "fingerprint").Stdout)
}

// page returns what a web server answers, which may not listen yet.
func page(t *testing.T, address string) (text string) {
	t.Helper()
	until(t, "an answer of http://"+address, func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			return false
		}
		defer answer.Body.Close()
		body, err := io.ReadAll(answer.Body)
		text = string(body)
		return err == nil
	})
	return text
}

func awaitOutput(t *testing.T, n *testnet.Node, id, want string) {
	t.Helper()
	until(t, id+" writes "+want, func() bool { return strings.Contains(n.Hearth("logs", id).Stdout, want) })
}

// until asks again and again.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	deadline := time.After(time.Minute)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not within a minute: %s", what)
		}
	}
}
