package testnet_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hearth-edge/hearth/testnet"
	"github.com/hearth-edge/hearth/testnet/netns"
)

// TestShortWorkPassesEndless: of three nodes of one core two run what never ends, the
// third something of 5 s. Short requests run as soon as that is over: none waits
// for ever, and none runs twice.
func TestShortWorkPassesEndless(t *testing.T) {
	const short = 6
	secret, image := testnet.NewSecret(t), testnet.Image(t)
	lan := netns.New(t)
	var nodes []*testnet.Node
	for i := range 3 {
		nodes = append(nodes, lan.AddHost(fmt.Sprint("n", i)).StartNode(t, testnet.Options{
			Secret: secret, Args: []string{"--cpus", "1", "--memory", "1g"},
		}))
	}
	nodes[0].WaitAble(3)
	for range short { // that its image takes a moment is learnt
		if r := nodes[0].Hearth("run", "-q", image, "echo", "hi"); r.Code != 0 {
			t.Fatalf("exit code %d: %s", r.Code, r.Stderr)
		}
	}
	witness := testnet.NewWitness(t, secret)
	for node, runs := range map[string]string{"n0": "1h", "n1": "1h", "n2": "5s"} {
		if r := nodes[0].Hearth("run", "-d", "--node", node, "--id", "on-"+node, image, "sleep", runs); r.Code != 0 {
			t.Fatalf("exit code %d: %s", r.Code, r.Stderr)
		}
	}
	witness.Started(3, func(c testnet.Container) bool { return strings.HasPrefix(c.Request, "on-") })
	begun := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var all sync.WaitGroup
	for i := range short {
		all.Go(func() {
			id := fmt.Sprint("short-", i)
			r, err := nodes[0].Exec(ctx, nil, "run", "--id", id, image, "echo", "hi")
			if err != nil || r.Code != 0 || r.Stdout != "hi\n" {
				t.Errorf("%s after %v: %v, exit code %d: %s", id, time.Since(begun), err, r.Code, r.Stderr)
			}
		})
	}
	all.Wait()
	t.Logf("all had run after %v", time.Since(begun))
	for i := range short {
		id := fmt.Sprint("short-", i)
		if starts := witness.Started(1, func(c testnet.Container) bool { return c.Request == id }); len(starts) != 1 {
			t.Errorf("%s was started %d times", id, len(starts))
		}
	}
}

// TestJustJoinedRunsWork: a request for a device that is just seen for the first time
// runs, whether its engine answers at once or after 5 s; so does one at the device
// itself.
func TestJustJoinedRunsWork(t *testing.T) {
	secret, image := testnet.NewSecret(t), testnet.Image(t)
	lan := netns.New(t)
	asker := lan.AddHost("a").StartNode(t, testnet.Options{Secret: secret, Args: []string{"--driver", "none"}})
	for i, slow := range []bool{false, false, true} {
		name := fmt.Sprint("b", i)
		o := testnet.Options{Secret: secret, Args: []string{"--cpus", "1", "--memory", "1g"}}
		if slow {
			o.Env = []string{"DOCKER_HOST=unix://" + slowEngine(t, 5*time.Second)}
		}
		node := lan.AddHost(name).LaunchNode(t, o)
		asker.Watch().Until(name, func(ds []testnet.Device) bool { _, ok := testnet.Find(ds, name); return ok })
		own := make(chan testnet.Result, 1)
		go func() {
			r, err := node.Exec(t.Context(), nil, "run", "-q", "--node", name, image, "echo", "own")
			if err != nil {
				t.Error(err)
			}
			own <- r
		}()
		if r := asker.Hearth("run", "-q", "--node", name, image, "echo", "hi"); r.Code != 0 || r.Stdout != "hi\n" {
			t.Errorf("%s, engine slow: %v: exit code %d: %s", name, slow, r.Code, r.Stderr)
		}
		if r := <-own; r.Code != 0 || r.Stdout != "own\n" {
			t.Errorf("at %s itself, engine slow: %v: exit code %d: %s", name, slow, r.Code, r.Stderr)
		}
	}
}

// slowEngine returns a socket of the machine's engine that answers nobody before
// that time is over, as one does that has just been started.
func slowEngine(t *testing.T, silent time.Duration) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	awake := time.After(silent)
	answers := make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() {
		select {
		case <-awake:
			close(answers)
		case <-ctx.Done():
		}
	})
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { relayEngine(ctx, c, answers) })
		}
	})
	t.Cleanup(func() {
		cancel()
		l.Close()
		all.Wait()
	})
	return path
}

// relayEngine joins c to the engine once that answers, until ctx ends or either closes.
func relayEngine(ctx context.Context, c net.Conn, answers <-chan struct{}) {
	defer c.Close()
	select {
	case <-answers:
	case <-ctx.Done():
		return
	}
	engine, err := net.Dial("unix", "/var/run/docker.sock")
	if err != nil {
		return
	}
	defer engine.Close()
	stop := context.AfterFunc(ctx, func() { c.Close(); engine.Close() })
	defer stop()
	var both sync.WaitGroup
	for _, way := range [][2]net.Conn{{c, engine}, {engine, c}} {
		both.Go(func() {
			_, _ = io.Copy(way[0], way[1])
			if half, ok := way[0].(interface{ CloseWrite() error }); ok {
				_ = half.CloseWrite()
			}
		})
	}
	both.Wait()
}
