package mdns

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/zeroconf/v2"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/hearth-edge/hearth/p2p/netif"
)

const (
	// period is how long one Browse lasts, give or take a sixth, so that the
	// devices of a mesh don't ask in step.
	period = time.Minute
	// retry is when to try again what failed.
	retry = 3 * time.Second
	// recheck is when to look at the addresses again after a change: those of
	// the host may lag behind those of the interfaces.
	recheck = 2 * time.Second
	// overlap is which part of a period a Browse goes on beside the one that
	// follows it.
	overlap = 60
	// maxInstances is how many instances one Browse may report before it is
	// ended, because it keeps every one in memory; calm is when the next starts.
	maxInstances = 2048
	calm         = 3 * time.Second
)

var errNoInterface = errors.New("no network interface that can multicast is up")

// A runner is the state of one Run, owned by its goroutine.
type runner struct {
	*Service
	table   *table
	heardOf chan *zeroconf.ServiceEntry // from all browsers
	changed chan struct{}               // from netif.Watch
	work    sync.WaitGroup              // the watcher and all browsers

	interfaces []netif.Interface
	advert     *advert
	browsing   context.CancelFunc // ends the browsers; nil when there are none
	instances  int                // that these reported
	browseAt   time.Time          // when they are due to be replaced
}

func newRunner(s *Service) *runner {
	return &runner{
		Service: s,
		table:   newTable(s.period),
		heardOf: make(chan *zeroconf.ServiceEntry, 64),
		changed: make(chan struct{}, 1),
	}
}

// loop is Run.
func (r *runner) loop(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer r.work.Wait()
	defer cancel()
	defer func() { r.advert.close() }()
	r.work.Go(func() { r.watch(ctx) })

	timer := time.NewTimer(r.refresh(ctx))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case e := <-r.heardOf:
			if r.hear(time.Now(), e); r.instances == maxInstances {
				r.cfg.Log.Warn("too many mDNS announcements; listening again soon")
				r.stopBrowsing(0)
				timer.Reset(calm)
			}
			continue
		case <-r.changed:
			timer.Reset(min(r.refresh(ctx), recheck))
		case <-timer.C:
			timer.Reset(r.refresh(ctx))
		}
	}
}

// watch turns the news of netif into signals on changed.
func (r *runner) watch(ctx context.Context) {
	for ctx.Err() == nil {
		err := netif.Watch(ctx, func() {
			select {
			case r.changed <- struct{}{}:
			default: // one is waiting already and will do
			}
		})
		if err == nil {
			return
		}
		r.cfg.Log.Warn("can't learn of network changes; trying again", "err", err)
		select {
		case <-ctx.Done():
		case <-time.After(retry):
		}
	}
}

// refresh makes announcement and browsers fit the network as it is, and returns
// when to call it next.
func (r *runner) refresh(ctx context.Context) time.Duration {
	now := time.Now()
	r.table.expire(now)
	if err := r.join(ctx, now); err != nil {
		if msg := err.Error(); r.Status().Err != msg {
			r.cfg.Log.Warn("not found by mDNS for now; waiting for the network", "err", err)
			r.set(func(s *Status) { s.Err = msg })
		}
		r.browseAt = time.Time{} // ask at once when the network is back
		return retry
	}
	r.set(func(s *Status) { s.Err = "" })
	return max(r.browseAt.Sub(now), 0)
}

// join is refresh without its bookkeeping of errors.
func (r *runner) join(ctx context.Context, now time.Time) error {
	ifs, err := netif.List(r.cfg.Interfaces)
	if err != nil {
		return err
	}
	multicast, err := multicasting(ifs)
	if err != nil {
		return err
	}
	moved := !netif.Equal(ifs, r.interfaces)
	addrs := netif.Filter(r.cfg.Addrs(), ifs)
	if moved || r.advert == nil || !slices.EqualFunc(addrs, r.advert.addrs, ma.Multiaddr.Equal) {
		next, err := announce(r.cfg, addrs, multicast)
		if err != nil {
			return err
		}
		old := r.advert
		r.advert, r.interfaces = next, ifs
		// The question that a new browser asks is what tells all others of the
		// new announcement at once.
		r.browse(ctx, now, multicast)
		old.close()
		r.announced()
	} else if r.browsing == nil || !now.Before(r.browseAt) {
		r.browse(ctx, now, multicast)
	}
	return nil
}

// announced publishes the new state of the announcement.
func (r *runner) announced() {
	var names, addrs []string
	for _, i := range r.interfaces {
		names = append(names, i.Name)
	}
	for _, a := range r.advert.addrs {
		addrs = append(addrs, a.String())
	}
	r.mu.Lock()
	r.status.Interfaces, r.status.Announced = names, addrs
	r.own = r.advert.instance
	r.mu.Unlock()
	r.cfg.Log.Info("announcing by mDNS", "interfaces", names, "addresses", addrs)
}

// multicasting turns those of ifs that can multicast into what zeroconf takes.
func multicasting(ifs []netif.Interface) ([]net.Interface, error) {
	var out []net.Interface
	for _, i := range ifs {
		if !i.Multicast && !i.Loopback {
			continue
		}
		n, err := net.InterfaceByIndex(i.Index)
		if err != nil {
			return nil, fmt.Errorf("network interface %s: %w", i.Name, err)
		}
		out = append(out, *n)
	}
	if len(out) == 0 {
		return nil, errNoInterface
	}
	return out, nil
}

// browse starts browsers and lets the earlier ones end a little later.
func (r *runner) browse(ctx context.Context, now time.Time, ifs []net.Interface) {
	r.stopBrowsing(r.period / overlap)
	ctx, cancel := context.WithCancel(ctx)
	r.browsing, r.instances = cancel, 0
	r.browseAt = now.Add(r.period - r.period/6 + rand.N(r.period/3))
	for _, family := range []zeroconf.IPType{zeroconf.IPv4, zeroconf.IPv6} {
		r.work.Go(func() {
			if err := browse(ctx, family, ifs, r.heardOf); err != nil {
				r.cfg.Log.Debug("mDNS without one of the IP families", "err", err)
			}
		})
	}
}

// stopBrowsing ends the browsers, if there are any, after a while.
func (r *runner) stopBrowsing(after time.Duration) {
	if r.browsing != nil {
		time.AfterFunc(after, r.browsing)
		r.browsing = nil
	}
}

// hear deals with an instance that a browser reported.
func (r *runner) hear(now time.Time, z *zeroconf.ServiceEntry) {
	r.instances++
	e, err := parseEntry(z.Text)
	if err != nil || e.peer == r.cfg.Peer || z.Instance == r.advert.name() {
		return
	}
	r.mu.Lock()
	r.heard = now
	r.mu.Unlock()
	if e.fingerprint != r.cfg.Fingerprint {
		if addr, ok := claimedHost(z, e); ok && r.table.strange(now, addr, e.fingerprint) {
			r.cfg.Stranger(addr, e.fingerprint)
		}
		return
	}
	if addrs := reachable(e.addrs, r.interfaces); len(addrs) > 0 && r.table.hear(now, e.peer, addrs) {
		r.cfg.Found(peer.AddrInfo{ID: e.peer, Addrs: addrs})
	}
}
