package sched

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/hearth-edge/hearth/protocol"
)

func seeded(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, seed)) }

func peerOf(s protocol.Status) Peer {
	return Peer{Node: s.Node, Name: s.Name, Status: &s, RTT: time.Millisecond}
}

// drawPeers makes devices of all sorts: some run no work, some have no status.
func drawPeers(t *rapid.T) []Peer {
	n := rapid.IntRange(0, 30).Draw(t, "devices")
	peers := make([]Peer, n)
	for i := range peers {
		s := nodeStatus(protocol.PeerID(fmt.Sprintf("node%d", i)),
			rapid.Float64Range(0.05, 8).Draw(t, "speed"), rapid.IntRange(1, 16).Draw(t, "slots"))
		s.Running = uint32(rapid.IntRange(0, int(s.Slots)).Draw(t, "running"))
		s.Queued = uint32(rapid.IntRange(0, 20).Draw(t, "queued"))
		s.CPUOthers = protocol.Cores(rapid.Float64Range(0, 20).Draw(t, "others"))
		s.MemoryFree = protocol.Bytes(rapid.IntRange(0, 4).Draw(t, "memory")) * gib
		if rapid.IntRange(0, 9).Draw(t, "role") == 0 {
			s.Role = protocol.RoleDevice
		}
		if rapid.Bool().Draw(t, "cold") {
			s.Images = nil
		}
		s.Score = DefaultParams().Rate(&s)
		peers[i] = peerOf(s)
		peers[i].Self = i == 0 && rapid.Bool().Draw(t, "self is one")
		peers[i].Age = time.Duration(rapid.IntRange(0, 3000).Draw(t, "age")) * time.Millisecond
		peers[i].Sent = rapid.IntRange(0, 5).Draw(t, "sent")
		peers[i].Stale = rapid.IntRange(0, 9).Draw(t, "stale") == 0
		if rapid.IntRange(0, 9).Draw(t, "scoreless") == 0 {
			peers[i].Status = nil
		}
	}
	return peers
}

func drawDemand(t *rapid.T, peers []Peer) Demand {
	d := Demand{
		Service: &protocol.Service{
			Image:  "busybox",
			CPUs:   protocol.Cores(rapid.SampledFrom([]float64{0, 0.1, 1, 4, 100}).Draw(t, "cpus")),
			Memory: protocol.Bytes(rapid.SampledFrom([]int{0, 1, 5}).Draw(t, "memory")) * gib,
		},
		Image:    protocol.HashImage("busybox"),
		Work:     rapid.Float64Range(1e-3, 1e4).Draw(t, "work"),
		Refusals: rapid.IntRange(0, 2).Draw(t, "refusals"),
	}
	d.Service.Constraints.NotHere = rapid.Bool().Draw(t, "not here")
	for i := range peers {
		if rapid.IntRange(0, 7).Draw(t, "excluded") == 0 {
			if d.Excluded == nil {
				d.Excluded = make(map[protocol.PeerID]*protocol.Refusal)
			}
			d.Excluded[peers[i].Node] = &protocol.Refusal{Code: protocol.CodePolicy, Reason: "said no"}
		}
	}
	return d
}

func TestPlaceProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := Snapshot{Peers: drawPeers(t), MeanWork: 1, Rate: rapid.Float64Range(0, 50).Draw(t, "rate")}
		d := drawDemand(t, s.Peers)
		seed := rapid.Uint64().Draw(t, "seed")
		p := NewPlacer(DefaultParams())
		choice, ok := p.Place(&s, &d, seeded(seed))
		decision := p.Explain(len(s.Peers))
		checkDecision(t, &s, &d, choice, ok, &decision)
		checkShorter(t, &decision, p.Explain(rapid.IntRange(1, max(1, len(s.Peers))).Draw(t, "named")))

		shuffled := s
		shuffled.Peers = rapid.Permutation(s.Peers).Draw(t, "order")
		again, okAgain := p.Place(&shuffled, &d, seeded(seed))
		if again != choice || okAgain != ok {
			t.Fatalf("%+v chosen, in another order %+v", choice, again)
		}
	})
}

// checkShorter: fewer names are the first ones of all, the chosen one among them.
func checkShorter(t *rapid.T, all *protocol.Decision, short protocol.Decision) {
	n := len(short.Candidates)
	if n+short.Unnamed != len(all.Candidates) || all.Unnamed != 0 {
		t.Fatalf("%d of %d devices named, %d not", n, len(all.Candidates), short.Unnamed)
	}
	want := slices.Clone(all.Candidates[:n])
	for _, c := range all.Candidates[n:] {
		if c.Chosen {
			want[n-1] = c
		}
	}
	if !slices.Equal(short.Candidates, want) {
		t.Fatalf("named are %+v\nof %+v", short.Candidates, all.Candidates)
	}
}

func checkDecision(t *rapid.T, s *Snapshot, d *Demand, choice Choice, ok bool, decision *protocol.Decision) {
	if len(decision.Candidates) != len(s.Peers) {
		t.Fatalf("%d devices, %d explained", len(s.Peers), len(decision.Candidates))
	}
	chances, ranked, chosen := 0.0, 0, 0
	for _, c := range decision.Candidates {
		if (c.Code != protocol.CodeNone) != (c.Excluded != "") {
			t.Fatalf("code and reason do not go together: %+v", c)
		}
		if c.Code != protocol.CodeNone && (c.Chosen || c.Chance != 0) {
			t.Fatalf("left out and chosen: %+v", c)
		}
		if d.Excluded[c.Node] != nil && c.Code != protocol.CodePolicy {
			t.Fatalf("excluded, yet %+v", c)
		}
		if c.Code == protocol.CodeNone {
			ranked++
		}
		if c.Chance > 0 && decision.Level > 0 && c.Estimate > decision.Level+time.Microsecond {
			t.Fatalf("above the level %v and a chance: %+v", decision.Level, c)
		}
		if c.Chosen {
			chosen++
			if c.Node != choice.Node || c.Chance <= 0 {
				t.Fatalf("chosen is %s, explained %+v", choice.Node, c)
			}
		}
		chances += c.Chance
	}
	switch {
	case ok != (ranked > 0):
		t.Fatalf("%d candidates, placed: %v", ranked, ok)
	case ok && (chosen != 1 || math.Abs(chances-1) > 1e-9):
		t.Fatalf("%d chosen, the chances add up to %v", chosen, chances)
	case ok && (choice.Bound <= 0 || choice.Only != (ranked == 1)):
		t.Fatalf("%+v of %d", choice, ranked)
	case !ok && chosen != 0:
		t.Fatal("nothing placed, yet one is chosen")
	}
}

// The level is the least with enough places below it, or its bound.
func TestPourFindsLevel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := NewPlacer(DefaultParams())
		s := Snapshot{Peers: drawPeers(t), MeanWork: 1}
		d := drawDemand(t, s.Peers)
		p.snapshot, p.demand = &s, &d
		f := p.rank()
		if len(p.ranked) == 0 {
			return
		}
		wanted := rapid.Float64Range(1, 200).Draw(t, "wanted")
		limit := p.params.MaxLevelFactor * f.best
		ranked := slices.Clone(p.ranked)
		level := waterFill(p.ranked, wanted, limit).level
		below := func(level float64) (sum float64) {
			for i := range ranked {
				sum += ranked[i].places(level)
			}
			return sum
		}
		if level < limit && below(level*(1+1e-9)) < wanted*(1-1e-6) {
			t.Fatalf("%v places below %v, %v wanted", below(level), level, wanted)
		}
		if lower := level * (1 - 1e-9); below(lower) > wanted*(1+1e-6) {
			t.Fatalf("%v places already below %v, %v wanted", below(lower), lower, wanted)
		}
	})
}

func TestRunsHereUnlessPeerRatesHigher(t *testing.T) {
	here := peerOf(nodeStatus("b", 1, 2))
	here.Self, here.RTT = true, 0
	for _, c := range []struct {
		name   string
		peer   func(*protocol.Status)
		here   func(*Peer)
		demand func(*Demand)
		want   protocol.PeerID
	}{
		{name: "equals", want: "b"},
		{name: "peer is faster", peer: func(s *protocol.Status) { s.Speed = 1.1 }, want: "a"},
		{name: "peer is slower", peer: func(s *protocol.Status) { s.Speed = 0.9 }, want: "b"},
		{name: "peer is busy", peer: func(s *protocol.Status) { s.Running = 1 }, want: "b"},
		{name: "here all slots are taken", here: func(p *Peer) { p.Sent = 2 }, want: "a"},
		{name: "only the peer has the image", here: func(p *Peer) { p.Status.Images = nil }, want: "a"},
		{name: "only here is the image", peer: func(s *protocol.Status) { s.Images = nil; s.Speed = 4 }, want: "b"},
		{name: "not here", demand: func(d *Demand) { d.Service.Constraints.NotHere = true }, want: "a"},
	} {
		t.Run(c.name, func(t *testing.T) {
			status, self := nodeStatus("a", 1, 2), here
			mine := *here.Status
			self.Status = &mine
			if c.peer != nil {
				c.peer(&status)
				status.Score = DefaultParams().Rate(&status)
			}
			if c.here != nil {
				c.here(&self)
			}
			d := Demand{Service: &protocol.Service{Image: "busybox"}, Image: protocol.HashImage("busybox"), Work: 1}
			if c.demand != nil {
				c.demand(&d)
			}
			s := Snapshot{Peers: []Peer{peerOf(status), self}, MeanWork: 1}
			for seed := range uint64(20) {
				got, _ := NewPlacer(DefaultParams()).Place(&s, &d, seeded(seed))
				if got.Node != c.want {
					t.Fatalf("seed %d: runs on %s, want %s", seed, got.Node, c.want)
				}
			}
		})
	}
}

// Many nodes that are equal must share what comes, by their places.
func TestDrawFollowsPlaces(t *testing.T) {
	var s Snapshot
	s.MeanWork = 1
	for i := range 40 {
		s.Peers = append(s.Peers, peerOf(nodeStatus(protocol.PeerID(fmt.Sprintf("n%02d", i)), 1, 1+i%2*2)))
	}
	d := Demand{Service: &protocol.Service{Image: "busybox"}, Image: protocol.HashImage("busybox"), Work: 1}
	p, rng := NewPlacer(DefaultParams()), seeded(1)
	drawn := make(map[protocol.PeerID]int)
	const n = 20000
	for range n {
		c, _ := p.Place(&s, &d, rng)
		drawn[c.Node]++
	}
	for _, c := range p.Explain(40).Candidates {
		if got := float64(drawn[c.Node]) / n; math.Abs(got-c.Chance) > 0.01 {
			t.Errorf("%s was drawn with %.3f, its chance is %.3f", c.Node, got, c.Chance)
		}
	}
	if len(drawn) != 40 {
		t.Errorf("%d of 40 equal nodes were drawn", len(drawn))
	}
}

func TestPlaceDoesNotAllocate(t *testing.T) {
	s, d := fleet(1000)
	p, rng := NewPlacer(DefaultParams()), seeded(1)
	p.Place(&s, &d, rng)
	if n := testing.AllocsPerRun(100, func() { p.Place(&s, &d, rng) }); n != 0 {
		t.Errorf("%v allocations a placement", n)
	}
}

func TestExplainIsBounded(t *testing.T) {
	s, d := fleet(1000)
	p := NewPlacer(DefaultParams())
	for seed := range uint64(50) {
		c, _ := p.Place(&s, &d, seeded(seed))
		d := p.Explain(16)
		got := d.Candidates
		if len(got) != 16 || d.Unnamed != 1000-16 {
			t.Fatalf("%d explained, %d not", len(got), d.Unnamed)
		}
		if !slices.ContainsFunc(got, func(e protocol.Candidate) bool { return e.Chosen && e.Node == c.Node }) {
			t.Fatalf("seed %d: the chosen node is not among those explained", seed)
		}
	}
}

// fleet makes n nodes whose speeds differ 40-fold, at load 0.5 or so.
func fleet(n int) (Snapshot, Demand) {
	rng := seeded(7)
	s := Snapshot{MeanWork: 1, Rate: 5}
	for i := range n {
		status := nodeStatus(protocol.PeerID(fmt.Sprintf("12D3KooWxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx%05d", i)),
			[]float64{0.1, 0.25, 1, 2, 4}[rng.IntN(5)], []int{2, 4, 8}[rng.IntN(3)])
		status.Running = uint32(rng.IntN(int(status.Slots) + 1))
		status.Labels = map[string]string{"room": "kitchen"}
		status.Score = DefaultParams().Rate(&status)
		p := peerOf(status)
		p.Age = time.Duration(rng.IntN(1000)) * time.Millisecond
		s.Peers = append(s.Peers, p)
	}
	d := Demand{Service: &protocol.Service{Image: "busybox"}, Image: protocol.HashImage("busybox"), Work: 1}
	d.Service.Constraints.Labels = map[string]string{"arch": "amd64"}
	return s, d
}

func benchmarkPlace(b *testing.B, n int) {
	s, d := fleet(n)
	p, rng := NewPlacer(DefaultParams()), seeded(1)
	b.ReportAllocs()
	for b.Loop() {
		p.Place(&s, &d, rng)
	}
}

func BenchmarkPlace1000(b *testing.B)  { benchmarkPlace(b, 1000) }
func BenchmarkPlace10000(b *testing.B) { benchmarkPlace(b, 10000) }

func BenchmarkExplain1000(b *testing.B) {
	s, d := fleet(1000)
	p := NewPlacer(DefaultParams())
	p.Place(&s, &d, seeded(1))
	b.ReportAllocs()
	for b.Loop() {
		p.Explain(16)
	}
}

func BenchmarkSnapshot1000(b *testing.B) {
	s, _ := fleet(1000)
	v := NewView("self", func() time.Duration { return 0 }, DefaultParams())
	for i := range s.Peers {
		v.Joined(s.Peers[i].Node, s.Peers[i].Name, "")
		v.UpdateStatus(*s.Peers[i].Status)
	}
	var buf []Peer
	for b.Loop() {
		buf = v.Snapshot(buf).Peers
	}
}

// A node that says that it is idle, and is not, gets no more once it has kept
// this device waiting for longer than the others would.
func TestWaitedOutweighsTheScore(t *testing.T) {
	liar, honest := peerOf(nodeStatus("liar", 4, 8)), peerOf(nodeStatus("honest", 1, 4))
	d := Demand{Service: &protocol.Service{Image: "busybox"}, Image: protocol.HashImage("busybox"), Work: 1}
	for waited, want := range map[time.Duration]protocol.PeerID{0: "liar", 500 * time.Millisecond: "liar", time.Second: "honest"} {
		liar.Waited = waited
		choice, _ := NewPlacer(DefaultParams()).Place(&Snapshot{Peers: []Peer{liar, honest}, MeanWork: 1}, &d, seeded(1))
		if choice.Node != want {
			t.Errorf("waited for %v: %s is chosen, want %s", waited, choice.Node, want)
		}
	}
}
