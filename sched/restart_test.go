package sched

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/sched/journal"
)

// only this node may run it: so that a test knows which one it is.
func on(node string, id protocol.RequestID) protocol.Run {
	return protocol.Run{ID: id, Service: protocol.Service{Image: "busybox", Constraints: protocol.Constraints{Node: node}}}
}

// block returns a hook that holds the writes of one kind until the test is over,
// and then fails them: a process that is killed in the middle of it.
func block(kind string) (hook func(string) error, reached, over chan struct{}) {
	reached, over = make(chan struct{}), make(chan struct{})
	return func(step string) error {
		if step != kind {
			return nil
		}
		close(reached)
		<-over
		return journal.ErrClosed
	}, reached, over
}

func TestKilledBeforeAccepted(t *testing.T) {
	withJournal(t, abc, func(t *testing.T, m *mesh) {
		hook, reached, over := block("accepted")
		m.journal.set(hook)
		answer := make(chan error)
		go func() {
			_, err := m.orch.Accept(t.Context(), on("b", "r"))
			answer <- err
		}()
		<-reached
		synctest.Wait()
		select {
		case err := <-answer:
			t.Fatalf("answered before it was on disk: %v", err)
		default:
		}
		close(over)
		if err := <-answer; err == nil {
			t.Fatal("accepted, and not on disk")
		}
		m.restart()
		if _, err := m.orch.Inspect(t.Context(), "r"); protocol.CodeOf(err) != protocol.CodeNotFound {
			t.Errorf("after the restart: %v", err)
		}
		if n := m.offers("r"); n != 0 {
			t.Errorf("%d offers of what was never accepted", n)
		}
	})
}

func TestKilledBeforeOffered(t *testing.T) {
	withOffersApart(t, abc, func(t *testing.T, m *mesh) {
		hook, reached, over := block("offered")
		m.journal.set(hook)
		app := m.run(on("b", "r"))
		<-reached
		synctest.Wait()
		if n := m.offers("r"); n != 0 {
			t.Fatalf("%d offers before it was on disk", n)
		}
		m.stop()
		close(over)
		m.restart()
		<-app.done
		if protocol.CodeOf(app.err) != protocol.CodeLeaving {
			t.Errorf("the app was told %v", app.err)
		}
		e := m.nodes["b"].only(t)
		e.exit(0)
		if d := m.inspect("r"); d.Last.State != protocol.StateSucceeded || m.offers("r") != 1 {
			t.Errorf("%+v, %d offers", d.Last, m.offers("r"))
		}
	})
}

// The first offer goes to disk with the request, where nothing has to be found out
// for it.
func TestFirstOfferIsWrittenWithTheRequest(t *testing.T) {
	withJournal(t, abc, func(t *testing.T, m *mesh) {
		m.journal.set(func(step string) error {
			if step == "offered" {
				t.Error("the first offer was written down by itself")
			}
			return nil
		})
		app := m.run(on("b", "r"))
		m.nodes["b"].only(t)
		if rec, err := m.journal.Find("r"); err != nil || rec.Offer != (journal.Offer{Attempt: 1, Node: "b", Name: "b"}) {
			t.Errorf("%+v, %v", rec.Offer, err)
		}
		m.restart()
		<-app.done
		if n := m.offers("r"); n != 1 {
			t.Errorf("%d offers", n)
		}
	})
}

// What was accepted together with its first offer is not taken for offered when
// this device shuts down before it was: it is placed at the next start.
func TestStoppedBeforeTheFirstOffer(t *testing.T) {
	withJournal(t, abc, func(t *testing.T, m *mesh) {
		m.journal.set(func(step string) error {
			if step == "written" {
				m.stop()
			}
			return nil
		})
		app := m.run(on("b", "r"))
		<-app.done
		if own := m.view.Snapshot(nil).Peers[1]; m.offers("r") != 0 || own.Inflight != 0 || own.Sent != 0 {
			t.Errorf("%d offers, counted %+v", m.offers("r"), own)
		}
		m.restart()
		m.nodes["b"].only(t).exit(0)
		if d := m.inspect("r"); d.Last.State != protocol.StateSucceeded || m.offers("r") != 1 {
			t.Errorf("%+v, %d offers", d.Last, m.offers("r"))
		}
	})
}

// After a start this device knows nobody, and not even itself.
func TestTakenUpWaitsForNodes(t *testing.T) {
	for _, comes := range []bool{true, false} {
		withOffersApart(t, abc, func(t *testing.T, m *mesh) {
			hook, reached, over := block("offered")
			m.journal.set(hook)
			m.run(on("b", "r"))
			<-reached
			m.stop()
			close(over)
			m.kill()
			m.view.Left("b")
			m.revive()
			if d := m.inspect("r"); d.Last.State != protocol.StatePlacing {
				t.Fatalf("%+v", d.Last)
			}
			time.Sleep(DefaultParams().ResumeTimeout - time.Second)
			if comes {
				m.view.Joined("b", "b", "addr")
				m.view.UpdateStatus(nodeStatus("b", 1, 4))
				m.nodes["b"].only(t).exit(0)
			}
			time.Sleep(time.Second)
			want := protocol.StateRefused
			if comes {
				want = protocol.StateSucceeded
			}
			if d := m.inspect("r"); d.Last.State != want {
				t.Errorf("%+v", d.Last)
			}
		})
	}
}

// Whatever the node told before, the execution is taken up where it is.
func TestKilledWhileExecuted(t *testing.T) {
	for _, state := range []protocol.State{
		protocol.StatePlacing, protocol.StatePulling, protocol.StateStarting, protocol.StateRunning, protocol.StateSucceeded,
	} {
		for _, node := range []protocol.PeerID{"a", "b"} {
			withJournal(t, abc, func(t *testing.T, m *mesh) {
				m.run(on(string(node), "r"))
				e := m.nodes[node].only(t)
				if state == protocol.StateSucceeded {
					m.journal.set(func(step string) error {
						if step == "ended" {
							return journal.ErrClosed
						}
						return nil
					})
					e.write(t, "all")
					e.exit(0)
				} else {
					e.say(state)
				}
				m.restart()
				d := m.inspect("r")
				if d.Last.State != state || d.Last.Node != node || d.Last.Attempt != 1 {
					t.Fatalf("killed in state %d on %s: %+v", state, node, d.Last)
				}
				if state != protocol.StateSucceeded {
					e.write(t, "all")
					e.exit(0)
				}
				app := m.run(on(string(node), "r"))
				if end := app.end(); end.State != protocol.StateSucceeded || string(app.stdout) != "all" {
					t.Errorf("killed in state %d: %+v, %q", state, end, app.stdout)
				}
				if n := m.offers("r"); n != 1 {
					t.Errorf("killed in state %d: %d offers", state, n)
				}
			})
		}
	}
}

func TestEndedIsToldAfterRestart(t *testing.T) {
	withJournal(t, abc, func(t *testing.T, m *mesh) {
		app := m.run(on("b", "r"))
		e := m.nodes["b"].only(t)
		e.say(protocol.StateRunning)
		e.write(t, "hello")
		e.exit(3)
		app.end()
		before := m.inspect("r")
		m.restart()
		after := m.inspect("r")
		if after.Last.State != protocol.StateFailed || after.Last.ExitCode != 3 || after.Last.Node != "b" ||
			len(after.Events) != len(before.Events) || after.Accepted.IsZero() || after.Started.IsZero() || after.Ended.IsZero() {
			t.Errorf("before %+v\nafter %+v", before, after)
		}
		for _, app := range []*asker{m.attach(protocol.Attach{Request: "r"}), m.run(on("b", "r"))} {
			if end := app.end(); end.ExitCode != 3 || string(app.stdout) != "hello" || !errors.Is(app.err, io.EOF) {
				t.Errorf("%+v, %q, %v", end, app.stdout, app.err)
			}
		}
		if len(after.Decisions) != 1 || len(after.Decisions[0].Candidates) != len(before.Decisions[0].Candidates) {
			t.Errorf("decisions before %+v\nafter %+v", before.Decisions, after.Decisions)
		}
		if _, err := m.orch.Accept(t.Context(), on("c", "r")); protocol.CodeOf(err) != protocol.CodeConflict {
			t.Errorf("another service: %v", err)
		}
		if n := m.offers("r"); n != 1 {
			t.Errorf("%d offers", n)
		}
	})
}

// The node was this device, and nothing had begun there: it was in a queue that
// is gone.
func TestQueuedHereIsPlacedAgain(t *testing.T) {
	withJournal(t, abc, func(t *testing.T, m *mesh) {
		m.run(on("a", "r"))
		m.nodes["a"].only(t)
		m.kill()
		clear(m.nodes["a"].executions)
		m.revive()
		m.nodes["a"].only(t).exit(0)
		if d := m.inspect("r"); d.Last.State != protocol.StateSucceeded || d.Last.Attempt != 2 {
			t.Errorf("%+v", d.Last)
		}
	})
}

// It may have run: it must not run again.
func TestForgottenAfterRestartIsLost(t *testing.T) {
	for node, state := range map[protocol.PeerID]protocol.State{"a": protocol.StateStarting, "b": protocol.StatePlacing} {
		withJournal(t, abc, func(t *testing.T, m *mesh) {
			m.run(on(string(node), "r"))
			m.nodes[node].only(t).say(state)
			m.kill()
			clear(m.nodes[node].executions)
			m.revive()
			d := m.inspect("r")
			if d.Last.State != protocol.StateLost || !strings.Contains(d.Last.Reason, "whether it ran is not known") {
				t.Errorf("%s: %+v", node, d.Last)
			}
			m.restart()
			if d := m.inspect("r"); d.Last.State != protocol.StateLost || m.offers("r") != 1 {
				t.Errorf("%s: %+v, %d offers", node, d.Last, m.offers("r"))
			}
		})
	}
}

// A clean end of this device ends no request.
func TestShutdown(t *testing.T) {
	withJournal(t, abc, func(t *testing.T, m *mesh) {
		running := m.run(on("c", "running"))
		e := m.nodes["c"].only(t)
		e.say(protocol.StateRunning)
		m.nodes["b"].deaf, m.nodes["b"].gone = true, true
		offered := m.run(on("b", "offered"))
		synctest.Wait()
		m.close()
		for _, app := range []*asker{running, offered} {
			<-app.done
			if protocol.CodeOf(app.err) != protocol.CodeLeaving || app.last().State.Ended() {
				t.Errorf("%v, %+v", app.err, app.last())
			}
			_ = app.Close() // as apps do whose session broke
		}
		if err := m.journal.Close(); err != nil {
			t.Fatal(err)
		}
		if _, stops := e.wishes(); len(stops) != 0 {
			t.Error("what runs was stopped")
		}
		m.revive()
		e.exit(0)
		if d := m.inspect("running"); d.Last.State != protocol.StateSucceeded {
			t.Errorf("%+v", d.Last)
		}
		if d := m.inspect("offered"); d.Last.State.Ended() {
			t.Errorf("%+v", d.Last)
		}
	})
}

// What waits in a node's queue when the node shuts down has not started.
func TestTurnedAway(t *testing.T) {
	leave := protocol.Event{State: protocol.StateFailed, Code: protocol.CodeLeaving, Reason: "nothing was started"}
	turnAway := func(e *testExecution) {
		e.feed.Event(leave)
		e.feed.End()
		synctest.Wait()
	}
	withJournal(t, abc, func(t *testing.T, m *mesh) {
		app := m.run(protocol.Run{ID: "r"})
		turnAway(m.nodes["c"].only(t))
		m.nodes["b"].only(t).exit(0)
		if end := app.end(); end.State != protocol.StateSucceeded || end.Attempt != 2 || end.Node != "b" {
			t.Errorf("by another node: %+v", end)
		}
	})
	withJournal(t, abc, func(t *testing.T, m *mesh) {
		app := m.run(protocol.Run{ID: "r"})
		e := m.nodes["c"].only(t)
		e.say(protocol.StateStarting)
		turnAway(e)
		if end := app.end(); end.State != protocol.StateFailed || end.Code != protocol.CodeLeaving {
			t.Errorf("what was starting: %+v", end)
		}
	})
	withJournal(t, abc, func(t *testing.T, m *mesh) {
		m.run(on("a", "r"))
		e := m.nodes["a"].only(t)
		e.say(protocol.StatePulling)
		turnAway(e)
		m.nodes["a"].answers = []error{&protocol.Refusal{Code: protocol.CodeLeaving, Reason: "shuts down"}}
		m.run(on("a", "late"))
		synctest.Wait()
		for _, id := range []protocol.RequestID{"r", "late"} {
			if d := m.inspect(id); d.Last.State.Ended() {
				t.Errorf("this device shuts down: %+v", d.Last)
			}
		}
		m.kill()
		clear(m.nodes["a"].executions)
		m.revive()
		for _, e := range m.nodes["a"].executions {
			e.exit(0)
		}
		for _, id := range []protocol.RequestID{"r", "late"} {
			if d := m.inspect(id); d.Last.State != protocol.StateSucceeded {
				t.Errorf("after the restart: %+v", d.Last)
			}
		}
	})
}

// Sessions that are closed because the device shuts down cancel nothing, and
// what was taken up goes on without any.
func TestTakenUpGoesOn(t *testing.T) {
	withJournal(t, abc, func(t *testing.T, m *mesh) {
		app := m.run(on("c", "r"))
		e := m.nodes["c"].only(t)
		m.stop()
		_ = app.Close()
		m.restart()
		_ = m.run(on("c", "r")).Close()
		if _, stops := e.wishes(); len(stops) != 0 {
			t.Errorf("stops: %v", stops)
		}
	})
}
