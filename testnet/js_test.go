package testnet_test

import (
	"context"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hearth-edge/hearth/cmd/hearth/device"
	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/testnet"
	"github.com/hearth-edge/hearth/testnet/inproc"
)

// TestJavaScript: an app on another language's stock libp2p, written from the
// documents alone, runs a container on another node, feeds it more than one
// credit's worth, reads its output and exit code, and watches its states.
func TestJavaScript(t *testing.T) {
	t.Parallel()
	var stateDir string
	inproc.Start(t, 2, inproc.Options{Configure: func(i int, cfg *device.Config) {
		if i == 0 {
			stateDir = cfg.StateDir
		}
	}})
	out, err := demoJS(t, stateDir, `{"image": "`+inproc.Image+`", "args": ["err=note", "echo", "exit=7"], "notHere": true}`)
	if exit, ok := err.(*exec.ExitError); !ok || exit.ExitCode() != 7 { //nolint:errorlint // exec does not wrap it
		t.Fatalf("the app ended with %v instead of the container's exit code, 7:\n%s", err, out)
	}
	for _, want := range []string{
		`devices: node1 node2\n`,
		`note`,
		`in:  1048576 bytes, sha256 ([0-9a-f]{16})\nout: 1048576 bytes, sha256 ([0-9a-f]{16})\n`,
		`end: failed, exit code 7\n`,
		`states: accepted placing (pulling |starting )*running failed\n`,
		`again: failed, exit code 7\n`,
		`unknown: not_found\n`,
	} {
		found := regexp.MustCompile(want).FindStringSubmatch(out)
		if found == nil {
			t.Errorf("the app did not print %q:\n%s", want, out)
		} else if strings.HasPrefix(want, "in:") && found[1] != found[2] {
			t.Errorf("what came back is not what was sent:\n%s", out)
		}
	}
}

// TestJavaScriptLargeService: a service that is too large for the first frame, or that
// has what the first devices did not know, follows it in a frame of its own.
func TestJavaScriptLargeService(t *testing.T) {
	t.Parallel()
	var stateDir string
	inproc.Start(t, 2, inproc.Options{Configure: func(i int, cfg *device.Config) {
		if i == 0 {
			stateDir = cfg.StateDir
		}
	}})
	for name, more := range map[string]string{
		"large":  `"env": ["` + strings.Join(slices.Repeat([]string{"LARGE=" + strings.Repeat("x", 25_000)}, 4), `","`) + `"]`,
		"secret": `"secrets": [{"name": "pw", "data": "hunter2"}]`,
	} {
		args := `["echo", "exit=0"]`
		if name == "secret" {
			args = `["err=it is ", "secret=pw", "echo"]`
		}
		out, err := demoJS(t, stateDir, `{"image": "`+inproc.Image+`", "notHere": true, "args": `+args+`, `+more+`}`)
		if err != nil || !strings.Contains(out, "end: succeeded, exit code 0\n") || !strings.Contains(out, "again: succeeded, exit code 0\n") {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
		if name == "secret" && !strings.Contains(out, "out: 1048583 bytes") {
			t.Errorf("the secret did not come through:\n%s", out)
		}
	}
}

// TestJavaScriptWithoutDevice: where no device runs, the app says so.
func TestJavaScriptWithoutDevice(t *testing.T) {
	t.Parallel()
	out, err := demoJS(t, t.TempDir(), `{}`)
	if err == nil || !strings.Contains(out, "no device is running with its state in") {
		t.Errorf("the app ended with %v and said:\n%s", err, out)
	}
}

// TestJavaScriptReachesContainers: it runs a command in a container of another
// node, connects to a port of it, and copies its files.
func TestJavaScriptReachesContainers(t *testing.T) {
	t.Parallel()
	var stateDir string
	m := inproc.Start(t, 2, inproc.Options{Configure: func(i int, cfg *device.Config) {
		if i == 0 {
			stateDir = cfg.StateDir
		}
	}})
	s, err := m.Nodes[0].App.Run(t.Context(), protocol.Run{ID: "web", Detach: true, Service: protocol.Service{
		Image: inproc.Image, Args: []string{"serve=80", "sleep=1h"}, Constraints: protocol.Constraints{NotHere: true},
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for {
		u, err := s.Next()
		if err != nil {
			t.Fatal(err)
		}
		if u.Event != nil && u.Event.State == protocol.StateRunning {
			break
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", "reach.mjs", stateDir, "web", "80")
	cmd.Dir = testnet.JS(t)
	out, err := cmd.CombinedOutput()
	const want = "exec: failed 7, 1048576 bytes, note\ndial: 1048576 bytes\nout: succeeded, true\ninto: succeeded\n" +
		"none: constraint\nnowhere: port_closed\nservice: not_found\n"
	if err != nil || string(out) != want {
		t.Errorf("%v, it said\n%swant\n%s", err, out, want)
	}
}

func demoJS(t *testing.T, stateDir, service string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", "demo.mjs", stateDir, service)
	cmd.Dir = testnet.JS(t)
	out, err := cmd.CombinedOutput()
	return string(out), err
}
