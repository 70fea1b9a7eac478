package testnet_test

import (
	"io"
	"net"
	"path/filepath"
	goruntime "runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/hearth-edge/hearth/testnet"
	"github.com/hearth-edge/hearth/testnet/netns"
)

// TestWrongSecret: a device of another mesh is never listed, and never silence:
// the log and doctor name it by its fingerprint.
func TestWrongSecret(t *testing.T) {
	t.Parallel()
	ours, theirs := testnet.NewSecret(t), testnet.NewSecret(t)
	lan := netns.New(t)
	a := lan.AddHost("a").StartNode(t, testnet.Options{Secret: ours, Args: []string{"--driver", "none"}})
	watch := a.Watch()
	stranger := lan.AddHost("stranger").StartNode(t, testnet.Options{Secret: theirs, Args: []string{"--driver", "none"}})
	b := lan.AddHost("b").StartNode(t, testnet.Options{Secret: ours, Args: []string{"--driver", "none"}})

	a.AwaitLog(testnet.Fingerprint(t, theirs))
	stranger.AwaitLog(testnet.Fingerprint(t, ours))
	for _, n := range []*testnet.Node{a, b} {
		n.WaitNodes(2)
	}
	stranger.WaitNodes(1)
	watch.Until("b, and never the stranger", func(ds []testnet.Device) bool {
		if _, there := testnet.Find(ds, "stranger"); there {
			t.Error("the stranger was listed")
		}
		return len(ds) == 2
	})
	if r := a.Hearth("doctor"); !strings.Contains(r.Stdout, testnet.Fingerprint(t, theirs)) {
		t.Errorf("doctor does not name the other mesh:\n%s", r.Stdout)
	}
}

// TestDuplicateName: the second device with a name joins under another one, doctors
// say so, and the first one keeps its name.
func TestDuplicateName(t *testing.T) {
	t.Parallel()
	secret := testnet.NewSecret(t)
	lan := netns.New(t)
	options := testnet.Options{Secret: secret, Name: "kitchen", Args: []string{"--driver", "none"}}
	other := testnet.Options{Secret: secret, Name: "hall", Args: options.Args}
	hall := lan.AddHost("a").StartNode(t, other)
	first := lan.AddHost("b").StartNode(t, options)
	before, _ := testnet.Find(hall.WaitNodes(2), "kitchen")
	second := lan.AddHost("c").StartNode(t, options)
	devices := hall.WaitNodes(3)
	if now, _ := testnet.Find(devices, "kitchen"); now.PeerID != before.PeerID {
		t.Errorf("kitchen is %s now and was %s", now.PeerID, before.PeerID)
	}
	if !slices.ContainsFunc(devices, func(d testnet.Device) bool { return strings.HasPrefix(d.Name, "kitchen-") }) {
		t.Errorf("the second kitchen is not told apart: %+v", devices)
	}
	for _, n := range []*testnet.Node{hall, first, second} {
		if r := n.Hearth("doctor"); !strings.Contains(r.Stdout, "kitchen-") && n != second || !strings.Contains(r.Stdout, "kitchen") {
			t.Errorf("%s's doctor does not tell of the name taken:\n%s", n.Name, r.Stdout)
		}
	}
}

// TestTakenPort: a port that is in use is an error with what to do, and nothing
// half-done.
func TestTakenPort(t *testing.T) {
	t.Parallel()
	secret := testnet.NewSecret(t)
	host := netns.New(t).AddHost("a")
	args := []string{"--driver", "none", "--listen", "/ip4/0.0.0.0/tcp/4100"}
	host.StartNode(t, testnet.Options{Secret: secret, Args: args})
	second := host.LaunchNode(t, testnet.Options{Secret: secret, Name: "second", Args: args})
	if code := second.WaitExit(); code != 125 {
		t.Errorf("exit code %d, want 125", code)
	}
	for _, want := range []string{"4100", "--listen"} {
		if !strings.Contains(second.Log(), want) {
			t.Errorf("the error lacks %q: %s", want, second.Log())
		}
	}
}

// TestBadRequests: what cannot be run is refused with a reason that names what
// is wrong, and nothing is started.
func TestBadRequests(t *testing.T) {
	t.Parallel()
	secret := testnet.NewSecret(t)
	image := testnet.Image(t)
	foreign := testnet.ForeignImage(t, map[string]string{"amd64": "arm64"}[goruntime.GOARCH])
	lan := netns.New(t)
	a := lan.AddHost("a").StartNode(t, testnet.Options{Secret: secret, Args: []string{"--cpus", "1", "--memory", "512m"}})
	lan.AddHost("b").StartNode(t, testnet.Options{Secret: secret, Args: []string{"--cpus", "1", "--memory", "512m"}})
	a.WaitAble(2)
	for _, c := range []struct {
		name string
		args []string
		code int
		says []string
	}{
		{"unknown node", []string{"--node", "attic", image}, 126, []string{"attic"}},
		{"label nobody has", []string{"--constraint", "gpu=yes", image}, 126, []string{"gpu", "a, b: "}},
		{"more memory than any lends", []string{"--memory", "100g", image}, 126, []string{"a, b: "}},
		{"more cores than any lends", []string{"--cpus", "500", image}, 126, []string{"a, b: "}},
		{"no such image", []string{"nosuch/none:1"}, 125, []string{"nosuch/none:1"}},
		{"a registry that is not asked", []string{"registry.invalid/none:1"}, 126, []string{"a, b: ", `registries = ["default", "registry.invalid"]`}},
		{"image of another processor", []string{foreign}, 125, []string{foreign, goruntime.GOARCH}},
		{"no such program", []string{"--entrypoint", "/none", image}, 127, []string{"/none"}},
		{"not a reference", []string{"UPPER//case"}, 125, []string{"UPPER//case"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := a.Hearth(append([]string{"run"}, c.args...)...)
			if r.Code != c.code || r.Stdout != "" {
				t.Errorf("exit code %d, want %d; output %q", r.Code, c.code, r.Stdout)
			}
			for _, want := range c.says {
				if !strings.Contains(r.Stderr, want) {
					t.Errorf("the error lacks %q: %s", want, r.Stderr)
				}
			}
		})
	}
	left := testnet.Docker(t, "ps", "-aq", "--filter", "label="+testnet.LabelMesh+"="+testnet.Fingerprint(t, secret))
	if left != "" {
		t.Errorf("containers are left of what was refused: %s", left)
	}
}

// TestEngineGoesAway: a node whose engine stops answering gets no more work and
// says why, and is back with it.
func TestEngineGoesAway(t *testing.T) {
	t.Parallel()
	secret := testnet.NewSecret(t)
	image := testnet.Image(t)
	engine := newProxy(t)
	lan := netns.New(t)
	a := lan.AddHost("a").StartNode(t, testnet.Options{Secret: secret, Args: []string{"--driver", "none"}})
	b := lan.AddHost("b").StartNode(t, testnet.Options{
		Secret: secret, Args: []string{"--driver", "docker"}, Env: []string{"DOCKER_HOST=unix://" + engine.path},
	})
	a.WaitNodes(2)
	watch := a.Watch()
	able := func(ds []testnet.Device) bool {
		d, _ := testnet.Find(ds, "b")
		return d.Score > 0
	}
	watch.Until("b able to work", able)
	if r := a.Hearth("run", image, "echo", "hello"); r.Code != 0 || r.Stdout != "hello\n" {
		t.Errorf("with its engine: exit code %d, output %q: %s", r.Code, r.Stdout, r.Stderr)
	}

	engine.stop()
	watch.Until("b unable to work", func(ds []testnet.Device) bool { return !able(ds) })
	if r := a.Hearth("run", image, "echo", "hello"); r.Code != 126 || !strings.Contains(r.Stderr, "b:") {
		t.Errorf("without its engine: exit code %d, want 126 and a reason for b: %s", r.Code, r.Stderr)
	}
	if r := b.Hearth("doctor"); r.Code == 0 || !strings.Contains(r.Stdout, "engine") {
		t.Errorf("doctor finds nothing wrong: exit code %d\n%s", r.Code, r.Stdout)
	}

	engine.start()
	watch.Until("b able to work again", able)
	if r := a.Hearth("run", image, "echo", "hello"); r.Code != 0 || r.Stdout != "hello\n" {
		t.Errorf("with its engine back: exit code %d, output %q: %s", r.Code, r.Stdout, r.Stderr)
	}
}

// A proxy is a socket through which a node reaches the engine, and which can go
// away without it.
type proxy struct {
	t        testing.TB
	path     string
	mu       sync.Mutex // owns what follows
	listener net.Listener
	conns    []net.Conn
}

func newProxy(t testing.TB) *proxy {
	p := &proxy{t: t, path: filepath.Join(testnet.ShortTempDir(t), "engine.sock")}
	p.start()
	t.Cleanup(p.stop)
	return p
}

func (p *proxy) start() {
	l, err := net.Listen("unix", p.path)
	if err != nil {
		p.t.Fatal(err)
	}
	p.mu.Lock()
	p.listener = l
	p.mu.Unlock()
	go func() { // ends with the listener
		for {
			from, err := l.Accept()
			if err != nil {
				return
			}
			to, err := net.Dial("unix", "/var/run/docker.sock")
			if err != nil {
				from.Close()
				continue
			}
			p.mu.Lock()
			p.conns = append(p.conns, from, to)
			p.mu.Unlock()
			go relay(from, to) // both end with their connections
			go relay(to, from)
		}
	}()
}

// relay copies one way and passes the end of it on.
func relay(from, to net.Conn) {
	_, _ = io.Copy(to, from)
	if half, ok := to.(*net.UnixConn); ok {
		_ = half.CloseWrite()
	}
}

func (p *proxy) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.listener.Close()
	for _, c := range p.conns {
		c.Close()
	}
	p.conns = nil
}
