// Package netns makes local networks out of network namespaces: a switch in a
// namespace of its own and hosts plugged into it, each with its own interfaces,
// addresses and multicast, on one machine and without touching its network.
// Faults are those of a switch and its cables: a cable pulled, a port cut off,
// the network parted, packets lost or late, multicast not passed on.
//
//	lan := netns.New(t)
//	a := lan.AddHost("a")
//	node := a.StartNode(t, testnet.Options{Secret: secret})
//	a.Isolate()
//
// Only the network is apart: processes share the file system, and so the
// container engine's socket. It needs root and the `ip` command. What a killed
// test process leaves behind is removed by the next one.
package netns

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/hearth-edge/hearth/testnet"
)

const (
	prefix = "hearth-" // of each namespace's name; the process's ID follows
	folder = "/run/netns"
	subnet = "10.77.0."
	bridge = "br0"
	link   = "eth0"
)

// A Net is one local network.
type Net struct {
	t     testing.TB
	name  string // the switch's namespace, and prefix of its hosts'
	hosts []*Host

	addresses int   // how many were given out
	bridges   int   // how many the switch has
	cuts      []cut // what Heal ends
}

// A Host is a namespace plugged into the network.
type Host struct {
	Name string
	// IP is its IPv4 address.
	IP string

	t         testing.TB
	net       *Net
	namespace string
	port      string // the switch's end of its cable
	mac       string // of the host's end
	bridge    string // what its port is plugged into, unless isolated

	noMulticast bool
	shaper      *exec.Cmd // makes its link bad; nil while it is good
}

// New makes an empty network, which is removed at the end of the test.
func New(t testing.TB) *Net {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("network namespaces need root: run the tests as root (sudo -E make test)")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Fatal("network namespaces need the ip command: install iproute2 (testnet/setup.sh netns does)")
	}
	reap(t)
	n := &Net{t: t}
	n.claim()
	t.Cleanup(n.remove)
	n.addBridge(0)
	return n
}

// claim makes the switch's namespace under the first free name.
func (n *Net) claim() {
	n.t.Helper()
	for i := 1; ; i++ {
		n.name = fmt.Sprintf("%s%d-%d", prefix, os.Getpid(), i)
		if _, err := os.Stat(filepath.Join(folder, n.name)); err == nil {
			continue
		}
		if err := run("ip", "netns", "add", n.name); err == nil {
			return
		} else if i == 100 {
			n.t.Fatalf("make a network namespace: %v", err)
		}
	}
}

// AddHost plugs another host in. Its name is for namespaces and messages.
func (n *Net) AddHost(name string) *Host {
	n.t.Helper()
	n.addresses++
	number := len(n.hosts) + 1
	h := &Host{
		Name: name, IP: subnet + strconv.Itoa(n.addresses+1), t: n.t, net: n,
		namespace: n.name + "-" + name, port: "port" + strconv.Itoa(number), mac: fmt.Sprintf("02:68:65:61:72:%02x", number),
	}
	n.hosts = append(n.hosts, h)
	n.must("ip", "netns", "add", h.namespace)
	n.ip("link", "add", h.port, "type", "veth", "peer", "name", link, "address", h.mac, "netns", h.namespace)
	h.attach(bridge)
	n.ip("link", "set", h.port, "up")
	h.ip("link", "set", "lo", "up")
	h.ip("address", "add", h.IP+"/24", "dev", link)
	h.Up()
	return h
}

// Command makes a process that runs inside the host's network.
func (h *Host) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	// Not `ip netns exec`: that mounts /sys anew and so hides the cgroups.
	inside := []string{"--net=" + filepath.Join(folder, h.namespace), "--", name}
	return exec.CommandContext(ctx, "nsenter", append(inside, args...)...)
}

// StartNode starts a node on the host and waits until it is ready; its name is
// the host's where there is none in o.
func (h *Host) StartNode(t testing.TB, o testnet.Options) *testnet.Node {
	t.Helper()
	return testnet.Start(t, h.options(o))
}

// LaunchNode is StartNode without the wait.
func (h *Host) LaunchNode(t testing.TB, o testnet.Options) *testnet.Node {
	t.Helper()
	return testnet.Launch(t, h.options(o))
}

func (h *Host) options(o testnet.Options) testnet.Options {
	o.Command = h.Command
	if o.Name == "" {
		o.Name = h.Name
	}
	return o
}

// BlockMulticast makes the switch drop multicast from now on, to the hosts that
// are plugged in, as some wireless access points do.
func (n *Net) BlockMulticast() {
	n.t.Helper()
	for _, h := range n.hosts {
		h.noMulticast = true
		h.attach(h.bridge)
	}
}

// PassMulticast makes the switch pass multicast again.
func (n *Net) PassMulticast() {
	n.t.Helper()
	for _, h := range n.hosts {
		h.noMulticast = false
		h.net.ip("link", "set", h.port, "type", "bridge_slave", "mcast_flood", "on")
	}
}

func (n *Net) ip(args ...string) {
	n.t.Helper()
	n.must("ip", append([]string{"-n", n.name}, args...)...)
}

func (h *Host) ip(args ...string) {
	h.t.Helper()
	h.net.must("ip", append([]string{"-n", h.namespace}, args...)...)
}

func (n *Net) must(name string, args ...string) {
	n.t.Helper()
	if err := run(name, args...); err != nil {
		n.t.Fatal(err)
	}
}

func (n *Net) remove() {
	for _, h := range n.hosts {
		if err := remove(h.namespace); err != nil {
			n.t.Error(err)
		}
	}
	if err := remove(n.name); err != nil {
		n.t.Error(err)
	}
}

// reap removes the namespaces of test processes that are no more, with what
// still runs in them.
func reap(t testing.TB) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(folder, prefix+"*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range names {
		name := filepath.Base(path)
		owner, _, _ := strings.Cut(strings.TrimPrefix(name, prefix), "-")
		pid, err := strconv.Atoi(owner)
		if err != nil || !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			continue
		}
		if err := remove(name); err != nil {
			t.Logf("leftover of an earlier run: %v", err)
		}
	}
}

// remove kills what runs in a namespace and deletes it.
func remove(namespace string) error {
	if _, err := os.Stat(filepath.Join(folder, namespace)); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	out, err := exec.Command("ip", "netns", "pids", namespace).Output()
	if err != nil {
		return fmt.Errorf("list the processes of %s: %w", namespace, err)
	}
	for _, word := range strings.Fields(string(out)) {
		if pid, err := strconv.Atoi(word); err == nil {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	return run("ip", "netns", "delete", namespace)
}

func run(name string, args ...string) error {
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
