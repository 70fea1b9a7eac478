package sched

import (
	"context"
	"sync"

	"github.com/hearth-edge/hearth/protocol"
)

// peerWaiter wakes those who wait for a node. One goroutine follows the View for
// all of them, and only while somebody waits: the View changes with each status
// of each device.
type peerWaiter struct {
	notify chan struct{} // holds a token when somebody began to wait

	mu      sync.Mutex // guards waiting
	waiting map[protocol.PeerID]chan struct{}
}

func newPeerWaiter() *peerWaiter {
	return &peerWaiter{notify: make(chan struct{}, 1), waiting: make(map[protocol.PeerID]chan struct{})}
}

// await waits until node is connected, or ctx ends.
func (w *peerWaiter) await(ctx context.Context, node protocol.PeerID) {
	w.mu.Lock()
	here := w.waiting[node]
	if here == nil {
		here = make(chan struct{})
		w.waiting[node] = here
	}
	w.mu.Unlock()
	select {
	case w.notify <- struct{}{}:
	default:
	}
	select {
	case <-here:
	case <-ctx.Done():
	}
}

// watch wakes those who wait, until ctx ends.
func (w *peerWaiter) watch(ctx context.Context, v *View) {
	for {
		changed := v.Changed() // before looking, to miss nothing
		if !w.release(v) {
			changed = nil
		}
		select {
		case <-changed:
		case <-w.notify:
		case <-ctx.Done():
			return
		}
	}
}

// release reports whether somebody waits still.
func (w *peerWaiter) release(v *View) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for node, here := range w.waiting {
		if v.Connected(node) {
			close(here)
			delete(w.waiting, node)
		}
	}
	return len(w.waiting) > 0
}
