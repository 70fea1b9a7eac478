package p2p

import (
	"io"
	"log/slog"
	"net"
	"testing"

	"github.com/libp2p/go-libp2p/core/peer"

	"golang.org/x/time/rate"

	"github.com/hearth-edge/hearth/keys"
)

// BenchmarkJoin is from the start of a device to being joined on both sides.
func BenchmarkJoin(b *testing.B) {
	secret := keys.NewSecret()
	a := start(b, secret, "a")
	for b.Loop() {
		d := start(b, secret, "b", a.asPeer())
		a.joins(d)
		d.joins(a)
		b.StopTimer()
		d.stop()
		a.next() // that it left
		b.StartTimer()
	}
}

// BenchmarkHandshake is both sides of what makes a connection a member's, over a
// pipe: Noise, the certificates and the verdicts.
func BenchmarkHandshake(b *testing.B) {
	secret, log := keys.NewSecret(), slog.New(slog.DiscardHandler)
	side := func(name string) (*membership, peer.ID) {
		key := newKey(b, secret, name)
		id, err := peer.IDFromPrivateKey(key)
		if err != nil {
			b.Fatal(err)
		}
		m, err := newMembership(&Config{Secret: secret, Key: key, Name: name, Log: log, muxID: muxID}, id, newPeerBook("", id, log), newNames(pin{Name: name, ID: id}, nil, log), newDiagnostics("ours", log))
		if err != nil {
			b.Fatal(err)
		}
		return m, id
	}
	dialler, from := side("a")
	listener, to := side("b")
	proved := make(chan error)
	b.ReportAllocs()
	for b.Loop() {
		near, far := net.Pipe()
		go func() {
			c, err := listener.SecureInbound(b.Context(), far, "")
			if err == nil {
				defer c.Close()
			}
			proved <- err
		}()
		c, err := dialler.SecureOutbound(b.Context(), near, to)
		if err == nil {
			err = <-proved
		}
		if err != nil {
			b.Fatal(err)
		}
		_ = c.Close()
		dialler.tieBreaker.free(to)
		listener.tieBreaker.free(from)
	}
}

// BenchmarkOpenAndEcho is a stream opened, used once and closed.
func BenchmarkOpenAndEcho(b *testing.B) {
	secret := keys.NewSecret()
	a := prepare(b, secret, "a")
	a.Handle(echoProtocol, echo)
	a.run()
	d := start(b, secret, "b", a.asPeer())
	d.joins(a)
	data := make([]byte, 150)
	for b.Loop() {
		s, err := d.Open(b.Context(), a.ID(), echoProtocol)
		if err != nil {
			b.Fatal(err)
		}
		if _, err = s.Write(data); err == nil {
			_, err = io.ReadFull(s, data)
		}
		if err != nil {
			b.Fatal(err)
		}
		_ = s.Close()
	}
}

// BenchmarkGossip is from Publish to OnStatus on another device.
func BenchmarkGossip(b *testing.B) {
	secret := keys.NewSecret()
	a := start(b, secret, "a")
	d := start(b, secret, "b", a.asPeer())
	a.joins(d)
	d.joins(a)
	for b.Loop() {
		d.members.mu.Lock()
		d.members.table[a.id].source.statuses = rate.NewLimiter(rate.Inf, 0)
		d.members.mu.Unlock()
		if err := a.Publish(aStatus()); err != nil {
			b.Fatal(err)
		}
		d.nextStatus(a.ID())
	}
}
