package sched

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

// retried may be run n times more.
func retried(id protocol.RequestID, n uint32) protocol.Run {
	return protocol.Run{ID: id, Service: protocol.Service{Image: "busybox", Retry: n}}
}

// renew asks as a node does, and returns the code of the answer.
func (m *mesh) renew(node protocol.PeerID, id protocol.RequestID, attempt uint32) protocol.Code {
	return protocol.CodeOf(m.orch.Renew(m.t.Context(), node, protocol.Renewal{Request: id, Attempt: attempt}))
}

// vanish makes the node one that cannot be reached.
func (m *mesh) vanish(id protocol.PeerID, e *testExecution) {
	m.nodes[id].set(func() { m.nodes[id].gone = true })
	m.view.Left(id)
	e.breakOff()
}

func (m *mesh) appear(id protocol.PeerID, speed float64) {
	m.nodes[id].set(func() { m.nodes[id].gone = false })
	m.view.Joined(id, string(id), "addr")
	status := nodeStatus(id, speed, 4)
	status.Interval = time.Minute
	m.view.UpdateStatus(status)
}

// span is how long an attempt may go on after its last renewal.
const span = 8 * time.Second

// The next attempt waits until the lease has surely run out, counted from the
// last renewal, and none is granted from then on.
func TestRetryWaitsForTheLease(t *testing.T) {
	inMesh(t, abc, func(t *testing.T, m *mesh) {
		app := m.run(retried("r", 3))
		e := m.nodes["c"].only(t)
		if lease := m.nodes["c"].offers[0].Lease; lease != 7*time.Second {
			t.Fatalf("lease %v", lease)
		}
		e.say(protocol.StateRunning)
		e.write(t, "one ")
		time.Sleep(time.Minute)
		m.appear("b", 2) // its next score
		if code := m.renew("c", "r", 1); code != protocol.CodeNone {
			t.Fatalf("not renewed: %v", code)
		}
		granted := time.Now()
		time.Sleep(time.Second)
		m.vanish("c", e)
		for time.Since(granted) < span-time.Millisecond {
			synctest.Wait()
			if n := m.offers("r"); n != 1 {
				t.Fatalf("%d offers %v after the last renewal", n, time.Since(granted))
			}
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Millisecond)
		second := m.nodes["b"].only(t)
		for _, node := range []protocol.PeerID{"b", "c"} {
			if code := m.renew(node, "r", 1); code != protocol.CodeLeaseExpired {
				t.Errorf("%s renews the first attempt: %v", node, code)
			}
		}
		if m.renew("c", "r", 2) != protocol.CodeLeaseExpired || m.renew("b", "r", 2) != protocol.CodeNone {
			t.Error("the second attempt is not b's alone")
		}
		second.say(protocol.StateRunning)
		second.write(t, "two")
		second.exit(3)
		end := app.end()
		if end.State != protocol.StateFailed || end.ExitCode != 3 || end.Attempt != 2 || end.Node != "b" {
			t.Errorf("end: %+v", end)
		}
		if got := string(app.stdout); got != "one two" || app.cut != 0 {
			t.Errorf("output %q, %d cut", got, app.cut)
		}
		var told []string
		for _, e := range app.events {
			if e.Attempt == 2 && e.State == protocol.StatePlacing && e.Node == "" {
				told = append(told, e.Reason)
			}
		}
		if want := "retry 1 of 3: c went away while it had this; whether it ran is not known"; len(told) != 1 || told[0] != want {
			t.Errorf("told: %q", told)
		}
		if code := m.renew("b", "r", 2); code != protocol.CodeLeaseExpired {
			t.Errorf("renewed after the end: %v", code)
		}
	})
}

// A node that renews while it cannot be asked has its time, and no more.
func TestRenewedThoughNotReached(t *testing.T) {
	inMesh(t, abc, func(t *testing.T, m *mesh) {
		m.run(retried("r", 1))
		e := m.nodes["c"].only(t)
		e.say(protocol.StateRunning)
		start := time.Now()
		m.vanish("c", e)
		var last time.Time
		for m.renew("c", "r", 1) == protocol.CodeNone {
			last = time.Now()
			time.Sleep(time.Second)
		}
		if d := last.Sub(start); d < 29*time.Second || d > 40*time.Second {
			t.Errorf("renewed for %v", d)
		}
		for m.offers("r") == 1 {
			time.Sleep(100 * time.Millisecond)
			synctest.Wait()
		}
		if d := time.Since(last); d < span {
			t.Errorf("the next attempt came %v after the last renewal", d)
		}
	})
}

func TestNodeIsBackInTime(t *testing.T) {
	inMesh(t, abc, func(t *testing.T, m *mesh) {
		app := m.run(retried("r", 1))
		e := m.nodes["c"].only(t)
		e.say(protocol.StateRunning)
		m.vanish("c", e)
		time.Sleep(span - time.Second)
		m.appear("c", 3)
		e.exit(0)
		if end := app.end(); end.State != protocol.StateSucceeded || end.Attempt != 1 || m.offers("r") != 1 {
			t.Errorf("end: %+v, %d offers", end, m.offers("r"))
		}
	})
}

// What the node itself tells needs no waiting.
func TestRetryAfterFaults(t *testing.T) {
	failed := func(code protocol.Code) protocol.Event {
		return protocol.Event{State: protocol.StateFailed, Code: code, Reason: "it says so"}
	}
	for name, c := range map[string]struct {
		end     protocol.Event
		retried bool
	}{
		"engine":   {failed(protocol.CodeEngineDown), true},
		"lease":    {failed(protocol.CodeLeaseExpired), true},
		"internal": {failed(protocol.CodeInternal), true},
		"lost":     {protocol.Event{State: protocol.StateLost, Code: protocol.CodeNotFound, Reason: "it says so"}, true},
		"exit":     {protocol.Event{State: protocol.StateFailed, ExitCode: 1}, false},
		"start":    {failed(protocol.CodeStartFailed), false},
		"timeout":  {protocol.Event{State: protocol.StateTimedOut, Code: protocol.CodeTimeout}, false},
		"stopped":  {protocol.Event{State: protocol.StateCancelled, Code: protocol.CodeCancelled}, false},
	} {
		t.Run(name, func(t *testing.T) {
			inMesh(t, abc, func(t *testing.T, m *mesh) {
				app := m.run(retried("r", 1))
				for _, node := range []protocol.PeerID{"c", "b"} {
					e := m.nodes[node].only(t)
					e.say(protocol.StateRunning)
					e.feed.Event(c.end)
					e.feed.End()
					if !c.retried {
						break
					}
				}
				end, attempts := app.end(), 1
				if c.retried {
					attempts = 2
				}
				if end.State != c.end.State || end.Code != c.end.Code || end.Reason != c.end.Reason ||
					end.Attempt != uint32(attempts) || m.offers("r") != attempts {
					t.Errorf("%d offers, end: %+v", m.offers("r"), end)
				}
			})
		})
	}
}

// Attempts are counted over restarts, each waits for a lease that an earlier
// process may have granted, and the output goes on where it was.
func TestRetryOverRestarts(t *testing.T) {
	withJournal(t, abc, func(t *testing.T, m *mesh) {
		m.run(retried("r", 2))
		for i, node := range []protocol.PeerID{"c", "b"} {
			e := m.nodes[node].only(t)
			if m.renew(node, "r", uint32(i+1)) != protocol.CodeNone {
				t.Fatal("not renewed")
			}
			e.say(protocol.StateRunning)
			e.write(t, "12345")
			synctest.Wait()
			m.kill()
			m.nodes[node].gone = true
			m.view.Left(node)
			m.revive()
			start := time.Now()
			for m.offers("r") == i+1 {
				time.Sleep(100 * time.Millisecond)
				synctest.Wait()
			}
			if d := time.Since(start); d < span || d > span+time.Second {
				t.Errorf("the next attempt came %v after the start", d)
			}
		}
		app := m.attach(protocol.Attach{Request: "r"})
		e := m.nodes["a"].only(t)
		e.say(protocol.StateRunning)
		e.write(t, "last")
		synctest.Wait()
		m.restart()
		if code := m.renew("a", "r", 3); code != protocol.CodeNone {
			t.Errorf("renewed after the restart: %v", code)
		}
		<-app.done
		app = m.attach(protocol.Attach{Request: "r"})
		m.nodes["a"].gone = true
		e.breakOff()
		end := app.end()
		if end.State != protocol.StateUnknown || end.Attempt != 3 || m.offers("r") != 3 {
			t.Errorf("%d offers, end: %+v", m.offers("r"), end)
		}
		if string(app.stdout) != "last" || app.cut != 0 {
			t.Errorf("output %q, %d cut", app.stdout, app.cut)
		}
	})
}

// What earlier attempts wrote is gone with the process, and told as cut.
func TestOutputGoesOnAfterRestart(t *testing.T) {
	withJournal(t, abc, func(t *testing.T, m *mesh) {
		m.run(retried("r", 1))
		e := m.nodes["c"].only(t)
		e.say(protocol.StateRunning)
		e.write(t, "12345")
		e.feed.Event(protocol.Event{State: protocol.StateLost})
		e = m.nodes["b"].only(t)
		e.say(protocol.StateRunning)
		e.write(t, "678")
		m.restart()
		e.write(t, "9")
		e.exit(0)
		for range 2 {
			app := m.attach(protocol.Attach{Request: "r"})
			if end := app.end(); end.Attempt != 2 || string(app.stdout) != "6789" || app.cut != 5 {
				t.Errorf("output %q, %d cut, end %+v", app.stdout, app.cut, end)
			}
			m.restart()
		}
	})
}

// What an asker has of an attempt whose node is gone, and whose output nobody else
// knows any more, is not taken for what the next attempt writes.
func TestOutputGoesOnAfterWhatAskersHave(t *testing.T) {
	withJournal(t, abc, func(t *testing.T, m *mesh) {
		m.run(retried("r", 1))
		e := m.nodes["c"].only(t)
		m.renew("c", "r", 1)
		e.say(protocol.StateRunning)
		e.write(t, "12345")
		synctest.Wait()
		m.kill()
		m.nodes["c"].gone = true
		m.view.Left("c")
		m.revive()
		app := m.attach(protocol.Attach{Request: "r", Stdout: 5})
		time.Sleep(2 * span)
		synctest.Wait()
		e = m.nodes["b"].only(t)
		e.say(protocol.StateRunning)
		e.write(t, "6789")
		e.exit(0)
		if end := app.end(); end.Attempt != 2 || string(app.stdout) != "6789" || app.cut != 0 {
			t.Errorf("output %q, %d cut, end %+v", app.stdout, app.cut, end)
		}
		late := m.attach(protocol.Attach{Request: "r"})
		if late.end(); string(late.stdout) != "6789" || late.cut != 5 {
			t.Errorf("attached later: output %q, %d cut", late.stdout, late.cut)
		}
	})
}

// Before the journal was read, and when this device leaves, nothing is told to be
// unwanted.
func TestRenewalIsNotRefusedOnAGuess(t *testing.T) {
	withJournal(t, abc, func(t *testing.T, m *mesh) {
		m.run(retried("r", 1))
		m.nodes["c"].only(t)
		early := New(m.orch.cfg)
		if err := early.Renew(t.Context(), "c", protocol.Renewal{Request: "r", Attempt: 1}); protocol.CodeOf(err) != protocol.CodeLeaving {
			t.Errorf("before the journal was read: %v", err)
		}
		m.kill()
		if code := m.renew("c", "r", 1); code != protocol.CodeLeaving {
			t.Errorf("when the device leaves: %v", code)
		}
		m.revive()
		if code := m.renew("c", "r", 1); code != protocol.CodeNone {
			t.Errorf("after the restart: %v", code)
		}
	})
}

// The only node that may run it is waited for.
func TestRetryOnTheSameNode(t *testing.T) {
	inMesh(t, abc, func(t *testing.T, m *mesh) {
		run := on("c", "r")
		run.Service.Retry = 1
		app := m.run(run)
		e := m.nodes["c"].only(t)
		e.say(protocol.StateRunning)
		m.vanish("c", e)
		time.Sleep(75 * time.Second)
		clear(m.nodes["c"].executions)
		m.appear("c", 3)
		m.nodes["c"].only(t).exit(0)
		if end := app.end(); end.State != protocol.StateSucceeded || end.Attempt != 2 {
			t.Errorf("end: %+v", end)
		}
	})
	inMesh(t, abc, func(t *testing.T, m *mesh) {
		run := on("c", "r")
		run.Service.Retry = 1
		app := m.run(run)
		e := m.nodes["c"].only(t)
		e.say(protocol.StateRunning)
		m.vanish("c", e)
		end := app.end()
		if end.State != protocol.StateLost || !strings.HasSuffix(end.Reason, "there is no node to run it again") {
			t.Errorf("end: %+v", end)
		}
	})
}

// TestLostIsNotRefusedAfterARestart: where an attempt has run, a request that no node
// takes any more is lost. Refused means that nothing ran.
func TestLostIsNotRefusedAfterARestart(t *testing.T) {
	withJournal(t, abc, func(t *testing.T, m *mesh) {
		never := func(nodes ...protocol.PeerID) {
			for _, node := range nodes {
				m.nodes[node].set(func() {
					m.nodes[node].answers = []error{&protocol.Refusal{Code: protocol.CodePolicy, Reason: "its owner does not allow it"}}
				})
			}
		}
		m.run(retried("r", 2))
		e := m.nodes["c"].only(t)
		if m.renew("c", "r", 1) != protocol.CodeNone {
			t.Fatal("not renewed")
		}
		e.say(protocol.StateRunning)
		never("b")
		m.vanish("c", e)
		time.Sleep(span + 2*time.Second)
		m.nodes["a"].only(t) // in its queue
		m.kill()
		m.nodes["a"].set(func() { m.nodes["a"].amnesia = true })
		never("a", "b")
		m.revive()
		time.Sleep(DefaultParams().ResumeTimeout + time.Second)
		if last := m.inspect("r").Last; last.State != protocol.StateLost || last.Code != protocol.CodeNodeLost {
			t.Errorf("%+v", last)
		}
	})
}
