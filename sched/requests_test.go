package sched

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

// watching is one who watches.
type watching struct {
	mu     sync.Mutex
	events []protocol.Event
	stop   context.CancelFunc
	done   chan error
}

func (m *mesh) watch() *watching {
	ctx, cancel := context.WithCancel(m.t.Context())
	w := &watching{stop: cancel, done: make(chan error, 1)}
	m.t.Cleanup(cancel)
	begun := make(chan struct{})
	go func() {
		w.done <- m.orch.Watch(ctx, func() { close(begun) }, func(e protocol.Event) error {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.events = append(w.events, e)
			return nil
		})
	}()
	<-begun // not a moment more is needed
	return w
}

func (w *watching) all() []protocol.Event {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.events)
}

func TestWatch(t *testing.T) {
	inMesh(t, abc, func(t *testing.T, m *mesh) {
		w := m.watch()
		m.run(on("b", "r1"))
		e := m.nodes["b"].only(t)
		e.feed.Event(protocol.Event{State: protocol.StatePulling, Progress: &protocol.Progress{Current: 1}})
		e.exit(0)
		synctest.Wait()
		m.run(on("nobody", "r2")).end()
		var got []string
		for _, e := range w.all() {
			got = append(got, fmt.Sprint(e.Request, ":", e.State))
			if e.At.IsZero() {
				t.Errorf("no time: %+v", e)
			}
		}
		// The progress of the pull is left out.
		want := "r1:accepted r1:placing r1:placing r1:succeeded r2:accepted r2:placing r2:refused"
		if strings.Join(got, " ") != want {
			t.Errorf("got %v, want %s", got, want)
		}
		w.stop()
		if err := <-w.done; err != nil {
			t.Errorf("its own end: %v", err)
		}
		w = m.watch()
		m.close()
		if err := <-w.done; protocol.CodeOf(err) != protocol.CodeLeaving {
			t.Errorf("at the end of the device: %v", err)
		}
		m.ended <- nil // for the close to come
	})
}

func TestSlowWatcherIsEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		params := DefaultParams()
		params.MaxWatchQueue = 3
		m := newMesh(t, params, abc...)
		defer m.close()
		read, seen, done := make(chan struct{}), 0, make(chan error, 1)
		go func() {
			done <- m.orch.Watch(t.Context(), func() {}, func(protocol.Event) error {
				<-read
				seen++
				return nil
			})
		}()
		synctest.Wait()
		m.run(on("nobody", "r1")).end() // three events
		m.run(on("nobody", "r2")).end()
		close(read)
		if err := <-done; protocol.CodeOf(err) != protocol.CodeOverloaded {
			t.Errorf("%v", err)
		}
		if seen != 4 { // one in hand, three in the buffer: without a gap
			t.Errorf("it saw %d", seen)
		}
	})
}

func TestFinding(t *testing.T) {
	withJournal(t, abc, func(t *testing.T, m *mesh) {
		for _, id := range []protocol.RequestID{"one", "once", "oncemore", "two"} {
			m.run(on("nobody", id)).end()
		}
		for range 2 { // from memory, then from the journal
			for id, want := range map[protocol.RequestID]protocol.RequestID{
				"one": "one", "once": "once", "oncem": "oncemore", "t": "two",
			} {
				if d := m.inspect(id); d.ID != want {
					t.Errorf("%s is %s", id, d.ID)
				}
			}
			for id, want := range map[protocol.RequestID]string{
				"on":    "on is the beginning of several request IDs: once, oncemore, one; give more of it",
				"three": "this device has no request three: it was never accepted here, or ended so long ago that it is not kept any more",
				"":      "a request ID has 1 to 64 characters, this one has 0",
			} {
				_, inspect := m.orch.Inspect(t.Context(), id)
				_, attach := m.orch.Attach(t.Context(), protocol.Attach{Request: id})
				stop := m.orch.Stop(t.Context(), protocol.Stop{Request: id})
				for _, err := range []error{inspect, attach, stop} {
					if err == nil || err.Error() != want {
						t.Errorf("%s: %v", id, err)
					}
				}
			}
			m.restart()
		}
		for i := range 7 {
			m.run(on("nobody", protocol.RequestID(fmt.Sprint("x", i)))).end()
		}
		_, err := m.orch.Inspect(t.Context(), "x")
		if want := "x is the beginning of several request IDs: x0, x1, x2, x3, x4 and 2 more; give more of it"; err == nil ||
			err.Error() != want || protocol.CodeOf(err) != protocol.CodeInvalid {
			t.Errorf("%v", err)
		}
	})
}

func TestList(t *testing.T) {
	list := func(t *testing.T, m *mesh, all bool) (ids []string) {
		synctest.Wait()
		silent, err := m.orch.List(t.Context(), all, func(i protocol.RequestInfo) error {
			ids = append(ids, string(i.ID))
			if i.Orchestrator != "a" || i.OrchestratorName != "a" || i.Image != "busybox" || i.Accepted.IsZero() {
				t.Errorf("%+v", i)
			}
			return nil
		})
		if err != nil || silent != nil {
			t.Error(silent, err)
		}
		return ids
	}
	withJournal(t, abc, func(t *testing.T, m *mesh) {
		m.run(on("nobody", "r1")).end()
		m.run(on("b", "r2"))
		detached := on("b", "r3")
		detached.Detach = true
		m.run(detached)
		m.run(on("nobody", "r4")).end()
		for range 2 {
			if got := list(t, m, false); !slices.Equal(got, []string{"r3", "r2"}) {
				t.Errorf("%v", got)
			}
			if got := list(t, m, true); !slices.Equal(got, []string{"r4", "r3", "r2", "r1"}) {
				t.Errorf("all: %v", got)
			}
			if r2, r3 := m.inspect("r2"), m.inspect("r3"); r2.Detached || !r3.Detached {
				t.Errorf("detached: %v, %v", r2.Detached, r3.Detached)
			}
			m.restart()
		}
	})
}

func TestInspect(t *testing.T) {
	inMesh(t, []protocol.PeerID{"b", "c"}, func(t *testing.T, m *mesh) {
		m.nodes["c"].answers = []error{&protocol.Refusal{Code: protocol.CodePolicy, Reason: "forbids it"}}
		m.run(protocol.Run{ID: "r"})
		e := m.nodes["b"].only(t)
		for range 200 {
			e.feed.Event(protocol.Event{State: protocol.StatePulling, Progress: &protocol.Progress{}})
			e.feed.Event(protocol.Event{State: protocol.StatePulling, QueuePlace: 1})
			e.feed.Event(protocol.Event{State: protocol.StatePulling, QueuePlace: 2})
		}
		e.exit(0)
		d := m.inspect("r")
		if d.Service.Image != "busybox" || len(d.Decisions) != 2 || d.Last.State != protocol.StateSucceeded {
			t.Errorf("%+v", d)
		}
		if n := len(d.Events); n != DefaultParams().MaxHistory || d.Events[0].State != protocol.StateAccepted ||
			d.Events[n-1].State != protocol.StateSucceeded {
			t.Errorf("%d events: %+v", n, d.Events)
		}
		for _, e := range d.Events {
			if e.Progress != nil {
				t.Errorf("progress: %+v", e)
			}
		}
	})
}

func TestAttach(t *testing.T) {
	inMesh(t, abc, func(t *testing.T, m *mesh) {
		m.run(on("b", "r"))
		e := m.nodes["b"].only(t)
		e.say(protocol.StateRunning)
		e.write(t, "hello ")
		synctest.Wait()

		now := m.attach(protocol.Attach{Request: "r", NoFollow: true})
		<-now.done
		if !errors.Is(now.err, io.EOF) || string(now.stdout) != "hello " || now.last().State != protocol.StateRunning {
			t.Errorf("now: %v, %q, %+v", now.err, now.stdout, now.last())
		}
		late := m.attach(protocol.Attach{Request: "r", Stdout: 4})
		quiet := m.attach(protocol.Attach{Request: "r", NoOutput: true})
		if _, err := io.WriteString(late, "input"); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("input of one who attached: %v", err)
		}
		e.write(t, "world")
		_ = late.Close() // cancels nothing
		late = m.attach(protocol.Attach{Request: "r", Stdout: 4})
		e.exit(0)
		if late.end(); string(late.stdout) != "o world" || late.cut != 0 {
			t.Errorf("late: %q, %d cut", late.stdout, late.cut)
		}
		if end := quiet.end(); end.State != protocol.StateSucceeded || len(quiet.stdout) != 0 || quiet.cut != 0 {
			t.Errorf("quiet: %+v, %q, %d cut", end, quiet.stdout, quiet.cut)
		}
		if _, stops := e.wishes(); len(stops) != 0 || e.input.Len() != 0 {
			t.Errorf("stops %v, input %q", stops, e.input.String())
		}
	})
}

// A request that is not detached ends with the last app that waits for it.
func TestAbandoned(t *testing.T) {
	attached, detached := on("b", "r"), on("b", "r")
	detached.Detach = true
	for _, c := range []struct {
		name  string
		first protocol.Run
		later protocol.Run
		stops int
	}{
		{"attached", attached, attached, 1},
		{"detached", detached, attached, 0},
		{"detached later", attached, detached, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			inMesh(t, abc, func(t *testing.T, m *mesh) {
				first, later := m.run(c.first), m.run(c.later)
				watcher := m.attach(protocol.Attach{Request: "r"})
				e := m.nodes["b"].only(t)
				_ = first.Close()
				_ = first.Close()
				if _, stops := e.wishes(); len(stops) != 0 {
					t.Fatal("stopped while an app waits for it")
				}
				_ = later.Close()
				if _, stops := e.wishes(); len(stops) != c.stops || c.stops > 0 && stops[0] != 10*time.Second {
					t.Errorf("stops: %v", stops)
				}
				e.exit(0)
				watcher.end()
			})
		})
	}
	t.Run("before it was placed", func(t *testing.T) {
		withOffersApart(t, abc, func(t *testing.T, m *mesh) {
			hook, reached, over := block("offered")
			m.journal.set(hook)
			app := m.run(attached)
			watcher := m.attach(protocol.Attach{Request: "r"})
			<-reached
			_ = app.Close()
			close(over)
			if end := watcher.end(); end.State != protocol.StateCancelled || m.offers("r") != 0 {
				t.Errorf("%+v", end)
			}
		})
	})
	t.Run("before it was accepted", func(t *testing.T) {
		withJournal(t, abc, func(t *testing.T, m *mesh) {
			reached, over := make(chan struct{}), make(chan struct{})
			m.journal.set(func(step string) error {
				if step == "accepted" {
					close(reached)
					<-over
				}
				return nil
			})
			ctx, cancel := context.WithCancel(t.Context())
			answer := make(chan error)
			go func() {
				_, err := m.orch.Accept(ctx, attached)
				answer <- err
			}()
			<-reached
			cancel()
			if err := <-answer; !errors.Is(err, context.Canceled) {
				t.Errorf("%v", err)
			}
			close(over)
			if d := m.inspect("r"); d.Last.State != protocol.StateCancelled || m.offers("r") != 0 {
				t.Errorf("%+v", d.Last)
			}
		})
	})
}

func TestStopBySignal(t *testing.T) {
	inMesh(t, abc, func(t *testing.T, m *mesh) {
		stop := func(s protocol.Stop) {
			s.Request = "r"
			if err := m.orch.Stop(t.Context(), s); err != nil {
				t.Error(err)
			}
			synctest.Wait()
		}
		m.run(on("b", "r"))
		e := m.nodes["b"].only(t)
		stop(protocol.Stop{Signal: "HUP", SignalOnly: true})
		stop(protocol.Stop{SignalOnly: true})
		time.Sleep(time.Hour)
		if signals, stops := e.wishes(); !slices.Equal(signals, []string{"HUP", "TERM"}) || len(stops) != 0 {
			t.Fatalf("signals %v, stops %v", signals, stops)
		}
		stop(protocol.Stop{Signal: "SIGINT", Grace: 5 * time.Second})
		time.Sleep(5*time.Second - 1)
		if signals, stops := e.wishes(); !slices.Equal(signals, []string{"HUP", "TERM", "INT"}) || len(stops) != 0 {
			t.Fatalf("signals %v, stops %v", signals, stops)
		}
		time.Sleep(time.Nanosecond)
		if _, stops := e.wishes(); !slices.Equal(stops, []time.Duration{0}) {
			t.Fatalf("stops %v", stops)
		}
		e.exit(137)
		synctest.Wait()
		// Its node tells how it ended, and this device that it was asked to.
		if d := m.inspect("r").Last; d.State != protocol.StateCancelled || d.Code != protocol.CodeCancelled || d.Reason != "stopped" || !d.Exited || d.ExitCode != 137 {
			t.Errorf("a request that was stopped by a signal ended as %+v", d)
		}
		stop(protocol.Stop{}) // no error
	})
}

// TestSignalAloneLeavesTheEndToTheContainer: what a container makes of a signal is
// its own business.
func TestSignalAloneLeavesTheEndToTheContainer(t *testing.T) {
	inMesh(t, abc, func(t *testing.T, m *mesh) {
		m.run(on("b", "r"))
		e := m.nodes["b"].only(t)
		if err := m.orch.Stop(t.Context(), protocol.Stop{Request: "r", Signal: "HUP", SignalOnly: true}); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		e.exit(129)
		synctest.Wait()
		if d := m.inspect("r").Last; d.State != protocol.StateFailed || d.ExitCode != 129 {
			t.Errorf("a request that was sent a signal ended as %+v", d)
		}
	})
}

// Wishes that come before the execution reach it, and of the sizes the last.
func TestEarlyWishes(t *testing.T) {
	inMesh(t, abc, func(t *testing.T, m *mesh) {
		node := m.nodes["b"]
		node.mute, node.gone = true, true
		app := m.run(on("b", "r"))
		app.last()
		_ = app.Signal("USR1")
		_ = app.Resize(1, 1)
		_ = app.Resize(24, 80)
		node.set(func() { node.gone = false })
		time.Sleep(5 * time.Second)
		e := node.only(t)
		if signals, _ := e.wishes(); !slices.Equal(signals, []string{"USR1"}) || len(e.sizes) != 0 {
			t.Errorf("signals %v, sizes %v", signals, e.sizes)
		}
		e.say(protocol.StateRunning)
		synctest.Wait()
		_ = app.Resize(50, 100)
		e.breakOff()
		synctest.Wait()
		if want := [][2]uint16{{24, 80}, {50, 100}, {50, 100}}; !slices.Equal(e.sizes, want) {
			t.Errorf("sizes %v, want %v", e.sizes, want)
		}
		if signals, _ := e.wishes(); !slices.Equal(signals, []string{"USR1"}) {
			t.Errorf("signals %v", signals)
		}
		node.set(func() { node.gone = true })
		e.breakOff()
		synctest.Wait()
		var err error
		for range 20 {
			err = app.Signal("USR2")
		}
		if protocol.CodeOf(err) != protocol.CodeOverloaded {
			t.Errorf("too many signals: %v", err)
		}
	})
}
