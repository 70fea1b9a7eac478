package p2p

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	pool "github.com/libp2p/go-buffer-pool"
	"github.com/libp2p/go-libp2p/core/network"
	libp2pproto "github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"
	"github.com/libp2p/go-libp2p/p2p/net/upgrader"
)

// muxID names the frames in libp2p's negotiation of the multiplexer, and so the
// version of everything after the handshake.
const muxID libp2pproto.ID = "/hearth/lines/2.0.0"

// A frameConn is the connection to a member: frames (frames.go), with yamux
// inside of them from the first stream on. It is the swarm's multiplexer. Most
// members of a large mesh only send signs of life; yamux with its goroutines
// and buffers would be most of their cost.
//
// Each side starts yamux with its first frame of streams, in or out. Yamux then
// stays until the connection ends.
//
// The goroutine that accepts streams is the reader. From the first frame of
// streams on, yamux reads.
type frameConn struct {
	member *memberConn
	server bool
	scope  network.PeerScope
	yamux  *yamux.Transport
	// handle takes each frame but those of streams. It is set before the first
	// read. The reader calls it, so it must not wait for the other side. An
	// error ends the connection.
	handle func(kind byte, body []byte) error
	// done is closed with the connection.
	done chan struct{}

	// The reader owns these: the head of the current frame, the rest of a frame
	// of streams, the value of carried seen last, since when that is unchanged,
	// and for how long it was when the last frame came.
	head        [headSize]byte
	remaining   int
	lastCarried uint64
	idleSince   time.Time
	idle        time.Duration
	// reader is yamux, once yamux reads. The accepting goroutine owns it.
	reader *yamuxConn

	carried atomic.Uint64 // how often something was, for streams
	writers atomic.Int32  // frames of streams that are being sent
	sendMu  sync.Mutex    // held while a frame is sent that is not one of streams

	mu     sync.Mutex // owns what follows
	mux    *yamuxConn // of yamux, or nil
	closed bool
}

var _ network.MuxedConn = (*frameConn)(nil)

// muxer makes them: it is the only multiplexer spoken. It leaves it to the detector to
// tell a dead connection from a slow one.
type muxer struct {
	yamux yamux.Transport
	start *startExchange
}

// newMuxers may be had without an opening where only their names matter.
func newMuxers(id libp2pproto.ID, opening *startExchange) []upgrader.StreamMuxer {
	cfg := *yamux.DefaultTransport.Config()
	cfg.EnableKeepAlive = false
	cfg.MeasureRTTInterval = rttInterval
	cfg.ConnectionWriteTimeout = writeTimeout
	cfg.MaxStreamWindowSize = streamWindow
	cfg.MaxMessageSize = maxYamuxMessage
	cfg.AcceptBacklog = streamBacklog
	return []upgrader.StreamMuxer{{ID: id, Muxer: &muxer{yamux.Transport(cfg), opening}}}
}

// NewConn implements network.Multiplexer.
func (m *muxer) NewConn(c net.Conn, server bool, scope network.PeerScope) (network.MuxedConn, error) {
	member, ok := c.(*memberConn)
	if !ok {
		return nil, errors.New("not a member's connection")
	}
	if err := m.start.run(member, server); err != nil {
		return nil, err
	}
	return newFrameConn(member, server, scope, &m.yamux), nil
}

func newFrameConn(member *memberConn, server bool, scope network.PeerScope, mux *yamux.Transport) *frameConn {
	return &frameConn{
		member: member, server: server, scope: scope, yamux: mux, done: make(chan struct{}),
		handle: func(byte, []byte) error { return nil },
	}
}

// As implements network.MuxedConn.
func (f *frameConn) As(target any) bool {
	t, ok := target.(**frameConn)
	if ok {
		*t = f
	}
	return ok
}

// startMux returns what carries streams, and starts yamux if there is none; the caller
// holds the mutex.
func (f *frameConn) startMux() (*yamuxConn, error) {
	if f.closed {
		return nil, net.ErrClosed
	}
	if f.mux == nil {
		c := &yamuxConn{memberConn: f.member, frames: f, activated: make(chan struct{})}
		mux, err := f.yamux.NewConn(c, f.server, f.scope)
		if err != nil {
			return nil, err
		}
		c.mux = mux
		f.mux = c
	}
	return f.mux, nil
}

// OpenStream implements network.MuxedConn.
func (f *frameConn) OpenStream(ctx context.Context) (network.MuxedStream, error) {
	f.mu.Lock()
	c, err := f.startMux()
	f.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return c.mux.OpenStream(ctx)
}

// AcceptStream implements network.MuxedConn. Only one may be under way.
func (f *frameConn) AcceptStream() (network.MuxedStream, error) {
	if f.reader == nil {
		if err := f.awaitStreams(); err != nil {
			return nil, err
		}
	}
	return f.reader.mux.AcceptStream()
}

// awaitStreams takes frames until there is one of streams, and then leaves reading to yamux.
// It is where most members' goroutines wait.
func (f *frameConn) awaitStreams() error {
	for f.remaining == 0 {
		if err := f.readFrame(); err != nil {
			return err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	c, err := f.startMux()
	if err == nil {
		f.reader = c
		close(c.activated)
	}
	return err
}

// readFrame takes a frame, or the head of one of streams.
func (f *frameConn) readFrame() error {
	if _, err := io.ReadFull(f.member, f.head[:]); err != nil {
		return err
	}
	kind, length, err := readHead(f.head[:])
	if err != nil || kind == frameStreams {
		f.remaining = length
		return err
	}
	if now, carried := time.Now(), f.carried.Load(); carried != f.lastCarried || f.writers.Load() > 0 {
		f.lastCarried, f.idleSince, f.idle = carried, now, 0
	} else {
		f.idle = now.Sub(f.idleSince)
	}
	body := make([]byte, length)
	if _, err := io.ReadFull(f.member, body); err != nil {
		return err
	}
	return f.handle(kind, body)
}

// writeFrame sends a frame. The caller keeps frames apart. An error closes the
// connection, since part of the frame may be out.
func (f *frameConn) writeFrame(kind byte, body []byte) error {
	frame := pool.Get(headSize + len(body))
	defer pool.Put(frame)
	putHead(frame, kind, len(body))
	copy(frame[headSize:], body)
	_, err := f.member.Write(frame)
	if err != nil {
		_ = f.member.Close()
	}
	return err
}

// send sends a frame, after those that are being sent.
func (f *frameConn) send(kind byte, body []byte) error {
	f.sendMu.Lock()
	defer f.sendMu.Unlock()
	return f.sendLocked(kind, body)
}

// trySend sends a frame, or returns false where another one is being sent.
func (f *frameConn) trySend(kind byte, body []byte) bool {
	if !f.sendMu.TryLock() {
		return false
	}
	defer f.sendMu.Unlock()
	_ = f.sendLocked(kind, body)
	return true
}

// goOnce runs f in a goroutine, unless the last one that the flag is for still runs.
func goOnce(running *atomic.Bool, f func()) {
	if running.CompareAndSwap(false, true) {
		go func() {
			defer running.Store(false)
			f()
		}()
	}
}

// sendLocked sends a frame; the caller holds sendMu. A full connection is not
// dead, but after writeTimeout it is closed.
func (f *frameConn) sendLocked(kind byte, body []byte) error {
	if err := f.member.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	return f.writeFrame(kind, body)
}

// Close implements network.MuxedConn.
func (f *frameConn) Close() error {
	if c := f.markClosed(); c != nil {
		return c.mux.Close() // closes the carrier
	}
	return f.member.Close()
}

// CloseWithError implements network.MuxedConn.
func (f *frameConn) CloseWithError(code network.ConnErrorCode) error {
	if c := f.markClosed(); c != nil {
		return c.mux.CloseWithError(code)
	}
	return f.member.Close()
}

// markClosed lets nothing more begin on the connection. It returns what carries streams.
func (f *frameConn) markClosed() *yamuxConn {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.closed {
		f.closed = true
		close(f.done)
	}
	return f.mux
}

// IsClosed implements network.MuxedConn.
func (f *frameConn) IsClosed() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.closed || f.mux != nil && f.mux.mux.IsClosed()
}

// A yamuxConn is what yamux takes for its connection: the bodies of frames of streams.
type yamuxConn struct {
	*memberConn
	frames    *frameConn
	mux       network.MuxedConn
	activated chan struct{} // closed when the other side has sent a frame of streams
}

// Read implements net.Conn.
func (y *yamuxConn) Read(p []byte) (int, error) {
	select {
	case <-y.activated:
	case <-y.frames.done:
		return 0, net.ErrClosed
	}
	for y.frames.remaining == 0 {
		if err := y.frames.readFrame(); err != nil {
			return 0, err
		}
	}
	n, err := y.memberConn.Read(p[:min(len(p), y.frames.remaining)])
	y.frames.remaining -= n
	y.frames.carried.Add(1)
	return n, err
}

// Write implements net.Conn. Each call of yamux's is a whole message.
func (y *yamuxConn) Write(p []byte) (n int, err error) {
	y.frames.writers.Add(1)
	defer y.frames.writers.Add(-1)
	defer y.frames.carried.Add(1)
	for n < len(p) && err == nil {
		part := p[n:min(n+maxStreamsBody, len(p))]
		if err = y.frames.writeFrame(frameStreams, part); err == nil {
			n += len(part)
		}
	}
	return n, err
}

// Close implements net.Conn.
func (y *yamuxConn) Close() error {
	y.frames.markClosed()
	return y.memberConn.Close()
}
