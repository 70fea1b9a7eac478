package sched

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

// instant is a node on which everything succeeds at once.
type instant struct{ forever bool }

func (i instant) Offer(context.Context, protocol.Offer) (protocol.Session, error) {
	feed := protocol.NewFeed(1 << 10)
	feed.Event(protocol.Event{State: protocol.StateRunning})
	if !i.forever {
		feed.Event(protocol.Event{State: protocol.StateSucceeded})
		feed.End()
	}
	e := &testExecution{feed: feed}
	return e.session(0, 0), nil
}

func (i instant) Attach(context.Context, protocol.Attach) (protocol.Session, error) {
	return nil, protocol.Errorf(protocol.CodeNotFound, "no such execution")
}

// benchOrchestrator runs one on a journal on disk, in a mesh of so many nodes.
func benchOrchestrator(b *testing.B, nodes int, node instant) *Orchestrator {
	j := openJournal(b, filepath.Join(b.TempDir(), "journal"))
	start := time.Now()
	clock := func() time.Duration { return time.Since(start) }
	view := NewView("node0", clock, DefaultParams())
	for i := range nodes {
		id := protocol.PeerID(fmt.Sprint("node", i))
		view.Joined(id, string(id), "addr")
		status := nodeStatus(id, float64(i%5+1), 4)
		status.Interval = time.Minute
		view.UpdateStatus(status)
	}
	o := New(Config{
		Self: "node0", Name: "node0", View: view, Clock: clock, Now: time.Now, Rand: seeded(1), Journal: j.Journal,
		Executor: func(protocol.PeerID) (protocol.Executor, error) { return node, nil },
		Params:   DefaultParams(), Log: slog.New(slog.DiscardHandler),
	})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- o.Run(ctx) }()
	b.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			b.Error(err)
		}
		if err := j.Close(); err != nil {
			b.Error(err)
		}
	})
	return o
}

// life runs a request to its end, and returns how long the accept took.
func life(b *testing.B, o *Orchestrator, id int) time.Duration {
	start := time.Now()
	s, err := o.Accept(context.Background(), protocol.Run{
		ID: protocol.RequestID(fmt.Sprint("r", id)), Service: protocol.Service{Image: "busybox", Args: []string{"true"}},
	})
	took := time.Since(start)
	if err != nil {
		b.Error(err)
		return took
	}
	for err == nil {
		_, err = s.Next()
	}
	_ = s.Close()
	return took
}

// BenchmarkRequests: one operation is a request from the accept to its end, each
// accept, offer and end synced.
func BenchmarkRequests(b *testing.B) {
	for _, callers := range []int{1, 16, 256} {
		b.Run(fmt.Sprint("callers=", callers), func(b *testing.B) {
			o := benchOrchestrator(b, 5, instant{})
			var next atomic.Int64
			var wg sync.WaitGroup
			b.ResetTimer()
			for range callers {
				wg.Go(func() {
					for n := next.Add(1); n <= int64(b.N); n = next.Add(1) {
						life(b, o, int(n))
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "requests/s")
		})
	}
}

// BenchmarkMesh: one operation is a request as in BenchmarkRequests, in a mesh of
// so many nodes. What it allocates must hardly grow with the mesh.
func BenchmarkMesh(b *testing.B) {
	for _, nodes := range []int{3, 30, 100, 200} {
		b.Run(fmt.Sprint("nodes=", nodes), func(b *testing.B) {
			o := benchOrchestrator(b, nodes, instant{})
			b.ReportAllocs()
			for n := 0; b.Loop(); n++ {
				life(b, o, n)
			}
		})
	}
}

// BenchmarkAcceptAt1000PerSecond: requests come at a steady rate, whatever
// becomes of them; the metrics are how long the accepts took.
func BenchmarkAcceptAt1000PerSecond(b *testing.B) {
	o := benchOrchestrator(b, 5, instant{})
	took := make([]time.Duration, b.N)
	interval := time.NewTicker(time.Millisecond)
	defer interval.Stop()
	var wg sync.WaitGroup
	b.ResetTimer()
	for n := range b.N {
		<-interval.C
		wg.Go(func() { took[n] = life(b, o, n) })
	}
	wg.Wait()
	slices.Sort(took)
	b.ReportMetric(float64(took[b.N/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(took[b.N*99/100].Microseconds())/1000, "p99-ms")
}

// BenchmarkAttached: what a request under way costs in memory, with an app
// attached to it.
func BenchmarkAttached(b *testing.B) {
	o := benchOrchestrator(b, 5, instant{forever: true})
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	most := min(b.N, DefaultParams().MaxRequests)
	for n := range most {
		s, err := o.Accept(context.Background(), protocol.Run{
			ID: protocol.RequestID(fmt.Sprint("r", n)), Service: protocol.Service{Image: "busybox"}, Detach: true,
		})
		if err != nil {
			b.Fatal(err)
		}
		defer s.Close()
		for u, err := s.Next(); err == nil && (u.Event == nil || u.Event.State != protocol.StateRunning); u, err = s.Next() {
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	used := after.HeapInuse + after.StackInuse - before.HeapInuse - before.StackInuse
	b.ReportMetric(float64(used)/float64(most)/1024, "KiB/request")
}
