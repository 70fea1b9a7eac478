package p2p

import (
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	ma "github.com/multiformats/go-multiaddr"
	"golang.org/x/time/rate"
)

const (
	// Anybody can name a device to dial, so dials of unproven devices are
	// bounded: in all by dialRate and dialBurst, at one host by
	// hostDialInterval and hostDialBurst. That is enough for a home in which
	// all devices start at once, and harmless to a host that somebody lied
	// about.
	dialRate, dialBurst             = 4, 256
	hostDialInterval, hostDialBurst = 2 * time.Second, 128
	// distrustTTL is how long an address is left alone where no member answered, as
	// long as nobody but strangers names it.
	distrustTTL = 5 * time.Minute
	maxHosts    = 1024
)

// A dialLimiter bounds the attempts at devices that may not be members. The connector
// owns it.
type dialLimiter struct {
	total *rate.Limiter
	hosts *lru.Cache[string, *hostDialLimiter]
}

// A hostDialLimiter is of one IP address.
type hostDialLimiter struct {
	limit        *rate.Limiter
	blockedUntil map[string]time.Time // by multiaddr: not dialled before; at most maxAddrs
}

func newDialLimiter() *dialLimiter {
	hosts, err := lru.New[string, *hostDialLimiter](maxHosts)
	if err != nil {
		panic(err) // only where maxHosts is not positive
	}
	return &dialLimiter{total: rate.NewLimiter(dialRate, dialBurst), hosts: hosts}
}

func (l *dialLimiter) of(addr string) *hostDialLimiter {
	host := hostOf(addr)
	h, ok := l.hosts.Get(host)
	if !ok {
		h = &hostDialLimiter{limit: rate.NewLimiter(rate.Every(hostDialInterval), hostDialBurst), blockedUntil: make(map[string]time.Time)}
		l.hosts.Add(host, h)
	}
	return h
}

// allow reports whether an attempt at these addresses, all of which it dials, may
// be made now.
func (l *dialLimiter) allow(addrs []ma.Multiaddr, now time.Time) bool {
	for _, a := range addrs {
		h := l.of(a.String())
		if now.Before(h.blockedUntil[a.String()]) || !h.limit.AllowN(now, 1) {
			return false
		}
	}
	return l.total.AllowN(now, 1)
}

// blockFor notes that no member answered there.
func (l *dialLimiter) blockFor(addrs []ma.Multiaddr, now time.Time) {
	for _, a := range addrs {
		h := l.of(a.String())
		if len(h.blockedUntil) >= maxAddrs {
			clear(h.blockedUntil)
		}
		h.blockedUntil[a.String()] = now.Add(distrustTTL)
	}
}
