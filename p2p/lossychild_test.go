package p2p

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/hearth-edge/hearth/keys"
	"github.com/hearth-edge/hearth/protocol"
)

const (
	lossyChild = "HEARTH_TEST_LOSSY_DEVICE"
	lossyPort  = 7300
)

// A lossyConfig is what one of the two processes runs: a device of each of many
// meshes, each connected with its one peer in the other process.
type lossyConfig struct {
	Secrets []string
	Local   string
	Remote  string // empty in the one that listens
	Bulk    int    // so many bytes are had from the one that listens, as often as it takes
	Debug   bool
}

// A lossyEvent is a line that such a process writes.
type lossyEvent struct {
	Pair   int
	Joined bool
	How    string
	Silent time.Duration // set alone: the longest silence of a pair's connection
	Bulk   int           // set alone: bytes that were had
	Small  int           // set with Bulk: devices to which large packets get lost

	at time.Time // when it was read
}

// runLossyChild is such a process; it ends when its stdin does.
func runLossyChild(text string) {
	var cfg lossyConfig
	if err := json.Unmarshal([]byte(text), &cfg); err != nil {
		panic(err)
	}
	var mu sync.Mutex
	out := json.NewEncoder(os.Stdout)
	say := func(e lossyEvent) {
		mu.Lock()
		defer mu.Unlock()
		_ = out.Encode(e)
	}
	log := slog.New(slog.DiscardHandler)
	if cfg.Debug {
		log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	for i, text := range cfg.Secrets {
		secret, err := keys.ParseSecret(text)
		if err != nil {
			panic(err)
		}
		seed := make(keys.Seed, 32)
		copy(seed, cfg.Local)
		key, err := keys.Identity(secret, seed)
		if err != nil {
			panic(err)
		}
		c := Config{
			Secret: secret, Key: key, Name: "a", Log: log.With("pair", i),
			Listen: addrs(fmt.Sprintf("/ip4/%s/tcp/%d", cfg.Local, lossyPort+i)),
			OnPeer: func(_ Peer, joined bool, how Departure) {
				say(lossyEvent{Pair: i, Joined: joined, How: how.String()})
			},
		}
		if cfg.Remote != "" {
			c.Name, c.Peers = "b", addrs(fmt.Sprintf("/ip4/%s/tcp/%d", cfg.Remote, lossyPort+i))
		}
		m, err := New(c)
		if err != nil {
			panic(err)
		}
		if cfg.Bulk > 0 {
			m.Handle(bulkProtocol, func(_ context.Context, _ protocol.PeerID, s protocol.Stream) {
				defer s.Close()
				_, _ = io.ReadFull(s, make([]byte, 1))
				_, _ = s.Write(make([]byte, cfg.Bulk))
			})
		}
		if cfg.Bulk > 0 && cfg.Remote != "" {
			running.Go(func() { say(lossyEvent{Bulk: m.haveBulk(ctx, cfg.Bulk), Small: len(m.SmallPackets())}) })
		}
		running.Go(func() {
			if err := m.Run(ctx); err != nil {
				panic(err)
			}
		})
		running.Go(func() { publishSteadily(ctx, m, func(d time.Duration) { say(lossyEvent{Pair: i, Silent: d}) }) })
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
	cancel()
	running.Wait()
}

const bulkProtocol = "/hearth/test-bulk/1"

// haveBulk has so many bytes from the only peer, and tries until it has.
func (m *Mesh) haveBulk(ctx context.Context, size int) int {
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for {
		select {
		case <-again.C:
		case <-ctx.Done():
			return 0
		}
		for _, p := range m.Peers() {
			s, err := m.Open(ctx, p.ID, bulkProtocol)
			if err != nil {
				continue
			}
			_, _ = s.Write([]byte{1})
			data, _ := io.ReadAll(s)
			_ = s.Reset()
			if len(data) == size {
				return size
			}
		}
	}
}

// publishSteadily gossips at the usual interval, and tells of silences longer than a
// clean link has.
func publishSteadily(ctx context.Context, m *Mesh, silent func(time.Duration)) {
	interval, look := time.NewTicker(time.Second), time.NewTicker(100*time.Millisecond)
	defer interval.Stop()
	defer look.Stop()
	var longest time.Duration
	for {
		select {
		case <-interval.C:
			_ = m.Publish(aStatus())
		case <-look.C:
			now := m.silence()
			if now < longest && longest > 1500*time.Millisecond {
				silent(longest)
			}
			if longest = max(longest, now); now < longest {
				longest = 0
			}
		case <-ctx.Done():
			return
		}
	}
}

// silence is how long the connection to the only peer has been silent.
func (m *Mesh) silence() time.Duration {
	if l := m.live.Load(); l != nil {
		for _, c := range l.sw.Conns() {
			var on *frameConn
			if c.As(&on) {
				return on.member.silence()
			}
		}
	}
	return 0
}
