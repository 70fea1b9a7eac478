package sched

import (
	"math"
	"testing"

	"pgregory.net/rapid"

	"github.com/hearth-edge/hearth/protocol"
)

func TestDrained(t *testing.T) {
	for _, c := range []struct{ n, slots, turns, want float64 }{
		{8, 4, 0, 8},
		{8, 4, -1, 8},
		{8, 4, 0.5, 6}, // four at a time while some wait
		{8, 4, 1, 4},
		{8, 4, 2, 4 / math.E}, // then those that run, one by one
		{2, 4, 1, 2 / math.E},
		{0, 4, 1, 0},
	} {
		if got := drained(c.n, c.slots, c.turns); math.Abs(got-c.want) > 1e-12 {
			t.Errorf("of %v on %v slots %v are left after %v turns, want %v", c.n, c.slots, got, c.turns, c.want)
		}
	}
}

func TestDrainedNeverGrows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Float64Range(0, 100).Draw(t, "n")
		c := rapid.Float64Range(1, 16).Draw(t, "slots")
		a, b := rapid.Float64Range(0, 20).Draw(t, "turns"), rapid.Float64Range(0, 20).Draw(t, "more")
		early, late := drained(n, c, a), drained(n, c, a+b)
		if late > early || early > n || late < 0 {
			t.Fatalf("%v, then %v, then %v", n, early, late)
		}
	})
}

// A slow node with many free slots gets no more than what the fast ones cannot
// take.
func TestOnlyWhatIsWantedSpillsOver(t *testing.T) {
	fast, slow := nodeStatus("fast", 4, 4), nodeStatus("slow", 1, 16)
	s := Snapshot{Peers: []Peer{peerOf(fast), peerOf(slow)}, MeanWork: 1}
	p := NewPlacer(DefaultParams())
	p.snapshot, p.demand = &s, &Demand{
		Service: &protocol.Service{Image: "busybox"}, Image: protocol.HashImage("busybox"), Work: 1,
	}
	p.rank()
	// Four free slots and the queue up to the slow node's start; one place more.
	fastPlaces := p.ranked[0].places(p.ranked[1].start)
	out := waterFill(p.ranked, fastPlaces+1, math.Inf(1))
	if math.Abs(out.places-(fastPlaces+1)) > 1e-9 || len(out.below) != 2 {
		t.Fatalf("%+v, wanted %v", out, fastPlaces+1)
	}
	for _, c := range out.below {
		if c.peer == 1 && math.Abs(c.places(out.level)-1) > 1e-9 {
			t.Errorf("the slow node has %v places, one was wanted", c.places(out.level))
		}
	}
}
