package testnet_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/hearth-edge/hearth/testnet"
	"github.com/hearth-edge/hearth/testnet/netns"
)

// TestKilledAndBack: kill -9 of the device that asked, and of the node that runs
// the request, loses nothing: after a restart of either the end is told, with
// the output, and the container was started once.
func TestKilledAndBack(t *testing.T) {
	t.Parallel()
	secret := testnet.NewSecret(t)
	image := testnet.Image(t)
	witness := testnet.NewWitness(t, secret)
	lan := netns.New(t)
	a := lan.AddHost("a").StartNode(t, testnet.Options{Secret: secret})
	b := lan.AddHost("b").StartNode(t, testnet.Options{Secret: secret})
	a.WaitAble(2)
	start := func(id string) {
		t.Helper()
		r := a.Hearth("run", "-d", "--node", "b", "--id", id, "-e", "WORD="+id, image, "env", "WORD", "8s")
		if r.Code != 0 || strings.TrimSpace(r.Stdout) != id {
			t.Fatalf("exit code %d, output %q: %s", r.Code, r.Stdout, r.Stderr)
		}
		witness.Started(1, func(c testnet.Container) bool { return c.Request == id })
	}
	check := func(id string) {
		t.Helper()
		if r := a.Hearth("wait", id); r.Code != 0 || strings.TrimSpace(r.Stdout) != "0" {
			t.Errorf("%s: wait ended with %d, output %q: %s\n%s", id, r.Code, r.Stdout, r.Stderr, a.Hearth("inspect", id).Stdout)
		}
		if r := a.Hearth("logs", id); r.Stdout != id+"\n" {
			t.Errorf("%s: its output is %q: %s", id, r.Stdout, r.Stderr)
		}
		if n := len(witness.Started(1, func(c testnet.Container) bool { return c.Request == id })); n != 1 {
			t.Errorf("%s was started %d times", id, n)
		}
	}

	start("orchestrator-dies")
	a.Kill()
	a = a.Restart()
	check("orchestrator-dies")

	start("node-dies")
	b.Kill()
	b.Restart()
	check("node-dies")

	// What ended is still told by a device that was started anew since.
	a.Kill()
	a = a.Restart()
	var detail struct {
		State string `json:"state"`
	}
	r := a.Hearth("inspect", "--json", "node-dies")
	if err := json.Unmarshal([]byte(r.Stdout), &detail); err != nil || detail.State != "succeeded" {
		t.Errorf("%v, after another restart it is %q: %s", err, detail.State, r.Stdout+r.Stderr)
	}
}
