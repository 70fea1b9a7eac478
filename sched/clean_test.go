package sched

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

// drops returns the attempts that the node was asked to drop.
func (n *testNode) drops() (all []uint32) {
	synctest.Wait()
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, a := range n.attaches {
		if a.Forget {
			all = append(all, a.Attempt)
		}
	}
	return all
}

// TestRemovedIsDroppedAtItsNode: no output of it stays there.
func TestRemovedIsDroppedAtItsNode(t *testing.T) {
	withJournal(t, abc, func(t *testing.T, m *mesh) {
		m.run(on("b", "r"))
		e := m.nodes["b"].only(t)
		e.say(protocol.StateRunning)
		e.exit(3)
		synctest.Wait()
		if err := m.orch.Remove(t.Context(), protocol.Remove{Request: "r"}); err != nil {
			t.Fatal(err)
		}
		if got := m.nodes["b"].drops(); !slices.Equal(got, []uint32{1}) {
			t.Errorf("drops: %v", got)
		}
		m.restart()
		if got := m.nodes["b"].drops(); len(got) != 1 {
			t.Errorf("what has surely ended was dropped again: %v", got)
		}
	})
}

// TestRemovedUnknownIsKilledWhenItsNodeIsBack: over a restart of this device too.
func TestRemovedUnknownIsKilledWhenItsNodeIsBack(t *testing.T) {
	for _, restart := range []bool{false, true} {
		withJournal(t, abc, func(t *testing.T, m *mesh) {
			m.run(on("b", "r"))
			e := m.nodes["b"].only(t)
			e.say(protocol.StateRunning)
			m.vanish("b", e)
			time.Sleep(DefaultParams().ReattachTimeout + time.Second)
			if last := m.inspect("r").Last; last.State != protocol.StateUnknown {
				t.Fatalf("%+v", last)
			}
			if err := m.orch.Remove(t.Context(), protocol.Remove{Request: "r"}); protocol.CodeOf(err) != protocol.CodeConflict {
				t.Errorf("without --force: %v", err)
			}
			if err := m.orch.Remove(t.Context(), protocol.Remove{Request: "r", Force: true}); err != nil {
				t.Fatal(err)
			}
			if restart {
				m.restart()
			}
			time.Sleep(5 * time.Minute)
			m.appear("b", 1)
			if _, stops := e.wishes(); !slices.Equal(stops, []time.Duration{0}) {
				t.Errorf("restart %v: stops: %v", restart, stops)
			}
			e.say(protocol.StateCancelled)
			e.feed.End()
			if got := m.nodes["b"].drops(); !slices.Equal(got, []uint32{1}) {
				t.Errorf("restart %v: drops: %v", restart, got)
			}
		})
	}
}

// TestRemovedIsNotDroppedForEver: a node that is away loses what it kept by itself.
func TestRemovedIsNotDroppedForEver(t *testing.T) {
	inMesh(t, abc, func(t *testing.T, m *mesh) {
		m.run(on("b", "r"))
		m.nodes["b"].only(t).exit(0)
		synctest.Wait()
		m.nodes["b"].set(func() { m.nodes["b"].gone = true })
		if err := m.orch.Remove(t.Context(), protocol.Remove{Request: "r"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(DefaultParams().ReattachTimeout + time.Second)
		tries := len(m.nodes["b"].drops())
		time.Sleep(time.Hour)
		if again := len(m.nodes["b"].drops()); tries == 0 || again != tries {
			t.Errorf("%d tries, later %d", tries, again)
		}
	})
}
