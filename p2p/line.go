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

// linesID names frames with yamux in them where libp2p negotiates the multiplexer, and
// with that the version of what devices speak after the handshake.
const linesID libp2pproto.ID = "/hearth/lines/2.0.0"

// A line is the connection to a member, as the swarm's multiplexer of streams: the
// frames on it (alive.go), and yamux from the first stream on. Most members of a large
// mesh only say that they live: yamux, its goroutines and their buffers would be most
// of what each of them costs.
//
// Each side starts yamux with the first frame of streams that it sends or gets, and
// keeps it to the end of the connection.
//
// Who accepts streams reads, until there is a frame of streams; from then on yamux.
type line struct {
	member *memberConn
	server bool
	scope  network.PeerScope
	yamux  *yamux.Transport
	// take takes the body of a frame that is not one of streams. It is set before
	// anything is read, is called by who reads, and must not wait for the other side.
	// An error ends the connection.
	take func(kind byte, body []byte) error
	// over is closed with the connection.
	over chan struct{}

	// What follows is of who reads: the head of a frame; how much of a frame of streams
	// is still to come; how often something had been carried for streams since when, or
	// ever; and for how long nothing had been when the last other frame came.
	head  [headSize]byte
	left  int
	seen  uint64
	since time.Time
	still time.Duration
	// reading is yamux where that reads; it is of who accepts streams.
	reading *carrier

	carried atomic.Uint64 // how often something was, for streams
	writing atomic.Int32  // frames of streams that are being sent
	sending sync.Mutex    // held while a frame is sent that is not one of streams

	mu      sync.Mutex // owns what follows
	carrier *carrier   // of yamux, or nil
	closed  bool
}

var _ network.MuxedConn = (*line)(nil)

// lines makes them: it is the only multiplexer spoken. It leaves it to liveness to
// tell a dead connection from a slow one.
type lines struct {
	yamux   yamux.Transport
	opening *opening
}

// muxers may be had without an opening where only their names matter.
func muxers(id libp2pproto.ID, opening *opening) []upgrader.StreamMuxer {
	cfg := *yamux.DefaultTransport.Config()
	cfg.EnableKeepAlive = false
	cfg.MeasureRTTInterval = roundTripEvery
	cfg.ConnectionWriteTimeout = writeTimeout
	cfg.MaxStreamWindowSize = streamWindow
	cfg.MaxMessageSize = maxMessage
	cfg.AcceptBacklog = streamBacklog
	return []upgrader.StreamMuxer{{ID: id, Muxer: &lines{yamux.Transport(cfg), opening}}}
}

// NewConn implements network.Multiplexer.
func (m *lines) NewConn(c net.Conn, server bool, scope network.PeerScope) (network.MuxedConn, error) {
	member, ok := c.(*memberConn)
	if !ok {
		return nil, errors.New("not a member's connection")
	}
	if err := m.opening.exchange(member, server); err != nil {
		return nil, err
	}
	return newLine(member, server, scope, &m.yamux), nil
}

func newLine(member *memberConn, server bool, scope network.PeerScope, mux *yamux.Transport) *line {
	return &line{
		member: member, server: server, scope: scope, yamux: mux, over: make(chan struct{}),
		take: func(byte, []byte) error { return nil },
	}
}

// As implements network.MuxedConn.
func (l *line) As(target any) bool {
	t, ok := target.(**line)
	if ok {
		*t = l
	}
	return ok
}

// open returns what carries streams, and starts yamux if there is none; the caller
// holds the mutex.
func (l *line) open() (*carrier, error) {
	if l.closed {
		return nil, net.ErrClosed
	}
	if l.carrier == nil {
		c := &carrier{memberConn: l.member, line: l, used: make(chan struct{})}
		mux, err := l.yamux.NewConn(c, l.server, l.scope)
		if err != nil {
			return nil, err
		}
		c.mux = mux
		l.carrier = c
	}
	return l.carrier, nil
}

// OpenStream implements network.MuxedConn.
func (l *line) OpenStream(ctx context.Context) (network.MuxedStream, error) {
	l.mu.Lock()
	c, err := l.open()
	l.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return c.mux.OpenStream(ctx)
}

// AcceptStream implements network.MuxedConn. Only one may be under way.
func (l *line) AcceptStream() (network.MuxedStream, error) {
	if l.reading == nil {
		if err := l.await(); err != nil {
			return nil, err
		}
	}
	return l.reading.mux.AcceptStream()
}

// await takes frames until there is one of streams, and then leaves reading to yamux.
// It is where most members' goroutines wait.
func (l *line) await() error {
	for l.left == 0 {
		if err := l.next(); err != nil {
			return err
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	c, err := l.open()
	if err == nil {
		l.reading = c
		close(c.used)
	}
	return err
}

// next takes a frame, or the head of one of streams.
func (l *line) next() error {
	if _, err := io.ReadFull(l.member, l.head[:]); err != nil {
		return err
	}
	kind, length, err := readHead(l.head[:])
	if err != nil || kind == frameStreams {
		l.left = length
		return err
	}
	if now, carried := time.Now(), l.carried.Load(); carried != l.seen || l.writing.Load() > 0 {
		l.seen, l.since, l.still = carried, now, 0
	} else {
		l.still = now.Sub(l.since)
	}
	body := make([]byte, length)
	if _, err := io.ReadFull(l.member, body); err != nil {
		return err
	}
	return l.take(kind, body)
}

// write sends a frame, after those that others are sending. The connection ends where
// that fails: part of the frame may have gone out.
func (l *line) write(kind byte, body []byte) error {
	frame := pool.Get(headSize + len(body))
	defer pool.Put(frame)
	putHead(frame, kind, len(body))
	copy(frame[headSize:], body)
	_, err := l.member.Write(frame)
	if err != nil {
		_ = l.member.Close()
	}
	return err
}

// send sends a frame, after those that are being sent.
func (l *line) send(kind byte, body []byte) error {
	l.sending.Lock()
	defer l.sending.Unlock()
	return l.sendNow(kind, body)
}

// offer sends a frame, or returns false where another one is being sent.
func (l *line) offer(kind byte, body []byte) bool {
	if !l.sending.TryLock() {
		return false
	}
	defer l.sending.Unlock()
	_ = l.sendNow(kind, body)
	return true
}

// solo runs f in a goroutine, unless the last one that the flag is for still runs.
func solo(running *atomic.Bool, f func()) {
	if running.CompareAndSwap(false, true) {
		go func() {
			defer running.Store(false)
			f()
		}()
	}
}

// sendNow sends a frame; the caller holds sending. A connection that is full is not dead,
// but one that stays so is ended, as by yamux.
func (l *line) sendNow(kind byte, body []byte) error {
	if err := l.member.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	return l.write(kind, body)
}

// Close implements network.MuxedConn.
func (l *line) Close() error {
	if c := l.end(); c != nil {
		return c.mux.Close() // closes the carrier
	}
	return l.member.Close()
}

// CloseWithError implements network.MuxedConn.
func (l *line) CloseWithError(code network.ConnErrorCode) error {
	if c := l.end(); c != nil {
		return c.mux.CloseWithError(code)
	}
	return l.member.Close()
}

// end lets nothing more begin on the connection. It returns what carries streams.
func (l *line) end() *carrier {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		l.closed = true
		close(l.over)
	}
	return l.carrier
}

// IsClosed implements network.MuxedConn.
func (l *line) IsClosed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closed || l.carrier != nil && l.carrier.mux.IsClosed()
}

// A carrier is what yamux takes for its connection: the bodies of frames of streams.
type carrier struct {
	*memberConn
	line *line
	mux  network.MuxedConn
	used chan struct{} // closed when the other side has sent a frame of streams
}

// Read implements net.Conn.
func (c *carrier) Read(p []byte) (int, error) {
	select {
	case <-c.used:
	case <-c.line.over:
		return 0, net.ErrClosed
	}
	for c.line.left == 0 {
		if err := c.line.next(); err != nil {
			return 0, err
		}
	}
	n, err := c.memberConn.Read(p[:min(len(p), c.line.left)])
	c.line.left -= n
	c.line.carried.Add(1)
	return n, err
}

// Write implements net.Conn. Each call of yamux's is a whole message.
func (c *carrier) Write(p []byte) (n int, err error) {
	c.line.writing.Add(1)
	defer c.line.writing.Add(-1)
	defer c.line.carried.Add(1)
	for n < len(p) && err == nil {
		part := p[n:min(n+maxStreamsBody, len(p))]
		if err = c.line.write(frameStreams, part); err == nil {
			n += len(part)
		}
	}
	return n, err
}

// Close implements net.Conn.
func (c *carrier) Close() error {
	c.line.end()
	return c.memberConn.Close()
}
