package main

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"sync"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	libp2pproto "github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"
)

// linesID is what devices call the frames that they speak, with yamux in them.
const linesID = "/hearth/lines/2.0.0"

// The kinds of frames that an attacker sends or takes.
const (
	ping byte = iota + 1
	echo
	_ // goodbye
	farewell
	score
	pick
	gossiped
	streams
	wanted
	start
	copied
	named
	forget
)

// wires is a multiplexer that keeps its last connection.
type wires struct{ last *wire }

func (w *wires) NewConn(c net.Conn, server bool, scope network.PeerScope) (network.MuxedConn, error) {
	w.last = &wire{Conn: c, heard: make(chan []byte, 256), over: make(chan struct{})}
	// Each side begins with the number of its start, the dialler first.
	if err := w.last.send(start, noise(8)); err != nil {
		return nil, err
	}
	if err := w.last.next(); err != nil {
		return nil, err
	}
	go w.last.stayAlive()
	return yamux.DefaultTransport.NewConn(w.last, server, scope)
}

// A wire is the connection to a device, for yamux and for who sends frames by hand.
type wire struct {
	net.Conn
	heard chan []byte   // frames of gossip; those that nobody takes are dropped
	over  chan struct{} // closed when nothing comes any more
	left  int           // of a frame of streams

	sending sync.Mutex
}

func (w *wire) send(kind byte, body []byte) error {
	w.sending.Lock()
	defer w.sending.Unlock()
	_, err := w.Conn.Write(append(binary.BigEndian.AppendUint32(nil, uint32(kind)<<24|uint32(len(body))), body...))
	return err
}

func (w *wire) Write(p []byte) (int, error) {
	if err := w.send(streams, p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// SetWriteDeadline does nothing: yamux sets one for each of its own writes, which
// would end frames that are sent by hand later.
func (w *wire) SetWriteDeadline(time.Time) error { return nil }

func (w *wire) Read(p []byte) (int, error) {
	for w.left == 0 {
		if err := w.next(); err != nil {
			close(w.over)
			return 0, err
		}
	}
	n, err := w.Conn.Read(p[:min(len(p), w.left)])
	w.left -= n
	return n, err
}

func (w *wire) next() error {
	var head [4]byte
	if _, err := io.ReadFull(w.Conn, head[:]); err != nil {
		return err
	}
	size := int(binary.BigEndian.Uint32(head[:]) & 0xffffff)
	if head[0] == streams {
		w.left = size
		return nil
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(w.Conn, body); err != nil {
		return err
	}
	switch head[0] {
	case ping:
		go func() { _ = w.send(echo, body) }()
	case gossiped:
		select {
		case w.heard <- body:
		default:
		}
	}
	return nil
}

// stayAlive pings, so that the device takes the attacker for alive. It ends with the
// connection.
func (w *wire) stayAlive() {
	for w.send(ping, make([]byte, 8)) == nil {
		time.Sleep(time.Second)
	}
}

// A gossipHost has pubsub gossip with the device at the other end of a wire.
type gossipHost struct {
	host.Host
	wires *wires
	hear  network.StreamHandler
}

func (h *gossipHost) NewStream(_ context.Context, id peer.ID, _ ...libp2pproto.ID) (network.Stream, error) {
	return h.gossipStream(id), nil
}

// befriend has both sides gossip with each other: a device does with whoever picks it.
// It has no identify, which pubsub waits for.
func (h *gossipHost) befriend(victim peer.ID) error {
	if err := h.wires.last.send(pick, []byte{1}); err != nil {
		return err
	}
	met, err := h.EventBus().Emitter(new(event.EvtPeerIdentificationCompleted))
	if err != nil {
		return err
	}
	defer met.Close()
	in := h.gossipStream(victim)
	in.in = true
	go h.hear(in)
	return met.Emit(event.EvtPeerIdentificationCompleted{Peer: victim, Protocols: []libp2pproto.ID{pubsub.GossipSubID_v11}})
}

// SetStreamHandler keeps pubsub's.
func (h *gossipHost) SetStreamHandler(_ libp2pproto.ID, hear network.StreamHandler) { h.hear = hear }

func (h *gossipHost) gossipStream(id peer.ID) *gossipStream {
	return &gossipStream{wire: h.wires.last, conn: h.Network().ConnsToPeer(id)[0]}
}

// A gossipStream is both directions of gossip; who sends reads nothing.
type gossipStream struct {
	network.Stream
	wire *wire
	conn network.Conn
	in   bool
	left []byte
}

func (s *gossipStream) Read(p []byte) (int, error) {
	var heard chan []byte
	if s.in {
		heard = s.wire.heard
	}
	for len(s.left) == 0 {
		select {
		case s.left = <-heard:
		case <-s.wire.over:
			return 0, io.EOF
		}
	}
	n := copy(p, s.left)
	s.left = s.left[n:]
	return n, nil
}

func (s *gossipStream) Write(p []byte) (int, error) {
	if err := s.wire.send(gossiped, p); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (s *gossipStream) Close() error                     { return nil }
func (s *gossipStream) Reset() error                     { return nil }
func (s *gossipStream) SetWriteDeadline(time.Time) error { return nil }
func (s *gossipStream) Conn() network.Conn               { return s.conn }
func (s *gossipStream) Protocol() libp2pproto.ID         { return pubsub.GossipSubID_v11 }
