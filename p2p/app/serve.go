package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/transport"
	identifypb "github.com/libp2p/go-libp2p/p2p/protocol/identify/pb"
	mss "github.com/multiformats/go-multistream"
	"google.golang.org/protobuf/encoding/protodelim"
	"google.golang.org/protobuf/proto"

	"github.com/hearth-edge/hearth/protocol"
)

// identifyProtocol is how a libp2p host asks another what it is.
const identifyProtocol = "/ipfs/id/1.0.0"

var errStreams = errors.New("too many streams at once")

// Run listens and serves until ctx ends. Then it removes app.json, lets streams
// end by themselves for a moment, ends them all, and returns nil. An error
// means that apps can't connect. It must be called once only.
func (e *Endpoint) Run(ctx context.Context) error {
	conns, endConns := context.WithCancel(context.WithoutCancel(ctx))
	defer endConns()
	listeners, err := e.listen(conns)
	if err != nil {
		return err
	}
	failed := make(chan error, len(listeners))
	var work sync.WaitGroup
	var gates []*gate
	for _, l := range listeners {
		g := newGate(e.maxStreams)
		gates = append(gates, g)
		work.Go(func() {
			for {
				c, err := l.Accept()
				if err != nil {
					failed <- fmt.Errorf("listen for apps on %s: %w", l.Multiaddr(), err)
					return
				}
				work.Go(func() { e.serveConn(ctx, c, g) })
			}
		})
	}
	path, err := writeInfo(e.cfg.StateDir, e.http, e.id, listeners)
	if err == nil {
		close(e.ready)
		select {
		case <-ctx.Done():
		case err = <-failed:
		}
		err = errors.Join(err, os.Remove(path))
	}
	closeAll(listeners)
	closeGates(gates)
	endConns()
	work.Wait()
	return err
}

// closeGates lets no more streams in, and waits for those that are open; not for long.
func closeGates(gates []*gate) {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	var empty []<-chan struct{}
	for _, g := range gates {
		empty = append(empty, g.close())
	}
	for _, e := range empty {
		select {
		case <-e:
		case <-ctx.Done():
		}
	}
}

// serveConn serves the streams of one connection until it ends. ctx is for the
// handlers.
func (e *Endpoint) serveConn(ctx context.Context, c transport.CapableConn, g *gate) {
	defer func() { _ = c.Close() }()
	var streams sync.WaitGroup
	defer streams.Wait()
	from := newVisitor()
	for {
		s, err := c.AcceptStream()
		if err != nil {
			return
		}
		v := g.enter(from, s)
		if v == nil {
			e.cfg.Log.Debug("stream refused", "peer", c.RemotePeer(), "err", errStreams)
			_ = s.ResetWithError(network.StreamResourceLimitExceeded)
			continue
		}
		streams.Go(func() {
			defer v.leave()
			e.serveStream(ctx, c, s, v.proved)
		})
	}
}

// protocols are those that are served.
func protocols() *mss.MultistreamMuxer[string] {
	known := mss.NewMultistreamMuxer[string]()
	known.AddHandler(protocol.AppProtocol, nil)
	known.AddHandler(identifyProtocol, nil)
	return known
}

// serveStream finds out which protocol a stream is for and serves it. proved is called
// once its app has shown the token.
func (e *Endpoint) serveStream(ctx context.Context, c transport.CapableConn, s network.MuxedStream, proved func()) {
	defer func() {
		if r := recover(); r != nil {
			_ = s.Reset()
			e.cfg.Log.Error("panic while serving an app", "peer", c.RemotePeer(), "err", r, "stack", string(debug.Stack()))
		}
	}()
	_ = s.SetDeadline(time.Now().Add(handshake))
	stream := newDeviceStream(s, proved)
	name, _, err := e.known.Negotiate(negotiation{stream})
	if err != nil {
		_ = s.ResetWithError(network.StreamProtocolNegotiationFailed)
		return
	}
	if name == identifyProtocol {
		if err := identify(stream, c, e.key.GetPublic()); err != nil {
			_ = s.Reset()
		}
		return
	}
	_ = s.SetDeadline(time.Time{})
	e.cfg.Handle(ctx, stream)
}

// identify says what this host is and serves, and ends the stream.
func identify(s io.WriteCloser, c transport.CapableConn, pub crypto.PubKey) error {
	key, err := crypto.MarshalPublicKey(pub)
	if err != nil {
		return err
	}
	if _, err := protodelim.MarshalTo(s, &identifypb.Identify{
		PublicKey:    key,
		ListenAddrs:  [][]byte{c.LocalMultiaddr().Bytes()},
		ObservedAddr: c.RemoteMultiaddr().Bytes(),
		Protocols:    []string{protocol.AppProtocol, identifyProtocol},
		AgentVersion: proto.String("hearth"),
	}); err != nil {
		return err
	}
	return s.Close()
}
