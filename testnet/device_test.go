package testnet_test

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/hearth-edge/hearth/testnet"
)

// TestContainersStayOutside: a container reaches its node's app endpoint by no way,
// and of the port for other devices it learns what any stranger does: that libp2p
// is there, and that stock clients are not served.
func TestContainersStayOutside(t *testing.T) {
	image := testnet.Image(t)
	port := freePort(t)
	n := testnet.Start(t, testnet.Options{
		Name: "a", Secret: testnet.NewSecret(t), Args: []string{"--no-discovery", "--listen", "/ip4/0.0.0.0/tcp/" + port},
	})
	n.WaitAble(1)
	app := appPort(t, n)
	host := bridgeAddress(t)
	for _, network := range []string{"bridge", "none"} {
		ways := []string{host + ":" + app, "127.0.0.1:" + app, host + ":" + port, "127.0.0.1:" + port}
		r := n.Hearth(append([]string{"run", "--network", network, image, "dial"}, ways...)...)
		if r.Code != 0 {
			t.Fatalf("%s: exit code %d: %s", network, r.Code, r.Stderr)
		}
		for i, line := range strings.Split(strings.TrimSpace(r.Stdout), "\n") {
			t.Logf("network %s: %s", network, line)
			told, listens := strings.CutPrefix(line, ways[i]+" open: ")
			switch reachable := network == "bridge" && ways[i] == host+":"+port; {
			case listens != reachable:
				t.Errorf("network %s: %s", network, line)
			case listens && told != `"\x13/multistream/1.0.0\n\x03na\n\x03na\n"`:
				t.Errorf("the port for other devices told a container %s", told)
			}
		}
	}
	// Nor is there a way to its socket or its token: no service may have them
	// mounted, whatever the owner's policy lends.
	policy := filepath.Join(n.State, "policy.toml")
	if err := os.WriteFile(policy, fmt.Appendf(nil, "mounts = [%q]\n", filepath.Dir(n.State)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, source := range []string{n.State, n.State + "/app.sock", n.State + "/token", filepath.Dir(n.State)} {
		if r := n.Hearth("policy", "check", "--mount", source, image); r.Code != 1 || !regexp.MustCompile(`(?m)^mount .*REFUSED`).MatchString(r.Stdout) {
			t.Errorf("mounting %s: exit code %d: %s%s", source, r.Code, r.Stdout, r.Stderr)
		}
	}
}

// bridgeAddress returns the host's own IPv4 address on Docker's bridge. The engine
// does not always tell it: not where the bridge is older than the engine's data.
func bridgeAddress(t *testing.T) string {
	t.Helper()
	name := testnet.Docker(t, "network", "inspect", "bridge", "--format", `{{index .Options "com.docker.network.bridge.name"}}`)
	bridge, err := net.InterfaceByName(name)
	if err != nil {
		t.Fatalf("docker's bridge %q: %v", name, err)
	}
	addrs, err := bridge.Addrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil {
			return n.IP.String()
		}
	}
	t.Fatalf("docker's bridge %s has no IPv4 address: %v", name, addrs)
	return ""
}

// freePort returns a port that nobody listens on.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return fmt.Sprint(l.Addr().(*net.TCPAddr).Port)
}

// appPort returns the port of the node's app endpoint.
func appPort(t *testing.T, n *testnet.Node) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(n.State, "app.json"))
	if err != nil {
		t.Fatal(err)
	}
	var info struct{ Addresses []string }
	if err := json.Unmarshal(text, &info); err != nil {
		t.Fatal(err)
	}
	for _, a := range info.Addresses {
		if m := regexp.MustCompile(`^/ip4/127\.0\.0\.1/tcp/(\d+)/`).FindStringSubmatch(a); m != nil {
			return m[1]
		}
	}
	t.Fatalf("no port in %s", text)
	return ""
}
