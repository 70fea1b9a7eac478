package testnet_test

import (
	"context"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hearth-edge/hearth/testnet"
	"github.com/hearth-edge/hearth/testnet/netns"
)

// TestEngineOfItsOwn: an engine starts, runs, hangs, dies and comes back alone,
// its containers apart from all others.
func TestEngineOfItsOwn(t *testing.T) {
	t.Parallel()
	image := testnet.Image(t)
	host := netns.New(t).AddHost("a")
	begun := time.Now()
	e := host.StartEngine(t)
	t.Logf("an engine is ready after %v", time.Since(begun).Round(time.Millisecond))
	begun = time.Now()
	e.Load(image)
	t.Logf("an image is loaded after %v", time.Since(begun).Round(time.Millisecond))

	id := e.Docker("run", "-d", "--label", "test=one", image, "sleep", "10m")
	if strings.Contains(testnet.Docker(t, "ps", "-q", "--no-trunc"), id) {
		t.Error("the machine's engine knows the container")
	}
	c := one(t, e, "test=one")
	if c.ID != id || c.State != "running" || c.PID == 0 || c.Started.IsZero() || !c.Finished.IsZero() {
		t.Errorf("running, it is %+v", c)
	}
	if got := e.Containers("test=two"); len(got) != 0 {
		t.Errorf("another label finds %v", got)
	}

	e.Hang()
	if answers(t, e.Socket, 300*time.Millisecond) {
		t.Error("a hanging engine answers")
	}
	e.Answer()
	if !answers(t, e.Socket, time.Minute) {
		t.Error("it does not answer again")
	}

	e.Kill()
	if answers(t, e.Socket, time.Second) {
		t.Error("a killed engine answers")
	}
	if syscall.Kill(c.PID, 0) != nil {
		t.Error("the container died with the engine")
	}
	e.Restart()
	// Docker ends what went on without it, unless told otherwise.
	if c := one(t, e, "test=one"); c.State != "exited" || c.Finished.IsZero() {
		t.Errorf("after a restart it is %+v", c)
	}

	e.Docker("run", "-d", "--label", "test=three", image, "exit", "7")
	e.Docker("wait", one(t, e, "test=three").ID)
	if c := one(t, e, "test=three"); c.ExitCode != 7 {
		t.Errorf("it exited with %d", c.ExitCode)
	}
	e.Hang()
	e.Stop()
	e.Restart()
	if got := e.Containers("test"); len(got) != 2 {
		t.Errorf("after a stop there are %v", got)
	}
}

// TestLiveRestore: where the engine is told to, containers go on without it.
func TestLiveRestore(t *testing.T) {
	t.Parallel()
	image := testnet.Image(t)
	host := netns.New(t).AddHost("a")
	e := testnet.StartEngine(t, testnet.EngineOptions{Command: host.Command, LiveRestore: true})
	e.Load(image)
	e.Docker("run", "-d", "--label", "test", image, "sleep", "10m")
	before := one(t, e, "test")
	e.Kill()
	e.Restart()
	if c := one(t, e, "test"); c.State != "running" || c.PID != before.PID || !c.Started.Equal(before.Started) {
		t.Errorf("it was %+v and is %+v", before, c)
	}
	e.Stop()
	e.Restart()
	if c := one(t, e, "test"); c.State != "running" || c.PID != before.PID {
		t.Errorf("it was %+v and is %+v", before, c)
	}
}

// TestEnginesLeaveNothing: neither a test that ends nor a test process that is
// killed leaves processes, mounts, folders or control groups of its engines.
func TestEnginesLeaveNothing(t *testing.T) {
	if os.Getenv("HEARTH_TEST_VICTIM") != "" {
		e := netns.New(t).AddHost("a").StartEngine(t)
		e.Load(testnet.Image(t))
		e.Docker("run", "-d", testnet.Image(t), "sleep", "10m")
		t.Logf("VICTIM %s", filepath.Dir(e.Socket))
		if os.Getenv("HEARTH_TEST_VICTIM") == "killed" {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		}
		return
	}
	t.Parallel()
	for _, end := range []string{"ended", "killed"} {
		cmd := exec.Command(os.Args[0], "-test.run=^TestEnginesLeaveNothing$", "-test.v")
		cmd.Env = append(os.Environ(), "HEARTH_TEST_VICTIM="+end)
		out, err := cmd.CombinedOutput()
		if (err == nil) != (end == "ended") {
			t.Fatalf("%s: %v\n%s", end, err, out)
		}
		_, dir, _ := strings.Cut(string(out), "VICTIM ")
		dir, _, _ = strings.Cut(dir, "\n")
		if !strings.HasPrefix(dir, "/tmp/") {
			t.Fatalf("%s: it names no folder:\n%s", end, out)
		}
		if end == "killed" {
			netns.New(t).AddHost("a").StartEngine(t) // removes what was left
		}
		leftNothing(t, dir)
	}
}

// leftNothing checks that nothing of what is in a folder, and no process with it
// in its arguments, is left, nor a control group of its name.
func leftNothing(t *testing.T, dir string) {
	t.Helper()
	name := filepath.Base(dir)
	for _, pattern := range []string{dir, "/sys/fs/cgroup/" + name + "*", "/sys/fs/cgroup/*/" + name + "*"} {
		if left, _ := filepath.Glob(pattern); len(left) != 0 {
			t.Errorf("left behind: %v", left)
		}
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil || strings.Contains(string(mounts), dir) {
		t.Errorf("left behind among the mounts: %v\n%s", err, mounts)
	}
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range lines {
		if line, _ := os.ReadFile(path); strings.Contains(string(line), dir) {
			t.Errorf("left behind: the process %q", line)
		}
	}
}

func one(t *testing.T, e *testnet.Engine, label string) testnet.EngineContainer {
	t.Helper()
	found := e.Containers(label)
	if len(found) != 1 {
		t.Fatalf("%d containers bear the label %s: %v", len(found), label, found)
	}
	return found[0]
}

// answers asks the engine at a socket whether it is there.
func answers(t *testing.T, socket string, timeout time.Duration) bool {
	t.Helper()
	client := http.Client{Timeout: timeout, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}}
	resp, err := client.Get("http://engine/_ping")
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}
