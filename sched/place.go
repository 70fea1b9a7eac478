package sched

import (
	"math"
	"math/rand/v2"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

// A Demand is what is to be placed.
type Demand struct {
	Service *protocol.Service
	// Image is the hash of the service's image: see protocol.HashImage.
	Image uint32
	// Fetch is how much a node moves that has to fetch the image; 0 is not
	// known.
	Fetch protocol.Bytes
	// NoFetch: the image cannot be fetched, so only a node that has it can run it.
	NoFetch bool
	// Facts say for which machines the image is made, where that is known.
	Facts ImageFacts
	// Work that one execution is expected to take, in seconds of one core of
	// the reference device. Unseen says that this is a default: no execution of the
	// service was seen yet.
	Work   float64
	Unseen bool
	// Waited is how long the request has waited on nodes that gave it back: each is
	// taken to keep it waiting for as long again.
	Waited map[protocol.PeerID]time.Duration
	// Refusals is how many busy nodes have refused the offer so far.
	Refusals int
	// Excluded holds the nodes that cannot take it, and what they said.
	Excluded map[protocol.PeerID]*protocol.Refusal
}

// A Choice is the outcome of a placement.
type Choice struct {
	Node protocol.PeerID
	Name string
	// Bound for the offer: see protocol.Offer.
	Bound time.Duration
	// MaxWait for the offer; 0 where no other node is allowed.
	MaxWait time.Duration
	// Only says that no other node can run it.
	Only bool
	// Pending says, where there is no node, that some device does not know yet
	// whether it runs work.
	Pending bool
}

// A Placer places requests. It holds nothing but scratch memory, and the last
// placement for Explain; it is not safe for concurrent use.
type Placer struct {
	params Params
	ranked []candidate
	labels []label // that are demanded

	// The last placement.
	snapshot *Snapshot
	demand   *Demand
	filled   fillResult
	chosen   int // index in snapshot.Peers; -1 for none
}

// candidate is a node that could run the service, as water-filling sees it. It
// has no place below the level start; there it has step places at once, those
// in its free slots, and above it slope places for each second: its queue.
type candidate struct {
	peer  int // index in Snapshot.Peers
	start float64
	step  float64
	slope float64
}

// places returns how many executions more would end within level seconds.
func (c *candidate) places(level float64) float64 {
	if level < c.start {
		return 0
	}
	return c.step + c.slope*(level-c.start)
}

// NewPlacer returns a Placer.
func NewPlacer(params Params) *Placer { return &Placer{params: params} }

// Place chooses the node to offer the execution to, and reports whether there
// is one. It reads its arguments only. The same arguments give the same answer,
// in any order of the devices.
//
// Choosing the best node by second-old statuses would send everybody's requests
// to the same one. So Place fills the best nodes like vessels with water. It
// seeks the level below which there are as many places as requests are expected
// before the next statuses. It draws a node below the level, in proportion to
// its places.
func (p *Placer) Place(s *Snapshot, d *Demand, rng *rand.Rand) (Choice, bool) {
	p.snapshot, p.demand = s, d
	p.labels = appendLabels(p.labels[:0], d.Service)
	f := p.rank()
	seed := rng.Uint64() // always one, whatever comes of it
	p.chosen = f.runsHere(d)
	p.filled = fillResult{}
	if len(p.ranked) == 0 {
		return Choice{Pending: f.pending}, false
	}
	if p.chosen < 0 {
		p.filled = waterFill(p.ranked, p.wantedPlaces(&f), p.params.MaxLevelFactor*f.best)
		p.chosen = p.draw(seed)
	}
	peer := &s.Peers[p.chosen]
	c := Choice{
		Node: peer.Node, Name: peer.Name,
		Bound: seconds(p.params.BoundFactor * f.second),
		Only:  len(p.ranked) == 1,
	}
	least := p.params.MinWait
	if c.Only {
		least = p.params.MinLoneWait
	}
	if d.Service.Constraints.Node == "" {
		c.MaxWait = max(least, seconds(p.params.WaitFactor*f.second))
	}
	return c, true
}

// rankSummary is what ranking learns of all candidates together.
type rankSummary struct {
	best, second float64 // the shortest estimates; both the same if there is but one
	slots        float64 // of all
	pace         float64 // how many executions all end a second
	ended        float64 // how many have ended since their statuses
	// self is the peer index of the device itself if it has a slot free for
	// the service, else -1.
	self     int
	selfCold float64
	// topRating and leastCold are the best of the other candidates.
	selfScore, topScore, leastCold float64
	// pending: some device does not know yet whether it runs work.
	pending bool
}

// runsHere returns the index of the device itself where the request should just
// run here: it has a slot free, and no peer is rated higher, or has the image
// where it has not. Else it returns -1. A home where nothing is to be gained by
// sending work around should not do so.
func (f *rankSummary) runsHere(d *Demand) int {
	if f.selfScore < f.topScore || f.selfCold > f.leastCold || d.Refusals > 0 {
		return -1
	}
	return f.self
}

// rank fills p.ranked with those that could run the service, in no order.
func (p *Placer) rank() rankSummary {
	s, d := p.snapshot, p.demand
	f := rankSummary{best: math.Inf(1), second: math.Inf(1), self: -1, leastCold: math.Inf(1)}
	p.ranked = p.ranked[:0]
	queue := p.params.QueueCost * d.Work
	for i := range s.Peers {
		peer := &s.Peers[i]
		if m := p.ineligibility(peer); m.why != feasible {
			f.pending = f.pending || m.pending(peer, d)
			continue
		}
		e := p.params.estimate(peer, d, s.MeanWork)
		p.ranked = append(p.ranked, candidate{
			peer:  i,
			start: e.total(),
			step:  max(1, e.slots-e.load),
			slope: e.slots * e.speed / queue,
		})
		f.add(i, peer, &e)
	}
	f.pace /= s.MeanWork
	if len(p.ranked) == 1 {
		f.second = f.best
	}
	return f
}

func (f *rankSummary) add(i int, peer *Peer, e *estimate) {
	est := e.total()
	f.best, f.second = min(f.best, est), min(f.second, max(f.best, est))
	f.slots += e.slots
	f.pace += min(e.load, e.slots) * e.speed
	f.ended += max(0, float64(peer.Status.Running)+float64(peer.Status.Queued)+float64(peer.Sent-peer.Finished)-e.long-e.load)
	switch {
	case !peer.Self:
		f.topScore = max(f.topScore, peer.Status.Score)
		f.leastCold = min(f.leastCold, e.cold)
	case e.load < e.slots:
		f.self, f.selfScore, f.selfCold = i, peer.Status.Score, e.cold
	}
}

// ineligibility returns why the peer is no candidate.
func (p *Placer) ineligibility(peer *Peer) ineligible {
	d := p.demand
	switch {
	case len(d.Excluded) > 0 && d.Excluded[peer.Node] != nil:
		return ineligible{why: ineligibleRefused}
	case peer.Status == nil:
		return p.withoutStatus(peer)
	case peer.Stale:
		return ineligible{why: ineligibleStale}
	}
	m := match(d.Service, p.labels, peer.Status, peer.Name, peer.Self)
	switch {
	case m.why != feasible:
	case d.NoFetch && !hasImage(peer.Status, d.Image):
		m.why = ineligibleNoImage
	case !d.runsOn(peer):
		m.why = ineligiblePlatform
	}
	return m
}

// withoutStatus returns why a peer without a status is no candidate.
func (p *Placer) withoutStatus(peer *Peer) ineligible {
	want := &p.demand.Service.Constraints
	switch {
	case want.Node != "" && want.Node != peer.Name && want.Node != string(peer.Node):
		return ineligible{why: ineligibleNode}
	case want.NotHere && peer.Self:
		return ineligible{why: ineligibleHere}
	}
	return ineligible{why: ineligibleNoStatus}
}

// wantedPlaces returns how many places there must be below the level: for what the
// other orchestrators are going to place by these statuses. Where requests do not
// pile up, they come as fast as executions end; this orchestrator's own are
// counted already. A refusal changes nothing here: the node that refused is seen
// as it is from then on, and a higher level would only bring in slower nodes.
func (p *Placer) wantedPlaces(f *rankSummary) float64 {
	expected := p.params.Spread * f.slots
	if others := f.pace - p.snapshot.Rate; others > 0 {
		expected += f.ended * others / f.pace
	}
	return max(1, expected)
}

// fillResult is the outcome of water-filling.
type fillResult struct {
	level  float64
	wanted float64
	below  []candidate // those with places below the level
	places float64     // their places together
}

// waterFill finds the level below which there are wanted places, at most limit,
// and reorders all. The places below a level are a sum of straight lines, one
// for each candidate that starts below it. A selection as in quickselect finds
// them, so the time is linear.
func waterFill(all []candidate, wanted, limit float64) fillResult {
	all = all[:partition(all, func(start float64) bool { return start <= limit })]
	// all[:lo] start below the level, all[hi:] do not. Those in all[:lo] have
	// base + slope·L places below L, and none of them starts above floor.
	lo, hi := 0, len(all)
	var base, slope, floor float64
	for lo < hi {
		pivot := middle(all[lo:hi])
		lower := lo + partition(all[lo:hi], func(start float64) bool { return start < pivot })
		same := lower + partition(all[lower:hi], func(start float64) bool { return start <= pivot })
		b, s := sum(all[lo:lower])
		if base+b+(slope+s)*pivot >= wanted {
			hi = lower // the level is below the pivot
			continue
		}
		base, slope = base+b, slope+s
		b, s = sum(all[lower:same])
		base, slope = base+b, slope+s
		lo, floor = same, pivot
		if base+slope*pivot >= wanted {
			break // the level is the pivot
		}
	}
	level := min(limit, max(floor, (wanted-base)/slope))
	out := fillResult{level: level, wanted: wanted, below: all[:lo]}
	out.trim()
	return out
}

// minOverflowShare is the least share of its free slots that a candidate keeps whose start
// is the level.
const minOverflowShare = 1e-6

// trim takes away what is more than wanted: with the level at the very start
// of some candidates, all their free slots at once would be below it, and slow
// nodes with many of them would be drawn for the sake of one or two.
func (f *fillResult) trim() {
	overflow := 0.0
	for i := range f.below {
		c := &f.below[i]
		f.places += c.places(f.level)
		if c.start == f.level {
			overflow += c.step
		}
	}
	if over := f.places - f.wanted; overflow > 0 && over > 0 {
		// At least a little is left, for who is drawn must have a chance.
		share := max(minOverflowShare, 1-over/overflow)
		for i := range f.below {
			if c := &f.below[i]; c.start == f.level {
				c.step *= share
			}
		}
		f.places -= overflow * (1 - share)
	}
}

// sum returns the straight line that the places of all add up to, where all
// have started: base at level 0, and slope.
func sum(all []candidate) (base, slope float64) {
	for i := range all {
		base += all[i].step - all[i].slope*all[i].start
		slope += all[i].slope
	}
	return base, slope
}

// partition puts those whose start is wanted first, and returns how many.
func partition(all []candidate, wanted func(start float64) bool) int {
	n := 0
	for i := range all {
		if wanted(all[i].start) {
			all[n], all[i] = all[i], all[n]
			n++
		}
	}
	return n
}

// middle returns the middle one of three starts.
func middle(all []candidate) float64 {
	a, b, c := all[0].start, all[len(all)/2].start, all[len(all)-1].start
	return max(min(a, b), min(max(a, b), c))
}

// draw picks one of those below the level, with a probability proportional to
// its places, and returns its peer index. Each runs a race whose duration is
// exponentially distributed, at a rate of its places, with a random number of
// its own: so the order in which they stand does not matter.
func (p *Placer) draw(seed uint64) int {
	first, winner := math.Inf(1), -1
	for i := range p.filled.below {
		c := &p.filled.below[i]
		u := uniform(seed, p.snapshot.Peers[c.peer].Node)
		if t := -math.Log(u) / c.places(p.filled.level); t < first {
			first, winner = t, c.peer
		}
	}
	return winner
}

// uniform returns a number in (0, 1] that depends on the seed and the node only:
// FNV-1a over the node's ID, mixed as SplitMix64 does.
func uniform(seed uint64, node protocol.PeerID) float64 {
	h := uint64(14695981039346656037)
	for i := range len(node) {
		h = (h ^ uint64(node[i])) * 1099511628211
	}
	h += seed
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	h ^= h >> 31
	return (float64(h>>11) + 1) / (1 << 53)
}
