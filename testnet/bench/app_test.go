package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/hearth-edge/hearth/cmd/hearth/node"
	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/testnet/inproc"
)

// silently is how the nodes of a benchmark log.
func silently(_ int, cfg *node.Config) { cfg.Log = slog.New(slog.DiscardHandler) }

// runToEnd asks for a service and reads its session to the end; it returns after
// how long it was accepted, and how many bytes of output came.
func runToEnd(ctx context.Context, app protocol.App, run protocol.Run) (accepted time.Duration, output int64, err error) {
	start := time.Now()
	session, err := app.Run(ctx, run)
	if err != nil {
		return 0, 0, err
	}
	defer session.Close()
	for {
		u, err := session.Next()
		switch {
		case errors.Is(err, io.EOF):
			return accepted, output, nil
		case err != nil:
			return accepted, output, err
		case u.Output != nil:
			output += int64(len(u.Output.Data))
		case u.Event == nil:
		case u.Event.State == protocol.StateAccepted:
			accepted = time.Since(start)
		case u.Event.State.Ended() && u.Event.State != protocol.StateSucceeded:
			return accepted, output, fmt.Errorf("it ended as %d: %s", u.Event.State, u.Event.Reason)
		}
	}
}

// BenchmarkAccepts: 100 apps ask one device, with a fake engine, for one request
// after another, each of which is on disk before it is accepted. Limit: 2,000 a
// second. One iteration is 1,000 requests.
func BenchmarkAccepts(b *testing.B) {
	mesh := inproc.Start(b, 1, inproc.Options{Configure: silently})
	app := mesh.Nodes[0].App
	const apps, each = 100, 10
	var mu sync.Mutex // guards accepted
	var accepted series
	count, start := 0, time.Now()
	for b.Loop() {
		var all sync.WaitGroup
		for range apps {
			all.Go(func() {
				for range each {
					took, _, err := runToEnd(b.Context(), app, protocol.Run{Service: protocol.Service{Image: inproc.Image, Args: []string{"exit=0"}}})
					if err != nil {
						b.Error(err)
						return
					}
					mu.Lock()
					accepted.add(took)
					mu.Unlock()
				}
			})
		}
		all.Wait()
		count += apps * each
	}
	b.ReportMetric(float64(count)/time.Since(start).Seconds(), "requests/s")
	accepted.report(b, "accepted")
	quiet(b)
}

// BenchmarkAcceptsPaced: 1,000 requests a second; limit: 20 ms for the slowest
// of a hundred. One iteration is one second.
func BenchmarkAcceptsPaced(b *testing.B) {
	mesh := inproc.Start(b, 1, inproc.Options{Configure: silently})
	app := mesh.Nodes[0].App
	var mu sync.Mutex // guards accepted
	var accepted series
	for b.Loop() {
		var all sync.WaitGroup
		tick := time.NewTicker(time.Millisecond)
		for range 1000 {
			<-tick.C
			all.Go(func() {
				took, _, err := runToEnd(b.Context(), app, protocol.Run{Service: protocol.Service{Image: inproc.Image, Args: []string{"exit=0"}}})
				if err != nil {
					b.Error(err)
					return
				}
				mu.Lock()
				accepted.add(took)
				mu.Unlock()
			})
		}
		tick.Stop()
		all.Wait()
	}
	b.ReportMetric(float64(accepted.at(0.99))/1e6, "accepted-p99-ms")
	accepted.report(b, "accepted")
	quiet(b)
}

// BenchmarkOutput: 256 MiB of output from one device to an app of another, over
// loopback. Limit: 200 MB/s.
func BenchmarkOutput(b *testing.B) {
	mesh := inproc.Start(b, 2, inproc.Options{Configure: silently})
	const size = 256 << 20
	b.SetBytes(size)
	for b.Loop() {
		_, output, err := runToEnd(b.Context(), mesh.Nodes[0].App, protocol.Run{Service: protocol.Service{
			Image: inproc.Image, Args: []string{fmt.Sprintf("bytes=%d", size)},
			Constraints: protocol.Constraints{Node: mesh.Nodes[1].Name},
		}})
		if err != nil || output != size {
			b.Fatalf("%d bytes, %v", output, err)
		}
	}
}

// BenchmarkAttached: what a process takes that is both a device with 1,000
// attached requests and the apps that wait for them. Limit: 150 MB for the
// device alone.
func BenchmarkAttached(b *testing.B) {
	mesh := inproc.Start(b, 1, inproc.Options{Configure: silently})
	before := residentHere(b)
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	const count = 1000
	sessions := make([]protocol.Session, count)
	for b.Loop() {
		for i := range sessions {
			if sessions[i] != nil {
				continue
			}
			s, err := mesh.Nodes[0].App.Run(ctx, protocol.Run{Service: protocol.Service{
				Image: inproc.Image, Args: []string{"sleep=1h"}, CPUs: 0.002, Memory: 1 << 20,
			}})
			if err != nil {
				b.Fatal(err)
			}
			sessions[i] = s
			for running := false; !running; {
				u, err := s.Next()
				if err != nil {
					b.Fatal(err)
				}
				running = u.Event != nil && u.Event.State == protocol.StateRunning
			}
		}
	}
	after := residentHere(b)
	b.ReportMetric(float64(after)/1e6, "rss-MB")
	b.ReportMetric(float64(after-before)/1e3/count, "rss-kB/request")
	for _, s := range sessions {
		s.Close()
	}
	quiet(b)
}

// residentHere returns the memory that this process takes, in bytes.
func residentHere(b *testing.B) uint64 { return 1024 * field(b, "/proc/self/status", "VmRSS:", 1) }
