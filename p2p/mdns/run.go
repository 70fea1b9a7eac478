package mdns

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	"golang.org/x/time/rate"

	"github.com/hearth-edge/hearth/p2p/netif"
)

const (
	// period is the time between two announcements, give or take a sixth, so that the
	// devices of a mesh don't speak in step.
	period = time.Minute
	// again is after what times an announcement and its question are sent again,
	// should they have been lost.
	again = time.Second
	// asks is how often is asked who is there: all announce themselves anyway.
	asks = 2
	// retry is when to try again what failed.
	retry = 3 * time.Second
	// recheck is when to look at the addresses again after a change: those of
	// the host may lag behind those of the interfaces.
	recheck = 2 * time.Second
	// answerRate and answerBurst bound the answers a second: an answer is longer
	// than the question, and everybody hears it.
	answerRate, answerBurst = 10, 40
)

var errNoInterface = errors.New("no network interface that can multicast is up")

// A runner is the state of one Run, owned by its goroutine.
type runner struct {
	*Service
	table   *table
	gate    *gate
	answers *rate.Limiter
	heardOf chan heard    // from the ear
	changed chan struct{} // from netif.Watch
	work    sync.WaitGroup

	interfaces []netif.Interface
	ear        *ear // nil while there is none
	advert     *advert
	speakAt    time.Time // when the next announcement is due
	asking     int       // with how many announcements is still to be asked
}

func newRunner(s *Service) *runner {
	return &runner{
		Service: s,
		table:   newTable(s.period),
		gate:    newGate(s.cfg.Log),
		answers: rate.NewLimiter(answerRate, answerBurst),
		heardOf: make(chan heard, 256),
		changed: make(chan struct{}, 1),
	}
}

// loop is Run.
func (r *runner) loop(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer r.work.Wait()
	defer cancel()
	defer r.leave()
	r.work.Go(func() { r.watch(ctx) })

	timer := time.NewTimer(r.refresh())
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case h := <-r.heardOf:
			r.gate.contain(h.from, func() { r.hear(time.Now(), h) })
			continue
		case <-r.changed:
			timer.Reset(min(r.refresh(), recheck))
		case <-timer.C:
			timer.Reset(r.refresh())
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

// refresh makes ear and announcement fit the network as it is, announces and asks
// when that is due, and returns when to call it next.
func (r *runner) refresh() time.Duration {
	now := time.Now()
	r.table.expire(now)
	if err := r.join(now); err != nil {
		if msg := err.Error(); r.Status().Err != msg {
			r.cfg.Log.Warn("not found by mDNS for now; waiting for the network", "err", err)
			r.set(func(s *Status) { s.Err = msg })
		}
		r.speakAt, r.asking = time.Time{}, asks // at once when the network is back
		return retry
	}
	r.set(func(s *Status) { s.Err = "" })
	return max(r.speakAt.Sub(now), 0)
}

// join is refresh without its bookkeeping of errors.
func (r *runner) join(now time.Time) error {
	ifs, err := netif.List(r.cfg.Interfaces)
	if err != nil {
		return err
	}
	multicast, err := multicasting(ifs)
	if err != nil {
		return err
	}
	if r.ear == nil || !netif.Equal(ifs, r.interfaces) {
		r.ear.close()
		if r.ear, err = open(multicast, r.gate, r.heardOf); err != nil {
			return err
		}
		r.interfaces, r.speakAt, r.asking = ifs, time.Time{}, asks
	}
	addrs := netif.Filter(r.cfg.Addrs(), ifs)
	renew := r.advert == nil || !slices.EqualFunc(addrs, r.advert.addrs, ma.Multiaddr.Equal)
	old := r.advert
	if renew {
		r.advert = newAdvert(r.cfg.Peer, r.cfg.Fingerprint, addrs)
		r.speakAt, r.asking = time.Time{}, asks
	}
	if now.Before(r.speakAt) {
		return nil
	}
	// A question comes after the announcement: who hears both is known and answers.
	if err = r.announce(0, ttl); err == nil && r.asking > 0 {
		err = r.ask()
	}
	if err != nil {
		r.ear.close()
		r.ear = nil
		return err
	}
	if renew {
		r.goodbye(old)
		r.announced()
	}
	r.asking = max(r.asking-1, 0)
	if r.asking > 0 {
		r.speakAt = now.Add(min(again, r.period))
	} else {
		r.speakAt = now.Add(r.period - r.period/6 + rand.N(r.period/3))
	}
	return nil
}

// announce sends the announcement on one interface, or with index 0 on all.
func (r *runner) announce(index int, ttl uint32) error {
	packet, err := r.advert.packet(ttl)
	if err != nil {
		return fmt.Errorf("announce by mDNS: %w", err)
	}
	return r.ear.say(packet, index)
}

func (r *runner) ask() error {
	packet, err := question()
	if err != nil {
		return err
	}
	return r.ear.say(packet, 0)
}

// goodbye withdraws an announcement, if there is one.
func (r *runner) goodbye(a *advert) {
	if a == nil || r.ear == nil {
		return
	}
	if packet, err := a.packet(0); err == nil {
		_ = r.ear.say(packet, 0)
	}
}

func (r *runner) leave() {
	r.goodbye(r.advert)
	r.ear.close()
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

// multicasting turns those of ifs that can multicast into what package net takes.
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

// hear deals with a packet.
func (r *runner) hear(now time.Time, h heard) {
	i := slices.IndexFunc(r.interfaces, func(i netif.Interface) bool { return i.Index == h.index })
	if i < 0 || r.ear == nil || !neighbour(h.from, r.interfaces[i]) {
		return
	}
	if (h.asked || h.listing) && r.answers.AllowN(now, 1) {
		// What cannot be sent now is asked for again.
		if h.asked {
			_ = r.announce(h.index, ttl)
		} else if packet, err := listing(); err == nil {
			_ = r.ear.say(packet, h.index)
		}
	}
	for _, a := range h.announced {
		if a.instance != r.advert.instance {
			r.learn(now, h.from, r.interfaces[i], a.text)
		}
	}
}

// learn deals with an announcement.
func (r *runner) learn(now time.Time, from netip.Addr, on netif.Interface, text []string) {
	e, err := parseEntry(text)
	if err != nil || e.peer == r.cfg.Peer {
		return
	}
	r.mu.Lock()
	r.heard = now
	r.mu.Unlock()
	if e.fingerprint != r.cfg.Fingerprint {
		if r.table.strange(now, from.String(), e.fingerprint) {
			r.cfg.Stranger(from.String(), e.fingerprint)
		}
		return
	}
	if addrs := believed(e.addrs, from, on); len(addrs) > 0 && r.table.hear(now, from, e.peer, addrs) {
		r.cfg.Found(peer.AddrInfo{ID: e.peer, Addrs: addrs})
	}
}
