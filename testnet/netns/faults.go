package netns

import (
	"bufio"
	"context"
	"fmt"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/hearth-edge/hearth/testnet"
)

// Link says how bad a host's link is, each way. The zero Link is a good one.
type Link struct {
	// Delay of each packet, Jitter more or less, at most Delay. Order is kept.
	Delay, Jitter time.Duration
	// Loss is the share of packets that are dropped, 0 to 1.
	Loss float64
	// Rate in bytes a second; 0 is as fast as it goes.
	Rate int64
}

// Down pulls the host's cable: the host sees that its link is gone.
func (h *Host) Down() { h.t.Helper(); h.ip("link", "set", link, "down") }

// Up plugs the cable in.
func (h *Host) Up() {
	h.t.Helper()
	h.ip("link", "set", link, "up")
	// No router answers there, but a home's device has a default route.
	h.ip("route", "replace", "default", "via", subnet+"1", "dev", link)
}

// Isolate cuts the host off at the switch: its link stays up, and nothing passes.
func (h *Host) Isolate() { h.t.Helper(); h.net.ip("link", "set", h.port, "nomaster") }

// Heal ends Isolate.
func (h *Host) Heal() { h.t.Helper(); h.attach(h.bridge) }

// attach plugs the host's cable into a bridge of the switch.
func (h *Host) attach(bridge string) {
	h.t.Helper()
	h.bridge = bridge
	h.net.ip("link", "set", h.port, "master", bridge)
	if h.noMulticast { // a port that moves forgets it
		h.net.ip("link", "set", h.port, "type", "bridge_slave", "mcast_flood", "off")
	}
}

// Move takes the host's address away and gives it a new one, as another lease
// does; IP is the new one from now on.
func (h *Host) Move() {
	h.t.Helper()
	h.net.addresses++
	old := h.IP
	h.IP = subnet + strconv.Itoa(h.net.addresses+1)
	h.ip("address", "delete", old+"/24", "dev", link)
	h.ip("address", "add", h.IP+"/24", "dev", link)
	h.Up()
}

// Slow is Shape with a delay each way.
func (h *Host) Slow(delay time.Duration) { h.t.Helper(); h.Shape(Link{Delay: delay}) }

// Lossy is Shape with a loss each way, 0 to 1.
func (h *Host) Lossy(loss float64) { h.t.Helper(); h.Shape(Link{Loss: loss}) }

// Shape makes the host's link be as l says from now on.
func (h *Host) Shape(l Link) {
	h.t.Helper()
	if h.shaper != nil {
		_ = h.shaper.Process.Signal(syscall.SIGTERM)
		_ = h.shaper.Wait()
		h.shaper = nil
	}
	if l == (Link{}) {
		return
	}
	cmd := h.Command(context.Background(), testnet.FaultTool(h.t), "link", link,
		"--delay", l.Delay.String(), "--jitter", l.Jitter.String(),
		"--loss", fmt.Sprint(l.Loss), "--rate", fmt.Sprint(l.Rate))
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	// Both go to one pipe: the first line is READY, or what went wrong.
	out, err := cmd.StdoutPipe()
	if err != nil {
		h.t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		h.t.Fatalf("shape the link of %s: %v", h.Name, err)
	}
	h.shaper = cmd
	h.t.Cleanup(func() {
		if h.shaper == cmd {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "READY\n" {
		h.t.Fatalf("shape the link of %s: %v: %s", h.Name, err, line)
	}
}

// Partition parts the network: the hosts of one group reach each other, by
// multicast too, and no host of another group. Hosts in no group stay with each
// other. Links stay up. Another Partition replaces it.
func (n *Net) Partition(groups ...[]*Host) {
	n.t.Helper()
	place := map[*Host]string{}
	for i, group := range groups {
		name := n.addBridge(i + 1)
		for _, h := range group {
			place[h] = name
		}
	}
	for _, h := range n.hosts {
		if at, placed := place[h]; placed {
			h.attach(at)
		} else {
			h.attach(bridge)
		}
	}
}

// addBridge makes the switch's bridge of that number where there is none.
func (n *Net) addBridge(number int) string {
	n.t.Helper()
	name := "br" + strconv.Itoa(number)
	if number >= n.bridges {
		n.ip("link", "add", name, "type", "bridge", "stp_state", "0", "forward_delay", "0")
		n.ip("link", "set", name, "up")
		n.bridges = number + 1
	}
	return name
}

// A cut is one way that is closed.
type cut struct{ from, to *Host }

// Cut drops all that from sends to to, one way only.
func (n *Net) Cut(from, to *Host) {
	n.t.Helper()
	c := cut{from, to}
	c.rule("-A")
	n.cuts = append(n.cuts, c)
}

// rule adds (-A) or deletes (-D) what drops frames from the one at the other.
func (c cut) rule(action string) {
	c.to.t.Helper()
	for _, filter := range []string{"iptables", "ip6tables"} {
		args := []string{"-w", "-t", "raw", action, "PREROUTING", "-m", "mac", "--mac-source", c.from.mac, "-j", "DROP"}
		if out, err := c.to.Command(context.Background(), filter, args...).CombinedOutput(); err != nil {
			c.to.t.Fatalf("cut %s off from %s: %v: %s", c.to.Name, c.from.Name, err, out)
		}
	}
}

// Heal ends every fault of the network: partitions, cuts, isolation, pulled
// cables and bad links. Addresses stay as they are, and so does BlockMulticast.
func (n *Net) Heal() {
	n.t.Helper()
	for _, c := range n.cuts {
		c.rule("-D")
	}
	n.cuts = nil
	for _, h := range n.hosts {
		h.attach(bridge)
		h.Shape(Link{})
		h.Up()
	}
}

// StartEngine starts a Docker engine of the host's own, in its network; a node
// uses it if testnet.Options.Engine says so.
func (h *Host) StartEngine(t testing.TB) *testnet.Engine {
	t.Helper()
	return testnet.StartEngine(t, testnet.EngineOptions{Command: h.Command})
}
