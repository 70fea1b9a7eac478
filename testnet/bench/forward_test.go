package bench

import (
	"context"
	"io"
	"net"
	"testing"
	"time"

	"github.com/hearth-edge/hearth/p2p/forward"
	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/testnet/bench/report"
)

// forwardedPort: a port here that leads to a container of another device, as
// 'hearth forward' opens it, beside the same server over plain TCP. The container is
// a fake engine's, which sends back what comes. One iteration is 20 connections, and
// 64 MiB each way on one.
func forwardedPort(b *testing.B) {
	const connections, size, port = 20, 64 << 20, 80
	m := mustStart(b, 2, nil)
	asker := m.app(b, 0)
	service := work("serve=80", "sleep=1h")
	service.Constraints.NotHere = true
	s, err := asker.Run(b.Context(), protocol.Run{ID: "forwarded", Service: service})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	for state := protocol.StateAccepted; state != protocol.StateRunning; {
		u, err := s.Next()
		if err != nil {
			b.Fatal(err)
		}
		if u.Event != nil {
			state = u.Event.State
		}
	}
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	target := protocol.Dial{Target: protocol.Target{Request: "forwarded"}, Port: port}
	far, near := listenHere(b), listenHere(b)
	go func() {
		_ = forward.TCP(ctx, far, func(ctx context.Context) (protocol.Stream, error) { return asker.Dial(ctx, target) }, func(err error) { b.Error(err) })
	}()
	go echoPlainly(near)
	defer near.Close()
	var connect, plainConnect, rate, plainRate series
	for b.Loop() {
		for range connections {
			connect.add(echoed(b, far.Addr(), 1))
			plainConnect.add(echoed(b, near.Addr(), 1))
		}
		rate = append(rate, size/1e6/echoed(b, far.Addr(), size).Seconds())
		plainRate = append(plainRate, size/1e6/echoed(b, near.Addr(), size).Seconds())
	}
	record(b, &report.Figure{
		Group: "throughput", Name: "forwarded port, connected and answered", Nodes: 2, Unit: "ms", Samples: thin(connect),
		Reference: &report.Reference{Name: "plain TCP", Samples: thin(plainConnect)},
	})
	record(b, &report.Figure{
		Group: "throughput", Name: "forwarded port, there and back", Nodes: 2, Unit: "MB/s", Samples: rate,
		Reference: &report.Reference{Name: "plain TCP", Samples: plainRate},
	})
}

func listenHere(b *testing.B) net.Listener {
	b.Helper()
	l, err := new(net.ListenConfig).Listen(b.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	return l
}

// echoPlainly sends back what comes on each connection, until l is closed.
func echoPlainly(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			_, _ = io.Copy(struct{ io.Writer }{c}, c) // through this process, as the other way goes
		}()
	}
}

// echoed is how long it takes to connect, to send so many bytes and to have them
// back.
func echoed(b *testing.B, at net.Addr, size int64) time.Duration {
	b.Helper()
	start := time.Now()
	c, err := new(net.Dialer).DialContext(b.Context(), "tcp", at.String())
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	go func() {
		buf := make([]byte, chunk)
		for left := size; left > 0; left -= chunk {
			if _, err := c.Write(buf[:min(left, chunk)]); err != nil {
				return // the reader tells
			}
		}
	}()
	if n, err := io.CopyN(io.Discard, c, size); err != nil {
		b.Fatalf("%d of %d bytes: %v", n, size, err)
	}
	return time.Since(start)
}
