package web_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hearth-edge/hearth/testnet"
)

// curl runs curl, feeds it, and returns what it printed and its exit code.
func curl(t *testing.T, stdin []byte, as *syscall.Credential, args ...string) (out string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "curl", append([]string{"-sS"}, args...)...)
	cmd.Stdin, cmd.SysProcAttr, cmd.Dir = bytes.NewReader(stdin), &syscall.SysProcAttr{Credential: as}, "/"
	text, err := cmd.CombinedOutput()
	if err != nil && cmd.ProcessState == nil {
		t.Fatalf("%v (testnet/setup.sh curl installs it)", err)
	}
	return string(text), cmd.ProcessState.ExitCode()
}

// TestCurl: with curl alone a container is run and fed, its output and its exit code
// are read; asking for it again, following and stopping are as good.
func TestCurl(t *testing.T) {
	image := testnet.Image(t)
	n := testnet.Start(t, testnet.Options{
		Name: "one", Secret: testnet.NewSecret(t), Args: []string{"--no-discovery", "--listen", "/ip4/127.0.0.1/tcp/0", "--http", "127.0.0.1:0"},
	})
	n.WaitAble(1)
	url, token := linkOf(t, n)
	bearer := "Authorization: Bearer " + token

	// A file in, its copy out, more than any buffer holds.
	input := bytes.Repeat([]byte("0123456789abcdef"), 1<<17)
	copied := filepath.Join(t.TempDir(), "copy")
	if out, code := curl(t, input, nil, "-H", bearer, "-X", "POST", "-T", "-", "-o", copied, url+"/v1/run?image="+image+"&arg=cat"); code != 0 {
		t.Fatalf("curl: %d: %s", code, out)
	}
	if got, err := os.ReadFile(copied); err != nil || sha256.Sum256(got) != sha256.Sum256(input) {
		t.Errorf("%d bytes came back of %d, %v", len(got), len(input), err)
	}

	// The exit code is a trailer; without trailers it is asked for by the ID.
	out, _ := curl(t, nil, nil, "-i", "-H", bearer, "-X", "POST", url+"/v1/run?image="+image+"&arg=output&arg=10&arg=42&id=forty-two")
	for _, want := range []string{"HTTP/1.1 200 OK", "Hearth-Request: forty-two", "Hearth-Exit-Code: 42", "Hearth-State: failed", "Hearth-Node: one", "Hearth-Stderr: "} {
		if !strings.Contains(out, want) {
			t.Errorf("curl -i does not show %q:\n%s", want, out)
		}
	}
	if out, _ := curl(t, nil, nil, "-H", bearer, url+"/v1/requests/forty-two"); !strings.Contains(out, `"exit_code":42`) {
		t.Errorf("its end cannot be asked for: %s", out)
	}

	// What cannot run is no 200, so that -f fails.
	if out, code := curl(t, nil, nil, "-f", "-H", bearer, "-X", "POST", url+"/v1/run?image="+image+"&memory=900g"); code != 22 {
		t.Errorf("curl -f of what no node can run: %d: %s", code, out)
	}

	// Over the socket no token is needed.
	socket := filepath.Join(n.State, "http.sock")
	if out, _ := curl(t, nil, nil, "--unix-socket", socket, "http://hearth/v1/status"); !strings.Contains(out, `"name":"one"`) || !strings.Contains(out, `"may":"all"`) {
		t.Errorf("over the socket: %s", out)
	}
	if out, _ := curl(t, nil, nil, "--unix-socket", socket, "http://hearth/metrics"); !strings.Contains(out, `hearth_node_up{node="one"`) || !strings.Contains(out, `hearth_requests{state="failed"} 1`) {
		t.Errorf("metrics over the socket: %s", out)
	}

	// A client that goes has its container stopped.
	ctx, cancel := context.WithCancel(t.Context())
	gone := exec.CommandContext(ctx, "curl", "-sN", "-H", bearer, "-X", "POST", url+"/v1/run?image="+image+"&arg=sleep&arg=1h&id=left")
	if err := gone.Start(); err != nil {
		t.Fatal(err)
	}
	await(t, func() bool {
		out, _ := curl(t, nil, nil, "-H", bearer, url+"/v1/requests/left")
		return strings.Contains(out, `"state":"running"`)
	})
	cancel()
	_ = gone.Wait()
	await(t, func() bool {
		out, _ := curl(t, nil, nil, "-H", bearer, url+"/v1/requests/left")
		return strings.Contains(out, `"state":"cancelled"`)
	})

	anotherUser(t, n, url, image)
}

// await waits until what is asked again and again is so.
func await(t *testing.T, so func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !so(); {
		if time.Now().After(deadline) {
			t.Fatal("it does not come to that")
		}
	}
}

// anotherUser: one of this machine has neither the token nor the socket.
func anotherUser(t *testing.T, n *testnet.Node, url, image string) {
	nobody := &syscall.Credential{Uid: 65534, Gid: 65534}
	for _, args := range [][]string{{url + "/v1/devices"}, {"-X", "POST", url + "/v1/run?image=" + image}, {"-H", "Authorization: Bearer 0", url + "/v1/tokens"}, {url + "/metrics"}} {
		if out, _ := curl(t, nil, nobody, args...); !strings.Contains(out, `"status":401`) {
			t.Errorf("another user gets at %v: %s", args, out)
		}
	}
	if out, code := curl(t, nil, nobody, "--unix-socket", filepath.Join(n.State, "http.sock"), "http://hearth/v1/devices"); code == 0 {
		t.Errorf("another user reaches the socket: %s", out)
	}
	for _, file := range []string{"token", "tokens.json"} {
		cmd := exec.Command("cat", filepath.Join(n.State, file))
		cmd.SysProcAttr, cmd.Dir = &syscall.SysProcAttr{Credential: nobody}, "/"
		if out, err := cmd.CombinedOutput(); err == nil {
			t.Errorf("another user reads %s: %d bytes", file, len(out))
		}
	}
}
