package faults

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/hearth-edge/hearth/p2p/app"
	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/testnet"
	"github.com/hearth-edge/hearth/testnet/bench/report"
	"github.com/hearth-edge/hearth/testnet/netns"
)

const (
	// watched is how many devices watch one another; one of them has a bad link.
	watched = 13
	// span is how long one iteration of BenchmarkSuspicion watches.
	span = 10 * time.Second
)

// BenchmarkSuspicion: how often a device that is there is taken for lost: while
// nothing happens, and where its link loses 30 % of the packets and delays each
// by 200 ms, each way. Limit: never. Links are watched at the same time, from
// both ends: the figure says for how many minutes of a link.
func BenchmarkSuspicion(b *testing.B) {
	secret := testnet.NewSecret(b)
	lan := netns.New(b)
	var hosts []*netns.Host
	var nodes []*testnet.Node
	for i := range watched {
		hosts = append(hosts, lan.AddHost(fmt.Sprintf("node%d", i+1)))
		nodes = append(nodes, hosts[i].LaunchNode(b, testnet.Options{Secret: secret, Args: []string{"--driver", "none"}}))
	}
	for _, n := range nodes {
		n.AwaitLog("msg=ready")
		n.WaitNodes(watched)
	}
	bad := nodes[watched-1].Name
	hosts[watched-1].Shape(netns.Link{Delay: 200 * time.Millisecond, Loss: 0.3})
	s := &suspicions{bad: bad}
	ctx, cancel := context.WithCancel(context.Background())
	var watches sync.WaitGroup
	for _, n := range nodes {
		watches.Go(func() { s.watch(ctx, n.Name, n.State) })
	}
	begun := time.Now()
	for b.Loop() {
		timer := time.NewTimer(span)
		<-timer.C
	}
	minutes := time.Since(begun).Minutes()
	cancel()
	watches.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.failed) > 0 {
		b.Fatal(s.failed)
	}
	idle, lossy := float64((watched-1)*(watched-2)/2)*minutes, float64(watched-1)*minutes
	for _, f := range []*report.Figure{
		{Name: "wrong suspicions, idle", Samples: []float64{float64(s.idle)}, Note: fmt.Sprintf("in %.0f minutes of a link", idle)},
		{Name: "wrong suspicions, 30 % loss and 200 ms", Samples: []float64{float64(s.lossy)}, Note: fmt.Sprintf("in %.0f minutes of a link", lossy)},
	} {
		f.Group, f.Nodes, f.Unit = "faults", watched, "times"
		run.Record(b, f)
	}
}

// suspicions counts how often devices are missing from lists.
type suspicions struct {
	bad string // the device with the bad link

	mu          sync.Mutex // guards what follows
	idle, lossy int
	failed      []error
}

// watch counts what the device's list loses, until ctx ends.
func (s *suspicions) watch(ctx context.Context, name, state string) {
	there := map[string]bool{}
	err := func() error {
		conn, err := app.Dial(ctx, state)
		if err != nil {
			return err
		}
		defer conn.Close()
		return protocol.NewAppClient(conn.Open, conn.Token()).Devices(ctx, true, func(ds []protocol.Device) error {
			now := map[string]bool{}
			for _, d := range ds {
				now[d.Status.Name] = true
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			for other := range there {
				switch {
				case now[other]:
				case other == s.bad || name == s.bad:
					s.lossy++
				default:
					s.idle++
				}
			}
			there = now
			return nil
		})
	}()
	if ctx.Err() == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.failed = append(s.failed, fmt.Errorf("the list of %s: %w", name, err))
	}
}
