package edge

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/hearth-edge/hearth/cmd/hearth/door"
	"github.com/hearth-edge/hearth/protocol"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const owner = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// A fakeApp is a device whose requests do what a test says.
type fakeApp struct {
	protocol.App // nobody asks for the rest

	mu   sync.Mutex // guards what follows
	runs []protocol.Run
	// updates are what each request says; then it stays as it is, unless it ended.
	updates []protocol.Update
	fails   error
	devices []protocol.Device
}

func (a *fakeApp) Run(_ context.Context, r protocol.Run) (protocol.Session, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.fails != nil {
		return nil, a.fails
	}
	a.runs = append(a.runs, r)
	s := &fakeSession{updates: make(chan protocol.Update, len(a.updates)), closed: make(chan struct{})}
	for _, u := range a.updates {
		s.updates <- u
	}
	return s, nil
}

func (a *fakeApp) Devices(_ context.Context, _ bool, yield func([]protocol.Device) error) error {
	return yield(a.devices)
}

type fakeSession struct {
	protocol.Session
	updates chan protocol.Update
	once    sync.Once
	closed  chan struct{}
}

func (s *fakeSession) Next() (protocol.Update, error) {
	select {
	case u := <-s.updates:
		return u, nil
	default:
	}
	<-s.closed
	return protocol.Update{}, io.ErrClosedPipe
}

func (s *fakeSession) Close() error {
	s.once.Do(func() { close(s.closed) })
	return nil
}

// parse stands for the command's own parser.
func parse(args []string) (protocol.Run, error) {
	if strings.HasPrefix(args[0], "-") {
		return protocol.Run{}, protocol.Errorf(protocol.CodeInvalid, "unknown flag: %s", args[0])
	}
	return protocol.Run{Service: protocol.Service{Image: args[0], Args: args[1:]}}, nil
}

func newTestHandler(app protocol.App) *handler {
	return newHandler(Config{App: app, Parse: parse, Log: slog.New(slog.DiscardHandler)})
}

// A rig is the door with a fake app behind it, as a client finds it.
type rig struct {
	app    *fakeApp
	addr   string
	client *http.Client
	t      *testing.T
}

func start(t *testing.T, change ...func(*handler, *door.Config)) *rig {
	t.Helper()
	r := &rig{app: &fakeApp{}, client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}, t: t}
	h := newTestHandler(r.app)
	cfg := door.Config{
		Addr: "127.0.0.1:0", FixedPort: true, Anonymous: protocol.RightRun, Handler: h,
		Tokens: door.NewTokens(t.TempDir(), owner), Log: slog.New(slog.DiscardHandler),
	}
	for _, c := range change {
		c(h, &cfg)
	}
	server := door.NewServer(cfg)
	if err := server.Listen(); err != nil {
		t.Fatal(err)
	}
	r.addr = server.Addr()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx) }() // ends with ctx
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
		r.client.CloseIdleConnections()
	})
	return r
}

// ask posts a body, and returns the status and what was answered.
func (r *rig) ask(method, path, body string, change ...func(*http.Request)) (status int, text string) {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), method, "http://"+r.addr+path, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "text/plain")
	for _, c := range change {
		c(req)
	}
	resp, err := r.client.Do(req)
	if err != nil {
		r.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return resp.StatusCode, string(raw)
}

// service asks for a container.
func (r *rig) service(body string) (a serviceAnswer, text string) {
	r.t.Helper()
	status, text := r.ask("POST", prefix+"services", body)
	if err := json.Unmarshal([]byte(text), &a); err != nil || status != http.StatusOK {
		r.t.Fatalf("%s: %d %s: %v", body, status, text, err)
	}
	return a, text
}

func event(e protocol.Event) protocol.Update { return protocol.Update{Event: &e} }
