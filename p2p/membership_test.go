package p2p

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	libp2pproto "github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/core/sec"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
	mss "github.com/multiformats/go-multistream"

	"github.com/hearth-edge/hearth/keys"
)

// Nobody gets a word out of a device without a valid certificate of their own.
func TestStrangersAreTurnedAway(t *testing.T) {
	t.Parallel()
	secret, other := keys.NewSecret(), keys.NewSecret()
	key := newKey(t, secret, "b")
	replayed := certificate(t, secret, newKey(t, secret, "c"), "c")
	for name, c := range map[string]struct {
		send []byte
		why  string // logged; empty: nothing is
	}{
		"wrong secret":    {frame(certificate(t, other, key, "b")), "another secret"},
		"replayed":        {frame(replayed), "for another peer"},
		"garbage":         {frame([]byte("GET / HTTP/1.1\r\n\r\n")), "malformed"},
		"empty":           {frame(nil), "malformed"},
		"oversized":       {bytes.Repeat([]byte{0xff, 0x7f}, 600), "not a member"},
		"overlong length": {bytes.Repeat([]byte{0xff}, 16), ""},
		"silent":          {nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := start(t, secret, "a")
			conn, err := dialSecurely(t, d, securityID, key)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := conn.Write(c.send); err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			if got, err := io.ReadAll(conn); len(got) > 0 {
				t.Errorf("it answered %q, %v", got, err)
			}
			if took := time.Since(began); took > handshakeTimeout+time.Second {
				t.Errorf("the connection stayed open for %v", took)
			}
			if c.why != "" {
				d.logs(c.why)
				if s := d.Strangers(); len(s) != 1 || !strings.HasPrefix(s[0].Address, "127.0.0.1") {
					t.Errorf("strangers %v", s)
				}
			}
			member := start(t, secret, "b", d.asPeer())
			d.joins(member)
		})
	}
}

// Stock libp2p peers do not get as far as a handshake.
func TestStockNoiseIsRefused(t *testing.T) {
	t.Parallel()
	secret := keys.NewSecret()
	d := start(t, secret, "a")
	if _, err := dialSecurely(t, d, noise.ID, newKey(t, secret, "b")); err == nil {
		t.Error("stock noise was spoken")
	}
}

// Devices of different meshes: both sides say so, once.
func TestAnotherMesh(t *testing.T) {
	t.Parallel()
	a := start(t, keys.NewSecret(), "a")
	b := start(t, keys.NewSecret(), "b", a.asPeer())
	a.logs("not a member of this mesh (another secret?)")
	b.logs("not a member of this mesh (another secret?)", "cannot be reached")
	if n := strings.Count(b.log.String(), "another secret?"); n != 1 {
		t.Errorf("said %d times:\n%s", n, b.log)
	}
	if len(a.Strangers()) != 1 || len(b.Strangers()) != 1 {
		t.Errorf("strangers %v, %v", a.Strangers(), b.Strangers())
	}
	if len(a.Peers())+len(b.Peers()) > 0 {
		t.Error("they are connected")
	}
}

// A dialler believes no listener without a certificate either.
func TestImpostorListener(t *testing.T) {
	t.Parallel()
	secret := keys.NewSecret()
	key := newKey(t, secret, "fake")
	for name, answer := range map[string][]byte{
		"wrong secret": frame(certificate(t, keys.NewSecret(), key, "fake")),
		"garbage":      frame([]byte{1, 2, 3}),
		"closes":       nil,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			served := make(chan struct{})
			go func() {
				defer close(served)
				for {
					raw, err := l.Accept()
					if err != nil {
						return
					}
					impersonate(raw, key, answer)
				}
			}()
			t.Cleanup(func() { _ = l.Close(); <-served })
			at, err := manet.FromNetAddr(l.Addr())
			if err != nil {
				t.Fatal(err)
			}
			d := start(t, secret, "a", func(c *Config) { c.Peers = []ma.Multiaddr{at} })
			d.logs("not a member of this mesh", "cannot be reached")
			if len(d.Peers()) > 0 {
				t.Error("it joined")
			}
		})
	}
}

// impersonate speaks Noise properly and then sends answer.
func impersonate(raw net.Conn, key crypto.PrivKey, answer []byte) {
	defer raw.Close()
	mux := mss.NewMultistreamMuxer[libp2pproto.ID]()
	mux.AddHandler(securityID, nil)
	if _, _, err := mux.Negotiate(raw); err != nil {
		return
	}
	n, err := noise.New(securityID, key, newMuxers(muxID, nil))
	if err != nil {
		return
	}
	c, err := n.SecureInbound(context.Background(), raw, "")
	if err != nil {
		return
	}
	if _, err := readFrame(unbuffered{c}, keys.MaxCertificate); err == nil {
		_, _ = c.Write(answer)
	}
}

func FuzzHandshakeReaders(f *testing.F) {
	secret := keys.NewSecret()
	f.Add(frame(certificate(f, secret, newKey(f, secret, "a"), "a")))
	f.Add(frame([]byte{byte(verdictDuplicate), 'x'}))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01})
	f.Fuzz(func(t *testing.T, data []byte) {
		r := bytes.NewReader(data)
		if got, err := readFrame(r, keys.MaxCertificate); err == nil {
			if len(got) > keys.MaxCertificate {
				t.Errorf("%d bytes read", len(got))
			}
			var c keys.Certificate
			_ = c.UnmarshalBinary(got)
			if !bytes.HasSuffix(data, append(got, data[len(data)-r.Len():]...)) {
				t.Error("more was read than the frame")
			}
		}
		_, _ = readVerdict(bytes.NewReader(data))
	})
}

// FuzzListener feeds the listener's side what a stranger could say inside of Noise:
// it says nothing before it has read a valid certificate.
func FuzzListener(f *testing.F) {
	secret := keys.NewSecret()
	key := newKey(f, secret, "b")
	id, err := peer.IDFromPrivateKey(key)
	if err != nil {
		f.Fatal(err)
	}
	own := newKey(f, secret, "a")
	self, err := peer.IDFromPrivateKey(own)
	if err != nil {
		f.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	proof := frame(certificate(f, secret, key, "b"))
	f.Add(append(bytes.Clone(proof), frame([]byte{byte(verdictAccepted)})...))
	f.Add(append(bytes.Clone(proof), frame([]byte{1, 2, 3})...))
	f.Add(append(bytes.Clone(proof), 0x80, 0x80, 0x80))
	f.Add(frame(certificate(f, keys.NewSecret(), key, "b")))
	f.Fuzz(func(t *testing.T, data []byte) {
		cfg := Config{Secret: secret, Key: own, Name: "a", Log: log}
		m, err := newMembership(&cfg, self, newPeerBook("", self, log), newNames(pin{Name: "a", ID: self}, nil, log), newDiagnostics("ours", log))
		if err != nil {
			t.Fatal(err)
		}
		c := &scriptedConn{from: id, in: bytes.NewReader(data)}
		_, err = m.proveToDialler(c, "10.0.0.1:1")
		if proven := bytes.HasPrefix(data, proof); !proven && (err == nil || c.out.Len() > 0) {
			t.Errorf("a stranger was told %q, %v", c.out.Bytes(), err)
		}
	})
}

// scriptedConn is a secured connection of which the other side has said all.
type scriptedConn struct {
	sec.SecureConn
	from peer.ID
	in   io.Reader
	out  bytes.Buffer
}

func (c *scriptedConn) Read(p []byte) (int, error)  { return c.in.Read(p) }
func (c *scriptedConn) Write(p []byte) (int, error) { return c.out.Write(p) }
func (c *scriptedConn) RemotePeer() peer.ID         { return c.from }

func (c *scriptedConn) ConnState() network.ConnectionState {
	return network.ConnectionState{StreamMultiplexer: muxID}
}

func dialSecurely(t *testing.T, d *device, proto libp2pproto.ID, key crypto.PrivKey) (sec.SecureConn, error) {
	t.Helper()
	a, _ := peer.SplitAddr(ma.StringCast(d.Addresses()[0]))
	raw, err := manet.Dial(a)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = raw.Close() })
	if err := mss.SelectProtoOrFail(proto, raw); err != nil {
		return nil, err
	}
	n, err := noise.New(proto, key, newMuxers(muxID, nil))
	if err != nil {
		return nil, errors.Join(err)
	}
	return n.SecureOutbound(t.Context(), raw, d.id)
}

func certificate(t testing.TB, secret keys.Secret, key crypto.PrivKey, name string) []byte {
	t.Helper()
	mesh, err := keys.NewMesh(secret)
	if err != nil {
		t.Fatal(err)
	}
	id, err := peer.IDFromPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := mesh.Certify(id, name)
	if err != nil {
		t.Fatal(err)
	}
	data, err := cert.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func frame(data []byte) []byte {
	var b bytes.Buffer
	_ = writeFrame(&b, data)
	return b.Bytes()
}
