package mdns

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/hearth-edge/hearth/p2p/netif"
)

// An air is a network in memory. It loses everything until it passes.
type air struct {
	mu     sync.Mutex
	passes bool
	hosts  []*airHost
}

// An airHost is one machine on it, and its speaker.
type airHost struct {
	air       *air
	addr      netip.Addr
	change    func()
	out       chan<- received
	questions []time.Time
}

func (h *airHost) list([]string) ([]netif.Interface, error) {
	return []netif.Interface{{Name: "eth0", Index: 1, Multicast: true, Addrs: []netip.Addr{h.addr}, Prefixes: []netip.Prefix{netip.PrefixFrom(h.addr, 24)}}}, nil
}

func (h *airHost) watch(ctx context.Context, changed func()) error {
	h.change = changed
	<-ctx.Done()
	return nil
}

func (h *airHost) open(_ []netif.Interface, _ *packetLimiter, out chan<- received) (sender, error) {
	h.out = out
	return h, nil
}

func (h *airHost) send(packet []byte, _ int) error {
	said, ok := parsePacket(packet)
	if !ok {
		return fmt.Errorf("sent what nobody understands: %x", packet)
	}
	h.air.mu.Lock()
	defer h.air.mu.Unlock()
	if said.asked {
		h.questions = append(h.questions, time.Now())
	}
	said.from, said.index = h.addr, 1
	for _, o := range h.air.hosts {
		if h.air.passes && o.out != nil {
			o.out <- said
		}
	}
	return nil
}

func (h *airHost) close() {}

// soloDevice is a device on the air. It is connected to whom it has found, until the test
// says that it is alone again.
type soloDevice struct {
	*airHost
	*Service
	mu    sync.Mutex
	found map[peer.ID]time.Time
}

func (d *soloDevice) alone() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.found) == 0
}

// askedAfter are the times of questions, counted from a moment.
func (d *soloDevice) askedAfter(from time.Time) (times []time.Duration) {
	d.air.mu.Lock()
	defer d.air.mu.Unlock()
	for _, q := range d.questions {
		if !q.Before(from) {
			times = append(times, q.Sub(from))
		}
	}
	return times
}

// onAir runs so many devices, of which connected says whether finding connects.
func onAir(t *testing.T, n int, connected bool) []*soloDevice {
	t.Helper()
	a := &air{}
	var all []*soloDevice
	for i := range n {
		d := &soloDevice{airHost: &airHost{air: a, addr: netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 1)})}, found: make(map[peer.ID]time.Time)}
		at := ma.StringCast(fmt.Sprintf("/ip4/%s/tcp/7117", d.addr))
		d.Service = New(Config{
			Peer: testPeer(uint64(i + 1)), Fingerprint: mesh, Addrs: func() []ma.Multiaddr { return []ma.Multiaddr{at} },
			Alone: func() bool { return !connected || d.alone() },
			Found: func(p peer.AddrInfo) {
				d.mu.Lock()
				defer d.mu.Unlock()
				if _, old := d.found[p.ID]; !old {
					d.found[p.ID] = time.Now()
				}
			},
			Stranger: func(string, string) { t.Error("a stranger") },
			Log:      slog.New(slog.DiscardHandler),
		})
		d.network = d.airHost
		a.hosts = append(a.hosts, d.airHost)
		all = append(all, d)
	}
	var running sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(func() { cancel(); running.Wait() })
	for _, d := range all {
		running.Go(func() { _ = d.Run(ctx) })
		time.Sleep(137 * time.Millisecond)
	}
	return all
}

func pass(all []*soloDevice) {
	a := all[0].air
	a.mu.Lock()
	defer a.mu.Unlock()
	a.passes = true
}

// A mesh of three forms within 5 s after multicast begins to pass, whenever that is.
func TestMeshFormsWheneverMulticastBeginsToPass(t *testing.T) {
	for lost := time.Duration(0); lost < 3*time.Minute; lost += 1700 * time.Millisecond {
		synctest.Test(t, func(t *testing.T) {
			all := onAir(t, 3, true)
			time.Sleep(lost)
			synctest.Wait()
			pass(all)
			passed := time.Now()
			time.Sleep(aloneInterval)
			synctest.Wait()
			for _, d := range all {
				d.mu.Lock()
				for _, at := range d.found {
					if at.Sub(passed) > aloneInterval {
						t.Errorf("lost for %v: found %v later", lost, at.Sub(passed))
					}
				}
				if len(d.found) != 2 {
					t.Errorf("lost for %v: one has found %d others within %v", lost, len(d.found), aloneInterval)
				}
				d.mu.Unlock()
			}
		})
	}
}

// A device that is alone asks after 1, 2 and then each 4 s; one with company no more
// than twice, until it is alone again.
func TestScheduleOfQuestions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := onAir(t, 2, true)
		time.Sleep(time.Hour)
		synctest.Wait()
		asked := all[0].askedAfter(all[0].questions[0])
		least, most := firstInterval, firstInterval
		for i := 1; i < len(asked); i++ {
			if gap := asked[i] - asked[i-1]; gap > most || gap < least*5/6 {
				t.Fatalf("question %d came %v after the one before, not %v", i+1, gap, most)
			}
			least, most = min(2*least, aloneInterval), min(2*most, aloneInterval)
		}
		if n := len(asked); n < 900 || n > 1100 {
			t.Errorf("%d questions in an hour alone", n)
		}
		pass(all)
		time.Sleep(aloneInterval)
		synctest.Wait()
		company := time.Now()
		time.Sleep(time.Hour)
		synctest.Wait()
		if asked := all[0].askedAfter(company); len(asked) > 0 {
			t.Errorf("with company it asked after %v", asked)
		}
		all[0].mu.Lock()
		clear(all[0].found)
		all[0].mu.Unlock()
		all[0].CheckAlone()
		left := time.Now()
		synctest.Wait()
		if asked := all[0].askedAfter(left); len(asked) != 1 || asked[0] > firstInterval {
			t.Errorf("alone again it asked after %v", asked)
		}
	})
}

// Where multicast passes and no connection comes about, questions become ever rarer:
// everybody answers them.
func TestQuestionsBecomeRareWhereTheyAreAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := onAir(t, 3, false)
		pass(all)
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		from := time.Now()
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := len(all[0].askedAfter(from)); n < 55 || n > 75 {
			t.Errorf("%d questions in an hour", n)
		}
	})
}

// A change of the network has a device that is alone ask at once, but not each time
// where changes are many.
func TestChangeOfTheNetworkIsAskedAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := onAir(t, 1, true)
		time.Sleep(time.Minute)
		synctest.Wait()
		from := time.Now()
		all[0].change()
		time.Sleep(firstInterval)
		synctest.Wait()
		if asked := all[0].askedAfter(from); len(asked) == 0 {
			t.Error("not asked within a second")
		}
		from = time.Now()
		for range 1000 {
			all[0].change()
			time.Sleep(10 * time.Millisecond)
		}
		synctest.Wait()
		if n := len(slices.Clip(all[0].askedAfter(from))); n > 11 {
			t.Errorf("%d questions within 10 s of changes", n)
		}
	})
}
