package sched

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

// mesh is an orchestrator on the device "a" and the nodes that it can reach.
// It lives in a synctest bubble.
type mesh struct {
	t    *testing.T
	view *View
	orch *Orchestrator
	// journal is nil where nothing is kept.
	journal *testJournal
	// images is Config.Inspect.
	images func(context.Context, string) (ImageFacts, error)
	nodes  map[protocol.PeerID]*testNode
	stop   context.CancelFunc
	ended  chan error
}

// newMesh makes a mesh of the named nodes: the faster, the later in the list.
func newMesh(t *testing.T, params Params, names ...protocol.PeerID) *mesh {
	m := &mesh{t: t}
	m.build(params, names...)
	m.start(params)
	return m
}

func (m *mesh) build(params Params, names ...protocol.PeerID) {
	start := time.Now()
	clock := func() time.Duration { return time.Since(start) }
	m.view, m.nodes = NewView("a", clock, params), make(map[protocol.PeerID]*testNode)
	for i, id := range names {
		m.nodes[id] = &testNode{id: id, executions: make(map[protocol.Attach]*testExecution)}
		m.view.Joined(id, string(id), "addr")
		status := nodeStatus(id, float64(i+1), 4)
		status.Interval = time.Minute
		m.view.UpdateStatus(status)
	}
}

// start starts an orchestrator, which takes up what the journal has.
func (m *mesh) start(params Params) {
	cfg := Config{
		Self: "a", Name: "a", View: m.view, Clock: m.view.clock, Now: time.Now, Rand: seeded(1),
		Executor: func(id protocol.PeerID) (protocol.Executor, error) {
			if n := m.nodes[id]; n != nil && !n.unreachable {
				return n, nil
			}
			return nil, errors.New("no route")
		},
		Inspect: m.images, Params: params, Log: slog.New(slog.DiscardHandler),
	}
	if m.journal != nil {
		cfg.Journal = m.journal
	}
	m.orch = New(cfg)
	ctx, cancel := context.WithCancel(m.t.Context())
	m.stop, m.ended = cancel, make(chan error, 1)
	go func() { m.ended <- m.orch.Run(ctx) }()
}

// close ends the orchestrator; a goroutine that it left behind fails the bubble.
func (m *mesh) close() {
	m.stop()
	if err := <-m.ended; err != nil {
		m.t.Errorf("Run: %v", err)
	}
}

func inMesh(t *testing.T, names []protocol.PeerID, test func(t *testing.T, m *mesh)) {
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t, DefaultParams(), names...)
		defer m.close()
		test(t, m)
	})
}

func (m *mesh) run(r protocol.Run) *asker {
	m.t.Helper()
	if r.Service.Image == "" {
		r.Service.Image = "busybox"
	}
	s, err := m.orch.Accept(m.t.Context(), r)
	if err != nil {
		m.t.Fatalf("Accept: %v", err)
	}
	return follow(m.t, s)
}

func follow(t *testing.T, s protocol.Session) *asker {
	a := &asker{t: t, Session: s, done: make(chan struct{})}
	go a.read()
	return a
}

// asker is an app: it takes note of all that it is told.
type asker struct {
	protocol.Session
	t    *testing.T
	done chan struct{} // closed at the end of the session
	err  error         // with which it ended; valid when done is closed

	mu        sync.Mutex
	events    []protocol.Event
	decisions []protocol.Decision
	stdout    []byte
	cut       uint64
}

func (a *asker) read() {
	defer close(a.done)
	for {
		u, err := a.Next()
		if err != nil {
			a.err = err
			return
		}
		a.mu.Lock()
		switch {
		case u.Event != nil:
			a.events = append(a.events, *u.Event)
		case u.Decision != nil:
			a.decisions = append(a.decisions, *u.Decision)
		case u.Output != nil:
			a.cut += u.Output.Cut
			a.stdout = append(a.stdout, u.Output.Data...)
		}
		a.mu.Unlock()
	}
}

// last waits until nothing moves any more and returns the last event.
func (a *asker) last() protocol.Event {
	synctest.Wait()
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.events) == 0 {
		a.t.Fatal("the asker was told nothing")
	}
	return a.events[len(a.events)-1]
}

// wants checks the last event.
func (a *asker) wants(s protocol.State, c protocol.Code, reason string) {
	a.t.Helper()
	e := a.last()
	if e.State != s || e.Code != c || e.Reason != reason {
		a.t.Fatalf("last event: state %d, code %v, %q\nwant state %d, code %v, %q", e.State, e.Code, e.Reason, s, c, reason)
	}
}

// end waits for the end of the session and returns the last event.
func (a *asker) end() protocol.Event {
	<-a.done
	return a.last()
}

func (a *asker) states() []protocol.State {
	a.mu.Lock()
	defer a.mu.Unlock()
	var states []protocol.State
	for _, e := range a.events {
		states = append(states, e.State)
	}
	return slices.Compact(states)
}

// testNode is a node whose answers are scripted.
type testNode struct {
	id          protocol.PeerID
	unreachable bool

	mu      sync.Mutex
	answers []error // to the next offers; nil takes it
	// deaf: offers are not received; mute: they are, but no answer comes.
	deaf, mute bool
	// amnesia: it knows of no execution; gone: it does not answer to Attach.
	amnesia, gone bool
	offers        []protocol.Offer
	attaches      []protocol.Attach
	executions    map[protocol.Attach]*testExecution
}

var errBroken = errors.New("the stream broke")

func (n *testNode) Offer(ctx context.Context, o protocol.Offer) (protocol.Session, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.deaf {
		return nil, errBroken
	}
	n.offers = append(n.offers, o)
	if len(n.answers) > 0 {
		err := n.answers[0]
		n.answers = n.answers[1:]
		if err != nil {
			return nil, err
		}
	}
	e := &testExecution{feed: protocol.NewFeed(1 << 20)}
	n.executions[protocol.Attach{Request: o.Request, Attempt: o.Attempt}] = e
	if n.mute {
		return nil, errBroken
	}
	return e.session(0, 0), nil
}

func (n *testNode) Attach(ctx context.Context, a protocol.Attach) (protocol.Session, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.attaches = append(n.attaches, a)
	e := n.executions[protocol.Attach{Request: a.Request, Attempt: a.Attempt}]
	switch {
	case n.gone:
		return nil, errBroken
	case n.amnesia || e == nil:
		return nil, protocol.Errorf(protocol.CodeNotFound, "no such execution")
	}
	return e.session(a.Stdout, a.Stderr), nil
}

// only returns the one execution that there is.
func (n *testNode) only(t *testing.T) *testExecution {
	t.Helper()
	synctest.Wait()
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.executions) != 1 {
		t.Fatalf("%s has %d executions, want 1", n.id, len(n.executions))
	}
	for _, e := range n.executions {
		return e
	}
	return nil
}

func (n *testNode) set(f func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f()
}

// testExecution is an execution whose course the test decides.
type testExecution struct {
	feed *protocol.Feed

	mu         sync.Mutex
	sessions   []*testSession
	input      bytes.Buffer
	inputEnded int
	stops      []time.Duration
	signals    []string
	sizes      [][2]uint16
}

func (e *testExecution) session(stdout, stderr uint64) protocol.Session {
	s := &testSession{FeedReader: e.feed.Reader(stdout, stderr), execution: e}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.sessions = append(e.sessions, s)
	return s
}

func (e *testExecution) say(s protocol.State) { e.feed.Event(protocol.Event{State: s}) }

func (e *testExecution) write(t *testing.T, text string) {
	if err := e.feed.Output(t.Context(), protocol.Stdout, []byte(text)); err != nil {
		t.Errorf("output: %v", err)
	}
}

func (e *testExecution) exit(code int) {
	end := protocol.Event{State: protocol.StateSucceeded, ExitCode: code}
	if code != 0 {
		end.State = protocol.StateFailed
	}
	e.feed.Event(end)
	e.feed.End()
}

// wishes returns the signals and the stops that came, when nothing moves any more.
func (e *testExecution) wishes() (signals []string, stops []time.Duration) {
	synctest.Wait()
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.signals), slices.Clone(e.stops)
}

// breakOff breaks the session that is used now.
func (e *testExecution) breakOff() {
	synctest.Wait()
	e.mu.Lock()
	s := e.sessions[len(e.sessions)-1]
	e.mu.Unlock()
	s.Close()
}

type testSession struct {
	*protocol.FeedReader
	execution *testExecution
}

func (s *testSession) Write(p []byte) (int, error) {
	s.execution.mu.Lock()
	defer s.execution.mu.Unlock()
	if s.execution.inputEnded > 0 {
		return 0, io.ErrClosedPipe
	}
	return s.execution.input.Write(p)
}

func (s *testSession) CloseWrite() error {
	s.execution.mu.Lock()
	defer s.execution.mu.Unlock()
	s.execution.inputEnded++
	return nil
}

func (s *testSession) Stop(grace time.Duration) error {
	s.execution.mu.Lock()
	defer s.execution.mu.Unlock()
	s.execution.stops = append(s.execution.stops, grace)
	return nil
}

func (s *testSession) Signal(name string) error {
	s.execution.mu.Lock()
	defer s.execution.mu.Unlock()
	s.execution.signals = append(s.execution.signals, name)
	return nil
}

func (s *testSession) Resize(rows, columns uint16) error {
	s.execution.mu.Lock()
	defer s.execution.mu.Unlock()
	s.execution.sizes = append(s.execution.sizes, [2]uint16{rows, columns})
	return nil
}

func busy() error { return &protocol.Refusal{Code: protocol.CodeBusy, Reason: "all slots taken"} }
