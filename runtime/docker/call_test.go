package docker

import (
	"context"
	"io"
	"net"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/docker/docker/client"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime"
)

// stubEngine answers the first so many requests with something that fits, and
// no other: it takes them, and the connections, and is silent.
type stubEngine struct {
	mu      sync.Mutex // guards the rest
	answers int
	conns   []net.Conn
	over    chan struct{}
}

// dial implements what a client dials with.
func (s *stubEngine) dial(context.Context, string, string) (net.Conn, error) {
	near, far := net.Pipe()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conns = append(s.conns, near, far)
	go func() { _ = http.Serve(&oneConn{conn: far, over: s.over}, s) }()
	return near, nil
}

// ServeHTTP implements http.Handler.
func (s *stubEngine) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.answers--
	silent := s.answers < 0
	s.mu.Unlock()
	if silent {
		<-s.over
		return
	}
	switch path := r.URL.Path; {
	case strings.HasSuffix(path, "/attach"):
		w.Header().Set("Connection", "Upgrade")
		w.Header().Set("Upgrade", "tcp")
		w.WriteHeader(http.StatusSwitchingProtocols)
	case strings.HasSuffix(path, "/images/json"), strings.HasSuffix(path, "/containers/json"):
		_, _ = io.WriteString(w, `[{"Id": "x", "State": "running", "Labels": {"dev.hearth.attempt": "1",
			"dev.hearth.cpus": "1", "dev.hearth.memory": "1", "dev.hearth.timeout": "1h"}}]`)
	default:
		_, _ = io.WriteString(w, `{"Id": "x", "Os": "linux", "Arch": "amd64", "Architecture": "amd64",
			"Created": "2031-01-01T00:00:00Z", "SystemTime": "2031-01-01T00:01:00Z", "Config": {},
			"State": {"Status": "exited", "StartedAt": "2031-01-01T00:00:00Z", "FinishedAt": "2031-01-01T00:00:01Z"}}`)
	}
}

// close ends all that the engine has.
func (s *stubEngine) close() {
	close(s.over)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.conns {
		c.Close()
	}
}

// oneConn is a listener with a single connection to accept.
type oneConn struct {
	conn net.Conn
	over chan struct{}
	once sync.Once
}

func (l *oneConn) Accept() (c net.Conn, err error) {
	l.once.Do(func() { c = l.conn })
	if c == nil {
		<-l.over
		return nil, net.ErrClosed
	}
	return c, nil
}

func (l *oneConn) Close() error   { return nil }
func (l *oneConn) Addr() net.Addr { return l.conn.LocalAddr() }

// TestEveryCallHasADeadline: whatever an engine answered before it fell silent,
// nothing that the driver does waits for it for ever, with no deadline of its
// caller's. All methods of a driver are there, so a new one must be added.
func TestEveryCallHasADeadline(t *testing.T) {
	spec := testSpec("image", "true")
	ctx := context.Background()
	close := func(s runtime.Stdio, err error) error {
		if err == nil {
			s.Output.Close()
		}
		return err
	}
	methods := map[string]func(*Driver) error{
		"Info":       func(d *Driver) error { _, err := d.Info(ctx); return err },
		"Image":      func(d *Driver) error { _, err := d.Image(ctx, "image"); return err },
		"Inspect":    func(d *Driver) error { _, err := d.Inspect(ctx, "image"); return err },
		"Pull":       func(d *Driver) error { return d.Pull(ctx, "image", nil) },
		"PullAlways": func(d *Driver) error { return d.PullAlways(ctx, "image", nil) },
		"Create":     func(d *Driver) error { _, s, err := d.Create(ctx, spec); return close(s, err) },
		"Start":      func(d *Driver) error { return d.Start(ctx, spec.ID) },
		"Attach":     func(d *Driver) error { return close(d.Attach(ctx, spec.ID)) },
		"Signal":     func(d *Driver) error { return d.Signal(ctx, spec.ID, "TERM") },
		"Resize":     func(d *Driver) error { return d.Resize(ctx, spec.ID, 1, 1) },
		"Remove":     func(d *Driver) error { return d.Remove(ctx, spec.ID) },
		"Written":    func(d *Driver) error { _, err := d.Written(ctx, spec.ID); return err },
		"Recover":    func(d *Driver) error { _, err := d.Recover(ctx); return err },
		"Exec": func(d *Driver) error {
			_, err := d.Exec(ctx, "x", runtime.Command{Args: []string{"true"}, Detach: true})
			return err
		},
		// What Dial asks of the engine; the connection itself has its own deadline.
		"Dial":     func(d *Driver) error { _, err := d.lookAtNetwork(ctx, "x"); return err },
		"Stat":     func(d *Driver) error { _, err := d.Stat(ctx, "x", "/"); return err },
		"CopyFrom": func(d *Driver) error { _, err := d.CopyFrom(ctx, "x", "/"); return err },
		"CopyInto": func(d *Driver) error { return d.CopyInto(ctx, "x", "/", strings.NewReader("")) },
		// One try of Wait, which itself outlives restarts of the engine.
		"Wait": func(d *Driver) error { _, err := d.waitOnce(ctx, "x", 0); return err },
		// One look of Watch, which goes on too.
		"Watch":  func(d *Driver) error { return d.watchOnce(ctx, pingTimeout, func() {}, func() {}) },
		"Name":   func(*Driver) error { return nil },
		"Logins": func(*Driver) error { return nil },
		"Close":  func(*Driver) error { return nil }, // for each of the others, below
	}
	for i := range reflect.TypeFor[runtime.Driver]().NumMethod() {
		name := reflect.TypeFor[runtime.Driver]().Method(i).Name
		method := methods[name]
		if method == nil {
			t.Errorf("%s is not tried", name)
			continue
		}
		for answers, silent := 0, true; silent && answers < 20; answers++ {
			synctest.Test(t, func(t *testing.T) {
				engine := &stubEngine{answers: answers, over: make(chan struct{})}
				d := newTestDriver(t)
				c, err := client.NewClientWithOpts(client.WithHost("tcp://engine:1"), client.WithAPIVersionNegotiation(), client.WithDialContext(engine.dial))
				if err != nil {
					t.Fatal(err)
				}
				d.client.Store(c)
				start := time.Now()
				err = method(d)
				took := time.Since(start)
				silent = protocol.CodeOf(err) == protocol.CodeEngineDown
				if silent {
					t.Logf("%s gives up an engine that is silent after %d answers in %v", name, answers, took)
				}
				if took > 2*changeTimeout { // some make several calls
					t.Errorf("%s took %v", name, took)
				}
				if err := d.Close(); err != nil || time.Since(start)-took > closeTimeout {
					t.Errorf("Close after %s took %v: %v", name, time.Since(start)-took, err)
				}
				engine.close()
			})
		}
	}
}
