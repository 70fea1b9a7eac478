package p2p

import (
	"context"
	"errors"
	"sync/atomic"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/libp2p/go-libp2p/core/peer"
	"golang.org/x/time/rate"
)

// streamRate and streamBurst bound the streams a second of one member.
// maxWaitingStreams more wait, so the sender slows down. The rest is reset,
// because a waiting stream holds memory.
const streamRate, streamBurst, maxWaitingStreams = 200, 1024, 64

var errTooManyStreams = errors.New("too many streams")

// peerLimiters holds the limiter of each member. It is safe for concurrent use.
type peerLimiters struct {
	of *lru.Cache[peer.ID, *peerLimiter]
}

// A peerLimiter is one member's.
type peerLimiter struct {
	limit   *rate.Limiter
	waiting atomic.Int32
}

func newPeerLimiters() peerLimiters {
	of, err := lru.New[peer.ID, *peerLimiter](maxConns)
	if err != nil {
		panic(err) // only where maxConns is not positive
	}
	return peerLimiters{of}
}

// wait returns when a stream of the member may be served; an error where it may
// not, or ctx has ended.
func (l peerLimiters) wait(ctx context.Context, id peer.ID) error {
	own := &peerLimiter{limit: rate.NewLimiter(streamRate, streamBurst)}
	if old, ok, _ := l.of.PeekOrAdd(id, own); ok {
		own = old
	}
	if own.limit.Allow() {
		return nil
	}
	defer own.waiting.Add(-1)
	if own.waiting.Add(1) > maxWaitingStreams {
		return errTooManyStreams
	}
	return own.limit.Wait(ctx)
}
