package netif

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	ma "github.com/multiformats/go-multiaddr"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func up(name string, index int, prefixes ...string) link {
	l := link{Interface: Interface{Name: name, Index: index, Multicast: true, Loopback: name == "lo"}, up: true}
	for _, p := range prefixes {
		l.Prefixes = append(l.Prefixes, netip.MustParsePrefix(p))
	}
	return l
}

func names(ifs []Interface) string {
	var out []string
	for _, i := range ifs {
		out = append(out, i.Name)
	}
	return strings.Join(out, " ")
}

func TestChoose(t *testing.T) {
	lo, eth := up("lo", 1, "127.0.0.1/8"), up("eth0", 2, "10.0.0.2/24")
	down := up("wlan0", 3, "10.1.0.2/24")
	down.up = false
	docker, veth := up("docker0", 4, "172.17.0.1/16"), up("veth12ab", 5, "fe80::1/64")
	for _, tc := range []struct {
		name string
		all  []link
		only []string
		want string
	}{
		{"real ones", []link{lo, eth, down, docker, veth}, nil, "eth0"},
		{"loopback where there is nothing else", []link{lo, down, docker}, nil, "lo"},
		{"nothing", []link{down}, nil, ""},
		{"a cable without an address yet", []link{lo, up("eth1", 6)}, nil, "lo"},
		{"named ones, whatever they are", []link{lo, eth, docker}, []string{"docker0", "lo"}, "lo docker0"},
		{"a named one that is down", []link{lo, eth, down}, []string{"wlan0"}, ""},
		{"bridges", []link{lo, up("br-lan", 7, "10.0.0.1/24"), up("br-0123456789ab", 8, "172.18.0.1/16")}, nil, "br-lan"},
	} {
		got, err := choose(tc.all, tc.only)
		if err != nil || names(got) != tc.want {
			t.Errorf("%s: got %q, %v; want %q", tc.name, names(got), err, tc.want)
		}
	}
	if _, err := choose([]link{lo, eth}, []string{"eth7"}); err == nil || !strings.Contains(err.Error(), "lo, eth0") {
		t.Errorf("unknown name: %v", err)
	}
}

func TestVirtual(t *testing.T) {
	for _, name := range []string{"docker0", "br-0123456789ab", "veth0", "tun0", "tap1", "wg0", "ztabc", "tailscale0", "virbr0", "cni0", "flannel.1", "cali123", "lxcbr0"} {
		if !virtual(name) {
			t.Errorf("%s is taken for real", name)
		}
	}
	for _, name := range []string{"eth0", "enp3s0", "wlan0", "wlp2s0", "end0", "bond0", "br0", "br-lan", "usb0", "br-0123456789xy"} {
		if virtual(name) {
			t.Errorf("%s is not taken for real", name)
		}
	}
}

func TestOrderOfAddresses(t *testing.T) {
	got, err := choose([]link{up("eth0", 2, "fe80::1/64", "2001:db8::1/64", "203.0.113.4/24", "10.0.0.2/24")}, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"10.0.0.2", "203.0.113.4", "2001:db8::1", "fe80::1"}
	for i, a := range got[0].Addrs {
		if a.String() != want[i] || !got[0].Prefixes[i].Contains(a) {
			t.Errorf("address %d is %v in %v, want %s", i, a, got[0].Prefixes[i], want[i])
		}
	}
}

func TestFilter(t *testing.T) {
	ifs := []Interface{
		{Name: "eth0", Addrs: addrs("10.0.0.2", "169.254.3.4", "203.0.113.4", "2001:db8::1", "fd00::1", "fe80::1")},
		{Name: "lo", Addrs: addrs("127.0.0.1")},
	}
	for _, tc := range []struct{ name, in, want string }{
		{"order", "/ip6/2001:db8::1/tcp/1 /ip4/203.0.113.4/tcp/1 /ip4/10.0.0.2/tcp/1", "/ip4/10.0.0.2/tcp/1 /ip4/203.0.113.4/tcp/1 /ip6/2001:db8::1/tcp/1"},
		{"other interfaces' and wildcards", "/ip4/172.17.0.1/tcp/1 /ip4/0.0.0.0/tcp/1 /ip4/10.0.0.2/tcp/1 /dns4/x/tcp/1", "/ip4/10.0.0.2/tcp/1"},
		{"no loopback beside others", "/ip4/127.0.0.1/tcp/1 /ip6/fd00::1/tcp/1", "/ip6/fd00::1/tcp/1"},
		{"loopback alone", "/ip4/127.0.0.1/tcp/1 /ip4/172.17.0.1/tcp/1", "/ip4/127.0.0.1/tcp/1"},
		{"link-local", "/ip6/fe80::1/tcp/1 /ip4/169.254.3.4/tcp/1", "/ip4/169.254.3.4/tcp/1"},
		{"nothing", "", ""},
	} {
		var in, got []string
		var parsed []ma.Multiaddr
		if in = strings.Fields(tc.in); len(in) > 0 {
			for _, s := range in {
				parsed = append(parsed, ma.StringCast(s))
			}
		}
		for _, a := range Filter(parsed, ifs) {
			got = append(got, a.String())
		}
		if !slices.Equal(got, strings.Fields(tc.want)) {
			t.Errorf("%s: got %v, want %v", tc.name, got, tc.want)
		}
	}
	many := make([]ma.Multiaddr, 50)
	for i := range many {
		many[i] = ma.StringCast("/ip4/10.0.0.2/tcp/1")
	}
	if n := len(Filter(many, ifs)); n != MaxAddrs {
		t.Errorf("kept %d of 50", n)
	}
}

func addrs(texts ...string) (out []netip.Addr) {
	for _, s := range texts {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}

func TestListOfThisMachine(t *testing.T) {
	ifs, err := List(nil)
	if err != nil || len(ifs) == 0 || !Equal(ifs, ifs) {
		t.Fatalf("%v, %v", ifs, err)
	}
	if _, err := List([]string{"no-such"}); err == nil {
		t.Error("an unknown name is no error")
	}
}
