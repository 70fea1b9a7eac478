package sched

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

func diskFull(steps ...string) func(string) error {
	return func(step string) error {
		for _, s := range steps {
			if s == step {
				return protocol.Errorf(protocol.CodeDiskFull, "no room")
			}
		}
		return nil
	}
}

func TestDiskFullAtAccept(t *testing.T) {
	withJournal(t, abc, func(t *testing.T, m *mesh) {
		m.journal.set(diskFull("accepted"))
		w := m.watch()
		for range 2 {
			_, err := m.orch.Accept(t.Context(), on("b", "r"))
			if protocol.CodeOf(err) != protocol.CodeDiskFull || err.Error() != "no room" {
				t.Errorf("%v", err)
			}
		}
		if _, err := m.orch.Inspect(t.Context(), "r"); protocol.CodeOf(err) != protocol.CodeNotFound {
			t.Errorf("%v", err)
		}
		if m.offers("r") != 0 || len(w.all()) != 0 {
			t.Errorf("%d offers, %v", m.offers("r"), w.all())
		}
		for _, p := range m.view.Snapshot(nil).Peers {
			if p.Inflight != 0 || p.Sent != 0 {
				t.Errorf("what was not accepted counts on %s: %+v", p.Node, p)
			}
		}
		m.journal.set(nil)
		// It is free for another service, too.
		m.run(on("c", "r"))
		m.nodes["c"].only(t)
	})
}

// Nobody could say after a restart who has it, so it is not offered.
func TestDiskFullAtOffer(t *testing.T) {
	withOffersApart(t, abc, func(t *testing.T, m *mesh) {
		m.journal.set(diskFull("offered"))
		app := m.run(on("b", "r"))
		app.end()
		app.wants(protocol.StateRefused, protocol.CodeDiskFull, "it could not be offered: no room")
		if m.offers("r") != 0 {
			t.Error("it was offered")
		}
	})
}

func TestDiskFullAtEnd(t *testing.T) {
	for _, here := range []bool{false, true} {
		withJournal(t, abc, func(t *testing.T, m *mesh) {
			m.journal.set(diskFull("ended"))
			run, want := on("b", "r"), protocol.StateSucceeded
			if here {
				run, want = on("nobody", "r"), protocol.StateRefused
			}
			start := time.Now()
			app := m.run(run)
			if !here {
				m.nodes["b"].only(t).exit(0)
			}
			if end := app.end(); end.State != want || time.Since(start) != 0 {
				t.Errorf("told %+v after %v", end, time.Since(start))
			}
			time.Sleep(DefaultParams().EndedTTL * 2)
			if d := m.inspect("r"); d.Last.State != want { // it is in memory still
				t.Errorf("%+v", d.Last)
			}
			m.journal.set(nil)
			time.Sleep(DefaultParams().MaxJournalBackoff)
			clear(m.nodes["b"].executions)
			m.restart()
			if d := m.inspect("r"); d.Last.State != want || m.offers("r") > 1 {
				t.Errorf("after a restart: %+v", d.Last)
			}
		})
	}
}

func TestOneIDIsAcceptedOnce(t *testing.T) {
	withJournal(t, abc, func(t *testing.T, m *mesh) {
		var apps [100]*asker
		var wg sync.WaitGroup
		for i := range apps {
			wg.Go(func() { apps[i] = m.run(on("b", "same")) })
		}
		wg.Wait()
		e := m.nodes["b"].only(t)
		e.write(t, "once")
		e.exit(0)
		for i, app := range apps {
			if end := app.end(); end.State != protocol.StateSucceeded || string(app.stdout) != "once" {
				t.Fatalf("app %d: %+v", i, end)
			}
		}
		synctest.Wait()
		m.journal.mu.Lock()
		defer m.journal.mu.Unlock()
		accepts := 0
		for _, step := range m.journal.steps {
			if step == "accepted" {
				accepts++
			}
		}
		if accepts != 1 || m.offers("same") != 1 {
			t.Errorf("%d accepts, %d offers", accepts, m.offers("same"))
		}
	})
}

// One that asks for another service waits for the answer to the one in its way.
func TestConflictWithOneThatFails(t *testing.T) {
	withJournal(t, abc, func(t *testing.T, m *mesh) {
		over := make(chan struct{})
		first := true
		m.journal.set(func(string) error {
			if !first {
				return nil
			}
			first = false
			<-over
			return protocol.Errorf(protocol.CodeDiskFull, "no room")
		})
		go func() { _, _ = m.orch.Accept(t.Context(), on("b", "r")) }()
		synctest.Wait()
		answer := make(chan error)
		go func() {
			_, err := m.orch.Accept(t.Context(), on("c", "r"))
			answer <- err
		}()
		synctest.Wait()
		close(over)
		if err := <-answer; err != nil {
			t.Error(err)
		}
	})
}

// The mark of an earlier attempt must not take the place of a later offer.
func TestMarkDoesNotOverwriteOffer(t *testing.T) {
	withJournal(t, abc, func(t *testing.T, m *mesh) {
		hook, reached, over := block("begun")
		m.journal.set(hook)
		run := on("a", "r")
		run.Service.Retry = 1
		m.run(run)
		e := m.nodes["a"].only(t)
		e.say(protocol.StateRunning)
		<-reached
		e.feed.Event(protocol.Event{State: protocol.StateFailed, Code: protocol.CodeEngineDown})
		e.feed.End()
		synctest.Wait()
		m.view.UpdateStatus(nodeStatus("a", 1, 4)) // it is avoided until something changes
		synctest.Wait()
		if n := m.offers("r"); n != 1 {
			t.Errorf("%d offers while the mark was on its way", n)
		}
		close(over)
		synctest.Wait()
		if rec, err := m.journal.Find("r"); err != nil || rec.Offer.Attempt != 2 || rec.Offer.Lost != 1 {
			t.Errorf("%+v, %v", rec.Offer, err)
		}
	})
}

// Once told, the end is on disk of what could be run again, and of what no container
// witnesses.
func TestEndIsWrittenBeforeItIsTold(t *testing.T) {
	for name, c := range map[string]struct {
		run  protocol.Run
		last protocol.State // before its end
		end  protocol.Event
	}{
		"may be retried": {retried("r", 1), protocol.StateRunning, protocol.Event{State: protocol.StateSucceeded}},
		"no container": {protocol.Run{ID: "r", Service: protocol.Service{Image: "work"}}, protocol.StatePulling,
			protocol.Event{State: protocol.StateCancelled, Code: protocol.CodeCancelled}},
	} {
		t.Run(name, func(t *testing.T) {
			withJournal(t, abc, func(t *testing.T, m *mesh) {
				hook, reached, over := block("ended")
				m.journal.set(hook)
				app := m.run(c.run)
				e := m.nodes["c"].only(t)
				e.say(c.last)
				e.feed.Event(c.end)
				e.feed.End()
				<-reached
				if last := app.last(); last.State.Ended() {
					t.Errorf("told before it was on disk: %+v", last)
				}
				m.journal.set(nil)
				close(over)
				if end := app.end(); end.State != c.end.State {
					t.Errorf("%+v", end)
				}
			})
		})
	}
}
