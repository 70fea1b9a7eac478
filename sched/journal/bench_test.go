package journal

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

// BenchmarkAccept: one operation is one accept, synced.
func BenchmarkAccept(b *testing.B) {
	for _, callers := range []int{1, 16, 256} {
		b.Run(fmt.Sprint("callers=", callers), func(b *testing.B) {
			j := open(b, pathIn(b), testOptions())
			var next atomic.Int64
			var wg sync.WaitGroup
			b.ResetTimer()
			for range callers {
				wg.Go(func() {
					for n := next.Add(1); n <= int64(b.N); n = next.Add(1) {
						accept(b, j, fmt.Sprint("r", n))
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "accepts/s")
		})
	}
}

// BenchmarkAcceptAt1000PerSecond: accepts come at a steady rate, whatever the
// journal does; the metrics are how long each took.
func BenchmarkAcceptAt1000PerSecond(b *testing.B) {
	j := open(b, pathIn(b), testOptions())
	took := make([]time.Duration, b.N)
	interval := time.NewTicker(time.Millisecond)
	defer interval.Stop()
	var wg sync.WaitGroup
	b.ResetTimer()
	for n := range b.N {
		<-interval.C
		start := time.Now()
		wg.Go(func() {
			accept(b, j, fmt.Sprint("r", n))
			took[n] = time.Since(start)
		})
	}
	wg.Wait()
	slices.Sort(took)
	b.ReportMetric(float64(took[b.N/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(took[b.N*99/100].Microseconds())/1000, "p99-ms")
}

// BenchmarkLife: one operation is a request accepted, offered and ended with
// 4 KiB of output, 64 at a time; the metric is what the file grows to.
func BenchmarkLife(b *testing.B) {
	path := pathIn(b)
	j := open(b, path, testOptions())
	ctx := context.Background()
	final := ending(protocol.StateSucceeded, 0, strings.Repeat("x", 4<<10))
	var next atomic.Int64
	var wg sync.WaitGroup
	b.ResetTimer()
	for range 64 {
		wg.Go(func() {
			for n := next.Add(1); n <= int64(b.N); n = next.Add(1) {
				id := fmt.Sprint("r", n)
				accept(b, j, id)
				if err := j.Offered(ctx, protocol.RequestID(id), Offer{Attempt: 1, Node: "nodeA"}); err != nil {
					b.Error(err)
				}
				end(b, j, id, final)
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "requests/s")
	j.writers.Wait()
	info, err := os.Stat(path)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(info.Size())/(1<<20), "file-MiB")
}

func BenchmarkEncodeRequest(b *testing.B) {
	r := Record{Request: request("r")}
	for b.Loop() {
		if _, err := encodeRequest(&r); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkServiceHash(b *testing.B) {
	s := request("r").Service
	for b.Loop() {
		ServiceHash(s)
	}
}

// BenchmarkOpen: a file with 1000 requests.
func BenchmarkOpen(b *testing.B) {
	path := pathIn(b)
	j := open(b, path, testOptions())
	var wg sync.WaitGroup
	for i := range 1000 {
		wg.Go(func() { accept(b, j, fmt.Sprint("r", i)) })
	}
	wg.Wait()
	j.Close()
	for b.Loop() {
		j, err := Open(path, testOptions())
		if err != nil {
			b.Fatal(err)
		}
		j.Close()
	}
}
