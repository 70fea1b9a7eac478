package p2p

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/libp2p/go-libp2p/core/connmgr"
	libp2pevent "github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	libp2pproto "github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	ma "github.com/multiformats/go-multiaddr"
	mss "github.com/multiformats/go-multistream"
)

// negotiationTimeout bounds how long a stream may take to say which protocol it is
// for, and to end.
const negotiationTimeout = 10 * time.Second

// streams is a host.Host of no more than a mesh needs: streams by their protocols.
// All members serve the same ones and learn each other's addresses from statuses, so
// none asks what the other is (libp2p's identify), and whoever opens a stream
// writes without waiting for the other side to agree to the protocol.
type streams struct {
	*swarm.Swarm
	bus libp2pevent.Bus
	mux *mss.MultistreamMuxer[libp2pproto.ID]
	// identified tells pubsub of a new neighbour.
	identified libp2pevent.Emitter
}

var _ host.Host = (*streams)(nil)

// newStreams takes over the swarm: Close closes it, and what it is made of.
func newStreams(sw *swarm.Swarm, bus libp2pevent.Bus) (*streams, error) {
	shown, err := bus.Emitter(new(libp2pevent.EvtPeerIdentificationCompleted))
	if err != nil {
		return nil, err
	}
	h := &streams{Swarm: sw, bus: bus, mux: mss.NewMultistreamMuxer[libp2pproto.ID](), identified: shown}
	sw.SetStreamHandler(h.accept)
	sw.Notify(&network.NotifyBundle{DisconnectedF: h.disconnected})
	return h, nil
}

// announceNeighbour has pubsub take up a neighbour: that waits for this event of identify's.
func (h *streams) announceNeighbour(c network.Conn) {
	_ = h.identified.Emit(libp2pevent.EvtPeerIdentificationCompleted{Peer: c.RemotePeer(), Conn: c, Protocols: gossipProtocols})
}

// disconnected forgets the key of who is gone.
func (h *streams) disconnected(_ network.Network, c network.Conn) {
	if h.Connectedness(c.RemotePeer()) != network.Connected {
		h.Peerstore().RemovePeer(c.RemotePeer())
	}
}

// accept negotiates a stream's protocol and serves it in a goroutine of its
// own, whose stack is small.
func (h *streams) accept(s network.Stream) {
	handle := h.negotiate(s)
	if handle == nil {
		_ = s.Reset()
		return
	}
	go func() { // ends with the stream
		if handle(s.Protocol(), s) != nil {
			_ = s.Reset()
		}
	}()
}

// negotiate returns the handler of the stream's protocol, or nil.
func (h *streams) negotiate(s network.Stream) mss.HandlerFunc[libp2pproto.ID] {
	if s.SetDeadline(time.Now().Add(negotiationTimeout)) != nil {
		return nil
	}
	proto, handle, err := h.mux.Negotiate(s)
	if err != nil || s.SetDeadline(time.Time{}) != nil || s.SetProtocol(proto) != nil {
		return nil
	}
	return handle
}

// NewStream implements host.Host. It never dials and returns at once. If the
// other side does not serve the protocol, the first Read fails. Only the first
// protocol is offered. It uses the newest connection, which replaces the
// others.
func (h *streams) NewStream(ctx context.Context, id peer.ID, protos ...libp2pproto.ID) (network.Stream, error) {
	conns := h.ConnsToPeer(id)
	if len(conns) == 0 {
		return nil, network.ErrNoConn
	}
	s, err := conns[len(conns)-1].NewStream(ctx)
	if err != nil {
		return nil, err
	}
	return openLazy(s, protos[0])
}

// openLazy has a new stream be of a protocol; it resets one that cannot be.
func openLazy(s network.Stream, proto libp2pproto.ID) (network.Stream, error) {
	if err := s.SetProtocol(proto); err != nil {
		_ = s.Reset()
		return nil, fmt.Errorf("open a stream for %s: %w", proto, err)
	}
	return &lazyStream{Stream: s, lazy: mss.NewMSSelect(s, proto)}, nil
}

// A lazyStream sends its protocol with the first bytes written, and reads the
// other side's agreement before the first bytes read.
type lazyStream struct {
	network.Stream
	lazy mss.LazyConn
}

func (s *lazyStream) Read(p []byte) (int, error)  { return s.lazy.Read(p) }
func (s *lazyStream) Write(p []byte) (int, error) { return s.lazy.Write(p) }

// Close implements network.Stream. It may wait for the other side's agreement.
func (s *lazyStream) Close() error {
	_ = s.SetReadDeadline(time.Now().Add(negotiationTimeout))
	return s.lazy.Close()
}

// CloseWrite implements network.Stream.
func (s *lazyStream) CloseWrite() error {
	_ = s.lazy.Flush() // an error shows in the next Read
	return s.Stream.CloseWrite()
}

// SetStreamHandler implements host.Host.
func (h *streams) SetStreamHandler(proto libp2pproto.ID, handler network.StreamHandler) {
	h.mux.AddHandler(proto, adaptHandler(handler))
}

// SetStreamHandlerMatch implements host.Host.
func (h *streams) SetStreamHandlerMatch(proto libp2pproto.ID, match func(libp2pproto.ID) bool, handler network.StreamHandler) {
	h.mux.AddHandlerWithFunc(proto, match, adaptHandler(handler))
}

func adaptHandler(handler network.StreamHandler) mss.HandlerFunc[libp2pproto.ID] {
	return func(_ libp2pproto.ID, s io.ReadWriteCloser) error {
		stream, ok := s.(network.Stream)
		if !ok {
			return errors.New("not a stream of the swarm")
		}
		handler(stream)
		return nil
	}
}

// RemoveStreamHandler implements host.Host.
func (h *streams) RemoveStreamHandler(proto libp2pproto.ID) { h.mux.RemoveHandler(proto) }

// Close ends all connections and closes what the swarm is made of.
func (h *streams) Close() error {
	err := h.Swarm.Close()
	return errors.Join(err, h.identified.Close(), h.Peerstore().Close(), h.ResourceManager().Close())
}

// ID, Network, Mux, EventBus, ConnManager, Addrs and Connect implement host.Host.
func (h *streams) ID() peer.ID                      { return h.LocalPeer() }
func (h *streams) Network() network.Network         { return h.Swarm }
func (h *streams) Mux() libp2pproto.Switch          { return h.mux }
func (h *streams) EventBus() libp2pevent.Bus        { return h.bus }
func (h *streams) ConnManager() connmgr.ConnManager { return connmgr.NullConnMgr{} }
func (h *streams) Addrs() []ma.Multiaddr            { return h.ListenAddresses() }
func (h *streams) Connect(ctx context.Context, at peer.AddrInfo) error {
	h.Peerstore().AddAddrs(at.ID, at.Addrs, peerstore.TempAddrTTL)
	_, err := h.DialPeer(ctx, at.ID)
	return err
}
