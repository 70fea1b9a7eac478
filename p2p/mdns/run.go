package mdns

import (
	"context"
	"fmt"
	"math/rand/v2"
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
	// firstInterval is the time between the first two questions. It doubles up to
	// aloneInterval while the device is alone: multicast may begin to pass at any
	// moment, and a mesh is to form within 5 s of it. It doubles up to period while
	// devices of the mesh answer, since multicast passes then.
	firstInterval, aloneInterval = time.Second, 4 * time.Second
	// minQuestions is how often a device asks that has company: all announce
	// themselves anyway.
	minQuestions = 2
	// retryInterval is when to try again what failed.
	retryInterval = 3 * time.Second
	// recheckInterval is when to look at the addresses again after a change: those of
	// the host may lag behind those of the interfaces.
	recheckInterval = 2 * time.Second
	// answerRate and answerBurst bound the answers a second: an answer is longer
	// than the question, and everybody hears it.
	answerRate, answerBurst = 10, 40
)

// A runner is the state of one Run, owned by its goroutine.
type runner struct {
	*Service
	table   *table
	limiter *packetLimiter
	answers *rate.Limiter
	packets chan received // from conn
	changed chan struct{} // from the network
	work    sync.WaitGroup

	interfaces []netif.Interface
	conn       sender // nil while there is none
	advert     *advert
	lastSend   time.Time // when the last announcement went out
	nextSend   time.Time // when the next one is due
	questions  int       // asked since the network changed or company was lost
	answered   bool      // a device of the mesh was heard since the last question
}

func newRunner(s *Service) *runner {
	return &runner{
		Service: s,
		table:   newTable(s.period),
		limiter: newPacketLimiter(s.cfg.Log),
		answers: rate.NewLimiter(answerRate, answerBurst),
		packets: make(chan received, 256),
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
		case h := <-r.packets:
			r.limiter.contain(h.from, func() { r.handle(time.Now(), h) })
			continue
		case <-r.changed:
			r.browseNow()
			timer.Reset(min(r.refresh(), recheckInterval))
		case <-r.notify:
			r.browseNow()
			timer.Reset(r.refresh())
		case <-timer.C:
			timer.Reset(r.refresh())
		}
	}
}

// browseNow has a device that is alone begin anew to ask, though not twice within
// firstInterval: the network changes often where containers start.
func (r *runner) browseNow() {
	if r.cfg.Alone() {
		r.questions = 0
		if soon := r.lastSend.Add(firstInterval); soon.Before(r.nextSend) {
			r.nextSend = soon
		}
	}
}

// watch turns the news of the network into signals on changed.
func (r *runner) watch(ctx context.Context) {
	for ctx.Err() == nil {
		err := r.network.watch(ctx, func() {
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
		case <-time.After(retryInterval):
		}
	}
}

// refresh makes connection and announcement fit the network as it is, announces and asks
// when that is due, and returns when to call it next.
func (r *runner) refresh() time.Duration {
	now := time.Now()
	r.table.expire(now)
	if err := r.join(now); err != nil {
		if msg := err.Error(); r.Status().Err != msg {
			r.cfg.Log.Warn("not found by mDNS for now; waiting for the network", "err", err)
			r.set(func(s *Status) { s.Err = msg })
		}
		r.nextSend, r.questions = time.Time{}, 0 // at once when the network is back
		return retryInterval
	}
	r.set(func(s *Status) { s.Err = "" })
	return max(r.nextSend.Sub(now), 0)
}

// join is refresh without its bookkeeping of errors.
func (r *runner) join(now time.Time) error {
	ifs, err := r.network.list(r.cfg.Interfaces)
	if err != nil {
		return err
	}
	if r.conn == nil || !netif.Equal(ifs, r.interfaces) {
		r.close()
		if r.conn, err = r.network.open(ifs, r.limiter, r.packets); err != nil {
			r.conn = nil
			return err
		}
		r.interfaces, r.nextSend, r.questions = ifs, time.Time{}, 0
	}
	addrs := netif.Filter(r.cfg.Addrs(), ifs)
	renew := r.advert == nil || !slices.EqualFunc(addrs, r.advert.addrs, ma.Multiaddr.Equal)
	old := r.advert
	if renew {
		r.advert = newAdvert(r.cfg.Peer, r.cfg.Fingerprint, addrs)
		r.nextSend, r.questions = time.Time{}, 0
	}
	if now.Before(r.nextSend) {
		return nil
	}
	// A question comes after the announcement: who hears both is known and answers.
	alone := r.cfg.Alone()
	asks := alone || r.questions < minQuestions
	if err = r.announce(0, ttl); err == nil && asks {
		err = r.ask()
	}
	if err != nil {
		r.close()
		return err
	}
	if renew {
		r.goodbye(old)
		r.announced()
	}
	if asks {
		r.questions++
	}
	r.lastSend, r.nextSend = now, now.Add(r.interval(alone))
	r.answered = false
	return nil
}

// interval is the time until the next announcement, so far apart for each device
// that those of a mesh don't speak in step.
func (r *runner) interval(alone bool) time.Duration {
	most := aloneInterval
	switch {
	case r.questions < minQuestions: // as if alone
	case !alone:
		return r.period - r.period/6 + rand.N(r.period/3)
	case r.answered:
		most = r.period
	}
	next := min(firstInterval<<min(r.questions-1, 10), most, r.period)
	return next - rand.N(next/6)
}

// close closes the connection, if there is one.
func (r *runner) close() {
	if r.conn != nil {
		r.conn.close()
		r.conn = nil
	}
}

// announce sends the announcement on one interface, or with index 0 on all.
func (r *runner) announce(index int, ttl uint32) error {
	packet, err := r.advert.packet(ttl)
	if err != nil {
		return fmt.Errorf("announce by mDNS: %w", err)
	}
	return r.conn.send(packet, index)
}

func (r *runner) ask() error {
	packet, err := question()
	if err != nil {
		return err
	}
	return r.conn.send(packet, 0)
}

// goodbye withdraws an announcement, if there is one.
func (r *runner) goodbye(a *advert) {
	if a == nil || r.conn == nil {
		return
	}
	if packet, err := a.packet(0); err == nil {
		_ = r.conn.send(packet, 0)
	}
}

func (r *runner) leave() {
	r.goodbye(r.advert)
	r.close()
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

// handle deals with a packet.
func (r *runner) handle(now time.Time, h received) {
	i := slices.IndexFunc(r.interfaces, func(i netif.Interface) bool { return i.Index == h.index })
	if i < 0 || r.conn == nil || !onSameLink(h.from, r.interfaces[i]) {
		return
	}
	if (h.asked || h.listing) && r.answers.AllowN(now, 1) {
		// What cannot be sent now is asked for again.
		if h.asked {
			_ = r.announce(h.index, ttl)
		} else if packet, err := browseAnswer(); err == nil {
			_ = r.conn.send(packet, h.index)
		}
	}
	for _, a := range h.announced {
		if a.instance != r.advert.instance {
			r.learn(now, h.from, r.interfaces[i], a.text)
		}
	}
}

// isOwn reports whether an address is one of this device's.
func (r *runner) isOwn(a netip.Addr) bool {
	return slices.ContainsFunc(r.interfaces, func(i netif.Interface) bool { return slices.Contains(i.Addrs, a) })
}

// learn deals with an announcement.
func (r *runner) learn(now time.Time, from netip.Addr, on netif.Interface, text []string) {
	e, err := parseEntry(text)
	if err != nil || e.peer == r.cfg.Peer && r.isOwn(from) {
		return
	}
	r.mu.Lock()
	r.lastSeen = now
	r.mu.Unlock()
	if e.fingerprint != r.cfg.Fingerprint {
		if r.table.addStranger(now, from.String(), e.fingerprint) {
			r.cfg.Stranger(from.String(), e.fingerprint)
		}
		return
	}
	r.answered = r.answered || e.peer != r.cfg.Peer
	if addrs := credible(e.addrs, from, on); len(addrs) > 0 && r.table.add(now, from, e.peer, addrs) {
		r.cfg.Found(peer.AddrInfo{ID: e.peer, Addrs: addrs})
	}
}
