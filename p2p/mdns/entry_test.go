package mdns

import (
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/hearth-edge/hearth/p2p/netif"
)

// testPeer is a peer ID made of a number.
func testPeer(n uint64) peer.ID {
	key := make([]byte, ed25519.PublicKeySize)
	binary.BigEndian.PutUint64(key, n)
	pub, err := crypto.UnmarshalEd25519PublicKey(key)
	if err != nil {
		panic(err)
	}
	id, err := peer.IDFromPublicKey(pub)
	if err != nil {
		panic(err)
	}
	return id
}

func dnsaddr(addr string, n uint64) string {
	return fmt.Sprintf("dnsaddr=%s/p2p/%s", addr, testPeer(n))
}

func TestParseEntry(t *testing.T) {
	many := []string{"mesh=abcd"}
	for i := range 20 {
		many = append(many, dnsaddr(fmt.Sprintf("/ip4/10.0.0.%d/tcp/1", i+1), 1))
	}
	for _, tc := range []struct {
		name  string
		text  []string
		addrs int
		err   error
	}{
		{"usual", []string{"v=1", "mesh=abcd", dnsaddr("/ip4/10.0.0.1/tcp/1", 1), dnsaddr("/ip6/fd00::1/tcp/1", 1)}, 2, nil},
		{"no addresses", []string{"mesh=abcd"}, 0, nil},
		{"what later versions may say", []string{"mesh=abcd", "v=9", "new=thing", ""}, 0, nil},
		{"at most a dozen", many, netif.MaxAddrs, nil},
		{"unsuitable addresses", []string{"mesh=abcd",
			dnsaddr("/dns4/example.org/tcp/1", 1), dnsaddr("/ip4/10.0.0.1/udp/1/quic-v1", 1), dnsaddr("/ip4/10.0.0.1/tcp/1/ws", 1),
			dnsaddr("/ip4/10.0.0.1/tcp/0", 1), dnsaddr("/unix/run/docker.sock", 1), dnsaddr("/ip4/10.0.0.1", 1), dnsaddr("", 1)}, 0, nil},
		{"not addresses", []string{"mesh=abcd", "dnsaddr=/ip4/10.0.0.1/tcp/1", "dnsaddr=x", "dnsaddr=", "dnsaddr=/ip4/10.0.0.1/tcp/1/p2p/zzz"}, 0, nil},
		{"no fingerprint", []string{dnsaddr("/ip4/10.0.0.1/tcp/1", 1)}, 0, errNoMesh},
		{"a fingerprint that can't be printed", []string{"mesh=ab\x1b[2Jcd"}, 0, errNoMesh},
		{"a short fingerprint", []string{"mesh=abc"}, 0, errNoMesh},
		{"a long fingerprint", []string{"mesh=" + strings.Repeat("a", 65)}, 0, errNoMesh},
		{"two fingerprints", []string{"mesh=abcd", "mesh=abce"}, 0, errTwoMeshes},
		{"two peers", []string{"mesh=abcd", dnsaddr("/ip4/10.0.0.1/tcp/1", 1), dnsaddr("/ip4/10.0.0.1/tcp/1", 2)}, 0, errTwoPeers},
		{"too many strings", append([]string{"mesh=abcd"}, make([]string, maxStrings)...), 0, errTooBig},
		{"a long string", []string{"mesh=abcd", strings.Repeat("x", 256)}, 0, errTooBig},
	} {
		e, err := parseEntry(tc.text)
		if !errors.Is(err, tc.err) || len(e.addrs) != tc.addrs {
			t.Errorf("%s: got %d addresses, %v; want %d, %v", tc.name, len(e.addrs), err, tc.addrs, tc.err)
		}
	}
}

func FuzzParseEntry(f *testing.F) {
	f.Add("v=1\nmesh=abcd\n" + dnsaddr("/ip4/10.0.0.1/tcp/1", 1) + "\n" + dnsaddr("/ip6/fd00::1/tcp/9", 1))
	f.Add("mesh=abcd\ndnsaddr=/ip6zone/x/ip6/fe80::1/tcp/1/p2p/Qm")
	f.Add("mesh=abcd\n" + dnsaddr("/unix/x", 1))
	f.Fuzz(func(t *testing.T, text string) {
		e, err := parseEntry(strings.Split(text, "\n"))
		if err != nil {
			return
		}
		if !validFingerprint(e.fingerprint) || len(e.addrs) > netif.MaxAddrs {
			t.Fatalf("accepted %q with %d addresses", e.fingerprint, len(e.addrs))
		}
		if len(e.addrs) > 0 && e.peer.Validate() != nil {
			t.Fatal("addresses of nobody")
		}
		for _, a := range e.addrs {
			if ip, ok := tcpHost(a); !ok || !ip.IsValid() {
				t.Fatalf("accepted %s", a)
			}
		}
	})
}

func TestReachable(t *testing.T) {
	lan := []netif.Interface{{Name: "eth0", Prefixes: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}}}
	lone := []netif.Interface{{Name: "lo", Loopback: true}}
	for _, tc := range []struct {
		addr      string
		lan, lone bool
	}{
		{"/ip4/192.168.1.2/tcp/1", true, true},
		{"/ip6/fd00::2/tcp/1", true, true},
		{"/ip4/169.254.1.2/tcp/1", true, true},
		{"/ip4/203.0.113.9/tcp/1", true, false},
		{"/ip4/198.51.100.9/tcp/1", false, false},
		{"/ip4/127.0.0.1/tcp/1", false, true},
		{"/ip6/::1/tcp/1", false, true},
		{"/ip6/::ffff:127.0.0.1/tcp/1", false, true},
		{"/ip4/0.0.0.0/tcp/1", false, false},
		{"/ip4/255.255.255.255/tcp/1", false, false},
		{"/ip4/224.0.0.251/tcp/1", false, false},
		{"/ip6/fe80::1/tcp/1", false, false},
	} {
		in := []ma.Multiaddr{ma.StringCast(tc.addr)}
		if got := len(reachable(in, lan)) == 1; got != tc.lan {
			t.Errorf("%s on a LAN: %v", tc.addr, got)
		}
		if got := len(reachable(in, lone)) == 1; got != tc.lone {
			t.Errorf("%s on a lone device: %v", tc.addr, got)
		}
	}
}

func TestTable(t *testing.T) {
	now := time.Now()
	here, there := []ma.Multiaddr{ma.StringCast("/ip4/10.0.0.1/tcp/1")}, []ma.Multiaddr{ma.StringCast("/ip4/10.0.0.2/tcp/1")}
	tab := newTable(period)
	for _, step := range []struct {
		name   string
		after  time.Duration
		addrs  []ma.Multiaddr
		report bool
	}{
		{"new", 0, here, true},
		{"the same", time.Second, here, false},
		{"moved", time.Second, there, true},
		{"still there", tab.again, there, true},
	} {
		now = now.Add(step.after)
		if got := tab.hear(now, testPeer(1), step.addrs); got != step.report {
			t.Errorf("%s: report is %v", step.name, got)
		}
	}

	reported := 0
	for i := range uint64(10_000) {
		if tab.hear(now, testPeer(100+i), here) {
			reported++
		}
	}
	if reported > foundPerSecond {
		t.Errorf("%d reports in one second", reported)
	}
	for i := range uint64(10_000) {
		now = now.Add(10 * time.Millisecond)
		tab.hear(now, testPeer(100+i), here)
	}
	if len(tab.known) > maxKnown {
		t.Errorf("%d devices are remembered", len(tab.known))
	}
	if !tab.hear(now, testPeer(1), here) {
		t.Error("a flood keeps a known device from being reported")
	}
	for i := range uint64(1000) {
		tab.strange(now, fmt.Sprint(i), "abcd")
	}
	if len(tab.strangers) != maxStrangers || tab.strange(now, "0", "abcd") {
		t.Errorf("%d strangers are remembered", len(tab.strangers))
	}
	now = now.Add(remind)
	tab.expire(now)
	if len(tab.known) != 0 || !tab.strange(now, "0", "abcd") {
		t.Errorf("%d devices are remembered for ever", len(tab.known))
	}
}
