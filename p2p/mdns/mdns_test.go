package mdns

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/vishvananda/netlink"
)

const mesh, otherMesh = "aaaa1111", "bbbb2222"

func TestLateJoinerIsFoundAtOnce(t *testing.T) {
	l := newLAN(t)
	nsA, nsB := newNamespace(t), newNamespace(t)
	l.plug(nsA, "10.0.0.1")
	l.plug(nsB, "10.0.0.2")
	a := startDevice(t, nsA, 1, mesh)
	a.awaitAnnouncing()
	b := startDevice(t, nsB, 2, mesh)
	inA, inB := a.awaitFound(b, "/10.0.0.2/"), b.awaitFound(a, "/10.0.0.1/")
	for _, found := range [][]report{inA, inB} {
		took := found[len(found)-1].at.Sub(b.started)
		t.Logf("from the start of the newcomer's process: %v", took)
		if took > 3*time.Second {
			t.Errorf("took %v", took)
		}
	}
	if st, _ := a.ask("status"); !st.Status.Seen || st.Status.Err != "" || len(st.Status.Interfaces) != 1 || st.Status.Interfaces[0] != "eth0" {
		t.Errorf("status is %+v", st.Status)
	}
	if e, _ := a.ask("selftest"); len(e.Selftests) != 1 || e.Selftests[0] != "eth0 <nil>" {
		t.Errorf("the self-test says %q", e.Selftests)
	}
}

func TestNetworkThatComesLate(t *testing.T) {
	l := newLAN(t)
	nsA, nsB := newNamespace(t), newNamespace(t)
	l.plug(nsA, "10.0.0.1")
	a, b := startDevice(t, nsA, 1, mesh), startDevice(t, nsB, 2, mesh)
	for st := (report{}); st.Status.Err == ""; {
		st, _ = b.ask("status")
	}
	l.plug(nsB, "10.0.0.2")
	a.awaitFound(b, "/10.0.0.2/")
	b.awaitFound(a, "/10.0.0.1/")
	if st, _ := b.ask("status"); st.Status.Err != "" {
		t.Errorf("status is %+v", st.Status)
	}
}

func TestAddressThatChanges(t *testing.T) {
	l := newLAN(t)
	nsA, nsB := newNamespace(t), newNamespace(t)
	l.plug(nsA, "10.0.0.1")
	l.plug(nsB, "10.0.0.2")
	a, b := startDevice(t, nsA, 1, mesh), startDevice(t, nsB, 2, mesh)
	a.awaitFound(b, "/10.0.0.2/")
	l.readdress(nsB, "10.0.0.2", "10.0.0.22")
	a.awaitFound(b, "/10.0.0.22/")
}

func TestStrangersAreReportedAndNotFound(t *testing.T) {
	l := newLAN(t)
	nsA, nsB, nsC := newNamespace(t), newNamespace(t), newNamespace(t)
	l.plug(nsA, "10.0.0.1")
	l.plug(nsB, "10.0.0.2")
	l.plug(nsC, "10.0.0.3")
	a, b := startDevice(t, nsA, 1, mesh), startDevice(t, nsB, 2, otherMesh)
	seen := a.await("the stranger", func(r report) bool { return r.Kind == "stranger" })
	if r := seen[len(seen)-1]; r.Addr != "10.0.0.2" || r.Print != otherMesh {
		t.Errorf("reported %+v", r)
	}
	c := startDevice(t, nsC, 3, mesh)
	for _, r := range append(seen, a.awaitFound(c, "/10.0.0.3/")...) {
		if r.Kind == "found" && r.Peer == b.peer {
			t.Error("a device of another mesh was found")
		}
	}
}

// Two devices that could not hear each other find each other at the next
// period; and however many periods pass, no socket is left behind.
func TestLostMulticastIsMadeGood(t *testing.T) {
	l := newLAN(t)
	nsA, nsB := newNamespace(t), newNamespace(t)
	l.plug(nsA, "10.0.0.1")
	l.plug(nsB, "10.0.0.2")
	l.connected(2, false)
	const short = 300 * time.Millisecond
	a := startConfigured(t, nsA, childConfig{Peer: 1, Fingerprint: mesh, Period: short})
	b := startConfigured(t, nsB, childConfig{Peer: 2, Fingerprint: mesh, Period: short})
	a.awaitAnnouncing()
	b.awaitAnnouncing()
	l.connected(2, true)
	began := time.Now()
	a.awaitFound(b, "/10.0.0.2/")
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("took %v", took)
	}
	first, _ := a.ask("status")
	for range 10 {
		a.awaitFound(b, "/10.0.0.2/")
	}
	last, _ := a.ask("status")
	if last.Files > first.Files {
		t.Errorf("%d files were open, now %d are", first.Files, last.Files)
	}
}

// On a machine without a network, its devices find each other.
func TestLoneMachine(t *testing.T) {
	ns := newNamespace(t)
	h, err := netlink.NewHandleAt(ns)
	must(t, err)
	defer h.Close()
	lo, err := h.LinkByName("lo")
	must(t, err)
	must(t, h.LinkSetUp(lo))
	a, b := startDevice(t, ns, 1, mesh), startDevice(t, ns, 2, mesh)
	a.awaitFound(b, "/127.0.0.1/")
	b.awaitFound(a, "/127.0.0.1/")
}

// A device that leaves says so: its announcement with a time to live of zero.
func TestGoodbye(t *testing.T) {
	l := newLAN(t)
	nsA, nsB := newNamespace(t), newNamespace(t)
	l.plug(nsA, "10.0.0.1")
	l.plug(nsB, "10.0.0.2")
	var ear net.PacketConn
	in(t, nsB, func() error {
		eth, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		ear, err = net.ListenMulticastUDP("udp4", eth, group4())
		return err
	})
	defer ear.Close()
	a := startDevice(t, nsA, 1, mesh)
	a.awaitAnnouncing()
	must(t, a.stdin.Close())
	must(t, ear.SetReadDeadline(time.Now().Add(10*time.Second)))
	for buf := make([]byte, 9000); ; {
		n, _, err := ear.ReadFrom(buf)
		must(t, err)
		var m dns.Msg
		if m.Unpack(buf[:n]) == nil && len(m.Answer) > 0 && m.Answer[0].Header().Ttl == 0 {
			return
		}
	}
}

// Ten thousand devices that don't exist cost bounded memory and few reports,
// and a real one is found after them.
func TestFlood(t *testing.T) {
	l := newLAN(t)
	nsA, nsB, nsX := newNamespace(t), newNamespace(t), newNamespace(t)
	l.plug(nsA, "10.0.0.1")
	l.plug(nsB, "10.0.0.2")
	l.plug(nsX, "10.0.0.66")
	a := startDevice(t, nsA, 1, mesh)
	a.awaitAnnouncing()
	var mouth net.Conn
	in(t, nsX, func() (err error) {
		mouth, err = net.DialUDP("udp4", &net.UDPAddr{IP: net.IPv4(10, 0, 0, 66)}, group4())
		return err
	})
	defer mouth.Close()
	for i := range 10_000 {
		packet, err := lie(i).Pack()
		must(t, err)
		_, err = mouth.Write(packet)
		must(t, err)
	}
	st, seen := a.ask("status")
	found, strangers := 0, 0
	for _, r := range seen {
		switch r.Kind {
		case "found":
			if found++; len(r.Addrs) != 1 || !strings.HasPrefix(r.Addrs[0], "/ip4/10.0.0.66/") {
				t.Errorf("found at %q, which the sender is not", r.Addrs)
			}
		case "stranger":
			strangers++
		}
	}
	t.Logf("%d found, %d strangers, %d MB", found, strangers, st.Memory>>20)
	if found == 0 || found > maxPerSource || strangers > maxStrangers || st.Memory > 100<<20 {
		t.Errorf("%d found, %d strangers, %d bytes", found, strangers, st.Memory)
	}
	b := startDevice(t, nsB, 2, mesh)
	b.awaitFound(a, "/10.0.0.1/")
}

// lie is an announcement of a device that doesn't exist, or is not ours, or is
// not even well-formed.
func lie(i int) *dns.Msg {
	host := fmt.Sprintf("liar%d.local.", i)
	instance := fmt.Sprintf("liar%d._hearth._udp.local.", i)
	fingerprint := mesh
	switch i % 4 {
	case 1:
		fingerprint = fmt.Sprintf("liar%d", i)
	case 2:
		fingerprint = "\x1b[2J" + strings.Repeat("x", 200)
	}
	head := func(name string, kind uint16) dns.RR_Header {
		return dns.RR_Header{Name: name, Rrtype: kind, Class: dns.ClassINET, Ttl: 3200}
	}
	m := new(dns.Msg)
	m.Response = true
	text := []string{"mesh=" + fingerprint}
	for n := range 20 {
		text = append(text, dnsaddr(fmt.Sprintf("/ip4/10.0.0.%d/tcp/%d", 55+n, i+1), uint64(1000+i)))
	}
	m.Answer = []dns.RR{
		&dns.PTR{Hdr: head("_hearth._udp.local.", dns.TypePTR), Ptr: instance},
		&dns.SRV{Hdr: head(instance, dns.TypeSRV), Port: 1, Target: host},
		&dns.TXT{Hdr: head(instance, dns.TypeTXT), Txt: text},
		&dns.A{Hdr: head(host, dns.TypeA), A: net.IPv4(10, 0, 1, 1)},
	}
	return m
}
