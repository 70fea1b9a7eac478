package p2p

import (
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	ma "github.com/multiformats/go-multiaddr"
	"golang.org/x/time/rate"
)

const (
	// A device that never proved to be a member is dialled because somebody said
	// so. In all so many attempts are made, and so many at one address: enough for
	// a home that starts all at once, and no burden to anybody who is lied about.
	anyoneRate, anyoneBurst = 4, 256
	hostEvery, hostBurst    = 2 * time.Second, 128
	// distrusted is how long an address is left alone where no member answered, as
	// long as nobody but strangers names it.
	distrusted = 5 * time.Minute
	maxHosts   = 1024
)

// A budget bounds the attempts at devices that may not be members. The connector
// owns it.
type budget struct {
	total *rate.Limiter
	hosts *lru.Cache[string, *hostBudget]
}

// A hostBudget is of one IP address.
type hostBudget struct {
	limit *rate.Limiter
	until map[string]time.Time // by multiaddr: not dialled before; at most maxAddrs
}

func newBudget() *budget {
	hosts, err := lru.New[string, *hostBudget](maxHosts)
	if err != nil {
		panic(err) // only where maxHosts is not positive
	}
	return &budget{total: rate.NewLimiter(anyoneRate, anyoneBurst), hosts: hosts}
}

func (b *budget) of(addr string) *hostBudget {
	host := hostOf(addr)
	h, ok := b.hosts.Get(host)
	if !ok {
		h = &hostBudget{limit: rate.NewLimiter(rate.Every(hostEvery), hostBurst), until: make(map[string]time.Time)}
		b.hosts.Add(host, h)
	}
	return h
}

// spend reports whether an attempt at these addresses, all of which it dials, may
// be made now.
func (b *budget) spend(addrs []ma.Multiaddr, now time.Time) bool {
	for _, a := range addrs {
		h := b.of(a.String())
		if now.Before(h.until[a.String()]) || !h.limit.AllowN(now, 1) {
			return false
		}
	}
	return b.total.AllowN(now, 1)
}

// distrust notes that no member answered there.
func (b *budget) distrust(addrs []ma.Multiaddr, now time.Time) {
	for _, a := range addrs {
		h := b.of(a.String())
		if len(h.until) >= maxAddrs {
			clear(h.until)
		}
		h.until[a.String()] = now.Add(distrusted)
	}
}
