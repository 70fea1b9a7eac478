package app

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/libp2p/go-libp2p/core/network"
)

// A gate counts the open streams of a listener and, in the end, tells when none is.
// Anybody on the machine can reach the port: until a connection's app has shown the
// token there are few streams of it, and few of all such connections.
type gate struct {
	max int

	mu       sync.Mutex // owns what follows
	open     int
	unproven []*visit // the oldest first
	closed   bool
	empty    chan struct{} // closed when the gate is, and nothing is open
}

func newGate(max int) *gate {
	return &gate{max: max, empty: make(chan struct{})}
}

// A visitor is a connection.
type visitor struct {
	proven atomic.Bool   // one of its streams showed the token
	places chan struct{} // taken by streams that came before
}

func newVisitor() *visitor { return &visitor{places: make(chan struct{}, maxUnprovenPerConn)} }

// A visit is a stream that was let in.
type visit struct {
	gate   *gate
	from   *visitor
	stream network.MuxedStream
	// settle ends that it counts as one without a token.
	settle func()
}

// enter lets a stream in, or returns nil where there is no room. It waits while the
// connection has many streams that have not shown the token; none of them lasts.
func (g *gate) enter(from *visitor, s network.MuxedStream) *visit {
	v := &visit{gate: g, from: from, stream: s, settle: func() {}}
	unproven := !from.proven.Load()
	if unproven {
		from.places <- struct{}{}
		v.settle = sync.OnceFunc(v.forget)
	}
	oldest, ok := g.count(v, unproven)
	if oldest != nil {
		_ = oldest.stream.ResetWithError(network.StreamResourceLimitExceeded)
	}
	if !ok {
		v.settle()
		return nil
	}
	return v
}

// count counts a stream, unless there are too many. It returns the one that has to go
// for it, if any.
func (g *gate) count(v *visit, unproven bool) (oldest *visit, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed || g.open >= g.max {
		return nil, false
	}
	g.open++
	if !unproven {
		return nil, true
	}
	g.unproven = append(g.unproven, v)
	if len(g.unproven) > maxUnproven {
		oldest = g.unproven[0]
		g.unproven = slices.Delete(g.unproven, 0, 1)
	}
	return oldest, true
}

// forget strikes a visit off those without a token.
func (v *visit) forget() {
	<-v.from.places
	v.gate.mu.Lock()
	defer v.gate.mu.Unlock()
	v.gate.unproven = slices.DeleteFunc(v.gate.unproven, func(o *visit) bool { return o == v })
}

// proved notes that the stream's app has shown the token.
func (v *visit) proved() {
	v.from.proven.Store(true)
	v.settle()
}

// leave ends what enter began.
func (v *visit) leave() {
	v.settle()
	g := v.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.open--; g.closed && g.open == 0 {
		close(g.empty)
	}
}

// close lets none in any more. What it returns is closed when all have left. It
// must be called once only.
func (g *gate) close() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed = true; g.open == 0 {
		close(g.empty)
	}
	return g.empty
}
