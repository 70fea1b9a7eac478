package testnet_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hearth-edge/hearth/testnet"
	"github.com/hearth-edge/hearth/testnet/netns"
)

// requestTimeout bounds one request of a test; 100 MiB on a busy machine is the
// longest.
const requestTimeout = 60 * time.Second

// A mesh is what the promises are tested on, however its nodes came up.
type mesh struct {
	names   []string
	ids     map[string]string // peer ID by name
	image   string
	witness *testnet.Witness
	exec    func(ctx context.Context, node string, args ...string) (testnet.Result, error)
}

// run runs `hearth run ARG...` on the node and returns its end.
func (m *mesh) run(t *testing.T, node string, args ...string) testnet.Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), requestTimeout)
	defer cancel()
	r, err := m.exec(ctx, node, append([]string{"run"}, args...)...)
	if err != nil {
		t.Fatalf("run %v on %s: %v\n%s", args, node, err, r.Stderr)
	}
	return r
}

// ranOn asks the engine which node started the request, and checks that it was
// started once.
func (m *mesh) ranOn(t *testing.T, request string) string {
	t.Helper()
	started := m.witness.Started(1, func(c testnet.Container) bool { return c.Request == request })
	if len(started) != 1 {
		t.Errorf("request %s started %d containers: %v", request, len(started), started)
	}
	for name, id := range m.ids {
		if id == started[0].Node {
			return name
		}
	}
	t.Fatalf("request %s ran on %q, which is none of %v", request, started[0].Node, m.ids)
	return ""
}

// occupy keeps a slot of the node taken for some seconds; it returns once that
// is so.
func (m *mesh) occupy(t *testing.T, node string) {
	t.Helper()
	id := "occupy-" + node
	ended := make(chan struct{})
	go func() { // ends with its container
		defer close(ended)
		_, _ = m.exec(context.WithoutCancel(t.Context()), node, "run", "--node", node, "--id", id, m.image, "sleep", "4s")
	}()
	t.Cleanup(func() { <-ended })
	m.witness.Started(1, func(c testnet.Container) bool { return c.Request == id })
}

// TestLANMesh: nodes in network namespaces, which find each other by multicast
// DNS, keep what is promised of a mesh. It runs beside no other test, since
// what others do to the machine is part of what placement decides by.
func TestLANMesh(t *testing.T) {
	secret := testnet.NewSecret(t)
	lan := netns.New(t)
	nodes := map[string]*testnet.Node{}
	m := &mesh{
		image: testnet.Image(t), witness: testnet.NewWitness(t, secret),
		exec: func(ctx context.Context, node string, args ...string) (testnet.Result, error) {
			return nodes[node].Exec(ctx, nil, args...)
		},
	}
	for i, name := range []string{"node1", "node2", "node3"} {
		nodes[name] = lan.AddHost(name).StartNode(t, testnet.Options{
			Secret: secret, Args: []string{"--cpus", strconv.Itoa(1 + i/2), "--memory", "1g", "--label", "room=" + name},
		})
		m.names = append(m.names, name)
	}
	for _, n := range nodes {
		m.ids = idsOf(n.WaitAble(len(nodes)))
	}
	keepsPromises(t, m)
}

// TestComposeMesh: the same of the mesh that testnet.sh starts in Docker
// Compose, and that it leaves nothing behind.
func TestComposeMesh(t *testing.T) {
	c := newCompose(t, "hearth-test-"+strconv.Itoa(os.Getpid()), testnet.Binary(t))
	c.must(t.Context(), "up", "--nodes", "3")
	devices := c.devices("node1")
	for _, want := range []struct {
		name string
		cpus float64
	}{{"node1", 0.5}, {"node2", 1}, {"node3", 2}} {
		if d, _ := testnet.Find(devices, want.name); d.CPUs > want.cpus || d.CPUs == 0 {
			t.Errorf("%s lends %v cores, want %v", want.name, d.CPUs, want.cpus)
		}
	}
	keepsPromises(t, &mesh{
		names: []string{"node1", "node2", "node3"}, ids: idsOf(devices), image: testnet.Image(t),
		witness: testnet.NewWitness(t, filepath.Join(c.out, "secret")),
		exec: func(ctx context.Context, node string, args ...string) (testnet.Result, error) {
			return c.call(ctx, append([]string{"exec", node}, args...)...)
		},
	})
}

func idsOf(devices []testnet.Device) map[string]string {
	ids := map[string]string{}
	for _, d := range devices {
		ids[d.Name] = d.PeerID
	}
	return ids
}

// keepsPromises runs the core assertions on a mesh of three nodes.
func keepsPromises(t *testing.T, m *mesh) {
	t.Run("output and exit code arrive whole", func(t *testing.T) { outputArrivesWhole(t, m) })
	t.Run("a constraint moves the request", func(t *testing.T) { constraintMoves(t, m) })
	t.Run("--not-here moves the request", func(t *testing.T) { notHereMoves(t, m) })
	t.Run("twenty requests at once", func(t *testing.T) { twentyAtOnce(t, m) })
	t.Run("the best node is taken from any device", func(t *testing.T) { bestNodeTaken(t, m) })
}

func outputArrivesWhole(t *testing.T, m *mesh) {
	const size = 100 << 20
	r := m.run(t, "node1", "--not-here", "--quiet", m.image, "output", strconv.Itoa(size), "42")
	if r.Code != 42 {
		t.Errorf("exit code %d, want 42: %s", r.Code, r.Stderr)
	}
	if len(r.Stdout) != size {
		t.Errorf("%d bytes of output arrived, want %d", len(r.Stdout), size)
	}
	if got, want := fmt.Sprintf("%x", sha256.Sum256([]byte(r.Stdout))), strings.TrimSpace(r.Stderr); got != want {
		t.Errorf("the output's hash is %s, the container wrote %s", got, want)
	}
}

func constraintMoves(t *testing.T, m *mesh) {
	for _, asker := range m.names {
		for _, target := range m.names {
			id := "constraint-" + asker + "-" + target
			flags := []string{"--node", target}
			if asker > target { // each way of naming a node, half of the times
				flags = []string{"--constraint", "name=" + target}
			}
			r := m.run(t, asker, append(flags, "--id", id, m.image, "echo", "hello")...)
			if r.Code != 0 || r.Stdout != "hello\n" {
				t.Errorf("exit code %d, output %q: %s", r.Code, r.Stdout, r.Stderr)
			}
			if got := m.ranOn(t, id); got != target {
				t.Errorf("the request of %s ran on %s, want %s", asker, got, target)
			}
			if !strings.Contains(r.Stderr, target) {
				t.Errorf("the node %s is not named: %q", target, r.Stderr)
			}
		}
	}
}

func notHereMoves(t *testing.T, m *mesh) {
	for _, asker := range m.names {
		id := "not-here-" + asker
		if r := m.run(t, asker, "--not-here", "--id", id, m.image, "exit", "7"); r.Code != 7 {
			t.Errorf("exit code %d, want 7: %s", r.Code, r.Stderr)
		}
		if got := m.ranOn(t, id); got == asker {
			t.Errorf("the request of %s ran there", asker)
		}
	}
}

// twentyAtOnce: requests that come faster than they end go to more than one
// node, however much else the machine has to do: 20 of them on one node would
// wait longer than on the slowest that an idle one can be.
func twentyAtOnce(t *testing.T, m *mesh) {
	const count = 20
	type end struct {
		testnet.Result
		number int
		err    error
	}
	ends := make(chan end, count)
	for i := range count {
		go func() {
			r, err := m.exec(t.Context(), "node1", "run", "--id", fmt.Sprintf("burst-%d", i),
				"-e", fmt.Sprintf("NUMBER=%d", i), "--memory", "16m", m.image, "env", "NUMBER", "1s")
			ends <- end{r, i, err}
		}()
	}
	for range count {
		e := <-ends
		if e.err != nil || e.Code != 0 || e.Stdout != fmt.Sprintf("%d\n", e.number) {
			t.Errorf("request %d: %v, exit code %d, output %q: %s", e.number, e.err, e.Code, e.Stdout, e.Stderr)
		}
	}
	started := m.witness.Started(count, func(c testnet.Container) bool { return strings.HasPrefix(c.Request, "burst-") })
	containers, requests, perNode := map[string]bool{}, map[string]bool{}, map[string]int{}
	for _, c := range started {
		containers[c.ID], requests[c.Request] = true, true
		perNode[c.Node]++
	}
	if len(containers) != count || len(requests) != count {
		t.Errorf("%d requests were run by %d containers", len(requests), len(containers))
	}
	if len(perNode) < 2 {
		t.Errorf("all %d ran on one node: %v", count, perNode)
	}
}

// bestNodeTaken: whoever asks, the node with the best estimate is taken, while
// one of them is busy; or one of those that were drawn from because they are
// nearly as good.
func bestNodeTaken(t *testing.T, m *mesh) {
	m.occupy(t, "node1")
	for _, asker := range m.names {
		id := "best-" + asker
		r := m.run(t, asker, "--explain", "--id", id, m.image, "echo", "hello")
		if r.Code != 0 || r.Stdout != "hello\n" {
			t.Errorf("exit code %d, output %q: %s", r.Code, r.Stdout, r.Stderr)
		}
		best, chosen := ratings(t, r.Stderr)
		if got := m.ranOn(t, id); got != chosen.node {
			t.Errorf("the request of %s ran on %s:\n%s", asker, got, r.Stderr)
		}
		// 4 times the best is as far as the draw may reach.
		if chosen.estimate > 4*best.estimate {
			t.Errorf("the request of %s was given to %s, and %s was best:\n%s", asker, chosen.node, best.node, r.Stderr)
		}
	}
}

// A rating is a line of `hearth run --explain`.
type rating struct {
	node     string
	estimate time.Duration
}

// ratings reads the best and the chosen one from what --explain prints.
func ratings(t *testing.T, explained string) (best, chosen rating) {
	t.Helper()
	for line := range strings.Lines(explained) {
		words := strings.Fields(strings.Replace(line, " *", "", 1))
		if len(words) < 7 {
			continue
		}
		if words[0] == "NODE" { // after a refusal another decision follows
			best, chosen = rating{}, rating{}
		}
		estimate, err := time.ParseDuration(strings.TrimPrefix(words[2], "~"))
		if err != nil {
			continue // the heading, or one that was left out
		}
		r := rating{node: words[0], estimate: estimate}
		if best.node == "" || r.estimate < best.estimate {
			best = r
		}
		if words[len(words)-1] == "chosen" {
			chosen = r
		}
	}
	if chosen.node == "" {
		t.Fatalf("--explain does not say who was chosen:\n%s", explained)
	}
	return best, chosen
}
