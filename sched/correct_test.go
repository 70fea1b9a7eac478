package sched

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

// A node that is away when this device is back has its time to come back; then
// the end is unknown, and corrected when it comes after all.
func TestUnknownIsCorrected(t *testing.T) {
	for _, again := range []bool{false, true} {
		withJournal(t, abc, func(t *testing.T, m *mesh) {
			m.run(on("b", "r"))
			e := m.nodes["b"].only(t)
			e.say(protocol.StateRunning)
			e.write(t, "one ")
			m.kill()
			m.view.Left("b")
			m.revive()
			if d := m.inspect("r"); d.Last.State != protocol.StatePlacing {
				t.Fatalf("%+v", d.Last)
			}
			app := m.attach(protocol.Attach{Request: "r"})
			if end := app.end(); end.State != protocol.StateUnknown || end.Node != "b" {
				t.Fatalf("%+v", end)
			}
			if again {
				m.restart()
			}
			if d := m.inspect("r"); d.Last.State != protocol.StateUnknown {
				t.Fatalf("%+v", d.Last)
			}
			watched := m.watch()
			e.write(t, "two")
			m.view.Joined("b", "b", "addr")
			if err := m.orch.Stop(t.Context(), protocol.Stop{Request: "r", Grace: time.Second}); err != nil {
				t.Fatal(err)
			}
			if _, stops := e.wishes(); !slices.Equal(stops, []time.Duration{time.Second}) {
				t.Errorf("stops: %v", stops)
			}
			e.exit(7)
			for range 2 {
				d := m.inspect("r")
				if d.Last.State != protocol.StateFailed || d.Last.ExitCode != 7 {
					t.Fatalf("not corrected: %+v", d.Last)
				}
				app = m.attach(protocol.Attach{Request: "r"})
				if end := app.end(); end.ExitCode != 7 || string(app.stdout) != "one two" ||
					slices.Contains(app.states(), protocol.StateUnknown) {
					t.Errorf("%+v, %q, %v", end, app.stdout, app.states())
				}
				if events := watched.all(); len(events) != 1 || events[0].ExitCode != 7 {
					t.Errorf("watched: %+v", events)
				}
				m.restart()
			}
			if n := m.offers("r"); n != 1 {
				t.Errorf("%d offers", n)
			}
		})
	}
}

// To the app it had ended when it released it.
func TestUnknownIsNotStoppedByItsApp(t *testing.T) {
	inMesh(t, abc, func(t *testing.T, m *mesh) {
		m.nodes["b"].mute, m.nodes["b"].gone = true, true
		app := m.run(on("b", "r"))
		app.end()
		_ = app.Close()
		m.nodes["b"].set(func() { m.nodes["b"].gone = false })
		time.Sleep(time.Minute)
		e := m.nodes["b"].only(t)
		if _, stops := e.wishes(); len(stops) != 0 {
			t.Errorf("stops: %v", stops)
		}
		e.exit(0)
		if d := m.inspect("r"); d.Last.State != protocol.StateSucceeded {
			t.Errorf("%+v", d.Last)
		}
	})
}

// A node that is back and knows nothing of it settles that it is lost.
func TestUnknownIsLostWhereTheNodeForgot(t *testing.T) {
	withJournal(t, abc, func(t *testing.T, m *mesh) {
		m.nodes["b"].deaf, m.nodes["b"].gone = true, true
		m.run(on("b", "r")).end()
		m.nodes["b"].set(func() { m.nodes["b"].gone = false })
		time.Sleep(time.Minute)
		synctest.Wait()
		tries := len(m.nodes["b"].attaches)
		time.Sleep(time.Minute)
		if d := m.inspect("r"); d.Last.State != protocol.StateLost || len(m.nodes["b"].attaches) != tries {
			t.Errorf("%+v; %d tries, then %d", d.Last, tries, len(m.nodes["b"].attaches))
		}
	})
}

// Of those whose end is unknown only the newest are asked about.
func TestUnknownIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		params := DefaultParams()
		params.MaxUnknown = 1
		m := newMesh(t, params, abc...)
		defer m.close()
		m.nodes["b"].mute, m.nodes["b"].gone = true, true
		m.run(on("b", "r1")).end()
		m.run(on("b", "r2")).end()
		synctest.Wait()
		m.nodes["b"].set(func() {
			m.nodes["b"].gone = false
			for _, e := range m.nodes["b"].executions {
				e.exit(0)
			}
		})
		time.Sleep(time.Minute)
		if r1, r2 := m.inspect("r1"), m.inspect("r2"); r1.Last.State != protocol.StateUnknown || r2.Last.State != protocol.StateSucceeded {
			t.Errorf("%+v\n%+v", r1.Last, r2.Last)
		}
	})
}
