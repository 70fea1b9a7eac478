package sched

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

// ranOn lets executions of the service end on each node, in turn: on the i-th after
// took(i).
func ranOn(v *View, service string, n int, nodes []protocol.PeerID, took func(i int) float64) {
	for range n {
		for i, id := range nodes {
			v.RecordRun(&protocol.Service{Image: service}, id, time.Duration(took(i)*1e9))
		}
	}
}

func threeNodes(t *testing.T) (*View, *time.Duration, []protocol.PeerID) {
	v, now := testView()
	nodes := []protocol.PeerID{"1", "2", "3"}
	for i, id := range nodes {
		v.Joined(id, string(id), "")
		v.UpdateStatus(nodeStatus(id, float64(i+1), 4))
	}
	for _, id := range nodes {
		if s := peerNamed(t, v, id).Slower; s != 0 {
			t.Errorf("%s is %v slower before anything ran", id, s)
		}
	}
	return v, now, nodes
}

// A node that is slower than it says is found out by what others take, and the
// service is not taken for longer by that.
func TestSlowNodeIsFoundOut(t *testing.T) {
	v, _, nodes := threeNodes(t)
	ranOn(v, "tool", 40, nodes, func(i int) float64 {
		return 6 / float64(i+1) * []float64{1, 1, 3}[i]
	})
	factor := func(id protocol.PeerID) float64 { return 1 + peerNamed(t, v, id).Slower }
	if got := factor("3") / factor("1"); got < 2.5 || got > 3.5 {
		t.Errorf("three times as long as by its speed, taken for %.2f times", got)
	}
	work := v.Demand(&protocol.Service{Image: "tool"}).Work
	if got := work * factor("1"); math.Abs(got-6) > 1 {
		t.Errorf("6 s on the first node are taken for %.2f s", got)
	}
	if got := work / 3 * factor("3"); math.Abs(got-6) > 1 {
		t.Errorf("6 s on the third node are taken for %.2f s", got)
	}
}

// What ran on one node only tells of the service, and nothing of the node.
func TestOneNodeAloneIsNotCorrected(t *testing.T) {
	v, _, nodes := threeNodes(t)
	ranOn(v, "long", 40, nodes[:1], func(int) float64 { return 100 })
	ranOn(v, "short", 40, nodes[1:2], func(int) float64 { return 0.1 })
	for _, id := range nodes {
		if s := peerNamed(t, v, id).Slower; s != 0 {
			t.Errorf("%s is taken for %v slower", id, s)
		}
	}
}

// Chance is no reason: executions whose length varies as widely as it may say
// little of nodes that are what they say.
func TestChanceIsNoProof(t *testing.T) {
	rng := seeded(3)
	var worst float64
	for range 50 {
		v, _, nodes := threeNodes(t)
		ranOn(v, "tool", 60, nodes, func(i int) float64 { return rng.ExpFloat64() / float64(i+1) })
		for _, id := range nodes {
			worst = max(worst, math.Abs(math.Log(1+peerNamed(t, v, id).Slower)))
		}
	}
	if worst > math.Log(1.6) {
		t.Errorf("a node that is what it says is taken for %.2f times as slow, or as fast", math.Exp(worst))
	}
}

func TestCorrectionIsBounded(t *testing.T) {
	v, _, nodes := threeNodes(t)
	ranOn(v, "tool", 200, nodes, func(i int) float64 { return []float64{1, 1, 1e6}[i] })
	most := DefaultParams().MaxSlowdown
	if got := 1 + peerNamed(t, v, "3").Slower; math.Abs(got-most) > 1e-9 {
		t.Errorf("%v times slower, the most is %v", got, most)
	}
}

// A node that loses what it is given counts as slow, until that fades or it
// brings some to their end.
func TestFaultsCount(t *testing.T) {
	v, now, _ := threeNodes(t)
	slower := func() float64 { return peerNamed(t, v, "2").Slower }
	for range 20 {
		v.RecordFault("2")
	}
	p := DefaultParams()
	if got := slower(); got < 0.95*(p.FaultCost-1) || got > p.FaultCost-1 {
		t.Errorf("all lost: %v slower", got)
	}
	*now += p.FaultHalfLife
	half := slower()
	if half < 0.45*(p.FaultCost-1) || half > 0.55*(p.FaultCost-1) {
		t.Errorf("after a while: %v slower", half)
	}
	v.RecordRun(&protocol.Service{Image: "tool"}, "2", time.Second)
	if got := slower(); got >= half {
		t.Errorf("after one that it brought to its end: %v slower, %v before", got, half)
	}
	v.Left("2")
	v.Joined("2", "2", "")
	v.UpdateStatus(nodeStatus("2", 1, 4))
	if got := slower(); got == 0 {
		t.Error("its faults are forgotten as it comes back")
	}
	if got := peerNamed(t, v, "1").Slower; got != 0 {
		t.Errorf("another node is %v slower", got)
	}
}

func TestExperienceIsBounded(t *testing.T) {
	v, _ := testView()
	kept := DefaultParams().MaxExperiences
	for i := range kept + 100 {
		v.RecordFault(protocol.PeerID(fmt.Sprint("n", i)))
		v.RecordFault("always")
	}
	if len(v.experiences.byNode) != kept || v.experiences.byNode["always"] == nil || v.experiences.byNode["n0"] != nil {
		t.Errorf("%d are remembered", len(v.experiences.byNode))
	}
}

// A fault of a node weighs in the next placement; what the container did, or
// somebody wanted, does not.
func TestFaultsAreSeen(t *testing.T) {
	for _, c := range []struct {
		name string
		end  protocol.Event
		want bool
	}{
		{"engine down", protocol.Event{State: protocol.StateFailed, Code: protocol.CodeEngineDown}, true},
		{"exit code", protocol.Event{State: protocol.StateFailed, ExitCode: 3}, false},
		{"no such command", protocol.Event{State: protocol.StateFailed, Code: protocol.CodeStartFailed}, false},
		{"cancelled", protocol.Event{State: protocol.StateCancelled, Code: protocol.CodeCancelled}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			inMesh(t, abc, func(t *testing.T, m *mesh) {
				app := m.run(protocol.Run{})
				e := m.nodes["c"].only(t)
				e.say(protocol.StateStarting)
				e.feed.Event(c.end)
				e.feed.End()
				app.end()
				if got := peerNamed(t, m.view, "c").Slower > 0; got != c.want {
					t.Errorf("it counts against the node: %v", got)
				}
			})
		})
	}
}
