package sched

import (
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

// giveBack lets the execution leave the node's queue unstarted.
func (e *testExecution) giveBack() {
	e.feed.Event(protocol.Event{State: protocol.StateFailed, Code: protocol.CodeQueueTimeout, Reason: "it waited"})
	e.feed.End()
}

// attempt returns the execution that has the attempt, and its node.
func (m *mesh) attempt(n uint32) (*testExecution, protocol.PeerID) {
	m.t.Helper()
	synctest.Wait()
	for id, node := range m.nodes {
		if e := node.executions[protocol.Attach{Request: "r", Attempt: n}]; e != nil {
			return e, id
		}
	}
	m.t.Fatalf("nobody has attempt %d", n)
	return nil, ""
}

// What a node gives back is placed anew, as often as it takes: nothing ran. It goes
// where it has not waited for long yet.
func TestGivenBackIsPlacedAnew(t *testing.T) {
	withJournal(t, abc, func(t *testing.T, m *mesh) {
		app := m.run(protocol.Run{ID: "r"})
		waited := map[protocol.PeerID]int{}
		const times = 9
		for n := uint32(1); n <= times; n++ {
			e, node := m.attempt(n)
			waited[node]++
			time.Sleep(10 * time.Second)
			e.giveBack()
		}
		e, _ := m.attempt(times + 1)
		e.say(protocol.StateRunning)
		e.exit(0)
		if end := app.end(); end.State != protocol.StateSucceeded || end.Attempt != times+1 {
			t.Errorf("%+v", end)
		}
		for _, id := range abc {
			if waited[id] != times/len(abc) {
				t.Errorf("it waited so often: %v", waited)
			}
		}
		told := m.inspect("r").Events
		if e := told[2]; e.State != protocol.StatePlacing || e.Code != protocol.CodeNone || e.Node != "c" {
			t.Errorf("%+v", e)
		}
		if e := told[3]; e.State != protocol.StatePlacing || e.Code != protocol.CodeQueueTimeout ||
			e.Reason != "c gave it back: it waited" || e.Attempt != 2 {
			t.Errorf("%+v", e)
		}
	})
}

// A restart between the giving back and the next offer changes nothing.
func TestGivenBackWhileTheAskerIsDown(t *testing.T) {
	withJournal(t, abc, func(t *testing.T, m *mesh) {
		m.run(protocol.Run{ID: "r", Detach: true})
		first, _ := m.attempt(1)
		m.kill()
		first.giveBack()
		m.revive()
		e, _ := m.attempt(2)
		e.exit(0)
		if d := m.inspect("r"); d.Last.State != protocol.StateSucceeded || d.Last.Attempt != 2 {
			t.Errorf("%+v", d.Last)
		}
	})
}

// An offer says how long it may wait, unless no other node is allowed; longer where
// there is no other one yet.
func TestOffersSayHowLongTheyMayWait(t *testing.T) {
	p := DefaultParams()
	for _, c := range []struct {
		names      []protocol.PeerID
		run        protocol.Run
		least, max time.Duration
	}{
		{[]protocol.PeerID{"b", "c"}, protocol.Run{}, p.MinWait, p.MinLoneWait - 1},
		{[]protocol.PeerID{"b"}, protocol.Run{}, p.MinLoneWait, p.MinLoneWait},
		{[]protocol.PeerID{"b", "c"}, on("b", "r"), 0, 0},
	} {
		inMesh(t, c.names, func(t *testing.T, m *mesh) {
			m.run(c.run)
			synctest.Wait()
			for _, n := range m.nodes {
				for _, o := range n.offers {
					if o.MaxWait < c.least || o.MaxWait > c.max {
						t.Errorf("of %v, %s may keep it waiting for %v, want %v to %v", c.names, n.id, o.MaxWait, c.least, c.max)
					}
				}
			}
		})
	}
}

// What waits behind something endless on the only node moves when another one joins.
func TestGivenBackToOneThatJoined(t *testing.T) {
	inMesh(t, []protocol.PeerID{"b"}, func(t *testing.T, m *mesh) {
		app := m.run(protocol.Run{ID: "r"})
		first, _ := m.attempt(1)
		time.Sleep(30 * time.Second)
		m.nodes["c"] = &testNode{id: "c", executions: make(map[protocol.Attach]*testExecution)}
		m.view.Joined("c", "c", "addr")
		s := nodeStatus("c", 0.1, 1) // slow, but not as slow as to wait for as long again
		s.Interval = time.Minute
		m.view.UpdateStatus(s)
		time.Sleep(30 * time.Second)
		first.giveBack()
		e, node := m.attempt(2)
		e.exit(0)
		if end := app.end(); node != "c" || end.State != protocol.StateSucceeded {
			t.Errorf("%s: %+v", node, end)
		}
	})
}

// The estimate of a full node is that of waiting for as long as what runs there has
// run, whatever the service of that usually takes. Long-running executions take
// their slots, and nothing else.
func TestEstimateBehindLongRunning(t *testing.T) {
	params := DefaultParams()
	long := func(n int, ran time.Duration) protocol.LongRunning {
		return protocol.LongRunning{Count: uint32(n), CPUs: protocol.Cores(n), Memory: protocol.Bytes(n) << 20, Ran: ran}
	}
	for name, c := range map[string]struct {
		slots, running, queued int
		long                   protocol.LongRunning
		youngest               time.Duration
		service                protocol.Service
		want                   float64 // seconds, of work 0.1
	}{
		"idle":                       {slots: 4, want: 0.1},
		"beside one":                 {slots: 4, running: 1, long: long(1, time.Hour), youngest: time.Hour, want: 0.1},
		"beside three":               {slots: 4, running: 3, long: long(3, time.Hour), youngest: time.Hour, want: 0.1},
		"a short one in the rest":    {slots: 4, running: 4, long: long(3, time.Hour), youngest: 10 * time.Millisecond, want: 0.4},
		"behind one":                 {slots: 1, running: 1, long: long(1, time.Hour), youngest: time.Hour, want: 10800.1},
		"behind all":                 {slots: 4, running: 4, long: long(4, time.Minute), youngest: time.Minute, want: 180.1},
		"behind one not known yet":   {slots: 1, running: 1, youngest: 3 * time.Second, want: 9.1},
		"large, beside one":          {slots: 4, running: 1, long: long(1, time.Hour), service: protocol.Service{CPUs: 3}, want: 0.1},
		"large, behind one":          {slots: 4, running: 1, long: long(1, time.Hour), service: protocol.Service{CPUs: 4}, want: 10800.1},
		"a queue in the rest":        {slots: 2, running: 2, queued: 2, long: long(1, time.Hour), want: 1},
		"more long ones than it has": {slots: 1, running: 1, long: long(9, time.Second), want: 3.1},
	} {
		s := nodeStatus("n", 1, c.slots)
		s.Running, s.Queued, s.LongRunning, s.Youngest = uint32(c.running), uint32(c.queued), c.long, c.youngest
		s.CPUFree -= protocol.Cores(c.running)
		c.service.Image = "busybox"
		d := Demand{Service: &c.service, Image: protocol.HashImage("busybox"), Work: 0.1}
		peer := peerOf(s)
		peer.RTT = 0
		if got := params.estimate(&peer, &d, 0.1).total(); math.Abs(got-c.want) > 1e-6 {
			t.Errorf("%s: %v s, want %v", name, got, c.want)
		}
	}
}

// A load does not drain faster than its youngest execution has run, and what runs
// for long does not drain at all.
func TestLongRunningDoNotDrain(t *testing.T) {
	s := nodeStatus("n", 1, 2)
	s.Running, s.Queued, s.Youngest = 2, 4, time.Minute
	peer := peerOf(s)
	peer.Age = time.Second
	if got := load(&peer, 0.1); got < 5.9 {
		t.Errorf("%v are left of 6", got)
	}
	peer.Status.Youngest = time.Millisecond
	peer.Status.LongRunning = protocol.LongRunning{Count: 1, CPUs: 1, Ran: time.Hour}
	if got := load(&peer, 0.1); got < 1 || got > 1.1 {
		t.Errorf("%v are left, want the one that never ends", got)
	}
	peer.Status.LongRunning = protocol.LongRunning{Count: 2, CPUs: 2, Ran: time.Hour}
	if got := load(&peer, 0.1); got != 6 {
		t.Errorf("%v are left of 6, where no slot is", got)
	}
}

// A refusal brings what runs for long there.
func TestRefusalTellsOfLongRunning(t *testing.T) {
	v, _ := testView()
	v.Joined("1", "tv", "")
	v.UpdateStatus(nodeStatus("1", 1, 4))
	v.OfferSent("1")
	long := protocol.LongRunning{Count: 1, CPUs: 1, Ran: time.Hour}
	v.OfferRefused("1", protocol.Load{Running: 4, Slots: 4, LongRunning: long, Youngest: time.Second})
	if p := peerNamed(t, v, "1"); p.Status.LongRunning != long || p.Status.Youngest != time.Second {
		t.Errorf("%+v", p.Status)
	}
}

// An estimate is a guess until the service has run once.
func TestUnseenIsAGuess(t *testing.T) {
	v, _ := testView()
	v.Joined("1", "tv", "")
	v.UpdateStatus(nodeStatus("1", 1, 4))
	service := protocol.Service{Image: "busybox"}
	guess := func() bool {
		d, s, p := v.Demand(&service), v.Snapshot(nil), NewPlacer(DefaultParams())
		p.Place(&s, &d, seeded(1))
		return p.Explain(9).Candidates[0].Guess
	}
	if !guess() {
		t.Error("it was never seen, and the estimate is no guess")
	}
	v.RecordRun(&service, "1", time.Second)
	if guess() {
		t.Error("it was seen, and the estimate is a guess")
	}
	service.Image = "elsewhere"
	v.RecordRun(&service, "1", time.Second)
	if !guess() {
		t.Error("the image's size is not known, and the estimate is no guess")
	}
}
