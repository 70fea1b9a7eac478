package web

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/hearth-edge/hearth/cmd/hearth/door"
	"github.com/hearth-edge/hearth/protocol"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const owner = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// A fakeApp is a device with nothing behind it: its requests are scripts that a test
// writes, its answers are fields.
type fakeApp struct {
	protocol.Containers // nobody asks for them here
	protocol.Stacks

	mu       sync.Mutex // guards what follows
	devices  []protocol.Device
	changed  chan struct{} // closed when devices change
	requests map[protocol.RequestID]*script
	events   []chan protocol.Event
	stopped  []protocol.Stop
	drained  []bool
	runs     int

	stacks   []protocol.StackStatus
	decision protocol.Decision
	checks   []protocol.Check
	silent   []string
	fails    error // what every verb answers, if it is not nil
	// begin is what a new request does by itself.
	begin func(*script)
}

func newFakeApp() *fakeApp {
	return &fakeApp{changed: make(chan struct{}), requests: map[protocol.RequestID]*script{}, begin: func(*script) {}}
}

// A script is a request: a feed that a test writes.
type script struct {
	*protocol.Feed
	app  *fakeApp
	info protocol.RequestDetail

	input   *io.PipeReader
	feeding *io.PipeWriter
	closed  chan struct{} // closed when its Run session is
}

// event tells a step of the request's life.
func (s *script) event(e protocol.Event) {
	e.Request = s.info.ID
	if e.At.IsZero() {
		e.At = time.Now()
	}
	s.app.mu.Lock()
	s.info.Last = e
	s.info.Events = append(s.info.Events, e)
	watchers := slices.Clone(s.app.events)
	s.app.mu.Unlock()
	s.Event(e)
	for _, w := range watchers {
		w <- e
	}
}

// end tells the last step.
func (s *script) end(e protocol.Event) {
	s.event(e)
	s.End()
	_ = s.input.Close()
}

type session struct {
	*script
	*protocol.FeedReader
	owns bool
	once sync.Once
}

func (s *session) Write(p []byte) (int, error)    { return s.feeding.Write(p) }
func (s *session) CloseWrite() error              { return s.feeding.Close() }
func (s *session) Stop(time.Duration) error       { return nil }
func (s *session) Signal(string) error            { return nil }
func (s *session) Resize(uint16, uint16) error    { return nil }
func (s *session) Next() (protocol.Update, error) { return s.FeedReader.Next() }
func (s *session) Close() error {
	s.once.Do(func() {
		if s.owns {
			close(s.closed)
			_ = s.feeding.CloseWithError(io.ErrClosedPipe)
			_ = s.input.CloseWithError(io.ErrClosedPipe)
		}
	})
	return s.FeedReader.Close()
}

func (a *fakeApp) Run(_ context.Context, r protocol.Run) (protocol.Session, error) {
	a.mu.Lock()
	if a.fails != nil {
		defer a.mu.Unlock()
		return nil, a.fails
	}
	a.runs++
	if old := a.requests[r.ID]; old != nil {
		defer a.mu.Unlock()
		if old.info.Service.Image != r.Service.Image {
			return nil, protocol.Errorf(protocol.CodeConflict, "request %s is in use", r.ID)
		}
		return &session{script: old, FeedReader: old.Reader(0, 0)}, nil
	}
	s := a.newScript(r)
	a.requests[r.ID] = s
	a.mu.Unlock()
	s.event(protocol.Event{State: protocol.StateAccepted})
	a.begin(s)
	return &session{script: s, FeedReader: s.Reader(0, 0), owns: !r.Detach}, nil
}

func (a *fakeApp) newScript(r protocol.Run) *script {
	s := &script{Feed: protocol.NewFeed(protocol.DefaultOutputLimit), app: a, closed: make(chan struct{})}
	s.info = protocol.RequestDetail{Service: r.Service, RequestInfo: protocol.RequestInfo{
		ID: r.ID, Orchestrator: "12D3KooWself", OrchestratorName: "porch", Image: r.Service.Image, Args: r.Service.Args,
		Tags: r.Service.Tags, Detached: r.Detach, Accepted: time.Now(),
	}}
	s.input, s.feeding = io.Pipe()
	return s
}

func (a *fakeApp) find(id protocol.RequestID) (*script, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.fails != nil {
		return nil, a.fails
	}
	if s := a.requests[id]; s != nil {
		return s, nil
	}
	return nil, protocol.Errorf(protocol.CodeNotFound, "no request %s is known in the mesh", id)
}

func (a *fakeApp) Attach(_ context.Context, at protocol.Attach) (protocol.Session, error) {
	s, err := a.find(at.Request)
	if err != nil {
		return nil, err
	}
	if at.NoFollow {
		return &session{script: s, FeedReader: s.ReaderOfNow(at.Stdout, at.Stderr)}, nil
	}
	return &session{script: s, FeedReader: s.Reader(at.Stdout, at.Stderr)}, nil
}

func (a *fakeApp) Stop(_ context.Context, stop protocol.Stop) error {
	if _, err := a.find(stop.Request); err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.stopped = append(a.stopped, stop)
	return nil
}

func (a *fakeApp) Remove(_ context.Context, r protocol.Remove) error {
	s, err := a.find(r.Request)
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if !s.info.Last.State.Ended() && !r.Force {
		return protocol.Errorf(protocol.CodeConflict, "request %s has not ended", r.Request)
	}
	delete(a.requests, r.Request)
	return nil
}

func (a *fakeApp) List(_ context.Context, all bool, yield func(protocol.RequestInfo) error) ([]string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.fails != nil {
		return nil, a.fails
	}
	var list []protocol.RequestInfo
	for _, s := range a.requests {
		if all || !s.info.Last.State.Ended() {
			list = append(list, s.info.RequestInfo)
		}
	}
	slices.SortFunc(list, func(x, y protocol.RequestInfo) int {
		if c := y.Accepted.Compare(x.Accepted); c != 0 {
			return c
		}
		return strings.Compare(string(x.ID), string(y.ID))
	})
	for _, i := range list {
		if err := yield(i); err != nil {
			return nil, err
		}
	}
	return a.silent, nil
}

func (a *fakeApp) Inspect(_ context.Context, id protocol.RequestID) (protocol.RequestDetail, error) {
	s, err := a.find(id)
	if err != nil {
		return protocol.RequestDetail{}, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	d := s.info
	d.Events, d.Decisions = slices.Clone(d.Events), []protocol.Decision{a.decision}
	return d, nil
}

func (a *fakeApp) Watch(ctx context.Context, begun func(), yield func(protocol.Event) error) error {
	a.mu.Lock()
	if a.fails != nil {
		defer a.mu.Unlock()
		return a.fails
	}
	mine := make(chan protocol.Event, 64)
	a.events = append(a.events, mine)
	a.mu.Unlock()
	begun()
	for {
		select {
		case e := <-mine:
			if err := yield(e); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (a *fakeApp) Plan(context.Context, protocol.Service) (protocol.Decision, error) {
	return a.decision, a.fails
}

func (a *fakeApp) Devices(ctx context.Context, watch bool, yield func([]protocol.Device) error) error {
	for {
		a.mu.Lock()
		list, changed := slices.Clone(a.devices), a.changed
		a.mu.Unlock()
		if a.fails != nil {
			return a.fails
		}
		if err := yield(list); err != nil || !watch {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (a *fakeApp) ListStacks(ctx context.Context, l protocol.ListStacks, yield func([]protocol.StackStatus) error) error {
	for {
		a.mu.Lock()
		list, changed := slices.Clone(a.stacks), a.changed
		a.mu.Unlock()
		if err := yield(list); err != nil || !l.Watch {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// setStacks changes what there is.
func (a *fakeApp) setStacks(list ...protocol.StackStatus) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.stacks = list
	close(a.changed)
	a.changed = make(chan struct{})
}

// setDevices changes what there is.
func (a *fakeApp) setDevices(ds ...protocol.Device) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.devices = ds
	close(a.changed)
	a.changed = make(chan struct{})
}

func (a *fakeApp) Diagnose(context.Context) ([]protocol.Check, error) { return a.checks, a.fails }
func (a *fakeApp) Drain(_ context.Context, off bool) error {
	a.drained = append(a.drained, !off)
	return a.fails
}
func (a *fakeApp) Down(context.Context) error           { return a.fails }
func (a *fakeApp) Forget(context.Context, string) error { return a.fails }
func (a *fakeApp) Status(_ context.Context, _ bool, yield func(protocol.DeviceInfo) error) error {
	if a.fails != nil {
		return a.fails
	}
	return yield(protocol.DeviceInfo{ID: "12D3KooWself", Name: "porch", Fingerprint: "hxb25o2sbgq6", Version: "v1", Engine: "fake 1", Peers: 2})
}

func deviceNamed(name string, self bool) protocol.Device {
	return protocol.Device{Self: self, Age: time.Second, RTT: time.Millisecond, Address: "/ip4/192.168.1.2/tcp/7117", Status: protocol.Status{
		Node: protocol.PeerID("12D3KooW" + name), Name: name, Role: protocol.RoleNode, Score: 12, Speed: 1, CPUs: 4, CPUFree: 3, CPUOthers: 0.5,
		Slots: 4, Running: 1, MemoryTotal: 4 << 30, MemoryFree: 3 << 30, DiskFree: 20 << 30, Arch: "arm64", OS: "linux", Drivers: []string{"docker"},
		Temperature: 51, Version: "v1", Labels: map[string]string{"room": "attic"}, Addresses: []string{"/ip4/192.168.1.2/tcp/7117"},
	}}
}

// A rig is a server with a fake app, and its clients.
type rig struct {
	app    *fakeApp
	tokens *door.Tokens
	base   string
	t      *testing.T
	end    context.CancelFunc
	client *http.Client
}

func start(t *testing.T) *rig {
	t.Helper()
	dir := t.TempDir()
	r := &rig{app: newFakeApp(), tokens: door.NewTokens(dir, owner), t: t, client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}}
	server := door.NewServer(door.Config{
		Addr: "127.0.0.1:0", Socket: filepath.Join(dir, door.SocketFile), Tokens: r.tokens, Log: slog.New(slog.DiscardHandler),
		Handler: New(Config{App: r.app, Tokens: r.tokens}),
	})
	if err := server.Listen(); err != nil {
		t.Fatal(err)
	}
	r.base = "http://" + server.Addr()
	ctx, cancel := context.WithCancel(context.Background())
	r.end = cancel
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

// An asked is a request to the API, and its answer.
type asked struct {
	*http.Response
	body string
}

// ask asks as the owner and reads the whole answer.
func (r *rig) ask(method, path, body string, change ...func(*http.Request)) asked {
	r.t.Helper()
	resp := r.open(method, path, strings.NewReader(body), change...)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatalf("%s %s: %v", method, path, err)
	}
	got := asked{resp, string(text)}
	theSpec().holds(r.t, got)
	return got
}

// open asks and leaves the body to its caller.
func (r *rig) open(method, path string, body io.Reader, change ...func(*http.Request)) *http.Response {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), method, r.base+path, body)
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+owner)
	if strings.HasPrefix(path, "/v1/") && !strings.HasPrefix(path, "/v1/run") && method == http.MethodPost {
		req.Header.Set("Content-Type", "application/json")
	}
	for _, c := range change {
		c(req)
	}
	resp, err := r.client.Do(req)
	if err != nil {
		r.t.Fatalf("%s %s: %v", method, path, err)
	}
	return resp
}

// into decodes an answer, which has that status.
func (a asked) into(t *testing.T, status int, v any) {
	t.Helper()
	if a.StatusCode != status {
		t.Fatalf("status %d, want %d: %s", a.StatusCode, status, a.body)
	}
	if err := json.Unmarshal([]byte(a.body), v); err != nil {
		t.Fatalf("%v: %s", err, a.body)
	}
}

// wants checks an answer's status and that its body has a text.
func (a asked) wants(t *testing.T, what string, status int, text string) {
	t.Helper()
	if a.StatusCode != status || !strings.Contains(a.body, text) {
		t.Errorf("%s: status %d, want %d with %q: %s", what, a.StatusCode, status, text, a.body)
	}
}

func running() protocol.Event { return protocol.Event{State: protocol.StateRunning} }

func requestID(s string) protocol.RequestID { return protocol.RequestID(s) }
