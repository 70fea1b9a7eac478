package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"

	ma "github.com/multiformats/go-multiaddr"
	"golang.org/x/sync/errgroup"

	"github.com/hearth-edge/hearth/cmd/hearth/device"
	"github.com/hearth-edge/hearth/keys"
	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime"
	"github.com/hearth-edge/hearth/runtime/fake"
)

// hostEnv is set where this process is to host nodes, and not to measure. Which
// ones it reads, as JSON, from its input.
const hostEnv = "HEARTH_BENCH_HOST"

// image is what every hosted node's engine has; see package fake.
const image = "work:1"

// hosted is some nodes of a mesh that share a process, each with an engine of its
// own.
type hosted struct {
	Secret string // a file
	Nodes  []hostedNode
}

type hostedNode struct {
	Name, State string
	Port        int
	Peers       []string
	CPUs        protocol.Cores
	Speed       float64
}

// host runs nodes until the input ends: each line of it has the next one start. It
// writes a line for each container that starts: node, request and attempt.
func host() error {
	in := bufio.NewReader(os.Stdin)
	line, err := in.ReadBytes('\n')
	if err != nil {
		return err
	}
	var h hosted
	if err := json.Unmarshal(line, &h); err != nil {
		return err
	}
	secret, err := keys.ReadSecretFile(h.Secret)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	g, ctx := errgroup.WithContext(ctx)
	out := &lines{w: bufio.NewWriter(os.Stdout)}
	for _, n := range h.Nodes {
		if _, err := in.ReadBytes('\n'); err != nil {
			break // nobody wants the rest
		}
		made, err := n.make(secret, out)
		if err != nil {
			return err
		}
		g.Go(func() error { return made.Run(ctx) })
	}
	_, _ = io.Copy(io.Discard, in) // until it ends
	cancel()
	return g.Wait()
}

func (n *hostedNode) make(secret keys.Secret, out *lines) (*device.Device, error) {
	cfg := device.DefaultConfig()
	cfg.Secret, cfg.Name, cfg.StateDir, cfg.NoDiscovery = secret, n.Name, n.State, true
	cfg.CPUs, cfg.Speed, cfg.Log = n.CPUs, n.Speed, slog.New(slog.DiscardHandler)
	cfg.Listen = []ma.Multiaddr{ma.StringCast(fmt.Sprintf("/ip4/127.0.0.1/tcp/%d", n.Port))}
	for _, p := range n.Peers {
		cfg.Peers = append(cfg.Peers, ma.StringCast(p))
	}
	engine := fake.NewEngine(fake.Config{
		Images: map[string]fake.Image{image: {}}, Speed: n.Speed,
		OnStart: func(s runtime.Spec) { out.write(fmt.Sprintf("start %s %s %d", n.Name, s.ID.Request, s.ID.Attempt)) },
	})
	cfg.Driver = func(mesh keys.Fingerprint, self protocol.PeerID) (runtime.Driver, error) {
		return engine.Driver(string(mesh), self), nil
	}
	return device.New(cfg)
}

// lines writes whole lines, at once.
type lines struct {
	mu sync.Mutex // guards w
	w  *bufio.Writer
}

func (l *lines) write(s string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, _ = l.w.WriteString(s + "\n") // nobody is left to be told where it fails
	_ = l.w.Flush()
}
