package device

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/hearth-edge/hearth/p2p"
	"github.com/hearth-edge/hearth/p2p/netif"
	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime"
)

func TestCheckHeat(t *testing.T) {
	for _, c := range []struct {
		name    string
		score   protocol.Status
		known   bool
		level   protocol.Level
		finding string
	}{
		{name: "nothing is known"},
		{name: "cool", score: protocol.Status{Temperature: 54}, known: true, finding: "its hottest sensor tells 54 °C"},
		{name: "a little slower", score: protocol.Status{Temperature: 85, Throttled: 0.2}, known: true, finding: "its hottest sensor tells 85 °C"},
		{name: "hot", score: protocol.Status{Temperature: 86}, known: true, level: protocol.LevelWarning, finding: "its hottest sensor tells 86 °C"},
		{name: "slower", score: protocol.Status{Throttled: 0.4}, known: true, level: protocol.LevelWarning, finding: "it runs 40% below its full speed"},
		{name: "both", score: protocol.Status{Temperature: 90, Throttled: 0.4}, known: true, level: protocol.LevelWarning,
			finding: "it runs 40% below its full speed, at 90 °C"},
	} {
		got, known := checkHeat(&c.score)
		if known != c.known || got.Level != c.level || got.Finding != c.finding || (got.Advice != "") != (c.level == protocol.LevelWarning) {
			t.Errorf("%s: %v %+v", c.name, known, got)
		}
	}
}

func TestNoNetwork(t *testing.T) {
	on := func(name string, loopback bool, addrs ...string) netif.Interface {
		i := netif.Interface{Name: name, Loopback: loopback}
		for _, a := range addrs {
			i.Addrs = append(i.Addrs, netip.MustParseAddr(a))
		}
		return i
	}
	lo := on("lo", true, "127.0.0.1", "::1")
	for _, c := range []struct {
		list []netif.Interface
		want string
	}{
		{nil, "there is no network"},
		{[]netif.Interface{lo}, "there is no network"},
		{[]netif.Interface{on("eth0", false, "fe80::1"), on("wlan0", false, "fe80::2")}, "eth0, wlan0: only link-local IPv6 addresses, by which devices cannot be connected to"},
		{[]netif.Interface{on("eth0", false, "169.254.3.4", "fe80::1")}, ""},
		{[]netif.Interface{on("eth0", false, "fe80::1"), on("wlan0", false, "fd00::2")}, ""},
	} {
		if got := noNetwork(c.list); got != c.want {
			t.Errorf("%+v: %q", c.list, got)
		}
	}
}

func TestCheckDropped(t *testing.T) {
	if _, any := checkDropped(p2p.Stats{Strangers: 3, Statuses: map[string]uint64{"sequence": 9, "early": 5}}); any {
		t.Error("something is told of nothing")
	}
	c, any := checkDropped(p2p.Stats{Statuses: map[string]uint64{"size": 2, "rate": 7, "indirect": 4}, Evicted: 1})
	want := "since the start: 4 scores (of devices that tell none themselves), 7 scores (rate), 2 scores (size), 1 connections that were too many at once"
	if !any || c.Level != protocol.LevelWarning || c.Finding != want {
		t.Errorf("%+v", c)
	}
}

// TestCheckLimits: doctor names what the kernel needs, and the policy's line.
func TestCheckLimits(t *testing.T) {
	policy := runtime.DefaultPolicy()
	if c, any := checkLimits(&policy, nil); any {
		t.Errorf("%+v", c)
	}
	c, any := checkLimits(&policy, []string{"memory"})
	if !any || c.Level != protocol.LevelProblem || !strings.Contains(c.Advice, "cgroup_enable=memory") || !strings.Contains(c.Advice, `limits = ["cpus", "pids"]`) {
		t.Errorf("%+v", c)
	}
	policy.Limits = []string{"cpus", "pids"}
	if c, any = checkLimits(&policy, []string{"memory"}); !any || c.Level != protocol.LevelWarning || !strings.Contains(c.Finding, "no limit on their memory") {
		t.Errorf("%+v", c)
	}
}
