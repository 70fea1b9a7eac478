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
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	libp2pproto "github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/core/sec"
	"github.com/libp2p/go-libp2p/p2p/net/upgrader"
	libp2pnoise "github.com/libp2p/go-libp2p/p2p/security/noise"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
	mss "github.com/multiformats/go-multistream"

	"github.com/hearth-edge/hearth/keys"
	"github.com/hearth-edge/hearth/protocol"
)

func muxers() []upgrader.StreamMuxer {
	return []upgrader.StreamMuxer{{ID: linesID, Muxer: &wires{}}}
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

func (m *member) SecureOutbound(ctx context.Context, raw net.Conn, victim peer.ID) (sec.SecureConn, error) {
	t, err := libp2pnoise.New(membershipID, m.key, muxers())
	if err != nil {
		return nil, err
	}
	c, err := t.SecureOutbound(ctx, raw, victim) // which tells the version, too
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

// join connects to the device as a member.
func join(ctx context.Context, target, file string) (*gossipHost, peer.ID, keys.Secret, error) {
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
	lines := &wires{}
	h, err := libp2p.New(libp2p.Identity(key), libp2p.NoListenAddrs, libp2p.Transport(tcp.NewTCPTransport),
		libp2p.Security(string(membershipID), func() sec.SecureTransport { return &member{key: key, proof: proof} }),
		libp2p.Muxer(linesID, lines), libp2p.ResourceManager(&network.NullResourceManager{}))
	if err != nil {
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
	err = h.Connect(ctx, peer.AddrInfo{ID: victim, Addrs: []ma.Multiaddr{at}})
	return &gossipHost{Host: h, wires: lines}, victim, secret, err
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

// gossip publishes statuses that are out of bounds, of others, old, too long, and
// too many.
func gossip(ctx context.Context, target, file string) error {
	h, victim, secret, err := join(ctx, target, file)
	if err != nil {
		return err
	}
	ps, err := pubsub.NewGossipSub(ctx, h, pubsub.WithFloodPublish(true), pubsub.WithMaxMessageSize(1<<20),
		pubsub.WithGossipSubProtocols([]libp2pproto.ID{pubsub.GossipSubID_v11}, pubsub.GossipSubDefaultFeatures))
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
	if err := h.befriend(victim); err != nil {
		return err
	}
	hearers, err := topic.EventHandler()
	if err != nil {
		return err
	}
	if _, err := hearers.NextPeerEvent(ctx); err != nil { // nobody hears what comes before
		return err
	}
	own := protocol.Status{Node: protocol.PeerID(h.ID().String()), Name: ownName(), Interval: time.Second, Arch: "amd64", OS: "linux", Role: protocol.RoleNode}
	for i := uint64(1); ; i++ {
		s := own
		s.Sequence = i
		switch i % 4 {
		case 0:
			s.Node = protocol.PeerID(victim.String())
		case 1:
			s.Sequence = 1
		}
		data, err := protocol.EncodeStatus(s)
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
	h, victim, _, err := join(ctx, target, file)
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

// chatter says whatever frames have a kind for, as fast as the device takes it.
func chatter(ctx context.Context, target, file string) error {
	h, _, _, err := join(ctx, target, file)
	if err != nil {
		return err
	}
	frames := []struct {
		kind byte
		body []byte
	}{
		{ping, noise(8)}, {echo, noise(8)}, {farewell, nil}, {score, noise(300)}, {pick, []byte{1}}, {pick, []byte{0}},
		{gossiped, noise(1000)}, {wanted, nil}, {200, noise(300)},
		{start, noise(8)}, {copied, noise(100)}, {named, noise(40)}, {forget, noise(1000)},
	}
	for i := 0; ; i++ {
		f := frames[rand.N(len(frames))]
		if err := h.wires.last.send(f.kind, f.body); err != nil {
			return err
		}
		if i == 20 {
			started()
		}
	}
}

func misuse(ctx context.Context, h *gossipHost, victim peer.ID, how string) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	s, err := h.Host.NewStream(ctx, victim, protocol.ExecuteProtocol)
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
