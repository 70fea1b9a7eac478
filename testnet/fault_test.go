package testnet_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hearth-edge/hearth/testnet"
	"github.com/hearth-edge/hearth/testnet/netns"
)

// TestSkew: a node's wall clock is wrong as far as was said, at once and after
// a restart, and right again.
func TestSkew(t *testing.T) {
	t.Parallel()
	n := netns.New(t).AddHost("a").StartNode(t, testnet.Options{
		Secret: testnet.NewSecret(t), Args: []string{"--driver", "none"}, Clock: true,
	})
	logged := func(want time.Duration) {
		t.Helper()
		line := n.Log()
		line = line[strings.LastIndex(strings.TrimSpace(line), "\n")+1:]
		text, _, _ := strings.Cut(strings.TrimPrefix(line, "time="), " ")
		at, err := time.Parse(time.RFC3339, text)
		if err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		if ahead := time.Until(at); ahead < want-time.Minute || ahead > want+time.Minute {
			t.Errorf("its clock is %v ahead, want %v: %s", ahead, want, line)
		}
	}
	n.AwaitLog("msg=ready")
	logged(0)
	n.Skew(time.Hour)
	n.Stop() // and says so in its log
	logged(time.Hour)
	n = n.Restart()
	n.AwaitLog("msg=ready")
	logged(time.Hour)
	n.Skew(-25 * time.Hour)
	n.Stop()
	logged(-25 * time.Hour)
	n.Skew(0)
	n = n.Restart()
	n.AwaitLog("msg=ready")
	logged(0)
}

// TestSleep: a suspended device stands still with its engine and containers, is
// lost to the others, and comes back whole.
func TestSleep(t *testing.T) {
	t.Parallel()
	secret, image := testnet.NewSecret(t), testnet.Image(t)
	lan := netns.New(t)
	host := lan.AddHost("b")
	e := host.StartEngine(t)
	e.Load(image)
	a := lan.AddHost("a").StartNode(t, testnet.Options{Secret: secret, Args: []string{"--driver", "none"}})
	b := host.StartNode(t, testnet.Options{Secret: secret, Engine: e, Clock: true})
	witness := e.Witness(secret)
	b.WaitNodes(2)
	a.Watch().Until("b able to work", func(ds []testnet.Device) bool {
		d, _ := testnet.Find(ds, "b")
		return d.Score > 0
	})
	if r := a.Hearth("run", "-d", "--id", "lasting", image, "sleep", "10m"); r.Code != 0 {
		t.Fatalf("exit code %d: %s", r.Code, r.Stderr)
	}
	witness.Started(1, func(c testnet.Container) bool { return c.Request == "lasting" })
	c := one(t, e, testnet.LabelRequest+"=lasting")

	b.Sleep()
	for what, pid := range map[string]int{"node": b.PID(), "container": c.PID} {
		if s := state(t, pid); s != "T" {
			t.Errorf("asleep, the %s is in the state %s", what, s)
		}
	}
	if answers(t, e.Socket, 300*time.Millisecond) {
		t.Error("asleep, the engine answers")
	}
	a.WaitNodes(1)
	b.Wake()
	a.WaitNodes(2)
	if !answers(t, e.Socket, time.Minute) {
		t.Error("awake, the engine does not answer")
	}
	if again := one(t, e, testnet.LabelRequest+"=lasting"); again.PID != c.PID || again.State != "running" {
		t.Errorf("awake, the container %+v is %+v", c, again)
	}
	if s := state(t, c.PID); s == "T" {
		t.Error("awake, the container stands still")
	}
}

// TestFullDisk: a full disk takes no byte, one without inodes no file, and a
// freed one both.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	n := netns.New(t).AddHost("a").StartNode(t, testnet.Options{
		Secret: testnet.NewSecret(t), Args: []string{"--driver", "none"}, Disk: 4 << 20,
	})
	path := filepath.Join(n.State, "probe")
	try := func() error {
		defer os.Remove(path)
		return os.WriteFile(path, make([]byte, 8192), 0o600)
	}
	for name, fill := range map[string]func(){"bytes": n.FillDisk, "inodes": n.FillInodes} {
		if err := try(); err != nil {
			t.Fatalf("before %s: %v", name, err)
		}
		fill()
		if err := try(); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("without free %s: %v", name, err)
		}
		n.FreeDisk()
	}
	if err := try(); err != nil {
		t.Errorf("freed: %v", err)
	}
	if r := n.Hearth("nodes"); r.Code != 0 {
		t.Errorf("exit code %d: %s", r.Code, r.Stderr)
	}
}

// state is that of a process in the kernel's words: T is stopped.
func state(t *testing.T, pid int) string {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(data), ") ")
	return rest[:1]
}
