package sched

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

// A node that could not start it leads to the next one, whatever the delivery;
// the first failure is told where there is none.
func TestUnstartedIsPlacedElsewhere(t *testing.T) {
	fail := func(e *testExecution, code protocol.Code, after protocol.State) {
		e.say(after)
		e.feed.Event(protocol.Event{State: protocol.StateFailed, Code: code, Reason: "so it is"})
		e.feed.End()
	}
	for _, code := range []protocol.Code{
		protocol.CodePullFailed, protocol.CodeDiskFull, protocol.CodeEngineDown, protocol.CodeImagePlatform,
		protocol.CodeImageNotFound, protocol.CodeLeaving,
	} {
		inMesh(t, abc, func(t *testing.T, m *mesh) {
			app := m.run(protocol.Run{ID: "r"})
			fail(m.nodes["c"].only(t), code, protocol.StatePulling)
			m.nodes["b"].only(t).exit(0)
			if end := app.end(); end.State != protocol.StateSucceeded || end.Attempt != 2 || end.Node != "b" {
				t.Errorf("%v: %+v", code, end)
			}
		})
		inMesh(t, abc, func(t *testing.T, m *mesh) {
			app := m.run(protocol.Run{ID: "r"})
			fail(m.nodes["c"].only(t), code, protocol.StateStarting)
			if end := app.end(); end.Code != code || m.offers("r") != 1 {
				t.Errorf("%v when it was starting: %+v", code, end)
			}
		})
		inMesh(t, abc, func(t *testing.T, m *mesh) {
			app := m.run(on("c", "r"))
			fail(m.nodes["c"].only(t), code, protocol.StatePulling)
			if end := app.end(); end.State != protocol.StateFailed || end.Code != code || end.Reason != "so it is" ||
				end.Attempt != 1 || end.Node != "c" {
				t.Errorf("%v and no other node: %+v", code, end)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		params := DefaultParams()
		params.MaxMoves = 1
		m := newMesh(t, params, abc...)
		defer m.close()
		app := m.run(protocol.Run{ID: "r"})
		fail(m.nodes["c"].only(t), protocol.CodePullFailed, protocol.StatePulling)
		fail(m.nodes["b"].only(t), protocol.CodePullFailed, protocol.StatePulling)
		if end := app.end(); end.Code != protocol.CodePullFailed || end.Node != "b" || len(m.nodes["a"].offers) != 0 {
			t.Errorf("%+v", end)
		}
	})
}

// Who was said not to have the image is not asked whether it has it.
func TestImageNotFoundLeadsToThoseThatHaveIt(t *testing.T) {
	inMesh(t, abc, func(t *testing.T, m *mesh) {
		for i, id := range []protocol.PeerID{"b", "c"} {
			status := nodeStatus(id, float64(2+20*i), 4)
			status.Sequence, status.Interval, status.Images = 2, time.Minute, nil
			m.view.UpdateStatus(status)
		}
		busyHere := nodeStatus("a", 0.01, 4)
		busyHere.Sequence, busyHere.Interval = 2, time.Minute
		m.view.UpdateStatus(busyHere)
		app := m.run(protocol.Run{ID: "r"})
		e := m.nodes["c"].only(t)
		e.feed.Event(protocol.Event{State: protocol.StateFailed, Code: protocol.CodeImageNotFound, Reason: "nobody has it"})
		e.feed.End()
		m.nodes["a"].only(t).exit(0)
		if end := app.end(); end.State != protocol.StateSucceeded || len(m.nodes["b"].offers) != 0 {
			t.Errorf("%+v", end)
		}
	})
}
