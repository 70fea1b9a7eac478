package bench

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/client"

	"github.com/hearth-edge/hearth/p2p/app"
	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/testnet"
	"github.com/hearth-edge/hearth/testnet/bench/report"
	"github.com/hearth-edge/hearth/testnet/netns"
)

// BenchmarkOwn is BenchmarkOverhead's start and end on an engine that takes no
// time and runs nothing: what is left is hearth's own, and can be told where a real
// engine takes 150 ms for one start and 300 for the next.
func BenchmarkOwn(b *testing.B) {
	secret := testnet.NewSecret(b)
	socket := (&instant{containers: make(map[string]*instantContainer)}).serve(b)
	lan := netns.New(b)
	var nodes []*testnet.Node
	for _, name := range []string{"first", "second", "third"} {
		nodes = append(nodes, lan.AddHost(name).StartNode(b, testnet.Options{Secret: secret, Env: []string{"DOCKER_HOST=unix://" + socket}}))
	}
	nodes[0].WaitAble(3)
	conn, err := app.Dial(b.Context(), nodes[0].State)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	device := protocol.NewAppClient(conn.Open, conn.Token())
	docker, err := client.NewClientWithOpts(client.WithHost("unix://"+socket), client.WithAPIVersionNegotiation())
	if err != nil {
		b.Fatal(err)
	}
	defer docker.Close()
	e := &engine{docker: docker, image: image, config: &container.Config{Image: image}, host: &container.HostConfig{}}

	var started, ended, rawStarted, rawEnded series
	ours := func() {
		t, err := ask(b.Context(), device, protocol.Run{Service: elsewhere(image)})
		if err != nil {
			b.Fatal(err)
		}
		started.add(t.started)
		ended.add(t.ended)
	}
	raw := func() {
		s, t := e.run(b)
		rawStarted.add(s)
		rawEnded.add(t)
	}
	for turn := 0; b.Loop(); turn++ {
		if turn%2 == 0 {
			ours()
			raw()
		} else {
			raw()
			ours()
		}
	}
	for _, f := range []*report.Figure{
		{Name: "started", Samples: started, Reference: &report.Reference{Name: "Engine API", Samples: rawStarted}},
		{Name: "ended", Samples: ended, Reference: &report.Reference{Name: "Engine API", Samples: rawEnded}},
	} {
		f.Group, f.Nodes, f.Unit = "own", 3, "ms"
		record(b, f)
	}
}

// instantRun is how long after its start a container of an instant engine ends.
const instantRun = 5 * time.Millisecond

// instant is an engine that answers all at once, as far as hearth asks it.
type instant struct {
	made atomic.Int64

	mu         sync.Mutex                   // guards containers
	containers map[string]*instantContainer // by their IDs and names
}

type instantContainer struct {
	id, name string
	ended    chan struct{}
}

// serve returns the engine's socket.
func (e *instant) serve(b *testing.B) (socket string) {
	b.Helper()
	socket = filepath.Join(testnet.ShortTempDir(b), "engine.sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		b.Fatal(err)
	}
	server := &http.Server{Handler: e}
	go func() { _ = server.Serve(listener) }() // ends with the server
	b.Cleanup(func() { server.Close() })
	return socket
}

// ServeHTTP implements http.Handler.
func (e *instant) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, path, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/") // without the version
	words := strings.Split(path, "/")
	w.Header().Set("Api-Version", "1.41")
	answer := func(v any) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(v)
	}
	switch {
	case path == "version":
		answer(map[string]any{"Version": "0", "ApiVersion": "1.41", "Os": "linux", "Arch": "amd64"})
	case path == "info":
		answer(map[string]any{"NCPU": 2, "Architecture": "x86_64"})
	case path == "images/json":
		answer([]any{map[string]any{"RepoTags": []string{image}, "Size": 1}})
	case words[0] == "images":
		answer(map[string]any{"Os": "linux", "Architecture": "amd64", "Size": 1})
	case words[0] == "networks":
		answer(map[string]any{"Driver": "bridge", "Options": map[string]string{"com.docker.network.bridge.enable_icc": "false"}})
	case path == "containers/json":
		answer([]any{})
	case path == "containers/create":
		c := &instantContainer{id: fmt.Sprintf("%064d", e.made.Add(1)), name: r.URL.Query().Get("name"), ended: make(chan struct{})}
		e.mu.Lock()
		e.containers[c.id], e.containers[c.name] = c, c
		e.mu.Unlock()
		w.WriteHeader(http.StatusCreated)
		answer(map[string]any{"Id": c.id})
	case path == "events":
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	case len(words) >= 2 && words[0] == "containers":
		e.mu.Lock()
		c := e.containers[words[1]]
		e.mu.Unlock()
		if c == nil {
			w.WriteHeader(http.StatusNotFound)
			answer(map[string]any{"message": "No such container"})
			return
		}
		e.container(w, r, c, words[len(words)-1])
	default: // a ping
	}
}

// container does what is asked of one.
func (e *instant) container(w http.ResponseWriter, r *http.Request, c *instantContainer, what string) {
	switch {
	case what == "attach":
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		fmt.Fprint(conn, "HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n")
		<-c.ended
		conn.Close()
	case what == "wait":
		w.(http.Flusher).Flush()
		<-c.ended
		fmt.Fprintln(w, `{"StatusCode": 0}`)
	case what == "start":
		w.WriteHeader(http.StatusNoContent)
		time.AfterFunc(instantRun, func() { close(c.ended) })
	case what == "json":
		fmt.Fprintf(w, `{"Id": %q, "Config": {}, "State": {"Status": "exited", "StartedAt": "2031-01-01T00:00:00Z", "FinishedAt": "2031-01-01T00:00:01Z"}}`, c.id)
	case r.Method == http.MethodDelete:
		e.mu.Lock()
		delete(e.containers, c.id)
		delete(e.containers, c.name)
		e.mu.Unlock()
		w.WriteHeader(http.StatusNoContent)
	}
}
