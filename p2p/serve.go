package p2p

import (
	"context"
	"sync"

	"github.com/libp2p/go-libp2p/core/network"
	libp2pproto "github.com/libp2p/go-libp2p/core/protocol"

	"github.com/hearth-edge/hearth/protocol"
)

// protocols returns those that are served for the caller.
func (m *Mesh) protocols() (all []libp2pproto.ID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for proto := range m.handlers {
		all = append(all, libp2pproto.ID(proto))
	}
	return all
}

// serve registers the stream handlers.
func (m *Mesh) serve(ctx context.Context, l *live) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for proto, h := range m.handlers {
		l.host.SetStreamHandler(libp2pproto.ID(proto), func(s network.Stream) {
			if l.handlers.begin() {
				defer l.handlers.wg.Done()
				m.handle(ctx, h, s)
			}
		})
	}
}

// handle runs a stream's handler. If that panics the stream ends, and no more.
func (m *Mesh) handle(ctx context.Context, h func(context.Context, protocol.PeerID, protocol.Stream), s network.Stream) {
	from := peerID(s.Conn().RemotePeer())
	err := contain(m.cfg.Log, from, func() error {
		if err := m.limiters.wait(ctx, s.Conn().RemotePeer()); err != nil {
			return err
		}
		h(ctx, from, s)
		return nil
	})
	if err != nil {
		_ = s.Reset()
	}
}

// handlerGroup counts the goroutines of handlers, so that Run can wait for
// them.
type handlerGroup struct {
	mu     sync.Mutex // owns what follows, and orders Add before Wait
	closed bool
	wg     sync.WaitGroup
}

// begin counts one more, whose end is told by wg.Done; it returns false where Run is
// ending.
func (c *handlerGroup) begin() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.wg.Add(1)
	}
	return !c.closed
}

func (c *handlerGroup) wait() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.wg.Wait()
}
