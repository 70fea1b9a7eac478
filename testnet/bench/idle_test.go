package bench

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hearth-edge/hearth/testnet"
	"github.com/hearth-edge/hearth/testnet/bench/report"
	"github.com/hearth-edge/hearth/testnet/netns"
)

// BenchmarkIdle: what one node costs that has nothing to do, alone and in meshes
// of 3 and 30, each of them a process with Docker and mDNS. One iteration is a
// second of watching it.
func BenchmarkIdle(b *testing.B) {
	var memory []float64 // in each of the meshes
	meshes := []int{1, 3, 30}
	for _, count := range meshes {
		b.Run(fmt.Sprintf("nodes=%d", count), func(b *testing.B) { memory = append(memory, idle(b, count)) })
	}
	if len(memory) < len(meshes) {
		return // some were not asked for
	}
	b.Run("further", func(b *testing.B) {
		once(b)
		record(b, &report.Figure{
			Group: "idle", Name: "memory of each further node", Nodes: 30, Unit: "kB", Samples: series{1e3 * (memory[2] - memory[1]) / 27},
			Note: "without the pages of the program's file, which are the same for any number",
		})
		info, err := os.Stat(testnet.Binary(b))
		if err != nil {
			b.Fatal(err)
		}
		record(b, &report.Figure{Group: "idle", Name: "binary", Unit: "MB", Samples: series{float64(info.Size()) / 1e6}})
	})
}

// idle watches the first node of a mesh, and returns in MB the memory of its own.
func idle(b *testing.B, count int) float64 {
	secret := testnet.NewSecret(b)
	lan := netns.New(b)
	options := testnet.Options{Secret: secret, Binary: []string{testnet.Binary(b)}}
	var nodes []*testnet.Node
	var watch *testnet.Watch // by the second node: who is watched does not idle
	for i := range count {
		nodes = append(nodes, lan.AddHost(fmt.Sprintf("node%d", i+1)).StartNode(b, options))
		if i == 1 {
			watch = nodes[i].Watch()
		}
		if watch != nil {
			watch.Until("all that were started", func(ds []testnet.Device) bool {
				return len(ds) == i+1 && !slices.ContainsFunc(ds, func(d testnet.Device) bool { return d.Score == 0 })
			})
		}
	}
	pid := nodes[0].PID()
	timer := time.NewTimer(calm(count))
	<-timer.C
	var rss, own, cpu, written, switches, wakes, network, files, threads series
	trace, err := traceWakes(b, filepath.Base(testnet.Binary(b)))
	if err != nil {
		run.Unmeasured = append(run.Unmeasured, err.Error())
	}
	before := readUsage(b, pid, "eth0")
	for b.Loop() {
		timer.Reset(time.Second)
		<-timer.C
		now := readUsage(b, pid, "eth0")
		seconds := now.at.Sub(before.at).Seconds()
		rss, own = append(rss, float64(now.rss)/1e6), append(own, float64(now.anonymous)/1e6)
		cpu = append(cpu, 100*(now.cpu-before.cpu).Seconds()/seconds)
		written = append(written, float64(now.written-before.written))
		if trace != nil {
			n, err := trace.take(pid)
			if err != nil {
				b.Fatal(err)
			}
			wakes = append(wakes, float64(n)/seconds)
		}
		switches = append(switches, float64(now.switches-before.switches)/seconds)
		network = append(network, float64(now.network-before.network)/seconds/1e3)
		files, threads = append(files, float64(now.files)), append(threads, float64(now.threads))
		before = now
	}
	for _, f := range []*report.Figure{
		{Name: "memory", Unit: "MB", Samples: rss},
		{Name: "memory of its own", Unit: "MB", Samples: own, Note: "without the pages of the program's file"},
		{Name: "processor", Unit: "%", Samples: cpu},
		{Name: "disk writes", Unit: "B/s", Samples: written},
		{Name: "wake-ups", Unit: "/s", Samples: wakes},
		{Name: "switches of threads", Unit: "/s", Samples: switches},
		{Name: "network", Unit: "kB/s", Samples: network},
		{Name: "network, an hour", Unit: "MB", Samples: series{3.6 * mean(network)}},
		{Name: "open files", Unit: "files", Samples: files},
		{Name: "threads", Unit: "threads", Samples: threads},
		{Name: "goroutines", Unit: "goroutines", Samples: series{goroutines(b, nodes[0])}},
	} {
		f.Group, f.Nodes = "idle", count
		if len(f.Samples) > 0 {
			record(b, f)
		}
	}
	return mean(own)
}

// goroutines ends a node by the signal that has Go tell of them all, and counts.
func goroutines(b *testing.B, n *testnet.Node) float64 {
	b.Helper()
	if err := syscall.Kill(n.PID(), syscall.SIGQUIT); err != nil {
		b.Fatal(err)
	}
	n.WaitExit()
	return float64(strings.Count(n.Log(), "\ngoroutine "))
}

func mean(s series) float64 {
	sum := 0.0
	for _, v := range s {
		sum += v
	}
	return sum / float64(len(s))
}
