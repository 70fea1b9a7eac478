package bench

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	goruntime "runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/docker/docker/client"

	"github.com/hearth-edge/hearth/cmd/hearth/device"
	"github.com/hearth-edge/hearth/p2p/app"
	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/testnet"
	"github.com/hearth-edge/hearth/testnet/bench/report"
	"github.com/hearth-edge/hearth/testnet/inproc"
)

// BenchmarkNode: the goroutines and the heap of an idle node with a fake engine
// and one app, alone and in a mesh of three. These are counts: they depend
// neither on the machine nor on what else it does.
func BenchmarkNode(b *testing.B) {
	for _, count := range []int{1, 3} {
		b.Run(fmt.Sprintf("nodes=%d", count), func(b *testing.B) {
			goroutines, heap := atRest()
			for b.Loop() {
				inproc.Start(b, count, inproc.Options{Configure: func(_ int, cfg *device.Config) { cfg.Log = slog.New(slog.DiscardHandler) }})
			}
			g, h := atRest()
			nodes := float64(b.N * count)
			record(b, &report.Figure{Group: "counts", Name: "goroutines of a node", Nodes: count, Unit: "goroutines", Samples: series{(g - goroutines) / nodes}})
			record(b, &report.Figure{Group: "counts", Name: "heap of a node", Nodes: count, Unit: "kB", Samples: series{(h - heap) / 1e3 / nodes}})
		})
	}
}

// atRest returns the fewest goroutines and the smallest heap, in bytes, within
// some seconds: what is left when nothing is being done.
func atRest() (goroutines, heap float64) {
	const looks = 30
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for i := range looks {
		<-tick.C
		goruntime.GC()
		var m goruntime.MemStats
		goruntime.ReadMemStats(&m)
		n, h := float64(goruntime.NumGoroutine()), float64(m.HeapAlloc)
		if i == 0 || n < goroutines {
			goroutines = n
		}
		if i == 0 || h < heap {
			heap = h
		}
	}
	return goroutines, heap
}

// BenchmarkCalls: how often the engine is asked for something about a container
// or its image for one execution, from its offer until its container is removed. The
// container runs for long enough to be seen running.
func BenchmarkCalls(b *testing.B) {
	var calls atomic.Int64
	n := testnet.Start(b, testnet.Options{
		Name: "counted", Secret: testnet.NewSecret(b), Args: []string{"--no-discovery", "--listen", "/ip4/127.0.0.1/tcp/0"},
		Env: []string{"DOCKER_HOST=unix://" + countCalls(b, &calls)},
	})
	image := testnet.Image(b)
	n.WaitAble(1)
	conn, err := app.Dial(b.Context(), n.State)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	device := protocol.NewAppClient(conn.Open, conn.Token())
	docker, err := client.NewClientWithOpts(client.FromEnv, client.WithAPIVersionNegotiation())
	if err != nil {
		b.Fatal(err)
	}
	defer docker.Close()
	e := &engine{docker: docker}
	var each series
	for b.Loop() {
		before := calls.Load()
		t, err := ask(b.Context(), device, protocol.Run{Service: protocol.Service{Image: image, Args: []string{"sleep", "1s"}}})
		if err != nil {
			b.Fatal(err)
		}
		e.awaitRemoval(b, t.container)
		each = append(each, float64(calls.Load()-before))
	}
	record(b, &report.Figure{Group: "counts", Name: "calls of the engine for an execution", Unit: "calls", Samples: each})
}

// countCalls returns a socket of the engine's, and counts what is asked there
// about single containers and images.
func countCalls(b *testing.B, calls *atomic.Int64) string {
	b.Helper()
	c, err := client.NewClientWithOpts(client.FromEnv)
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	real, ok := strings.CutPrefix(c.DaemonHost(), "unix://")
	if !ok {
		b.Fatalf("this needs an engine on a unix socket, not at %s: unset DOCKER_HOST", c.DaemonHost())
	}
	path := filepath.Join(testnet.ShortTempDir(b), "engine.sock")
	listener, err := net.Listen("unix", path)
	if err != nil {
		b.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: "engine"})
	proxy.FlushInterval = -1 // events are passed on as they come
	proxy.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	proxy.Transport = &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", real)
	}}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		of := strings.Contains(r.URL.Path, "/containers/") || strings.Contains(r.URL.Path, "/images/")
		list := strings.HasSuffix(r.URL.Path, "/containers/json") || strings.HasSuffix(r.URL.Path, "/images/json")
		if of && !list {
			calls.Add(1)
		}
		proxy.ServeHTTP(w, r)
	})}
	go func() { _ = server.Serve(listener) }() // ends with the server
	b.Cleanup(func() { server.Close() })
	return path
}
