package outbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"go.uber.org/goleak"

	"github.com/hearth-edge/hearth/protocol"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds each wait.
const patience = 30 * time.Second

// A fakeApp says what a test says.
type fakeApp struct {
	protocol.App
	events  chan protocol.Event
	devices chan []protocol.Device
}

func newFakeApp() *fakeApp {
	return &fakeApp{events: make(chan protocol.Event), devices: make(chan []protocol.Device)}
}

func (a *fakeApp) Watch(ctx context.Context, begun func(), yield func(protocol.Event) error) error {
	begun()
	for {
		select {
		case e := <-a.events:
			if err := yield(e); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (a *fakeApp) Devices(ctx context.Context, _ bool, yield func([]protocol.Device) error) error {
	for {
		select {
		case ds := <-a.devices:
			if err := yield(ds); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// run runs an outbox until the end of the test, or until end is called.
func run(t *testing.T, app *fakeApp, targets ...string) (o *Outbox, end func()) {
	t.Helper()
	cfg := Config{App: app, Mesh: "hxb25o2sbgq6", Name: "attic", Log: slog.New(slog.DiscardHandler)}
	for _, text := range targets {
		target, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		cfg.Targets = append(cfg.Targets, target)
	}
	o = New(cfg)
	for _, s := range o.senders {
		s.backoff = time.Millisecond
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- o.Run(ctx) }() // ends with ctx
	end = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(end)
	return o, end
}

// A mosquitto is Debian's broker, on a port of its own.
type mosquitto struct {
	t      *testing.T
	config string
	addr   string
	cmd    *exec.Cmd
}

var program = sync.OnceValues(func() (string, error) {
	out, err := exec.Command("../../../../testnet/mosquitto.sh").Output()
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		err = fmt.Errorf("%w: %s", err, e.Stderr)
	}
	return strings.TrimSpace(string(out)), err
})

// newMosquitto starts a broker; lines are added to its configuration.
func newMosquitto(t *testing.T, lines ...string) *mosquitto {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m := &mosquitto{t: t, addr: l.Addr().String(), config: filepath.Join(t.TempDir(), "mosquitto.conf")}
	_ = l.Close()
	_, port, _ := net.SplitHostPort(m.addr)
	text := fmt.Sprintf("listener %s 127.0.0.1\n%s\n", port, strings.Join(lines, "\n"))
	if len(lines) == 0 {
		text += "allow_anonymous true\n"
	}
	if err := os.WriteFile(m.config, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	m.start()
	t.Cleanup(m.stop)
	return m
}

func (m *mosquitto) start() {
	m.t.Helper()
	path, err := program()
	if err != nil {
		m.t.Fatal(err)
	}
	m.cmd = exec.Command(path, "-c", m.config)
	if err := m.cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	waitFor(m.t, "the broker listens", func() bool {
		c, err := net.Dial("tcp", m.addr)
		if err != nil {
			return false
		}
		_ = c.Close()
		return true
	})
}

func (m *mosquitto) stop() {
	if m.cmd != nil {
		_ = m.cmd.Process.Kill()
		_ = m.cmd.Wait()
		m.cmd = nil
	}
}

// A listener keeps what a broker sends it: the last message of each topic, and how
// many came.
type listener struct {
	mu    sync.Mutex // guards what follows
	last  map[string]string
	count map[string]int
}

func (m *mosquitto) listen(user, password string) *listener {
	m.t.Helper()
	l := &listener{last: map[string]string{}, count: map[string]int{}}
	o := mqtt.NewClientOptions().AddBroker("tcp://" + m.addr).SetUsername(user).SetPassword(password).SetAutoReconnect(false)
	client := mqtt.NewClient(o)
	err := settle(client.Connect())
	if err == nil {
		err = settle(client.Subscribe("#", 1, func(_ mqtt.Client, got mqtt.Message) {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.last[got.Topic()] = string(got.Payload())
			l.count[got.Topic()]++
		}))
	}
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() { client.Disconnect(0) })
	return l
}

// wait waits until the last message of a topic has a text.
func (l *listener) wait(t *testing.T, topic, text string) {
	t.Helper()
	waitFor(t, topic+" has "+text, func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return strings.Contains(l.last[topic], text)
	})
}

func waitFor(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}
