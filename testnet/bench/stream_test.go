package bench

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	p2phost "github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	libp2pproto "github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/core/sec"
	basichost "github.com/libp2p/go-libp2p/p2p/host/basic"
	"github.com/libp2p/go-libp2p/p2p/host/eventbus"
	"github.com/libp2p/go-libp2p/p2p/host/peerstore/pstoremem"
	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	"github.com/libp2p/go-libp2p/p2p/net/upgrader"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	ma "github.com/multiformats/go-multiaddr"
)

// chunk is how much is written at once to a plain stream, and to libp2p's.
const chunk = 64 << 10

// sink and echo are the protocols of a pair.
const sink, echo libp2pproto.ID = "/bench/sink", "/bench/echo"

// A pair is two plain libp2p hosts in this process, encrypted like hearth's, over
// loopback: what libp2p itself can do.
type pair struct {
	from p2phost.Host
	to   peer.ID
}

func newPair(b *testing.B) *pair {
	b.Helper()
	from, to := newHost(b), newHost(b)
	to.SetStreamHandler(sink, func(s network.Stream) { swallow(s); s.Close() })
	to.SetStreamHandler(echo, func(s network.Stream) { _, _ = io.Copy(s, s); s.Close() })
	if err := from.Connect(b.Context(), peer.AddrInfo{ID: to.ID(), Addrs: to.Addrs()}); err != nil {
		b.Fatal(err)
	}
	return &pair{from: from, to: to.ID()}
}

// newHost puts a host together from libp2p's parts: its constructor would link what
// the nodes that share this program are not to carry.
func newHost(b *testing.B) p2phost.Host {
	b.Helper()
	must := func(err error) {
		if err != nil {
			b.Fatal(err)
		}
	}
	key, _, err := crypto.GenerateEd25519Key(nil)
	must(err)
	id, err := peer.IDFromPrivateKey(key)
	must(err)
	store, err := pstoremem.NewPeerstore()
	must(err)
	must(errors.Join(store.AddPrivKey(id, key), store.AddPubKey(id, key.GetPublic())))
	bus := eventbus.NewBus()
	sw, err := swarm.NewSwarm(id, store, bus)
	must(err)
	muxers := []upgrader.StreamMuxer{{ID: yamux.ID, Muxer: yamux.DefaultTransport}}
	secure, err := noise.New(noise.ID, key, muxers)
	must(err)
	up, err := upgrader.New([]sec.SecureTransport{secure}, muxers, nil, &network.NullResourceManager{}, nil)
	must(err)
	transport, err := tcp.NewTCPTransport(up, &network.NullResourceManager{}, nil)
	must(err)
	must(sw.AddTransport(transport))
	must(sw.Listen(ma.StringCast("/ip4/127.0.0.1/tcp/0")))
	h, err := basichost.NewHost(sw, &basichost.HostOpts{EventBus: bus})
	must(err)
	h.Start()
	b.Cleanup(func() { h.Close() })
	return h
}

// send returns how many MB/s of size bytes arrive.
func (p *pair) send(b *testing.B, size int) float64 {
	b.Helper()
	s, err := p.from.NewStream(b.Context(), p.to, sink)
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	return push(b, s, size)
}

// echoes returns how many streams a second are opened, say something and hear it
// again, by so many at once that do so each so often.
func (p *pair) echoes(b *testing.B, atOnce, each int) float64 {
	b.Helper()
	var all sync.WaitGroup
	start := time.Now()
	for range atOnce {
		all.Go(func() {
			for range each {
				if err := p.echo(b.Context()); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	return float64(atOnce*each) / time.Since(start).Seconds()
}

func (p *pair) echo(ctx context.Context) error {
	s, err := p.from.NewStream(ctx, p.to, echo)
	if err != nil {
		return err
	}
	defer s.Close()
	buf := make([]byte, 150) // as long as a small request
	if _, err := s.Write(buf); err != nil {
		return err
	}
	_, err = io.ReadFull(s, buf)
	return err
}

// plain is send over TCP alone.
func plain(b *testing.B, size int) float64 {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	go func() { // ends with the connection
		if c, err := l.Accept(); err == nil {
			swallow(c)
			c.Close()
		}
	}()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	return push(b, c.(*net.TCPConn), size)
}

// push writes size bytes, and returns how many MB/s that was until the other end had
// taken all and said so.
func push(b *testing.B, s interface {
	io.ReadWriter
	CloseWrite() error
}, size int,
) float64 {
	b.Helper()
	data, start := make([]byte, chunk), time.Now()
	for sent := 0; sent < size; sent += chunk {
		if _, err := s.Write(data); err != nil {
			b.Fatal(err)
		}
	}
	if err := s.CloseWrite(); err != nil {
		b.Fatal(err)
	}
	if _, err := io.ReadFull(s, data[:1]); err != nil {
		b.Fatal(err)
	}
	return float64(size) / 1e6 / time.Since(start).Seconds()
}

// swallow reads to the end, and says that it is there.
func swallow(s io.ReadWriter) {
	buf := make([]byte, chunk)
	for {
		if _, err := s.Read(buf); err != nil {
			break
		}
	}
	_, _ = s.Write([]byte{1}) // who does not hear it fails
}
