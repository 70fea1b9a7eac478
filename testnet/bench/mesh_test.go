package bench

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/hearth-edge/hearth/keys"
	"github.com/hearth-edge/hearth/p2p/app"
	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/testnet"
	"github.com/hearth-edge/hearth/testnet/netns"
)

const (
	// perProcess is how many nodes share a process, but for the first, which is asked
	// and has its own: their connections must stay within the number of files that it
	// may open.
	perProcess = 50
	firstPort  = 20000
	// meshPatience bounds how long a mesh takes until its first node sees all.
	meshPatience = 7 * time.Minute
	// lookEvery is how often is looked whether it is as it should be by now.
	lookEvery = 50 * time.Millisecond
)

// A mesh is a number of nodes with fake engines in processes of their own, which
// have the loopback interface of a network namespace to themselves.
type mesh struct {
	nodes []hostedNode
	procs []*exec.Cmd
	// formed is how long it took until the first node saw all, which started one
	// after another.
	formed time.Duration

	mu      sync.Mutex                      // guards starts
	starts  map[protocol.RequestID][]string // the nodes that started it
	started chan struct{}                   // has one place; filled at each start
}

// mustStart is startMesh for a mesh that every machine can bring about.
func mustStart(b *testing.B, count int, size func(i int) (protocol.Cores, float64)) *mesh {
	b.Helper()
	m, err := startMesh(b, count, size)
	if err != nil {
		b.Fatal(err)
	}
	return m
}

// startMesh starts count nodes and waits until the first one sees all; the error
// says that it did not in time. size says what the i-th node lends, and how fast
// it is; nil is 4 cores at speed 1.
func startMesh(b *testing.B, count int, size func(i int) (protocol.Cores, float64)) (*mesh, error) {
	b.Helper()
	if size == nil {
		size = func(int) (protocol.Cores, float64) { return 4, 1 }
	}
	secret := keys.NewSecret()
	file := filepath.Join(b.TempDir(), "secret")
	if err := keys.WriteSecretFile(file, secret); err != nil {
		b.Fatal(err)
	}
	m := &mesh{starts: make(map[protocol.RequestID][]string), started: make(chan struct{}, 1)}
	var peers []string
	for i := range count {
		n := hostedNode{Name: fmt.Sprintf("node%d", i+1), State: testnet.ShortTempDir(b), Port: firstPort + i, Peers: peers[:i:i]}
		n.CPUs, n.Speed = size(i)
		m.nodes = append(m.nodes, n)
		peers = append(peers, fmt.Sprintf("/ip4/127.0.0.1/tcp/%d/p2p/%s", n.Port, identity(b, secret, n.State)))
	}
	place := netns.New(b).AddHost("mesh")
	var next []func() error // has each node start
	for together := 1; len(next) < count; together = perProcess {
		some := m.nodes[len(next):min(len(next)+together, count)]
		start := m.host(b, place, hosted{Secret: file, Nodes: some})
		for range some {
			next = append(next, start)
		}
	}
	began := time.Now()
	err := m.form(b, next)
	m.formed = time.Since(began)
	return m, err
}

// identity returns the ID that a node with this state folder will have.
func identity(b *testing.B, secret keys.Secret, state string) peer.ID {
	b.Helper()
	seed, err := keys.LoadSeed(state)
	if err != nil {
		b.Fatal(err)
	}
	key, err := keys.Identity(secret, seed)
	if err != nil {
		b.Fatal(err)
	}
	id, err := peer.IDFromPrivateKey(key)
	if err != nil {
		b.Fatal(err)
	}
	return id
}

// host starts a process for nodes; what it returns has the next of them start.
func (m *mesh) host(b *testing.B, place *netns.Host, h hosted) (next func() error) {
	b.Helper()
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	cmd := place.Command(context.Background(), self)
	cmd.Env = append(cmd.Environ(), hostEnv+"=1")
	if len(h.Nodes) > 1 { // it is nobody's memory that is measured, and they share the processors
		cmd.Env = append(cmd.Env, "GOGC=400")
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	stdin, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	if err := json.NewEncoder(stdin).Encode(h); err != nil {
		b.Fatal(err)
	}
	m.procs = append(m.procs, cmd)
	ended := make(chan struct{})
	go func() { // ends with the process
		defer close(ended)
		m.read(bufio.NewScanner(stdout))
		_ = cmd.Wait()
	}()
	b.Cleanup(func() {
		stdin.Close()
		select {
		case <-ended:
		case <-time.After(10 * time.Second): // saying goodbye to hundreds takes a while
			_ = cmd.Process.Kill()
			<-ended
		}
	})
	return func() error {
		if _, err := io.WriteString(stdin, "\n"); err != nil {
			<-ended
			return fmt.Errorf("a process that hosts nodes ended: %s", &complaints)
		}
		return nil
	}
}

// read takes in what a process that hosts nodes tells.
func (m *mesh) read(from *bufio.Scanner) {
	for from.Scan() {
		words := strings.Fields(from.Text())
		if len(words) != 4 || words[0] != "start" {
			continue
		}
		m.mu.Lock()
		id := protocol.RequestID(words[2])
		m.starts[id] = append(m.starts[id], words[1])
		m.mu.Unlock()
		select {
		case m.started <- struct{}{}:
		default:
		}
	}
}

// app connects to the app endpoint of the i-th node.
func (m *mesh) app(b *testing.B, i int) *protocol.AppClient {
	b.Helper()
	conn, err := app.Dial(b.Context(), m.nodes[i].State)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { conn.Close() })
	return protocol.NewAppClient(conn.Open, conn.Token())
}

// form starts the nodes one after another, each when the one before it is connected
// with all and what that brought all of them to do is done, and waits until the first
// one sees all able to work. All at once would be a test of overload, in which devices
// do not answer in time and are taken for dead: hundreds of devices have hundreds of
// processors, and these have one machine.
func (m *mesh) form(b *testing.B, next []func() error) error {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), meshPatience)
	defer cancel()
	for i, start := range next {
		if err := start(); err != nil {
			return err
		}
		if err := m.sees(ctx, i, func(ds []protocol.Device) bool { return len(ds) == i+1 }); err != nil {
			return fmt.Errorf("of %d nodes %d were started within %v, and the last one does not see all: %w", len(next), i+1, meshPatience, err)
		}
		if err := m.rest(ctx, b); err != nil {
			return fmt.Errorf("of %d nodes %d were started within %v, and they do not come to rest: %w", len(next), i+1, meshPatience, err)
		}
	}
	able := 0
	err := m.sees(ctx, 0, func(ds []protocol.Device) bool {
		able = 0
		for _, d := range ds {
			if d.Status.Score > 0 {
				able++
			}
		}
		return able == len(next)
	})
	if err != nil {
		return fmt.Errorf("of %d nodes %d are seen able to work after %v: %w", len(next), able, meshPatience, err)
	}
	return nil
}

// rest waits until the nodes leave at least half of the processors idle.
func (m *mesh) rest(ctx context.Context, b *testing.B) error {
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for before, since := m.processor(b), time.Now(); ; {
		select {
		case <-look.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		used, now := m.processor(b), time.Now()
		if used-before < now.Sub(since)*time.Duration(runtime.NumCPU())/2 {
			return nil
		}
		before, since = used, now
	}
}

// sees waits until the i-th node, which may be starting, has the list of devices that
// is wanted.
func (m *mesh) sees(ctx context.Context, i int, wanted func([]protocol.Device) bool) error {
	conn, err := m.dial(ctx, i)
	if err != nil {
		return err
	}
	defer conn.Close()
	device := protocol.NewAppClient(conn.Open, conn.Token())
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for {
		done := false
		if err := device.Devices(ctx, false, func(ds []protocol.Device) error { done = wanted(ds); return nil }); err != nil || done {
			return err
		}
		select {
		case <-look.C: // watching would have it tell of all with each of hundreds that it meets
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// dial connects to the app endpoint of the i-th node, which may be starting.
func (m *mesh) dial(ctx context.Context, i int) (*app.Conn, error) {
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for {
		conn, err := app.Dial(ctx, m.nodes[i].State)
		if err == nil {
			return conn, nil
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return nil, err
		}
	}
}

// used is what the first node has used, and all of them of the network that they
// share.
func (m *mesh) used(b *testing.B) usage {
	b.Helper()
	return readUsage(b, m.procs[0].Process.Pid, "lo")
}

// processor is what all nodes have used of it.
func (m *mesh) processor(b *testing.B) (all time.Duration) {
	b.Helper()
	for _, p := range m.procs {
		all += readUsage(b, p.Process.Pid, "lo").cpu
	}
	return all
}

// times is what an asker saw of one request, since it asked.
type times struct {
	// accepted: it is on disk. taken: a node has accepted it.
	accepted, taken, started, ended time.Duration
	output                          int64
	container                       string
	node                            protocol.PeerID
}

// ask runs a service to its end.
func ask(ctx context.Context, device *protocol.AppClient, r protocol.Run) (t times, err error) {
	start := time.Now()
	session, err := device.Run(ctx, r)
	if err != nil {
		return t, err
	}
	defer session.Close()
	for {
		u, err := session.Next()
		switch {
		case errors.Is(err, io.EOF):
			return t, nil
		case err != nil:
			return t, err
		case u.Output != nil:
			t.output += int64(len(u.Output.Data))
		case u.Event == nil:
		case u.Event.State == protocol.StateSucceeded:
			t.ended, t.node = time.Since(start), u.Event.Node
		case u.Event.State.Ended():
			return t, fmt.Errorf("it ended as %d: %s", u.Event.State, u.Event.Reason)
		case u.Event.State == protocol.StateAccepted && t.accepted == 0:
			t.accepted = time.Since(start)
		default:
			if u.Event.Node != "" && t.taken == 0 {
				t.taken = time.Since(start)
			}
			if u.Event.State == protocol.StateRunning {
				t.started, t.container = time.Since(start), u.Event.Container
			}
		}
	}
}

// work is a service of the fake engines.
func work(steps ...string) protocol.Service { return protocol.Service{Image: image, Args: steps} }
