package p2p

import (
	"context"
	"errors"
	"sync/atomic"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/libp2p/go-libp2p/core/peer"
	"golang.org/x/time/rate"
)

// streamRate and streamBurst bound the streams a second that are served of one
// member. Some more wait, which slows who opens them; the rest is reset, since
// what a waiting stream brings stays in memory.
const streamRate, streamBurst, maxWaiting = 200, 1024, 64

var errTooMany = errors.New("too many streams")

// paces keeps the pace of each member. It is safe for concurrent use.
type paces struct{ of *lru.Cache[peer.ID, *pace] }

// A pace is one member's.
type pace struct {
	limit   *rate.Limiter
	waiting atomic.Int32
}

func newPaces() paces {
	of, err := lru.New[peer.ID, *pace](maxConns)
	if err != nil {
		panic(err) // only where maxConns is not positive
	}
	return paces{of}
}

// wait returns when a stream of the member may be served; an error where it may
// not, or ctx has ended.
func (p paces) wait(ctx context.Context, id peer.ID) error {
	own := &pace{limit: rate.NewLimiter(streamRate, streamBurst)}
	if old, ok, _ := p.of.PeekOrAdd(id, own); ok {
		own = old
	}
	if own.limit.Allow() {
		return nil
	}
	defer own.waiting.Add(-1)
	if own.waiting.Add(1) > maxWaiting {
		return errTooMany
	}
	return own.limit.Wait(ctx)
}
