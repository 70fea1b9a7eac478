package testnet_test

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hearth-edge/hearth/testnet"
)

// TestComposeFaults: each fault of testnet.sh does what it says, and heal and
// down end it.
func TestComposeFaults(t *testing.T) {
	t.Parallel()
	c := newCompose(t, "hearth-fault-"+strconv.Itoa(os.Getpid()), testnet.ClockBinary(t))
	c.must(t.Context(), "up", "--nodes", "3", "--faults")
	t.Run("processes", c.processFaults)
	t.Run("networks", c.networkFaults)
	t.Run("disks", c.diskFaults)
	t.Run("engines", c.engineFaults)
	t.Run("clocks", c.clockFaults)
	t.Run("bad arguments", c.badFaults)
	// What down must end as well as heal does.
	for _, fault := range []string{"slow 50ms", "fill-disk", "engine-hang", "freeze"} {
		c.fault("node2", strings.Fields(fault)...)
	}
}

func (c *compose) fault(node string, args ...string) {
	c.t.Helper()
	c.must(c.t.Context(), append([]string{"fault", node}, args...)...)
}

func (c *compose) inspect(node, format string) string {
	c.t.Helper()
	return testnet.Docker(c.t, "inspect", "--format", format, c.project+"-"+node)
}

// sees waits until a node sees so many devices: `exec` has no way to be told.
func (c *compose) sees(t *testing.T, node string, count int) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		devices := c.devices(node)
		if len(devices) == count {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s sees %v, want %d", node, devices, count)
		}
	}
}

func (c *compose) processFaults(t *testing.T) {
	for _, step := range []struct {
		fault, format, want string
		seen                int
	}{
		{"kill", "{{.State.Running}} {{.State.ExitCode}}", "false 137", 2},
		{"start", "{{.State.Running}}", "true", 3},
		{"stop", "{{.State.Running}} {{.State.ExitCode}}", "false 0", 2},
		{"heal", "{{.State.Running}}", "true", 3},
		{"freeze", "{{.State.Paused}}", "true", 2},
		{"thaw", "{{.State.Paused}}", "false", 3},
		{"freeze", "{{.State.Paused}}", "true", 2},
		{"heal", "{{.State.Paused}}", "false", 3},
	} {
		c.fault("node3", step.fault)
		if got := c.inspect("node3", step.format); got != step.want {
			t.Errorf("%s: it is %s, want %s", step.fault, got, step.want)
		}
		c.sees(t, "node1", step.seen)
	}
}

func (c *compose) networkFaults(t *testing.T) {
	c.fault("node2", "slow", "150ms", "50ms")
	if took, err := c.dial("node2", time.Minute); err != nil || took < 200*time.Millisecond {
		t.Errorf("slow: connected after %v, %v", took, err)
	}
	c.fault("node2", "lossy", "100")
	if took, err := c.dial("node2", time.Second); err == nil {
		t.Errorf("lossy: connected after %v", took)
	}
	c.fault("node2", "heal")
	// A busy machine may be as slow now and then, a slow link always is.
	for deadline := time.Now().Add(time.Minute); ; {
		took, err := c.dial("node2", time.Minute)
		if err == nil && took < 200*time.Millisecond {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("healed: connected after %v, %v", took, err)
		}
	}
	c.sees(t, "node1", 3)

	c.fault("node1,node2", "partition")
	c.sees(t, "node1", 2)
	c.sees(t, "node3", 1)
	c.must(t.Context(), "partition", "node1", "/", "node2", "node3")
	c.sees(t, "node1", 1)
	c.sees(t, "node2", 2)
	c.must(t.Context(), "heal")
	for _, node := range []string{"node1", "node2", "node3"} {
		c.sees(t, node, 3)
	}
}

// dial connects to a node from this machine, and tells how long that took.
func (c *compose) dial(node string, timeout time.Duration) (time.Duration, error) {
	c.t.Helper()
	ip := c.inspect(node, "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}")
	start := time.Now()
	conn, err := net.DialTimeout("tcp", ip+":7117", timeout)
	if err != nil {
		return 0, err
	}
	conn.Close()
	return time.Since(start), nil
}

func (c *compose) diskFaults(t *testing.T) {
	disk := filepath.Join(c.out, "faults", "node1", "disk")
	check := func(after string, bytes, inodes bool) {
		t.Helper()
		var s syscall.Statfs_t
		if err := syscall.Statfs(disk, &s); err != nil {
			t.Fatal(err)
		}
		if (s.Bavail > 0) != bytes || (s.Ffree > 0) != inodes {
			t.Errorf("after %s there are %d blocks and %d inodes free", after, s.Bavail, s.Ffree)
		}
	}
	check("the start", true, true)
	c.fault("node1", "fill-disk")
	check("fill-disk", false, true)
	c.fault("node1", "free-disk")
	check("free-disk", true, true)
	c.fault("node1", "fill-inodes")
	check("fill-inodes", true, false)
	c.fault("node1", "heal")
	check("heal", true, true)
}

func (c *compose) engineFaults(t *testing.T) {
	image := testnet.Image(t)
	c.must(t.Context(), "load", image)
	if got := c.must(t.Context(), "exec", "node1", "run", "--not-here", image, "echo", "hello"); got != "hello\n" {
		t.Errorf("it said %q", got)
	}
	socket := func(node string) string { return filepath.Join(c.out, "faults", node, "engine", "docker.sock") }
	check := func(after string, want bool) {
		t.Helper()
		timeout := 300 * time.Millisecond
		if want {
			timeout = time.Minute
		}
		if answers(t, socket("node1"), timeout) != want {
			t.Errorf("after %s, node1's engine answers: %v", after, !want)
		}
		if !answers(t, socket("node2"), time.Minute) {
			t.Errorf("after %s, node2's engine does not answer", after)
		}
	}
	for _, step := range []struct {
		fault string
		want  bool
	}{{"engine-hang", false}, {"engine-answer", true}, {"engine-down", false}, {"engine-up", true}, {"engine-down", false}, {"heal", true}, {"engine-hang", false}, {"heal", true}} {
		c.fault("node1", step.fault)
		check(step.fault, step.want)
	}
}

func (c *compose) clockFaults(t *testing.T) {
	logged := func(want time.Duration) {
		t.Helper()
		c.fault("node3", "stop") // which it logs
		log, err := exec.CommandContext(t.Context(), "docker", "logs", "--tail", "1", c.project+"-node3").CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, log)
		}
		text, _, _ := strings.Cut(strings.TrimPrefix(string(log), "time="), " ")
		at, err := time.Parse(time.RFC3339, text)
		if ahead := time.Until(at); err != nil || ahead < want-time.Minute || ahead > want+time.Minute {
			t.Errorf("its clock is %v ahead, want %v: %v", ahead, want, err)
		}
		c.fault("node3", "start")
	}
	c.fault("node3", "skew", "-90m")
	logged(-90 * time.Minute)
	logged(0) // started anew
	c.fault("node3", "skew", "1h")
	c.fault("node3", "heal")
	logged(0)
}

func (c *compose) badFaults(t *testing.T) {
	for _, try := range []struct {
		args string
		code int
		want string
	}{
		{"up", 1, "was started with --faults"},
		{"fault", 2, "usage"},
		{"fault node1", 2, "usage"},
		{"fault node1 melt", 2, "usage"},
		{"fault node1 kill hard", 2, "usage"},
		{"fault node1 slow", 2, "usage"},
		{"fault node9 kill", 1, "there are: node1 node2 node3"},
		{"fault node1,node9 kill", 1, "no node 'node9'"},
		{"fault node1 slow soon", 1, "such as 200ms"},
		{"fault node1 lossy 101", 1, "from 0 to 100"},
		{"fault node1 lossy -1", 1, "from 0 to 100"},
		{"fault node1 skew soon", 1, "such as 1h"},
		{"fault node1 thaw", 1, "not frozen"},
		{"partition node1", 1, "at least two groups"},
		{"partition node1 / node9", 1, "no node 'node9'"},
		{"partition node1 node2 / node2 node3", 1, "node2 stands in two groups"},
		{"heal node1", 2, "testnet.sh heal  "},
		{"load", 2, "testnet.sh load IMAGE"},
	} {
		r, err := c.call(t.Context(), strings.Fields(try.args)...)
		if err != nil || r.Code != try.code || !strings.Contains(r.Stderr, try.want) {
			t.Errorf("testnet.sh %s: %v, exit code %d, want %d and %q: %s", try.args, err, r.Code, try.code, try.want, r.Stderr)
		}
	}
}
