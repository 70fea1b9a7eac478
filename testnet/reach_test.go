package testnet_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hearth-edge/hearth/runtime/runtimetest"
	"github.com/hearth-edge/hearth/testnet"
	"github.com/hearth-edge/hearth/testnet/netns"
)

// TestStackIsReachedFromAnotherDevice: a device without an engine has a stack run
// on another one, finds its ports open on its own addresses, and reaches into its
// container. When the stack goes, so do the ports.
func TestStackIsReachedFromAnotherDevice(t *testing.T) {
	t.Parallel()
	const image, port = "hearth-testnet:reach", "18937"
	runtimetest.BusyboxImage(t, image)
	lan := netns.New(t)
	nas, tv := lan.AddHost("nas"), lan.AddHost("tv")
	secret := testnet.NewSecret(t)
	nas.StartNode(t, testnet.Options{Secret: secret})
	node := tv.StartNode(t, testnet.Options{Secret: secret, Args: []string{"--driver", "none"}})
	file := filepath.Join(t.TempDir(), "compose.yaml")
	err := os.WriteFile(file, []byte(`name: reach
services:
  web:
    image: `+image+`
    command: ["sh", "-c", "echo hello > /tmp/index.html; exec httpd -f -p 80 -h /tmp"]
    ports: ["`+port+`:80"]
`), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	until := func(what string, done func() bool) {
		t.Helper()
		for !done() {
			select {
			case <-ctx.Done():
				t.Fatalf("%s; the device's log:\n%s", what, node.Log())
			case <-time.After(100 * time.Millisecond):
			}
		}
	}
	until("the stack is not taken", func() bool { return node.Hearth("stack", "up", "-f", file).Code == 0 })
	t.Cleanup(func() { node.Hearth("stack", "down", "--data", "--yes", "reach") })
	get := func(at string) string {
		out, _ := tv.Command(ctx, "busybox", "wget", "-q", "-O", "-", "http://"+at+":"+port+"/").Output()
		return string(out)
	}
	until("the port is not open on loopback", func() bool { return get("127.0.0.1") == "hello\n" })
	if got := get(tv.IP); got != "hello\n" {
		t.Errorf("on the network's address it says %q", got)
	}
	if r := node.Hearth("exec", "reach/web", "sh", "-c", "cat /tmp/index.html; exit 3"); r.Code != 3 || r.Stdout != "hello\n" {
		t.Errorf("exec: %+v", r)
	}
	if r := node.Hearth("cp", "-q", "reach/web:/tmp/index.html", t.TempDir()); r.Code != 0 {
		t.Errorf("cp: %+v", r)
	}
	if r := node.Hearth("stack", "down", "reach"); r.Code != 0 {
		t.Errorf("down: %+v", r)
	}
	until("the port stays open", func() bool {
		out, err := tv.Command(ctx, "busybox", "netstat", "-tln").Output()
		return err == nil && !strings.Contains(string(out), ":"+port+" ")
	})
}
