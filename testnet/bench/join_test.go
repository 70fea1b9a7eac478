package bench

import (
	"fmt"
	"testing"
	"time"

	"github.com/hearth-edge/hearth/testnet"
	"github.com/hearth-edge/hearth/testnet/bench/report"
	"github.com/hearth-edge/hearth/testnet/netns"
)

// BenchmarkJoin: a device that was never started before joins a mesh of two, as
// one of these sees it, and leaves; then it starts again, until it says itself
// that it is ready.
func BenchmarkJoin(b *testing.B) {
	secret := testnet.NewSecret(b)
	lan := netns.New(b)
	// Looking whether the binary is up to date is no part of what is measured.
	options := testnet.Options{Secret: secret, Binary: []string{testnet.Binary(b)}}
	first := lan.AddHost("first").StartNode(b, options)
	lan.AddHost("second").StartNode(b, options)
	host := lan.AddHost("third")
	first.WaitNodes(2)
	watch := first.Watch()
	var connected, usable, left, ready series
	for i := 0; b.Loop(); i++ {
		options.Name = fmt.Sprintf("joining-%d", i)
		start := time.Now()
		node := host.LaunchNode(b, options)
		watch.Until("the device", func(ds []testnet.Device) bool {
			_, there := testnet.Find(ds, options.Name)
			return there
		})
		connected.add(time.Since(start))
		watch.Until("a node", func(ds []testnet.Device) bool {
			d, _ := testnet.Find(ds, options.Name)
			return d.Role == "node" && d.Score > 0
		})
		usable.add(time.Since(start))
		start = time.Now()
		done := make(chan struct{})
		go func() { defer close(done); node.Stop() }()
		watch.Until("two devices", func(ds []testnet.Device) bool { return len(ds) == 2 })
		left.add(time.Since(start))
		<-done
		start = time.Now()
		again := node.Restart()
		ready.add(time.Since(start))
		again.Stop()
		watch.Until("two devices", func(ds []testnet.Device) bool { return len(ds) == 2 })
	}
	for _, f := range []*report.Figure{
		{Name: "ready", Samples: ready},
		{Name: "connected", Samples: connected},
		{Name: "usable", Samples: usable},
		{Name: "left", Samples: left},
	} {
		f.Group, f.Nodes, f.Unit = "join", 3, "ms"
		record(b, f)
	}
}

// BenchmarkLoss: how soon another device's list lacks one that was killed,
// frozen or cut off.
func BenchmarkLoss(b *testing.B) {
	secret := testnet.NewSecret(b)
	lan := netns.New(b)
	options := testnet.Options{Secret: secret, Args: []string{"--driver", "none"}}
	first := lan.AddHost("first").StartNode(b, options)
	host := lan.AddHost("other")
	node := host.StartNode(b, options)
	watch := first.Watch()
	see := func(count int) {
		watch.Until("the others", func(ds []testnet.Device) bool { return len(ds) == count })
	}
	measure := func(s *series, cause, mend func()) {
		see(2)
		start := time.Now()
		cause()
		see(1)
		s.add(time.Since(start))
		mend()
	}
	var killed, frozen, cut series
	for b.Loop() {
		measure(&frozen, node.Freeze, node.Thaw)
		measure(&cut, host.Isolate, host.Heal)
		measure(&killed, node.Kill, func() { node = node.Restart("--driver", "none") })
	}
	for _, f := range []*report.Figure{
		{Name: "killed", Samples: killed},
		{Name: "frozen", Samples: frozen},
		{Name: "cut off", Samples: cut},
	} {
		f.Group, f.Nodes, f.Unit = "loss", 2, "ms"
		record(b, f)
	}
}
