package netns_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/hearth-edge/hearth/testnet/netns"
)

// probeEnv makes this test's binary a probe: it listens where its value says,
// and sends what each line of its input says.
const probeEnv = "HEARTH_TEST_PROBE"

const probePort = 7000

func TestMain(m *testing.M) {
	if os.Getenv(probeEnv) != "" {
		if err := serveProbe(); err != nil {
			fmt.Fprintln(os.Stderr, "probe:", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// A question asks a probe to send datagrams to an address, one after the other
// has been answered or was lost.
type question struct {
	To      string
	Count   int
	Timeout time.Duration
}

// An answer says how many came back, and how long each took.
type answer struct {
	Times []time.Duration
	Err   string
}

// serveProbe sends back what comes to probePort, by multicast too.
func serveProbe() error {
	nic, err := net.InterfaceByName("eth0")
	if err != nil {
		return err
	}
	group := &net.UDPAddr{IP: net.IPv4(224, 0, 0, 77), Port: probePort + 1}
	multi, err := net.ListenMulticastUDP("udp4", nic, group)
	if err != nil {
		return err
	}
	own, err := net.ListenUDP("udp4", &net.UDPAddr{Port: probePort})
	if err != nil {
		return err
	}
	for _, c := range []*net.UDPConn{multi, own} {
		go func() { // ends with the process
			for buf := make([]byte, 1500); ; {
				n, from, err := c.ReadFromUDP(buf)
				if err == nil {
					_, _ = own.WriteToUDP(buf[:n], from)
				}
			}
		}()
	}
	fmt.Println("READY")
	for in := json.NewDecoder(os.Stdin); ; {
		var q question
		if err := in.Decode(&q); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		_ = json.NewEncoder(os.Stdout).Encode(probe(q))
	}
}

func probe(q question) answer {
	conn, err := net.ListenUDP("udp4", nil)
	if err != nil {
		return answer{Err: err.Error()}
	}
	defer conn.Close()
	to, err := net.ResolveUDPAddr("udp4", q.To)
	if err != nil {
		return answer{Err: err.Error()}
	}
	var a answer
	buf := make([]byte, 2000)
	for i := range q.Count {
		start := time.Now()
		text := fmt.Appendf(nil, "%01000d", i)
		if _, err := conn.WriteToUDP(text, to); err != nil {
			return answer{Err: err.Error()}
		}
		_ = conn.SetReadDeadline(start.Add(q.Timeout))
		for {
			n, from, err := conn.ReadFromUDP(buf)
			if err != nil {
				break
			}
			// Not a late one, and not this host's own to its multicast.
			if string(buf[:n]) == string(text) && !isOwn(from.IP) {
				a.Times = append(a.Times, time.Since(start))
				break
			}
		}
	}
	return a
}

func isOwn(ip net.IP) bool {
	addresses, _ := net.InterfaceAddrs()
	return slices.ContainsFunc(addresses, func(a net.Addr) bool {
		n, ok := a.(*net.IPNet)
		return ok && n.IP.Equal(ip)
	})
}

// A prober is a probe that runs on a host.
type prober struct {
	t    *testing.T
	host *netns.Host
	pid  int
	in   *json.Encoder
	out  *json.Decoder
}

func newProber(t *testing.T, h *netns.Host) *prober {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := h.Command(ctx, os.Args[0])
	cmd.Env = append(cmd.Environ(), probeEnv+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); _ = cmd.Wait() })
	r := bufio.NewReader(out)
	if line, err := r.ReadString('\n'); line != "READY\n" {
		t.Fatalf("probe on %s: %v: %q", h.Name, err, line)
	}
	return &prober{t: t, host: h, pid: cmd.Process.Pid, in: json.NewEncoder(in), out: json.NewDecoder(r)}
}

func (p *prober) ask(to string, count int) []time.Duration {
	p.t.Helper()
	return p.askWithin(5*time.Second, to, count)
}

func (p *prober) address() string { return fmt.Sprintf("%s:%d", p.host.IP, probePort) }

func (p *prober) askWithin(timeout time.Duration, to string, count int) []time.Duration {
	p.t.Helper()
	if err := p.in.Encode(question{to, count, timeout}); err != nil {
		p.t.Fatal(err)
	}
	var a answer
	if err := p.out.Decode(&a); err != nil {
		p.t.Fatal(err)
	}
	if a.Err != "" { // such as a network that cannot be reached
		p.t.Logf("probe from %s to %s: %s", p.host.Name, to, a.Err)
	}
	return a.Times
}

// multicast counts how often another host answered to three calls to all.
func (p *prober) multicast() int {
	p.t.Helper()
	return len(p.askWithin(time.Second, fmt.Sprintf("224.0.0.77:%d", probePort+1), 3))
}

func probers(t *testing.T, lan *netns.Net, names ...string) []*prober {
	t.Helper()
	var ps []*prober
	for _, name := range names {
		ps = append(ps, newProber(t, lan.AddHost(name)))
	}
	return ps
}

func check(t *testing.T, from, to *prober, want bool) {
	t.Helper()
	timeout := 300 * time.Millisecond
	if want {
		timeout = 10 * time.Second
	}
	if got := len(from.askWithin(timeout, to.address(), 3)) > 0; got != want {
		t.Errorf("%s reaches %s: %v, want %v", from.host.Name, to.host.Name, got, want)
	}
}

// TestPartition: the groups keep to themselves, whole, until the network is healed.
func TestPartition(t *testing.T) {
	t.Parallel()
	lan := netns.New(t)
	p := probers(t, lan, "a", "b", "c", "d", "e")
	a, b, c, d, e := p[0], p[1], p[2], p[3], p[4]
	check(t, a, e, true)
	lan.Partition([]*netns.Host{a.host, b.host}, []*netns.Host{c.host, d.host})
	check(t, a, b, true)
	check(t, d, c, true)
	for _, pair := range [][2]*prober{{a, c}, {c, a}, {a, e}, {d, e}} {
		check(t, pair[0], pair[1], false)
	}
	lan.Partition([]*netns.Host{b.host, c.host})
	check(t, b, c, true)
	check(t, a, d, true)
	check(t, a, b, false)
	lan.Heal()
	check(t, a, b, true)
	check(t, b, e, true)
}

// TestOneWay: what is cut one way still passes the other way.
func TestOneWay(t *testing.T) {
	t.Parallel()
	lan := netns.New(t)
	p := probers(t, lan, "a", "b", "c")
	a, b, c := p[0], p[1], p[2]
	lan.Cut(a.host, b.host)
	heard := listen(t, b.host)
	check(t, a, b, false)
	if heard() {
		t.Error("b hears a")
	}
	heard = listen(t, a.host)
	check(t, b, a, false) // its answers are lost
	if !heard() {
		t.Error("a does not hear b")
	}
	check(t, a, c, true)
	check(t, c, b, true)
	lan.Heal()
	check(t, a, b, true)
}

// listen counts the datagrams that a host takes in from now on, and tells
// whether there were any.
func listen(t *testing.T, h *netns.Host) (heard func() bool) {
	t.Helper()
	count := func() string {
		return output(t, h, "sh", "-c", "grep ^Udp: /proc/self/net/snmp | tail -n 1 | cut -d ' ' -f 2")
	}
	before := count()
	return func() bool { return count() != before }
}

// TestShape: a slow link is slow, a lossy one loses, a thin one takes its time,
// each way, and a healed one does none of it.
func TestShape(t *testing.T) {
	t.Parallel()
	lan := netns.New(t)
	p := probers(t, lan, "a", "b", "c")
	a, b, c := p[0], p[1], p[2]
	target := b.address()
	least := func(times []time.Duration) time.Duration {
		m := time.Hour
		for _, d := range times {
			m = min(m, d)
		}
		return m
	}

	b.host.Shape(netns.Link{Delay: 100 * time.Millisecond, Jitter: 20 * time.Millisecond})
	times := a.ask(target, 5)
	t.Logf("100 ms more or less 20 each way: %v", times)
	if got := least(times); len(times) == 0 || got < 160*time.Millisecond {
		t.Errorf("with a delay of 100 ± 20 ms each way, the quickest of %d took %v", len(times), got)
	}
	if got := least(a.ask(c.address(), 5)); got > 100*time.Millisecond {
		t.Errorf("another host is slow too: %v", got)
	}

	b.host.Lossy(0.3)
	got := len(a.askWithin(150*time.Millisecond, target, 60))
	t.Logf("30 %% loss each way: %d of 60 came back, 29 are expected", got)
	if got < 12 || got > 48 { // 4.5 standard deviations from 29.4
		t.Errorf("with 30 %% lost each way, %d of 60 came back", got)
	}
	b.host.Lossy(1)
	check(t, a, b, false)
	check(t, b, a, false)

	b.host.Shape(netns.Link{Rate: 10_000}) // a kilobyte takes 0.1 s
	times = a.ask(target, 3)
	t.Logf("1 kB at 10 kB/s each way: %v", times)
	if got := least(times); len(times) == 0 || got < 200*time.Millisecond {
		t.Errorf("at 10 kB/s each way, 1 kB took %v", got)
	}

	lan.Heal()
	times = a.ask(target, 20)
	if got := least(times); len(times) != 20 || got > 100*time.Millisecond {
		t.Errorf("healed, %d of 20 came back, the quickest after %v", len(times), got)
	}
}

// TestShaperKilled: a link whose shaper dies is a good one, not a dead one.
func TestShaperKilled(t *testing.T) {
	t.Parallel()
	lan := netns.New(t)
	p := probers(t, lan, "a", "b")
	p[1].host.Lossy(1)
	check(t, p[0], p[1], false)
	pids := shapers(t, p[1])
	if len(pids) != 1 {
		t.Fatalf("the shapers of b are %v", pids)
	}
	if err := syscall.Kill(pids[0], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	check(t, p[0], p[1], true)
	p[1].host.Lossy(1)
	check(t, p[0], p[1], false)
	lan.Heal()
	check(t, p[0], p[1], true)
}

// TestMove: a host that moves answers under its new address only.
func TestMove(t *testing.T) {
	t.Parallel()
	lan := netns.New(t)
	p := probers(t, lan, "a", "b")
	old := p[1].host.IP
	p[1].host.Move()
	if p[1].host.IP == old {
		t.Errorf("it still has %s", old)
	}
	check(t, p[0], p[1], true)
	check(t, p[1], p[0], true)
	if got := p[0].askWithin(time.Second, fmt.Sprintf("%s:%d", old, probePort), 1); len(got) != 0 {
		t.Errorf("it answers under %s, too", old)
	}
	if third := lan.AddHost("c"); third.IP == p[1].host.IP || third.IP == old {
		t.Errorf("another host got the address %s", third.IP)
	}
}

// TestMulticast: it passes the switch, stays in its group, and is dropped on
// request, even after a port was moved.
func TestMulticast(t *testing.T) {
	t.Parallel()
	lan := netns.New(t)
	p := probers(t, lan, "a", "b", "c")
	if p[0].multicast() == 0 {
		t.Error("nobody answers to multicast")
	}
	lan.Partition([]*netns.Host{p[0].host}, []*netns.Host{p[1].host, p[2].host})
	if p[1].multicast() == 0 {
		t.Error("within its group nobody answers to multicast")
	}
	lan.BlockMulticast()
	lan.Heal()
	check(t, p[0], p[1], true)
	heard := listen(t, p[1].host)
	p[0].multicast()
	if heard() {
		t.Error("multicast passes though it is blocked")
	}
}

// shapers are the processes that make the link of a host bad.
func shapers(t *testing.T, p *prober) []int {
	t.Helper()
	space, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", p.pid))
	if err != nil {
		t.Fatal(err)
	}
	names, err := filepath.Glob("/proc/[0-9]*/comm")
	if err != nil {
		t.Fatal(err)
	}
	var pids []int
	for _, path := range names {
		dir := filepath.Dir(path)
		name, _ := os.ReadFile(path) // it may have ended
		if at, _ := os.Readlink(filepath.Join(dir, "ns/net")); at == space && string(name) == "fault\n" {
			pid, _ := strconv.Atoi(filepath.Base(dir))
			pids = append(pids, pid)
		}
	}
	return pids
}
