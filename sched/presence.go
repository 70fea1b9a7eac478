package sched

import (
	"context"
	"sync"

	"github.com/hearth-edge/hearth/protocol"
)

// presence wakes those who wait for a node. One goroutine follows the View for
// all of them, and only while somebody waits: the View changes with each status
// of each device.
type presence struct {
	more chan struct{} // holds a token when somebody began to wait

	mu      sync.Mutex // guards waiting
	waiting map[protocol.PeerID]chan struct{}
}

func newPresence() *presence {
	return &presence{more: make(chan struct{}, 1), waiting: make(map[protocol.PeerID]chan struct{})}
}

// await waits until node is connected, or ctx ends.
func (p *presence) await(ctx context.Context, node protocol.PeerID) {
	p.mu.Lock()
	here := p.waiting[node]
	if here == nil {
		here = make(chan struct{})
		p.waiting[node] = here
	}
	p.mu.Unlock()
	select {
	case p.more <- struct{}{}:
	default:
	}
	select {
	case <-here:
	case <-ctx.Done():
	}
}

// watch wakes those who wait, until ctx ends.
func (p *presence) watch(ctx context.Context, v *View) {
	for {
		changed := v.Changed() // before looking, to miss nothing
		if !p.wake(v) {
			changed = nil
		}
		select {
		case <-changed:
		case <-p.more:
		case <-ctx.Done():
			return
		}
	}
}

// wake reports whether somebody waits still.
func (p *presence) wake(v *View) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for node, here := range p.waiting {
		if v.Connected(node) {
			close(here)
			delete(p.waiting, node)
		}
	}
	return len(p.waiting) > 0
}
