package main

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// A plan is all that chance decides of one replication before any policy acts:
// every policy gets the same one, so that what differs is the policy's doing.
type plan struct {
	nodes    []nodePlan
	services []servicePlan
	arrivals []arrival
	churn    []churnPlan
	// gossip seeds the loss of gossiped statuses.
	gossip uint64
}

type nodePlan struct {
	speed   float64
	told    float64 // the speed that its statuses tell
	slots   int
	memory  float64 // MiB
	images  []bool  // by service
	lies    bool
	others  bool          // other programs use its CPU, on and off
	phase   float64       // of its gossip, 0 to 1 of an interval
	turning time.Duration // when the others' use of the CPU changes first
}

type servicePlan struct {
	*Service
	size float64 // MiB of its image
}

type arrival struct {
	at      time.Duration
	from    int
	service int
	work    float64
	endless bool
}

type churnPlan struct {
	at                   time.Duration
	leaves, crash, joins []int
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// source returns a random source of its own for each purpose.
func source(seed uint64, replication, purpose int) *rand.Rand {
	return rand.New(rand.NewPCG(seed, uint64(replication)<<8|uint64(purpose)))
}

// The purposes that have a source of their own.
const (
	forNodes = iota
	forArrivals
	forChurn
	forGossip
	forPolicy
)

// newPlan decides replication r of s.
func newPlan(s *Scenario, r int) (*plan, error) {
	p := &plan{gossip: source(s.Seed, r, forGossip).Uint64()}
	for i := range s.Services {
		p.services = append(p.services, servicePlan{&s.Services[i], s.Services[i].ImageMiB})
	}
	p.addNodes(s, source(s.Seed, r, forNodes))
	if err := p.addArrivals(s, source(s.Seed, r, forArrivals)); err != nil {
		return nil, err
	}
	p.addChurn(s, source(s.Seed, r, forChurn))
	return p, nil
}

func (p *plan) addNodes(s *Scenario, rng *rand.Rand) {
	for _, k := range s.Fleet.draw(rng) {
		n := nodePlan{speed: k.Speed, told: k.Speed, slots: k.Slots, memory: k.MemoryMiB, images: make([]bool, len(s.Services))}
		if n.memory == 0 {
			n.memory = s.Fleet.MemoryMiB
		}
		for i := range s.Services {
			v := &s.Services[i]
			n.images[i] = v.ImageMiB == 0 || v.Present == nil || rng.Float64() < *v.Present ||
				slices.Contains(k.Images, v.Name)
		}
		n.phase = rng.Float64()
		n.turning = seconds(rng.Float64() * (s.Background.OnS + s.Background.OffS))
		p.nodes = append(p.nodes, n)
	}
	for _, i := range some(rng, len(p.nodes), s.Liars.Share) {
		p.nodes[i].lies = true
	}
	for _, i := range some(rng, len(p.nodes), s.Background.Share) {
		p.nodes[i].others = true
	}
	for _, i := range some(rng, len(p.nodes), s.Boasters.Share) {
		p.nodes[i].told *= s.Boasters.Times
	}
}

// draw returns every node of the fleet.
func (f *Fleet) draw(rng *rand.Rand) []Kind {
	var all []Kind
	switch {
	case len(f.Nodes) > 0:
		for _, k := range f.Nodes {
			for range k.Count {
				all = append(all, k)
			}
		}
	case len(f.Kinds) > 0:
		total, upTo, k := 0.0, 0.0, -1
		for i := range f.Kinds {
			total += f.Kinds[i].Share
		}
		for i := range f.Count {
			for k < len(f.Kinds)-1 && float64(i)+0.5 > upTo/total*float64(f.Count) {
				k++
				upTo += f.Kinds[k].Share
			}
			all = append(all, f.Kinds[k])
		}
	default:
		for range f.Count {
			all = append(all, Kind{Speed: f.Speed.draw(rng), Slots: int(f.Slots.draw(rng))})
		}
	}
	return all
}

// some returns a random share of the numbers below n.
func some(rng *rand.Rand, n int, share float64) []int {
	all := rng.Perm(n)[:int(share*float64(n)+0.5)]
	slices.Sort(all)
	return all
}

// capacity returns how much work the nodes do a second.
func (p *plan) capacity() float64 {
	sum := 0.0
	for i := range p.nodes {
		sum += p.nodes[i].speed * float64(p.nodes[i].slots)
	}
	return sum
}

func (p *plan) addArrivals(s *Scenario, rng *rand.Rand) error {
	work, total := 0.0, 0.0
	for _, v := range p.services {
		work += v.Share * v.Work.mean() * v.CPUs
		total += v.Share
	}
	l := &s.Load
	rate := l.Rate
	if l.Utilisation > 0 {
		rate = l.Utilisation * p.capacity() / (work / total)
	}
	expected := rate * s.DurationS
	for _, b := range l.Bursts {
		expected += float64(b.Requests)
	}
	if expected > maxRequests {
		return fmt.Errorf("load: some %.0f requests would come, and there may be %d: make duration_s or the load smaller", expected, maxRequests)
	}
	from := len(p.nodes)
	if l.Orchestrators > 0 {
		from = min(from, l.Orchestrators)
	}
	devices := rng.Perm(len(p.nodes))[:from]
	add := func(at time.Duration) {
		a := arrival{at: at, from: devices[rng.IntN(from)]}
		for x := rng.Float64() * total; a.service < len(p.services)-1; a.service++ {
			if x -= p.services[a.service].Share; x < 0 {
				break
			}
		}
		a.work = max(p.services[a.service].Work.draw(rng), 1e-6)
		if share := p.services[a.service].Endless; share > 0 {
			a.endless = rng.Float64() < share
		}
		p.arrivals = append(p.arrivals, a)
	}
	for _, b := range l.Bursts {
		for range b.Requests {
			add(seconds(b.AtS))
		}
	}
	if rate > 0 {
		for at := rng.ExpFloat64() / rate; at < s.DurationS; at += rng.ExpFloat64() / rate {
			add(seconds(at))
		}
	}
	slices.SortStableFunc(p.arrivals, func(a, b arrival) int { return cmp.Compare(a.at, b.at) })
	return nil
}

func (p *plan) addChurn(s *Scenario, rng *rand.Rand) {
	var in, out []int
	for i := range p.nodes {
		in = append(in, i)
	}
	take := func(from *[]int, share float64) []int {
		rng.Shuffle(len(*from), func(i, j int) { (*from)[i], (*from)[j] = (*from)[j], (*from)[i] })
		n := int(share*float64(len(*from)) + 0.5)
		taken := slices.Clone((*from)[:n])
		*from = slices.Delete(*from, 0, n)
		return taken
	}
	all := slices.Clone(s.Churn)
	slices.SortStableFunc(all, func(a, b Churn) int { return cmp.Compare(a.AtS, b.AtS) })
	for _, c := range all {
		e := churnPlan{at: seconds(c.AtS)}
		e.joins = take(&out, c.Join)
		e.leaves = take(&in, c.Leave)
		e.crash = take(&in, c.Crash)
		out = append(append(out, e.leaves...), e.crash...)
		in = append(in, e.joins...)
		p.churn = append(p.churn, e)
	}
}
