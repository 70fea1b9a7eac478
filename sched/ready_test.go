package sched

import (
	"testing"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

// starting is the status of a device whose engine has not answered yet.
func starting(id protocol.PeerID) protocol.Status {
	return protocol.Status{Node: id, Name: string(id), Sequence: 1, Interval: time.Minute, NotReady: true}
}

// A device that does not know yet whether it runs work is waited for, be it another
// one or this one, where no other can run the request; it is refused for good only
// when it is known that it never will.
func TestNotReadyIsWaitedFor(t *testing.T) {
	ready := func(m *mesh, id protocol.PeerID) {
		s := nodeStatus(id, 1, 4)
		s.Sequence, s.Interval = 2, time.Minute
		m.view.UpdateStatus(s)
	}
	for name, c := range map[string]struct {
		begin func(m *mesh, id protocol.PeerID)
		then  func(m *mesh, id protocol.PeerID)
		want  protocol.Code
		after time.Duration
	}{
		"its engine answers": {
			begin: func(m *mesh, id protocol.PeerID) { m.view.UpdateStatus(starting(id)) },
			then:  ready, after: 5 * time.Second,
		},
		"it tells its first score": {then: ready, after: 5 * time.Second},
		"it runs no work": {
			then: func(m *mesh, id protocol.PeerID) {
				m.view.UpdateStatus(protocol.Status{Node: id, Name: string(id), Sequence: 2, Interval: time.Minute})
			},
			want: protocol.CodeNoNode, after: 5 * time.Second,
		},
		"it never tells": {want: protocol.CodeNoNode, after: DefaultParams().ReadyTimeout},
		"it goes on saying so": {
			begin: func(m *mesh, id protocol.PeerID) { m.view.UpdateStatus(starting(id)) },
			want:  protocol.CodeNoNode, after: DefaultParams().ReadyTimeout,
		},
	} {
		for _, id := range []protocol.PeerID{"a", "b"} {
			t.Run(name+"/"+string(id), func(t *testing.T) {
				inMesh(t, nil, func(t *testing.T, m *mesh) {
					m.nodes[id] = &testNode{id: id, executions: make(map[protocol.Attach]*testExecution)}
					m.view.Joined(id, string(id), "addr")
					if c.begin != nil {
						c.begin(m, id)
					}
					app := m.run(on(string(id), "r"))
					app.wants(protocol.StatePlacing, protocol.CodeNotReady, "waiting up to 30s for devices that have just started")
					begun := time.Now()
					if c.then != nil {
						time.Sleep(c.after)
						c.then(m, id)
					}
					if c.want == protocol.CodeNone {
						m.nodes[id].only(t).exit(0)
					}
					if end := app.end(); end.Code != c.want || end.State.Ended() == false || time.Since(begun) != c.after {
						t.Errorf("after %v: %+v", time.Since(begun), end)
					}
				})
			})
		}
	}
}

// Nobody waits for a device that could not run it in any case, nor where another
// one can.
func TestNotReadyIsNotWaitedForInVain(t *testing.T) {
	inMesh(t, []protocol.PeerID{"b"}, func(t *testing.T, m *mesh) {
		m.view.Joined("c", "c", "addr")
		m.view.UpdateStatus(starting("c"))
		m.view.Joined("d", "d", "addr") // no score yet
		gone := on("nobody", "r1")
		labels := protocol.Run{ID: "r2", Service: protocol.Service{
			Image: "busybox", Constraints: protocol.Constraints{Node: "c", Labels: map[string]string{"room": "attic"}}}}
		large := on("b", "r3")
		large.Service.CPUs = 64
		for _, r := range []protocol.Run{gone, labels, large} {
			begun := time.Now()
			if end := m.run(r).end(); end.State != protocol.StateRefused || time.Since(begun) != 0 {
				t.Errorf("%s after %v: %+v", r.ID, time.Since(begun), end)
			}
		}
		app := m.run(protocol.Run{ID: "r4"})
		m.nodes["b"].only(t).exit(0)
		if end := app.end(); end.State != protocol.StateSucceeded {
			t.Errorf("%+v", end)
		}
	})
}

// A node that refuses since it is not ready is asked again when it is.
func TestRefusedAsNotReady(t *testing.T) {
	inMesh(t, []protocol.PeerID{"b"}, func(t *testing.T, m *mesh) {
		m.nodes["b"].answers = []error{&protocol.Refusal{Code: protocol.CodeNotReady, Reason: "not yet"}}
		app := m.run(on("b", "r"))
		app.last()
		time.Sleep(time.Second)
		s := nodeStatus("b", 1, 4)
		s.Sequence, s.Interval = 2, time.Minute
		m.view.UpdateStatus(s)
		m.nodes["b"].only(t).exit(0)
		if end := app.end(); end.State != protocol.StateSucceeded {
			t.Errorf("%+v", end)
		}
	})
}
