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
	"github.com/miekg/dns"
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

// Only addresses that an announcement's sender may speak for are believed.
func TestBelieved(t *testing.T) {
	on := netif.Interface{Prefixes: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/24"), netip.MustParsePrefix("fd00::/64"), netip.MustParsePrefix("fe80::/64")}}
	for _, tc := range []struct {
		addr, from string
		believed   bool
	}{
		{"/ip4/10.0.0.2/tcp/1", "10.0.0.2", true},
		{"/ip4/10.0.0.3/tcp/1", "10.0.0.2", false},
		{"/ip4/192.168.1.2/tcp/1", "10.0.0.2", false},
		{"/ip4/127.0.0.1/tcp/1", "10.0.0.2", false},
		{"/ip4/127.0.0.1/tcp/1", "127.0.0.1", true},
		{"/ip4/203.0.113.9/tcp/1", "10.0.0.2", false},
		{"/ip6/fd00::2/tcp/1", "fe80::2", true},
		{"/ip6/fd00::2/tcp/1", "fd00::2", true},
		{"/ip6/fd00::2/tcp/1", "fd00::3", false},
		{"/ip6/fd00::2/tcp/1", "10.0.0.2", false},
		{"/ip6/2001:db8::2/tcp/1", "fe80::2", false},
		{"/ip6/ff02::fb/tcp/1", "fe80::2", false},
		{"/ip6/::ffff:10.0.0.3/tcp/1", "10.0.0.2", false},
	} {
		from := netip.MustParseAddr(tc.from)
		if got := len(credible([]ma.Multiaddr{ma.StringCast(tc.addr)}, from, on)) == 1; got != tc.believed {
			t.Errorf("%s from %s: %v", tc.addr, tc.from, got)
		}
	}
	for from, yes := range map[string]bool{"10.0.0.9": true, "10.0.1.9": false, "8.8.8.8": false, "fe80::7": true, "169.254.3.4": true} {
		if onSameLink(netip.MustParseAddr(from), on) != yes {
			t.Errorf("%s is a neighbour: %v", from, !yes)
		}
	}
}

func TestTable(t *testing.T) {
	now := time.Now()
	here, there := []ma.Multiaddr{ma.StringCast("/ip4/10.0.0.1/tcp/1")}, []ma.Multiaddr{ma.StringCast("/ip4/10.0.0.2/tcp/1")}
	tab := newTable(period)
	honest := netip.MustParseAddr("10.0.0.1")
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
		if got := tab.add(now, honest, testPeer(1), step.addrs); got != step.report {
			t.Errorf("%s: report is %v", step.name, got)
		}
	}

	// liar is one of some number of addresses that announce.
	liar := func(i, of uint64) netip.Addr {
		n := i % of
		return netip.AddrFrom4([4]byte{10, 1, byte(n >> 8), byte(n)})
	}
	reported := 0
	for i := range uint64(10_000) {
		if tab.add(now, liar(i, 1), testPeer(100+i), here) {
			reported++
		}
	}
	if reported > maxPerSource {
		t.Errorf("%d reports of what one address announced", reported)
	}
	reported = 0
	for i := range uint64(10_000) {
		if tab.add(now, liar(i, 1000), testPeer(20_000+i), here) {
			reported++
		}
	}
	if reported > maxFoundPerSecond {
		t.Errorf("%d reports in one second", reported)
	}
	for i := range uint64(10_000) {
		now = now.Add(10 * time.Millisecond)
		tab.add(now, liar(i, 1000), testPeer(100+i), here)
	}
	if len(tab.known) > maxKnown || len(tab.sources) > maxKnown {
		t.Errorf("%d devices of %d addresses are remembered", len(tab.known), len(tab.sources))
	}
	now = now.Add(time.Second)
	if !tab.add(now, honest, testPeer(1), here) {
		t.Error("a flood keeps a known device from being reported")
	}
	for i := range uint64(1000) {
		tab.addStranger(now, fmt.Sprint(i), "abcd")
	}
	if len(tab.strangers) != maxStrangers || tab.addStranger(now, "0", "abcd") {
		t.Errorf("%d strangers are remembered", len(tab.strangers))
	}
	now = now.Add(repeatInterval)
	tab.expire(now)
	if len(tab.known) != 0 || len(tab.sources) != 0 || !tab.addStranger(now, "0", "abcd") {
		t.Errorf("%d devices are remembered for ever", len(tab.known))
	}
}

// What a device says is understood by one, and a stock libp2p's announcement and
// questions, too.
func TestPackets(t *testing.T) {
	a := newAdvert(testPeer(1), "abcd", []ma.Multiaddr{ma.StringCast("/ip4/10.0.0.1/tcp/1"), ma.StringCast("/ip6/fd00::1/tcp/1")})
	packet, err := a.packet(ttl)
	if err != nil {
		t.Fatal(err)
	}
	h, ok := parsePacket(packet)
	if !ok || !relevant(packet) || len(h.announced) != 1 || h.announced[0].instance != a.instance {
		t.Fatalf("an announcement is read as %+v", h)
	}
	if e, err := parseEntry(h.announced[0].text); err != nil || e.peer != testPeer(1) || len(e.addrs) != 2 {
		t.Errorf("its text is read as %+v, %v", e, err)
	}
	if packet, err = a.packet(0); err != nil {
		t.Fatal(err)
	}
	if _, ok := parsePacket(packet); ok {
		t.Error("a goodbye is taken for an announcement")
	}
	if packet, err = question(); err != nil {
		t.Fatal(err)
	}
	if h, ok := parsePacket(packet); !ok || !h.asked || !relevant(packet) {
		t.Errorf("the question is read as %+v", h)
	}
	if packet, err = browseAnswer(); err != nil || !relevant(packet) {
		t.Errorf("the list of services: %v", err)
	}
}

// Other programs' services have names with dots in them, and one packet may tell of
// theirs and of ours.
func TestPacketsOfOtherServicesToo(t *testing.T) {
	a := newAdvert(testPeer(1), "abcd", []ma.Multiaddr{ma.StringCast("/ip4/10.0.0.1/tcp/1")})
	packet, err := a.packet(ttl)
	if err != nil {
		t.Fatal(err)
	}
	m := new(dns.Msg)
	if err := m.Unpack(packet); err != nil {
		t.Fatal(err)
	}
	dotted := dns.RR_Header{Name: `TV v1\.0._tv._tcp.local.`, Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: ttl}
	m.Answer = append([]dns.RR{&dns.TXT{Hdr: dotted, Txt: []string{"x"}}}, m.Answer...)
	m.Extra = []dns.RR{&dns.TXT{Hdr: dotted, Txt: []string{"x"}}}
	if packet, err = m.Pack(); err != nil {
		t.Fatal(err)
	}
	if h, ok := parsePacket(packet); !ok || len(h.announced) != 1 || h.announced[0].instance != a.instance {
		t.Errorf("the announcement is read as %+v", h)
	}
	ask := new(dns.Msg).SetQuestion(dotted.Name, dns.TypeTXT)
	ask.Question = append(ask.Question, dns.Question{Name: service, Qtype: dns.TypePTR, Qclass: dns.ClassINET})
	if packet, err = ask.Pack(); err != nil {
		t.Fatal(err)
	}
	if h, ok := parsePacket(packet); !ok || !h.asked {
		t.Errorf("the question is read as %+v", h)
	}
}

func FuzzParsePacket(f *testing.F) {
	a := newAdvert(testPeer(1), "abcd", []ma.Multiaddr{ma.StringCast("/ip4/10.0.0.1/tcp/1")})
	for _, make := range []func() ([]byte, error){question, browseAnswer, func() ([]byte, error) { return a.packet(ttl) }} {
		packet, err := make()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(packet)
	}
	f.Fuzz(func(t *testing.T, packet []byte) {
		h, ok := parsePacket(packet)
		if ok && !relevant(packet) && len(h.announced) > 0 && !strings.Contains(strings.ToLower(string(packet)), "_hearth") {
			t.Error("it was passed over unread")
		}
		if len(h.announced) > maxAnnounced {
			t.Errorf("%d announcements of one packet", len(h.announced))
		}
		for _, an := range h.announced {
			_, _ = parseEntry(an.text)
		}
	})
}
