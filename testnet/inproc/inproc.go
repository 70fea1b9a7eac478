// Package inproc starts whole nodes in the test's own process: real libp2p on
// the loopback interface, real placement and admission, and a driver of the
// test's choice, the fake one unless it says otherwise. Nodes are told of each
// other instead of using multicast, so that many meshes can run side by side.
//
// It is for what needs many nodes, a debugger, or the race detector; what
// depends on processes, networks or an engine is tested with packages testnet
// and netns.
package inproc

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	ma "github.com/multiformats/go-multiaddr"
	"golang.org/x/sync/errgroup"

	"github.com/hearth-edge/hearth/cmd/hearth/device"
	"github.com/hearth-edge/hearth/keys"
	"github.com/hearth-edge/hearth/p2p/app"
	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime"
	"github.com/hearth-edge/hearth/runtime/fake"
	"github.com/hearth-edge/hearth/testnet"
)

// Image is the reference of an image that every node's engine has: what it does
// is said by the arguments (see package fake).
const Image = "work:1"

// waitTimeout bounds each wait.
const waitTimeout = 60 * time.Second

// A Mesh is a number of nodes that see each other.
type Mesh struct {
	Secret keys.Secret
	Nodes  []*Node
}

// A Node is a running node.
type Node struct {
	*device.Device
	Name string
	// App is the node as its apps see it, over its real endpoint.
	App *protocol.AppClient
	// Engine is what runs its work, unless Options.Configure replaced it.
	Engine *fake.Engine

	t      testing.TB
	cancel context.CancelFunc
	ended  chan struct{} // closed when Run has returned
	err    error         // of Run, after ended
}

// Options change how nodes are made; nil is for none.
type Options struct {
	// Configure may change a node's configuration before it is made; i counts
	// from 0.
	Configure func(i int, cfg *device.Config)
}

// Start starts count nodes, named node1 and so on, each with 4 slots and an
// engine of its own, waits until every one sees all, and stops them at the end
// of the test.
func Start(t testing.TB, count int, o Options) *Mesh {
	t.Helper()
	m := &Mesh{Secret: keys.NewSecret()}
	var peers []ma.Multiaddr
	for i := range count {
		n := m.add(t, i, slices.Clone(peers), o)
		for _, text := range n.Addresses() {
			addr, err := ma.NewMultiaddr(text)
			if err != nil {
				t.Fatalf("address of %s: %v", n.Name, err)
			}
			peers = append(peers, addr)
		}
	}
	m.WaitNodes(t, count)
	return m
}

func (m *Mesh) add(t testing.TB, i int, peers []ma.Multiaddr, o Options) *Node {
	t.Helper()
	n := &Node{Name: fmt.Sprintf("node%d", i+1), t: t, ended: make(chan struct{})}
	n.Engine = fake.NewEngine(fake.Config{Images: map[string]fake.Image{Image: {}}})
	t.Cleanup(n.Engine.Close)
	cfg := device.DefaultConfig()
	cfg.Secret, cfg.Name, cfg.StateDir = m.Secret, n.Name, testnet.ShortTempDir(t)
	cfg.Listen = []ma.Multiaddr{ma.StringCast("/ip4/127.0.0.1/tcp/0")}
	cfg.Peers, cfg.NoDiscovery = peers, true
	cfg.CPUs, cfg.Speed = 4, 1
	cfg.Log = slog.New(slog.NewTextHandler(&testLog{t: t}, nil)).With("device", n.Name)
	cfg.Driver = func(mesh keys.Fingerprint, self protocol.PeerID) (runtime.Driver, error) {
		return n.Engine.Driver(string(mesh), self), nil
	}
	if o.Configure != nil {
		o.Configure(i, &cfg)
	}
	var err error
	if n.Device, err = device.New(cfg); err != nil {
		t.Fatalf("%s: %v", n.Name, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	n.cancel = cancel
	go func() { // ends with ctx
		defer close(n.ended)
		n.err = n.Run(ctx)
	}()
	t.Cleanup(n.Stop)
	select {
	case <-n.Ready():
	case <-n.ended:
		t.Fatalf("%s ended instead of getting ready: %v", n.Name, n.err)
	case <-time.After(waitTimeout):
		t.Fatalf("%s is not ready after %v", n.Name, waitTimeout)
	}
	conn, err := app.Dial(ctx, cfg.StateDir)
	if err != nil {
		t.Fatalf("the app endpoint of %s: %v", n.Name, err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	n.App = protocol.NewAppClient(conn.Open, conn.Token())
	m.Nodes = append(m.Nodes, n)
	return n
}

// Stop has the node leave and waits until it has. A second call does nothing.
func (n *Node) Stop() {
	n.cancel()
	select {
	case <-n.ended:
		if n.err != nil {
			n.t.Errorf("%s: %v", n.Name, n.err)
		}
	case <-time.After(waitTimeout):
		n.t.Errorf("%s has not ended after %v", n.Name, waitTimeout)
	}
}

// WaitNodes waits until every node sees count nodes with their statuses.
func (m *Mesh) WaitNodes(t testing.TB, count int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), waitTimeout)
	defer cancel()
	g, ctx := errgroup.WithContext(ctx)
	for _, n := range m.Nodes {
		g.Go(func() error {
			seen, done := 0, fmt.Errorf("all there")
			err := n.App.Devices(ctx, true, func(ds []protocol.Device) error {
				seen = 0
				for _, d := range ds {
					if d.Status.Score > 0 {
						seen++
					}
				}
				if seen == count {
					return done
				}
				return nil
			})
			if seen != count {
				return fmt.Errorf("%s sees %d of %d nodes: %w", n.Name, seen, count, err)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
}

// testLog writes to the test's log.
type testLog struct{ t testing.TB }

func (l *testLog) Write(p []byte) (int, error) {
	l.t.Logf("%s", p)
	return len(p), nil
}
