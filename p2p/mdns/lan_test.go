package mdns

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	goruntime "runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"go.uber.org/goleak"

	"github.com/hearth-edge/hearth/p2p/netif"
)

// The tests of this package run one Service in each of several processes, each
// in a network namespace of its own. The namespaces have no names and are
// gone with those who use them, whatever happens. This needs root.

// childEnv makes the test binary a device; it holds a childConfig.
const childEnv = "HEARTH_TEST_MDNS_DEVICE"

type childConfig struct {
	Peer        uint64
	Fingerprint string
	Period      time.Duration // zero for the usual one
}

// A report is a line that a device process writes.
type report struct {
	Kind      string // found, stranger, status, selftest, leak
	Peer      string
	Addrs     []string
	Addr      string
	Print     string
	Status    Status
	Selftests []string
	Memory    uint64 // bytes taken from the system
	Files     int    // open ones, sockets included
	Leak      string

	at time.Time // when it was read
}

func TestMain(m *testing.M) {
	if text := os.Getenv(childEnv); text != "" {
		child(text)
		return
	}
	goleak.VerifyTestMain(m)
}

// child is a device: it reports what it hears, answers "status" and "selftest" on
// stdin, and ends when stdin does.
func child(text string) {
	var cfg childConfig
	if err := json.Unmarshal([]byte(text), &cfg); err != nil {
		panic(err)
	}
	var mu sync.Mutex
	out := json.NewEncoder(os.Stdout)
	say := func(r report) {
		mu.Lock()
		defer mu.Unlock()
		_ = out.Encode(r)
	}
	s := New(Config{
		Peer:        testPeer(cfg.Peer),
		Fingerprint: cfg.Fingerprint,
		Addrs:       ownAddrs,
		Alone:       func() bool { return false },
		Found: func(ai peer.AddrInfo) {
			r := report{Kind: "found", Peer: ai.ID.String()}
			for _, a := range ai.Addrs {
				r.Addrs = append(r.Addrs, a.String())
			}
			say(r)
		},
		Stranger: func(addr, fp string) { say(report{Kind: "stranger", Addr: addr, Print: fp}) },
		Log:      slog.New(slog.NewTextHandler(os.Stderr, nil)),
	})
	if cfg.Period > 0 {
		s.period = cfg.Period
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Run(ctx)
	}()
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		switch lines.Text() {
		case "status":
			var mem goruntime.MemStats
			goruntime.ReadMemStats(&mem)
			files, _ := os.ReadDir("/proc/self/fd")
			say(report{Kind: "status", Status: s.Status(), Memory: mem.Sys, Files: len(files)})
		case "selftest":
			r := report{Kind: "selftest"}
			for _, e := range s.Selftest(ctx) {
				r.Selftests = append(r.Selftests, fmt.Sprintf("%s %v", e.Interface, e.Err))
			}
			say(r)
		}
	}
	cancel()
	<-done
	r := report{Kind: "leak"}
	if err := goleak.Find(); err != nil {
		r.Leak = err.Error()
	}
	say(r)
}

// ownAddrs is a host that listens on port 4100 of every address.
func ownAddrs() (out []ma.Multiaddr) {
	ifs, err := netif.List(nil)
	if err != nil {
		return nil
	}
	for _, i := range ifs {
		for _, a := range i.Addrs {
			family := "ip4"
			if a.Is6() {
				family = "ip6"
			}
			out = append(out, ma.StringCast(fmt.Sprintf("/%s/%s/tcp/4100", family, a)))
		}
	}
	return out
}

// A device is a child process.
type device struct {
	t       *testing.T
	stdin   io.WriteCloser
	reports chan report
	peer    string
	started time.Time
}

// newNamespace makes a namespace with nothing in it.
func newNamespace(t *testing.T) netns.NsHandle {
	t.Helper()
	var ns netns.NsHandle
	in(t, netns.None(), func() (err error) {
		ns, err = netns.New()
		return err
	})
	t.Cleanup(func() { _ = ns.Close() })
	return ns
}

// in runs f on a thread of its own in a namespace; the thread ends with it.
func in(t *testing.T, ns netns.NsHandle, f func() error) {
	t.Helper()
	done := make(chan error, 1)
	go func() {
		goruntime.LockOSThread()
		if ns.IsOpen() {
			if err := netns.Set(ns); err != nil {
				done <- err
				return
			}
		}
		done <- f()
	}()
	if err := <-done; err != nil {
		t.Fatalf("in a network namespace (are you root?): %v", err)
	}
}

// startDevice starts a device of the mesh with that fingerprint in a namespace.
func startDevice(t *testing.T, ns netns.NsHandle, id uint64, fingerprint string) *device {
	t.Helper()
	return startConfigured(t, ns, childConfig{Peer: id, Fingerprint: fingerprint})
}

func startConfigured(t *testing.T, ns netns.NsHandle, cfg childConfig) *device {
	t.Helper()
	id := cfg.Peer
	text, err := json.Marshal(cfg)
	must(t, err)
	cmd := exec.Command(os.Args[0])
	// Built for finding races, a process would sleep for a second at its end.
	cmd.Env = append(os.Environ(), childEnv+"="+string(text), "GORACE=atexit_sleep_ms=0")
	cmd.Stderr = os.Stderr
	d := &device{t: t, reports: make(chan report, 20_000), peer: testPeer(id).String(), started: time.Now()}
	d.stdin, err = cmd.StdinPipe()
	must(t, err)
	stdout, err := cmd.StdoutPipe()
	must(t, err)
	in(t, ns, cmd.Start)
	read := make(chan struct{})
	go func() {
		defer close(read)
		for dec := json.NewDecoder(stdout); ; {
			var r report
			if dec.Decode(&r) != nil {
				close(d.reports)
				return
			}
			r.at = time.Now()
			d.reports <- r
		}
	}()
	t.Cleanup(func() {
		_ = d.stdin.Close()
		dead := time.AfterFunc(10*time.Second, func() { _ = cmd.Process.Kill() })
		defer dead.Stop()
		<-read
		if err := cmd.Wait(); err != nil {
			t.Errorf("device %d: %v", id, err)
		}
		for r := range d.reports {
			if r.Leak != "" {
				t.Errorf("device %d: %s", id, r.Leak)
			}
		}
	})
	return d
}

// await reads reports until one is as wanted, and returns all it read.
func (d *device) await(what string, wanted func(report) bool) []report {
	d.t.Helper()
	deadline := time.After(15 * time.Second)
	var seen []report
	for {
		select {
		case r, ok := <-d.reports:
			if !ok {
				d.t.Fatalf("the device ended before it reported %s", what)
			}
			if seen = append(seen, r); wanted(r) {
				return seen
			}
		case <-deadline:
			d.t.Fatalf("the device never reported %s, but %d other things", what, len(seen))
		}
	}
}

// awaitFound waits until another device was found, at an address with that prefix.
func (d *device) awaitFound(other *device, addr string) []report {
	d.t.Helper()
	return d.await("finding "+other.peer+" at "+addr, func(r report) bool {
		return r.Kind == "found" && r.Peer == other.peer && strings.Contains(strings.Join(r.Addrs, " "), addr)
	})
}

// ask sends a command and returns the report that answers it, and those before.
func (d *device) ask(command string) (report, []report) {
	d.t.Helper()
	_, err := io.WriteString(d.stdin, command+"\n")
	must(d.t, err)
	seen := d.await(command, func(r report) bool { return r.Kind == command })
	return seen[len(seen)-1], seen
}

// awaitAnnouncing waits until a device announces something.
func (d *device) awaitAnnouncing() {
	d.t.Helper()
	for {
		if r, _ := d.ask("status"); len(r.Status.Announced) > 0 {
			return
		}
		<-time.After(5 * time.Millisecond)
	}
}

// A lan is a bridge in a namespace of its own.
type lan struct {
	t      *testing.T
	h      *netlink.Handle
	bridge *netlink.Bridge
	ports  int
}

func newLAN(t *testing.T) *lan {
	t.Helper()
	h, err := netlink.NewHandleAt(newNamespace(t))
	must(t, err)
	t.Cleanup(h.Close)
	b := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br0"}}
	must(t, h.LinkAdd(b))
	must(t, h.LinkSetUp(b))
	return &lan{t: t, h: h, bridge: b}
}

// plug connects a namespace to the bridge with an eth0 that has an address.
func (l *lan) plug(ns netns.NsHandle, addr string) {
	l.t.Helper()
	l.ports++
	port := fmt.Sprintf("port%d", l.ports)
	must(l.t, l.h.LinkAdd(&netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: port, MasterIndex: l.bridge.Index},
		PeerName:  "eth0", PeerNamespace: netlink.NsFd(ns),
	}))
	link, err := l.h.LinkByName(port)
	must(l.t, err)
	must(l.t, l.h.LinkSetUp(link))
	l.inDevice(ns, func(h *netlink.Handle, eth netlink.Link) error { return h.LinkSetUp(eth) })
	l.readdress(ns, "", addr)
}

// connected says whether the cable of the n-th namespace that was plugged in leads
// anywhere. The namespace itself sees no difference.
func (l *lan) connected(n int, yes bool) {
	l.t.Helper()
	link, err := l.h.LinkByName(fmt.Sprintf("port%d", n))
	must(l.t, err)
	if yes {
		must(l.t, l.h.LinkSetMaster(link, l.bridge))
	} else {
		must(l.t, l.h.LinkSetNoMaster(link))
	}
}

// readdress takes an address from a namespace's eth0 and gives it another.
func (l *lan) readdress(ns netns.NsHandle, from, to string) {
	l.t.Helper()
	l.inDevice(ns, func(h *netlink.Handle, eth netlink.Link) error {
		if from != "" {
			if err := h.AddrDel(eth, address(from)); err != nil {
				return err
			}
		}
		return h.AddrAdd(eth, address(to))
	})
}

func (l *lan) inDevice(ns netns.NsHandle, f func(*netlink.Handle, netlink.Link) error) {
	l.t.Helper()
	h, err := netlink.NewHandleAt(ns)
	must(l.t, err)
	defer h.Close()
	eth, err := h.LinkByName("eth0")
	must(l.t, err)
	must(l.t, f(h, eth))
}

func address(text string) *netlink.Addr {
	p := netip.MustParseAddr(text)
	a, err := netlink.ParseAddr(p.String() + "/24")
	if err != nil {
		panic(err)
	}
	return a
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
