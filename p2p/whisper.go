package p2p

import (
	"io"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	libp2pproto "github.com/libp2p/go-libp2p/core/protocol"
)

// whisperQueue is how many frames of gossip wait until pubsub takes them. Then who
// reads waits, and with it the other side.
const whisperQueue = 64

// A whisper is one direction of gossip with a neighbour, as the stream that pubsub
// takes it for. Its bytes go in frames of their own: a connection without work needs no
// yamux. The other side is not told when it ends.
type whisper struct {
	conn network.Conn
	line *line
	in   chan []byte // nil where this device sends
	left []byte      // of the frame that is being read
	end  sync.Once
	done chan struct{}
}

var _ network.Stream = (*whisper)(nil)

func newWhisper(c network.Conn, on *line, queue int) *whisper {
	w := &whisper{conn: c, line: on, done: make(chan struct{})}
	if queue > 0 {
		w.in = make(chan []byte, queue)
	}
	return w
}

// put has a frame read, unless the whisper has ended. It waits for room.
func (w *whisper) put(body []byte) {
	select {
	case w.in <- body:
	case <-w.done:
	case <-w.line.over:
	}
}

func (w *whisper) ended() bool {
	select {
	case <-w.done:
		return true
	default:
		return false
	}
}

// Read implements network.Stream. Where this device sends it waits for the end.
func (w *whisper) Read(p []byte) (int, error) {
	for len(w.left) == 0 {
		select {
		case w.left = <-w.in:
		case <-w.done:
			return 0, io.EOF
		case <-w.line.over:
			return 0, io.EOF
		}
	}
	n := copy(p, w.left)
	w.left = w.left[n:]
	return n, nil
}

// Write implements network.Stream.
func (w *whisper) Write(p []byte) (int, error) {
	if w.ended() {
		return 0, network.ErrReset
	}
	if err := w.line.send(frameGossip, p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Close implements network.Stream, as the further ones do.
func (w *whisper) Close() error {
	w.end.Do(func() { close(w.done) })
	return nil
}

func (w *whisper) CloseRead() error                             { return w.Close() }
func (w *whisper) CloseWrite() error                            { return w.Close() }
func (w *whisper) Reset() error                                 { return w.Close() }
func (w *whisper) ResetWithError(network.StreamErrorCode) error { return w.Close() }

// The line bounds how long a frame may wait to be sent.
func (w *whisper) SetDeadline(time.Time) error      { return nil }
func (w *whisper) SetReadDeadline(time.Time) error  { return nil }
func (w *whisper) SetWriteDeadline(time.Time) error { return nil }

func (w *whisper) ID() string                       { return w.conn.ID() }
func (w *whisper) Conn() network.Conn               { return w.conn }
func (w *whisper) Protocol() libp2pproto.ID         { return gossipProtocols[0] }
func (w *whisper) SetProtocol(libp2pproto.ID) error { return nil }
func (w *whisper) Scope() network.StreamScope       { return &network.NullScope{} }
func (w *whisper) As(any) bool                      { return false }
func (w *whisper) Stat() (s network.Stats) {
	if s.Direction = network.DirInbound; w.in == nil {
		s.Direction = network.DirOutbound
	}
	return s
}
