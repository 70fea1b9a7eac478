package netns_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hearth-edge/hearth/testnet/netns"
)

// TestHostsAreApart: a host has its own interfaces and the control groups of
// this machine.
func TestHostsAreApart(t *testing.T) {
	t.Parallel()
	lan := netns.New(t)
	a, b := lan.AddHost("a"), lan.AddHost("b")
	for _, h := range []*netns.Host{a, b} {
		out := output(t, h, "ip", "-4", "-o", "address", "show", "dev", "eth0")
		if !strings.Contains(out, h.IP+"/24") {
			t.Errorf("%s has the addresses %s, want %s", h.Name, out, h.IP)
		}
	}
	if a.IP == b.IP {
		t.Errorf("both hosts have %s", a.IP)
	}
	if out := output(t, a, "ls", "/sys/fs/cgroup"); out == "" {
		t.Error("the control groups are hidden")
	}
}

// TestDownAndUp: a pulled cable is seen by the host, and plugged in its route is back.
func TestDownAndUp(t *testing.T) {
	t.Parallel()
	h := netns.New(t).AddHost("a")
	h.Down()
	if out := output(t, h, "ip", "route"); out != "" {
		t.Errorf("with its cable pulled it has the routes %s", out)
	}
	h.Up()
	if out := output(t, h, "ip", "route"); !strings.Contains(out, "default via") {
		t.Errorf("with its cable plugged in it has the routes %s", out)
	}
}

// TestReap: the namespace of a process that is no more is removed with what runs
// in it, that of a living one is not.
func TestReap(t *testing.T) {
	t.Parallel()
	netns.New(t) // makes sure of root and ip
	dead := exec.Command("true")
	if err := dead.Run(); err != nil {
		t.Fatal(err)
	}
	stale, used := fmt.Sprintf("hearth-%d-1", dead.Process.Pid), fmt.Sprintf("hearth-%d-1", os.Getppid())
	for _, name := range []string{stale, used} {
		if out, err := exec.Command("ip", "netns", "add", name).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		t.Cleanup(func() { _ = exec.Command("ip", "netns", "delete", name).Run() })
	}
	left := exec.Command("nsenter", "--net=/run/netns/"+stale, "sleep", "1000")
	if err := left.Start(); err != nil {
		t.Fatal(err)
	}
	// It is in the namespace once it has become sleep.
	for comm := ""; comm != "sleep"; {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", left.Process.Pid))
		if err != nil {
			t.Fatal(err)
		}
		comm = strings.TrimSpace(string(data))
	}

	netns.New(t)
	if _, err := os.Stat(filepath.Join("/run/netns", stale)); err == nil {
		t.Error("the stale namespace is still there")
	}
	if _, err := os.Stat(filepath.Join("/run/netns", used)); err != nil {
		t.Error("the namespace of a living process was removed")
	}
	if err := left.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("what ran in the stale namespace ended with %v", err)
	}
}

func output(t *testing.T, h *netns.Host, name string, args ...string) string {
	t.Helper()
	out, err := h.Command(context.Background(), name, args...).Output()
	if err != nil {
		t.Fatalf("%s on %s: %v", name, h.Name, err)
	}
	return strings.TrimSpace(string(out))
}
