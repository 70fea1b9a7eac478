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
	"strings"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	libp2pproto "github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/core/sec"
	libp2pnoise "github.com/libp2p/go-libp2p/p2p/security/noise"
	"github.com/miekg/dns"
	mss "github.com/multiformats/go-multistream"

	"github.com/hearth-edge/hearth/keys"
)

// membershipID is the mesh's own handshake.
const membershipID libp2pproto.ID = "/hearth/noise/1.0.0"

var errRefused = errors.New("refused")

func noise(n int) []byte {
	out := make([]byte, n)
	for i := range out {
		out[i] = byte(rand.Uint32())
	}
	return out
}

// pretend tries handshakes that must fail, again and again.
func pretend(ctx context.Context, target, how, file string) error {
	for ctx.Err() == nil {
		key, _, err := crypto.GenerateEd25519Key(nil)
		if err != nil {
			return err
		}
		proof, err := wrongProof(key, how, file)
		if err != nil {
			return err
		}
		proto := membershipID
		if how == "stock" {
			proto = libp2pnoise.ID
		}
		told, err := handshake(ctx, target, proto, key, proof)
		if err == nil || len(told) > 0 {
			return fmt.Errorf("the device told %q (%w)", told, err)
		}
		started()
		if !errors.Is(err, errRefused) {
			time.Sleep(10 * time.Millisecond) // it was not even listened to
		}
	}
	return ctx.Err()
}

// wrongProof is a certificate that is not one of key's in the device's mesh.
func wrongProof(key crypto.PrivKey, how, file string) ([]byte, error) {
	secret := keys.NewSecret()
	id, err := peer.IDFromPrivateKey(key)
	if err != nil {
		return nil, err
	}
	if how == "borrowed" {
		if secret, err = keys.ReadSecretFile(file); err != nil {
			return nil, err
		}
		other, _, err := crypto.GenerateEd25519Key(nil)
		if err != nil {
			return nil, err
		}
		if id, err = peer.IDFromPrivateKey(other); err != nil {
			return nil, err
		}
	}
	return certificate(secret, id, "attacker")
}

func certificate(secret keys.Secret, id peer.ID, name string) ([]byte, error) {
	mesh, err := keys.NewMesh(secret)
	if err != nil {
		return nil, err
	}
	c, err := mesh.Certify(id, name)
	if err != nil {
		return nil, err
	}
	data, err := c.MarshalBinary()
	return append(binary.AppendUvarint(nil, uint64(len(data))), data...), err
}

// handshake returns what the device says to a dialler with that proof.
func handshake(ctx context.Context, target string, proto libp2pproto.ID, key crypto.PrivKey, proof []byte) ([]byte, error) {
	raw, err := net.DialTimeout("tcp", target, 5*time.Second)
	if err != nil {
		return nil, err
	}
	defer raw.Close()
	if err := raw.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		return nil, err
	}
	if err := mss.SelectProtoOrFail(proto, raw); err != nil {
		return nil, fmt.Errorf("%w: %w", errRefused, err)
	}
	c, err := secure(ctx, raw, proto, key)
	if err != nil {
		return nil, err
	}
	if _, err := c.Write(proof); err != nil {
		return nil, err
	}
	told, err := io.ReadAll(io.LimitReader(c, 4096))
	if err == nil {
		err = io.EOF
	}
	return told, fmt.Errorf("%w: %w", errRefused, err)
}

// secure is Noise with whomever it meets.
func secure(ctx context.Context, raw net.Conn, proto libp2pproto.ID, key crypto.PrivKey) (sec.SecureConn, error) {
	t, err := libp2pnoise.New(proto, key, muxers())
	if err != nil {
		return nil, err
	}
	anyone, err := t.WithSessionOptions(libp2pnoise.DisablePeerIDCheck())
	if err != nil {
		return nil, err
	}
	return anyone.SecureOutbound(ctx, raw, "")
}

// lie floods the network with announcements: devices that don't exist, others'
// addresses, names that no terminal should be sent, and packets of 64 KiB.
func lie(fingerprint string) error {
	c, err := net.Dial("udp4", "224.0.0.251:5353")
	if err != nil {
		return err
	}
	for {
		for i := range 10_000 {
			packet := noise(60_000)
			copy(packet[12:], "\x07_hearth\x04_udp\x05local\x00")
			if i%16 != 0 {
				if packet, err = announcement(i, fingerprint); err != nil {
					return err
				}
			}
			// What the network has no room for is lost.
			_, _ = c.Write(packet)
			if i%64 == 0 {
				time.Sleep(time.Millisecond)
			}
		}
		started()
	}
}

func announcement(i int, fingerprint string) ([]byte, error) {
	key, _, err := crypto.GenerateEd25519Key(nil)
	if err != nil {
		return nil, err
	}
	id, err := peer.IDFromPrivateKey(key)
	if err != nil {
		return nil, err
	}
	switch i % 4 {
	case 1:
		fingerprint = fmt.Sprintf("liar%d", i)
	case 2:
		fingerprint = "\x1b[2J" + strings.Repeat("x", 200)
	}
	name := fmt.Sprintf("liar%d._hearth._udp.local.", i)
	text := []string{"v=1", "mesh=" + fingerprint}
	for n := range 8 {
		text = append(text, fmt.Sprintf("dnsaddr=/ip4/10.77.0.%d/tcp/%d/p2p/%s", n+2, i%60_000+1, id))
	}
	m := new(dns.Msg)
	m.Response = true
	m.Answer = []dns.RR{
		&dns.PTR{Hdr: dns.RR_Header{Name: "_hearth._udp.local.", Rrtype: dns.TypePTR, Class: dns.ClassINET, Ttl: 3200}, Ptr: name},
		&dns.TXT{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: 3200}, Txt: text},
	}
	if i%8 == 7 {
		m = new(dns.Msg).SetQuestion("_hearth._udp.local.", dns.TypePTR)
	}
	return m.Pack()
}

// readSecret is for attackers that are members.
func readSecret(file string) (keys.Secret, error) {
	if _, err := os.Stat(file); err != nil {
		return keys.Secret{}, err
	}
	return keys.ReadSecretFile(file)
}
