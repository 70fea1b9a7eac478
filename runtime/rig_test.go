package runtime_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime"
	"github.com/hearth-edge/hearth/runtime/fake"
)

const (
	self  = protocol.PeerID("self")
	image = "image"
)

// bed is a node on a fake engine, inside a bubble of its own time.
type bed struct {
	t      *testing.T
	engine *fake.Engine
	cfg    runtime.Config
	node   *runtime.Node
	stop   func() // ends Run and waits for it

	mu      sync.Mutex // guards started
	started []runtime.ExecutionID
}

// inBubble runs f with a node that lends 2 cores and 2 GiB and queues nothing
// that is not forced.
func inBubble(t *testing.T, f func(*bed)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := &bed{t: t}
		b.engine = fake.NewEngine(fake.Config{
			Images: map[string]fake.Image{
				image:    {},
				"absent": {Absent: true, Pull: 10 * time.Second, Size: 1000},
				"broken": {Absent: true, Pull: time.Second, Fail: protocol.Errorf(protocol.CodePullFailed, "no luck")},
			},
			OnStart: func(s runtime.Spec) {
				b.mu.Lock()
				defer b.mu.Unlock()
				b.started = append(b.started, s.ID)
			},
		})
		b.cfg = runtime.Config{
			Node: self, Name: "me", Driver: b.engine.Driver("mesh", self),
			CPUs: 2, Memory: 2 << 30, Policy: runtime.DefaultPolicy(),
			Log: slog.New(slog.DiscardHandler),
		}
		f(b)
		if b.stop != nil {
			b.stop()
		}
		b.engine.Close()
	})
}

// run starts a node, as a process does; stop ends it, as a process does.
func (b *bed) run() {
	b.t.Helper()
	node, err := runtime.New(b.cfg)
	if err != nil {
		b.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.t.Context())
	done := make(chan error, 1)
	go func() { done <- node.Run(ctx) }()
	b.node = node
	b.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			b.t.Errorf("Run: %v", err)
		}
	})
	synctest.Wait()
}

func offer(id string, args ...string) protocol.Offer {
	return protocol.Offer{
		Request: protocol.RequestID(id), Attempt: 1,
		Service: protocol.Service{Image: image, Args: args, Memory: 1 << 20},
	}
}

func forced(id string, args ...string) protocol.Offer {
	o := offer(id, args...)
	o.Forced = true
	return o
}

func (b *bed) offer(o protocol.Offer) protocol.Session {
	b.t.Helper()
	s, err := b.node.Offer(b.t.Context(), o)
	if err != nil {
		b.t.Fatalf("offer of %s: %v", o.Request, err)
	}
	return s
}

func (b *bed) refused(o protocol.Offer, code protocol.Code) *protocol.Refusal {
	b.t.Helper()
	_, err := b.node.Offer(b.t.Context(), o)
	refusal, ok := errors.AsType[*protocol.Refusal](err)
	if !ok || refusal.Code != code || refusal.Reason == "" {
		b.t.Fatalf("offer of %s: %v, want a refusal with code %v", o.Request, err, code)
	}
	return refusal
}

// said is all that a session said to its end.
type said struct {
	events         []protocol.Event
	stdout, stderr string
	cut            uint64
	err            error // instead of the end
}

func (s *said) end() protocol.Event {
	if len(s.events) == 0 {
		return protocol.Event{}
	}
	return s.events[len(s.events)-1]
}

// states are those that the session went through.
func (s *said) states() []protocol.State {
	var states []protocol.State
	for _, e := range s.events {
		states = append(states, e.State)
	}
	return slices.Compact(states)
}

func (s *said) add(u protocol.Update) {
	switch {
	case u.Event != nil:
		s.events = append(s.events, *u.Event)
	case u.Output != nil && u.Output.Channel == protocol.Stdout:
		s.stdout += string(u.Output.Data)
		s.cut += u.Output.Cut
	case u.Output != nil:
		s.stderr += string(u.Output.Data)
		s.cut += u.Output.Cut
	}
}

func listen(s protocol.Session) *said {
	defer s.Close()
	all := &said{}
	for {
		u, err := s.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			all.err = err
			return all
		}
		all.add(u)
	}
}

// until reads up to the state and what directly follows from it.
func until(t *testing.T, s protocol.Session, state protocol.State) protocol.Event {
	t.Helper()
	for {
		u, err := s.Next()
		if err != nil {
			t.Fatalf("%v before state %v", err, state)
		}
		if u.Event != nil && u.Event.State == state {
			return *u.Event
		}
	}
}

// idle checks that nothing is left: no load, nothing taken, and no container
// once the ends that nobody read are not kept any longer.
func (b *bed) idle() {
	b.t.Helper()
	synctest.Wait()
	s := b.node.State()
	if s.Load.Running != 0 || s.Load.Queued != 0 || s.CPUFree != b.cfg.CPUs || s.MemoryFree != b.cfg.Memory {
		b.t.Errorf("not idle: %+v, free %v cores and %d bytes", s.Load, s.CPUFree, s.MemoryFree)
	}
	time.Sleep(runtime.EndedTTL + time.Second)
	synctest.Wait()
	if n := b.containers(); n != 0 {
		b.t.Errorf("%d containers left", n)
	}
}

// containers asks the engine how many there are.
func (b *bed) containers() int {
	b.t.Helper()
	all, err := b.cfg.Driver.Recover(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	return len(all)
}

func (b *bed) starts() []runtime.ExecutionID {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.started)
}

func contains(t *testing.T, text, part string) {
	t.Helper()
	if !strings.Contains(text, part) {
		t.Errorf("%q does not say %q", text, part)
	}
}
