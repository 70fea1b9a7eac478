package bench

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/testnet/bench/report"
)

// BenchmarkThroughput: how much goes through one device, and through a mesh.
// Engines are fake, all else is real, and accepted is what is on disk.
func BenchmarkThroughput(b *testing.B) {
	b.Run("one", func(b *testing.B) { requests(b, "requests through one device", 1) })
	b.Run("mesh", func(b *testing.B) { requests(b, "requests over the mesh", 3) })
	b.Run("paced", paced)
	b.Run("output", output)
	b.Run("attached", attached)
	b.Run("forward", forwardedPort)
}

// requests: 100 apps ask the devices of a mesh for one request after another.
// One iteration is 1,000 requests.
func requests(b *testing.B, name string, count int) {
	const apps, each = 100, 10
	m := mustStart(b, count, nil)
	var devices []*protocol.AppClient
	for i := range count {
		devices = append(devices, m.app(b, i))
	}
	bare := newPair(b)
	var mu sync.Mutex // guards accepted
	var accepted, rate, streams series
	for b.Loop() {
		streams = append(streams, bare.echoes(b, apps, each))
		var all sync.WaitGroup
		start := time.Now()
		for i := range apps {
			all.Go(func() {
				for range each {
					t, err := ask(b.Context(), devices[i%count], protocol.Run{Service: work("exit=0")})
					if err != nil {
						b.Error(err)
						return
					}
					mu.Lock()
					accepted.add(t.accepted)
					mu.Unlock()
				}
			})
		}
		all.Wait()
		rate = append(rate, apps*each/time.Since(start).Seconds())
	}
	record(b, &report.Figure{
		Group: "throughput", Name: name, Nodes: count, Unit: "/s", Samples: rate,
		Reference: &report.Reference{Name: "libp2p streams echoed", Samples: streams},
	})
	record(b, &report.Figure{Group: "throughput", Name: "accepted with 100 at once", Nodes: count, Unit: "ms", Samples: thin(accepted)})
}

// paced: 1,000 requests a second, whatever becomes of them. One iteration is one
// second.
func paced(b *testing.B) {
	device := mustStart(b, 1, nil).app(b, 0)
	var mu sync.Mutex // guards accepted
	var accepted series
	for b.Loop() {
		var all sync.WaitGroup
		tick := time.NewTicker(time.Millisecond)
		for range 1000 {
			<-tick.C
			all.Go(func() {
				t, err := ask(b.Context(), device, protocol.Run{Service: work("exit=0")})
				if err != nil {
					b.Error(err)
					return
				}
				mu.Lock()
				accepted.add(t.accepted)
				mu.Unlock()
			})
		}
		tick.Stop()
		all.Wait()
	}
	record(b, &report.Figure{Group: "throughput", Name: "accepted at 1,000 a second", Nodes: 1, Unit: "ms", Samples: thin(accepted)})
}

// thin leaves out samples evenly where there are more than a report needs.
func thin(s series) series {
	const enough = 2000
	if len(s) <= enough {
		return s
	}
	var out series
	for i := range enough {
		out = append(out, s[i*len(s)/enough])
	}
	return out
}

// output: 256 MiB from one device to an app of another, over loopback, beside as much
// over one of libp2p's own streams, and that beside TCP alone, in turns.
func output(b *testing.B) {
	const size = 256 << 20
	m := mustStart(b, 2, nil)
	device := m.app(b, 0)
	service := work(fmt.Sprintf("bytes=%d", size))
	service.Constraints.Node = m.nodes[1].Name
	bare := newPair(b)
	var rate, stream, wire series
	for b.Loop() {
		wire, stream = append(wire, plain(b, size)), append(stream, bare.send(b, size))
		start := time.Now()
		t, err := ask(b.Context(), device, protocol.Run{Service: service})
		if err != nil || t.output != size {
			b.Fatalf("%d bytes of %d, %v", t.output, size, err)
		}
		rate = append(rate, size/1e6/time.Since(start).Seconds())
	}
	record(b, &report.Figure{
		Group: "throughput", Name: "output", Nodes: 2, Unit: "MB/s", Samples: rate,
		Reference: &report.Reference{Name: "libp2p's own stream", Samples: stream},
		Note:      "it is made by one device and passed on by another to the app: encrypted and decrypted twice, all on this machine; libp2p's own stream does that once",
	})
	record(b, &report.Figure{
		Group: "throughput", Name: "libp2p's own stream", Nodes: 2, Unit: "MB/s", Samples: stream,
		Reference: &report.Reference{Name: "TCP alone", Samples: wire},
	})
}

// attached: what a device takes with 1,000 requests under way that apps wait for.
func attached(b *testing.B) {
	const count = 1000
	m := mustStart(b, 1, nil)
	device, pid := m.app(b, 0), m.procs[0].Process.Pid
	before := readUsage(b, pid, "lo").rss
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	service := work("sleep=1h")
	service.CPUs, service.Memory = 0.002, 1<<20
	for range count {
		s, err := device.Run(ctx, protocol.Run{Service: service})
		if err != nil {
			b.Fatal(err)
		}
		defer s.Close()
		for running := false; !running; {
			u, err := s.Next()
			if err != nil {
				b.Fatal(err)
			}
			running = u.Event != nil && u.Event.State == protocol.StateRunning
		}
	}
	after := readUsage(b, pid, "lo").rss
	once(b)
	record(b, &report.Figure{Group: "throughput", Name: "memory with 1,000 attached", Nodes: 1, Unit: "MB", Samples: series{float64(after) / 1e6}})
	record(b, &report.Figure{Group: "throughput", Name: "memory of an attached one", Nodes: 1, Unit: "kB", Samples: series{float64(after-before) / 1e3 / count}})
}
