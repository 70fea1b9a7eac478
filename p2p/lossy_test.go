package p2p

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	goruntime "runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"github.com/hearth-edge/hearth/keys"
)

// This file measures the detector over the kernel's own TCP on a bad link: two
// processes, each in a network namespace of its own with one end of a link that
// this process carries, packet by packet, with loss and delay in both
// directions. It needs root, and nothing of the kernel but TUN.

// A badLink joins two namespaces.
type badLink struct {
	loss  atomic.Uint64 // of packets, in millionths, each way
	delay atomic.Int64  // each way
	most  atomic.Int64  // bytes of a packet; larger ones are lost, and nobody is told; 0 for any
}

// in runs f on a thread of its own in a namespace; the thread ends with it.
func in(t testing.TB, ns netns.NsHandle, f func() error) {
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

// newBadLink makes two namespaces, 10.99.0.1 and 10.99.0.2, and a link between.
func newBadLink(t testing.TB) (*badLink, [2]netns.NsHandle) {
	t.Helper()
	l := &badLink{}
	var ns [2]netns.NsHandle
	var tuns [2]*os.File
	for i := range ns {
		in(t, netns.None(), func() (err error) {
			if ns[i], err = netns.New(); err != nil {
				return err
			}
			tuns[i], err = newTUN(fmt.Sprintf("10.99.0.%d", i+1))
			return err
		})
	}
	var carrying sync.WaitGroup
	for i := range tuns {
		carrying.Go(func() { l.carry(tuns[1-i], tuns[i]) })
	}
	t.Cleanup(func() {
		for i := range ns {
			_ = tuns[i].Close()
			_ = ns[i].Close()
		}
		carrying.Wait()
	})
	return l, ns
}

func newTUN(addr string) (*os.File, error) {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return nil, err
	}
	tun := &netlink.Tuntap{
		LinkAttrs: netlink.LinkAttrs{Name: "bad0"}, Mode: netlink.TUNTAP_MODE_TUN, NonPersist: true, Queues: 1,
		Flags: netlink.TUNTAP_NO_PI,
	}
	if err := netlink.LinkAdd(tun); err != nil {
		return nil, err
	}
	to, err := netlink.ParseAddr(netip.MustParseAddr(addr).String() + "/24")
	if err != nil {
		return nil, err
	}
	for _, step := range []func() error{
		func() error { return netlink.LinkSetUp(lo) },
		func() error { return netlink.AddrAdd(tun, to) },
		func() error { return netlink.LinkSetUp(tun) },
	} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return tun.Fds[0], nil
}

// carry moves packets until the link is closed.
func (l *badLink) carry(to, from *os.File) {
	type packet struct {
		data []byte
		due  time.Time
	}
	queue := make(chan packet, 1<<16)
	var delivering sync.WaitGroup
	delivering.Go(func() {
		for p := range queue {
			time.Sleep(time.Until(p.due))
			_, _ = to.Write(p.data)
		}
	})
	defer delivering.Wait()
	defer close(queue)
	buf := make([]byte, 1<<16)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		if most := l.most.Load(); rand.Uint64N(1e6) < l.loss.Load() || most > 0 && int64(n) > most {
			continue
		}
		select {
		case queue <- packet{append([]byte(nil), buf[:n]...), time.Now().Add(time.Duration(l.delay.Load()))}:
		default:
		}
	}
}

// startLossy starts one of the two processes.
func startLossy(t testing.TB, ns netns.NsHandle, cfg lossyConfig, events chan<- lossyEvent) (stop func()) {
	t.Helper()
	text, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), lossyChild+"="+string(text), "GORACE=atexit_sleep_ms=0")
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	in(t, ns, cmd.Start)
	var reading sync.WaitGroup
	reading.Go(func() {
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			var e lossyEvent
			if json.Unmarshal(lines.Bytes(), &e) == nil {
				e.at = time.Now()
				events <- e
			}
		}
	})
	stop = sync.OnceFunc(func() {
		_ = stdin.Close()
		dead := time.AfterFunc(patient, func() { _ = cmd.Process.Kill() })
		defer dead.Stop()
		reading.Wait()
		if err := cmd.Wait(); err != nil {
			t.Errorf("a process of the link's end: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// Over a path that loses large packets, and tells nobody, two devices come to use small
// ones, whichever of them dials. It takes some seconds, which the kernel's clock counts.
func TestSmallPackets(t *testing.T) {
	t.Parallel()
	const bulk = 300_000
	l, ns := newBadLink(t)
	secrets := []string{keys.NewSecret().Text()}
	events := make(chan lossyEvent, 1<<16)
	startLossy(t, ns[0], lossyConfig{Secrets: secrets, Local: "10.99.0.1", Bulk: bulk}, events)
	l.most.Store(1300)
	began := time.Now()
	startLossy(t, ns[1], lossyConfig{Secrets: secrets, Local: "10.99.0.2", Remote: "10.99.0.1", Bulk: bulk}, events)
	lost, timeout := 0, time.After(patient)
	for {
		select {
		case e := <-events:
			if e.Bulk > 0 {
				t.Logf("after %v, and %d losses told", time.Since(began).Round(time.Second), lost)
				if e.Small != 1 || lost == 0 {
					t.Errorf("%d devices are known to which large packets get lost", e.Small)
				}
				return
			}
			if !e.Joined && e.How == Lost.String() {
				lost++
			}
		case <-timeout:
			t.Fatalf("the data never came; %d losses", lost)
		}
	}
}

// BenchmarkSuspicion tells how often a device is wrongly taken for lost on a link
// that loses packets, and how often when a clean link becomes such a one: in its
// first seconds. HEARTH_PAIRS and HEARTH_MINUTES say how much is
// measured: pairs count as time.
func BenchmarkSuspicion(b *testing.B) {
	pairs, minutes := envNumber("HEARTH_PAIRS", 40), envNumber("HEARTH_MINUTES", 0.5)
	for _, c := range []struct {
		loss  float64
		delay time.Duration
	}{{0, 0}, {0.3, 0}, {0.3, 200 * time.Millisecond}} {
		b.Run(fmt.Sprintf("loss=%v/delay=%v", c.loss, c.delay), func(b *testing.B) {
			for range b.N {
				measureSuspicion(b, int(pairs), time.Duration(minutes*float64(time.Minute)), c.loss, c.delay)
			}
		})
	}
}

func envNumber(name string, otherwise float64) float64 {
	if v, err := strconv.ParseFloat(os.Getenv(name), 64); err == nil {
		return v
	}
	return otherwise
}

func measureSuspicion(b *testing.B, pairs int, span time.Duration, loss float64, delay time.Duration) {
	l, ns := newBadLink(b)
	var secrets []string
	for range pairs {
		secrets = append(secrets, keys.NewSecret().Text())
	}
	events := make(chan lossyEvent, 1<<16)
	startLossy(b, ns[0], lossyConfig{Secrets: secrets, Local: "10.99.0.1", Debug: os.Getenv("HEARTH_DEBUG") != ""}, events)
	startLossy(b, ns[1], lossyConfig{Secrets: secrets, Local: "10.99.0.2", Remote: "10.99.0.1", Debug: os.Getenv("HEARTH_DEBUG") != ""}, events)
	awaitJoins(b, events, 2*pairs)
	l.loss.Store(uint64(loss * 1e6))
	l.delay.Store(int64(delay))
	began := time.Now()
	const onset = 15 * time.Second
	var early, late, longest int
	var silent time.Duration
	over := time.After(span)
	for {
		select {
		case e := <-events:
			switch {
			case e.Silent > 0:
				silent = max(silent, e.Silent)
				if e.Silent > 5*time.Second {
					longest++
				}
			case e.Joined:
			case e.at.Sub(began) < onset:
				early++
			default:
				late++
			}
			continue
		case <-over:
		}
		break
	}
	hours := (span - onset).Hours() * float64(2*pairs)
	b.ReportMetric(float64(early)/float64(2*pairs), "wrong/onset")
	b.ReportMetric(float64(late)/hours, "wrong/h")
	b.ReportMetric(hours, "device-hours")
	b.ReportMetric(silent.Seconds(), "s-longest-silence")
	b.ReportMetric(float64(longest), "silences>5s")
}

func awaitJoins(b testing.TB, events <-chan lossyEvent, n int) {
	b.Helper()
	timeout := time.After(patient)
	for joined := 0; joined < n; {
		select {
		case e := <-events:
			if e.Joined {
				joined++
			}
		case <-timeout:
			b.Fatalf("only %d of %d joined", joined, n)
		}
	}
}
