package runtime_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	goruntime "runtime"
	"sync"
	"testing"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime"
	"github.com/hearth-edge/hearth/runtime/fake"
)

// realNode runs a node on a fake engine in real time until the test ends.
func realNode(t testing.TB) *runtime.Node {
	t.Helper()
	engine := fake.NewEngine(fake.Config{Images: map[string]fake.Image{image: {}}})
	node, err := runtime.New(runtime.Config{
		Node: self, Name: "me", Driver: engine.Driver("mesh", self),
		CPUs: 2000, Memory: 2000 << 30, Policy: runtime.DefaultPolicy(),
		Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := node.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(func() {
		cancel()
		running.Wait()
		engine.Close()
	})
	return node
}

// BenchmarkOutput measures a container's output from the driver to a session.
func BenchmarkOutput(b *testing.B) {
	const size = 1 << 30
	node := realNode(b)
	b.SetBytes(size)
	for i := 0; b.Loop(); i++ {
		s, err := node.Offer(b.Context(), offer(fmt.Sprint(i), fmt.Sprint("bytes=", size)))
		if err != nil {
			b.Fatal(err)
		}
		got := 0
		for {
			u, err := s.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				b.Fatal(err)
			}
			if u.Output != nil {
				got += len(u.Output.Data)
			}
		}
		if got != size {
			b.Fatalf("%d bytes", got)
		}
	}
}

// BenchmarkAttached measures what an execution costs in memory that is
// attached to and silent.
func BenchmarkAttached(b *testing.B) {
	const many = 1000
	used := func() float64 {
		var m goruntime.MemStats
		goruntime.GC()
		goruntime.ReadMemStats(&m)
		return float64(m.HeapAlloc + m.StackInuse)
	}
	for b.Loop() {
		node := realNode(b)
		before := used()
		sessions := make([]protocol.Session, many)
		for i := range sessions {
			o := offer(fmt.Sprint(i), "out=hello", "echo")
			o.Service.Stdin = true
			var err error
			if sessions[i], err = node.Offer(b.Context(), o); err != nil {
				b.Fatal(err)
			}
			for {
				u, err := sessions[i].Next()
				if err != nil {
					b.Fatal(err)
				}
				if u.Output != nil {
					break
				}
			}
		}
		b.ReportMetric((used()-before)/many/1024, "KiB/execution")
		b.ReportMetric(float64(goruntime.NumGoroutine())/many, "goroutines/execution")
		for _, s := range sessions {
			s.CloseWrite()
			for err := error(nil); err == nil; {
				_, err = s.Next()
			}
			s.Close()
		}
	}
}
