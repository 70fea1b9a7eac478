package p2p

import (
	"io"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	libp2pproto "github.com/libp2p/go-libp2p/core/protocol"
)

// maxQueuedGossip is how many frames of gossip wait until pubsub takes them. Then who
// reads waits, and with it the other side.
const maxQueuedGossip = 64

// A gossipStream is one direction of gossip with a neighbour, as the stream that pubsub
// takes it for. Its bytes go in frames of their own: a connection without work needs no
// yamux. The other side does not see its end.
type gossipStream struct {
	conn      network.Conn
	frames    *frameConn
	incoming  chan []byte // nil where this device sends
	unread    []byte      // of the frame that is being read
	closeOnce sync.Once
	done      chan struct{}
}

var _ network.Stream = (*gossipStream)(nil)

func newGossipStream(c network.Conn, on *frameConn, queue int) *gossipStream {
	w := &gossipStream{conn: c, frames: on, done: make(chan struct{})}
	if queue > 0 {
		w.incoming = make(chan []byte, queue)
	}
	return w
}

// deliver has a frame read, unless the stream is closed. It waits for room.
func (s *gossipStream) deliver(body []byte) {
	select {
	case s.incoming <- body:
	case <-s.done:
	case <-s.frames.done:
	}
}

func (s *gossipStream) isClosed() bool {
	select {
	case <-s.done:
		return true
	default:
		return false
	}
}

// Read implements network.Stream. Where this device sends it waits for the end.
func (s *gossipStream) Read(p []byte) (int, error) {
	for len(s.unread) == 0 {
		select {
		case s.unread = <-s.incoming:
		case <-s.done:
			return 0, io.EOF
		case <-s.frames.done:
			return 0, io.EOF
		}
	}
	n := copy(p, s.unread)
	s.unread = s.unread[n:]
	return n, nil
}

// Write implements network.Stream.
func (s *gossipStream) Write(p []byte) (int, error) {
	if s.isClosed() {
		return 0, network.ErrReset
	}
	if err := s.frames.send(frameGossip, p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Close implements network.Stream, as the further ones do.
func (s *gossipStream) Close() error {
	s.closeOnce.Do(func() { close(s.done) })
	return nil
}

func (s *gossipStream) CloseRead() error                             { return s.Close() }
func (s *gossipStream) CloseWrite() error                            { return s.Close() }
func (s *gossipStream) Reset() error                                 { return s.Close() }
func (s *gossipStream) ResetWithError(network.StreamErrorCode) error { return s.Close() }

// The frameConn bounds how long a frame may wait to be sent.
func (s *gossipStream) SetDeadline(time.Time) error      { return nil }
func (s *gossipStream) SetReadDeadline(time.Time) error  { return nil }
func (s *gossipStream) SetWriteDeadline(time.Time) error { return nil }

func (s *gossipStream) ID() string                       { return s.conn.ID() }
func (s *gossipStream) Conn() network.Conn               { return s.conn }
func (s *gossipStream) Protocol() libp2pproto.ID         { return gossipProtocols[0] }
func (s *gossipStream) SetProtocol(libp2pproto.ID) error { return nil }
func (s *gossipStream) Scope() network.StreamScope       { return &network.NullScope{} }
func (s *gossipStream) As(any) bool                      { return false }
func (s *gossipStream) Stat() (stats network.Stats) {
	if stats.Direction = network.DirInbound; s.incoming == nil {
		stats.Direction = network.DirOutbound
	}
	return stats
}
