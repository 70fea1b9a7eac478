package bench

import (
	"fmt"
	"testing"
	"time"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/testnet/bench/report"
)

// sizes are the meshes that growth is looked at in.
var sizes = []int{3, 10, 30, 100, 200}

const (
	// asksEach is how many requests one iteration asks for in either mesh.
	asksEach = 50
	// watched is for how long an idle mesh is watched.
	watched = 10 * time.Second
)

// BenchmarkGrowth: requests from one node of a mesh to the others, which have
// fake engines, beside a mesh of three in turns, so that what the others cost
// this machine hits both; and what a node of an idle mesh of that size costs. On
// a site each has a processor of its own: hundreds on this one share it, and
// what is left to a request is told by the mesh of three.
func BenchmarkGrowth(b *testing.B) {
	for _, count := range sizes {
		formed := true
		b.Run(fmt.Sprintf("nodes=%d", count), func(b *testing.B) { formed = growth(b, count) })
		if !formed {
			return // still less would a larger one
		}
	}
}

// growth returns false where this machine could not bring about the mesh.
func growth(b *testing.B, count int) bool {
	small := mustStart(b, 3, nil)
	m := small
	if count > 3 {
		var err error
		if m, err = startMesh(b, count, nil); err != nil {
			run.Unmeasured = append(run.Unmeasured, fmt.Sprintf("growth, %d nodes and more: %v", count, err))
			once(b)
			return false
		}
	}
	m.settle(b)
	m.idleCosts(b)
	var ours, others asked
	mine, theirs := m.app(b, 0), small.app(b, 0)
	for range asksEach { // the first ones open connections and fill caches
		new(asked).ask(b, mine)
		new(asked).ask(b, theirs)
	}
	for b.Loop() {
		for range asksEach {
			ours.ask(b, mine)
			others.ask(b, theirs)
		}
	}
	for _, q := range []struct {
		name         string
		ours, others series
	}{
		{"accepted", ours.accepted, others.accepted}, {"taken by a node", ours.taken, others.taken},
		{"started", ours.started, others.started}, {"ended", ours.ended, others.ended},
	} {
		record(b, &report.Figure{
			Group: "growth", Name: q.name, Nodes: count, Unit: "ms", Samples: q.ours,
			Reference: &report.Reference{Name: q.name + ", 3 nodes", Samples: q.others},
		})
	}
	return true
}

// asked is what requests took.
type asked struct{ accepted, taken, started, ended series }

func (a *asked) ask(b *testing.B, device *protocol.AppClient) {
	b.Helper()
	s := work("exit=0")
	s.Constraints.NotHere = true
	t, err := ask(b.Context(), device, protocol.Run{Service: s})
	if err != nil {
		b.Fatal(err)
	}
	a.accepted.add(t.accepted)
	a.taken.add(t.taken)
	a.started.add(t.started)
	a.ended.add(t.ended)
}

// calm is how long a mesh of so many goes on as if somebody had just joined: for 15 s it
// gives back memory, and in the interval of a second for each device all tell that they are quiet.
func calm(nodes int) time.Duration {
	return max(16*time.Second, time.Second+time.Duration(nodes)*1000*time.Millisecond)
}

// settle waits until what forming the mesh left to do is done, and it uses hardly
// more processor than a moment before.
func (m *mesh) settle(b *testing.B) {
	b.Helper()
	<-time.After(calm(len(m.nodes)))
	const look, patient = 2 * time.Second, 45 * time.Second
	tick := time.NewTicker(look)
	defer tick.Stop()
	before, last := m.processor(b), time.Duration(1<<62)
	for deadline := time.Now().Add(patient); time.Now().Before(deadline); {
		<-tick.C
		now := m.processor(b)
		took := now - before
		if took < look/20 || float64(took) > 0.9*float64(last) && float64(took) < 1.1*float64(last) {
			return
		}
		before, last = now, took
	}
}

// idleCosts records what a node of the mesh costs while nothing is asked: the first
// one, and of the network their mean.
func (m *mesh) idleCosts(b *testing.B) {
	b.Helper()
	tick := time.NewTicker(watched / 5)
	defer tick.Stop()
	var network, cpu, memory, switches series
	before, nodes := m.used(b), float64(len(m.nodes))
	for range 5 {
		<-tick.C
		now := m.used(b)
		seconds := now.at.Sub(before.at).Seconds()
		// Each byte on the loopback interface goes out of one and into another.
		network = append(network, float64(now.network-before.network)/seconds/nodes/1e3)
		cpu = append(cpu, 100*(now.cpu-before.cpu).Seconds()/seconds)
		switches = append(switches, float64(now.switches-before.switches)/seconds)
		memory = append(memory, float64(now.rss)/1e6)
		before = now
	}
	for _, f := range []*report.Figure{
		{Name: "until all are seen", Unit: "s", Samples: series{m.formed.Seconds()}, Note: "nodes start one after another"},
		{Name: "network of a node", Unit: "kB/s", Samples: network},
		{Name: "processor of a node", Unit: "%", Samples: cpu},
		{Name: "memory of a node", Unit: "MB", Samples: memory, Note: "of this program, which is larger than hearth; idle: memory is of hearth"},
		{Name: "switches of threads of a node", Unit: "/s", Samples: switches},
	} {
		f.Group, f.Nodes = "growth", len(m.nodes)
		record(b, f)
	}
}
