package bench

import (
	"fmt"
	"math"
	"sync"
	"testing"
	"time"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/testnet/bench/report"
)

const (
	// burstNodes are in the mesh that bursts are sent to, and lend 1, 2, 4 or 8
	// cores, or what this machine has where that is less, at speed 0.5, 1 or 2.
	burstNodes = 10
	// burstWork is what each request of a burst has a core at speed 1 do.
	burstWork = 100 * time.Millisecond
	// perApp is how many requests an app has under way: a device allows it no
	// more than some 1,000.
	perApp = 500
	// mostRounds is how often a burst is sent at most: the large ones take long.
	mostRounds = 5
)

func burstSize(i int) (protocol.Cores, float64) {
	return []protocol.Cores{1, 2, 4, 8}[i%4], []float64{0.5, 1, 2}[i%3]
}

// BenchmarkBurst: so many different requests at once, from one device of a mesh
// of ten whose speeds and sizes differ, with fake engines that tell themselves
// what they started. Each must have run exactly once.
func BenchmarkBurst(b *testing.B) {
	for _, count := range []int{20, 200, 2000} {
		b.Run(fmt.Sprintf("requests=%d", count), func(b *testing.B) { burst(b, count) })
	}
}

func burst(b *testing.B, count int) {
	m := mustStart(b, burstNodes, burstSize)
	var devices []*protocol.AppClient
	for range (count + perApp - 1) / perApp {
		devices = append(devices, m.app(b, 0))
	}
	each, capacity := capacities(b, devices[0])
	ideal := max(burstWork.Seconds()/2, float64(count)*burstWork.Seconds()/capacity)
	var complete, off, distinct, least series
	for round := 0; b.Loop(); round++ {
		if round >= mostRounds {
			continue
		}
		took, err := m.send(b, devices, count, round)
		for _, e := range err {
			b.Errorf("a request was lost: %v", e)
		}
		nodes, once := m.ran(count, round)
		if once != count {
			b.Errorf("%d of %d requests ran exactly once", once, count)
		}
		complete = append(complete, took.Seconds())
		least = append(least, ideal)
		distinct = append(distinct, float64(once))
		off = append(off, 100*deviation(nodes, each, count))
	}
	for _, f := range []*report.Figure{
		{
			Name: fmt.Sprintf("time of %d requests", count), Unit: "s", Samples: complete, Reference: &report.Reference{Name: "least possible", Samples: least},
			Note: "the least possible is all work evenly on all cores; fewer requests than cores cannot be spread like that",
		},
		{Name: fmt.Sprintf("requests run once, of %d", count), Unit: "requests", Samples: distinct},
		{Name: fmt.Sprintf("%d requests, out of proportion", count), Unit: "%", Samples: off, Note: "the share of requests that would have to be elsewhere for each node to have its part by cores × speed"},
	} {
		f.Group, f.Nodes = "burst", burstNodes
		record(b, f)
	}
}

// capacities returns the cores × speed that each node lends, as it tells itself:
// none lends more cores than the machine has that all of them share.
func capacities(b *testing.B, device *protocol.AppClient) (each map[string]float64, all float64) {
	b.Helper()
	each = make(map[string]float64)
	err := device.Devices(b.Context(), false, func(ds []protocol.Device) error {
		for _, d := range ds {
			each[d.Status.Name] = float64(d.Status.CPUs) * d.Status.Speed
			all += each[d.Status.Name]
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	return each, all
}

func burstID(round, i int) protocol.RequestID {
	return protocol.RequestID(fmt.Sprintf("burst-%d-%d", round, i))
}

// send asks for all at once and waits for the end of each; it returns why those
// without a good one have none.
func (m *mesh) send(b *testing.B, devices []*protocol.AppClient, count, round int) (time.Duration, []error) {
	var mu sync.Mutex // guards failed
	var failed []error
	var all sync.WaitGroup
	start := time.Now()
	for i := range count {
		all.Go(func() {
			t, err := ask(b.Context(), devices[i%len(devices)], protocol.Run{ID: burstID(round, i), Service: work("burn=" + burstWork.String())})
			if err == nil && t.ended == 0 {
				err = fmt.Errorf("request %d: no end was told", i)
			}
			if err != nil {
				mu.Lock()
				failed = append(failed, err)
				mu.Unlock()
			}
		})
	}
	all.Wait()
	return time.Since(start), failed
}

// ran returns how many of a burst's requests each node started, by what the
// engines tell, and how many were started exactly once.
func (m *mesh) ran(count, round int) (nodes map[string]int, once int) {
	deadline := time.After(10 * time.Second) // what the engines tell may lag behind
	for {
		nodes, once = make(map[string]int), 0
		seen := 0
		m.mu.Lock()
		for i := range count {
			starts := m.starts[burstID(round, i)]
			for _, n := range starts {
				nodes[n]++
			}
			if len(starts) > 0 {
				seen++
			}
			if len(starts) == 1 {
				once++
			}
		}
		m.mu.Unlock()
		if seen == count {
			return nodes, once
		}
		select {
		case <-m.started:
		case <-deadline:
			return nodes, once
		}
	}
}

// deviation is how far requests are from being spread by capacity: 0 is exactly,
// 1 all where none should be.
func deviation(nodes map[string]int, capacity map[string]float64, count int) float64 {
	sum, all := 0.0, 0.0
	for _, c := range capacity {
		all += c
	}
	for name, c := range capacity {
		sum += math.Abs(float64(nodes[name])/float64(count) - c/all)
	}
	return sum / 2
}
