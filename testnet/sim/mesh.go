package main

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/sched"
)

// A mesh is one run: one plan under one policy. It has no goroutine and no
// clock but its own.
type mesh struct {
	scenario *Scenario
	plan     *plan
	policy   policy
	params   sched.Params
	rng      *rand.Rand // the policy's
	loss     *rand.Rand // of gossip
	now      time.Duration
	events   events
	order    int // of events
	nodes    []*node
	byID     map[protocol.PeerID]*node
	known    int // how many nodes are taken to be members
	services []protocol.Service
	hashes   []uint32 // of their images
	jobs     []*job
	open     int  // requests that have come or will come, that end, and have not
	endless  bool // some requests never end
	rtt      time.Duration
	placer   *sched.Placer
	peers    []sched.Peer // the snapshot's memory
	counts   counts
}

// counts are what a run adds up.
type counts struct {
	offers, probes, refusals int
	givenBack                int     // by nodes in whose queues they waited for too long
	overload                 float64 // the most executions a slot on any node
	lost                     int     // requests whose orchestrator was gone
	unplaced                 int     // that no node could run
	backlog                  [2]int  // requests in the mesh at half time and at the end
}

// job is a request.
type job struct {
	arrival
	from    *node
	spec    *protocol.Service
	service *servicePlan
	demand  sched.Demand
	attempt int
	started bool // of this attempt, for late binding
	node    *node
	// since is when its execution got its slot, usual how long it was expected to
	// take then.
	since, usual time.Duration
	took         time.Duration // response time
	ended        bool
	failed       bool
}

// newMesh sets up replication r of s under the policy.
func newMesh(s *Scenario, pl *plan, r int, pol policy, params sched.Params) *mesh {
	params.ChangesPerInterval = int(s.Network.Changes)
	m := &mesh{
		scenario: s, plan: pl, policy: pol, params: params,
		rng: source(s.Seed, r, forPolicy), loss: rand.New(rand.NewPCG(pl.gossip, 0)),
		byID: make(map[protocol.PeerID]*node), rtt: seconds(s.Network.RTTMS / 1e3),
		placer: sched.NewPlacer(params),
	}
	for i := range pl.services {
		v := &pl.services[i]
		spec := protocol.Service{Image: v.Name, Memory: mib(v.MemoryMiB)}
		if v.CPUs != 1 {
			spec.CPUs = protocol.Cores(v.CPUs)
		}
		m.endless = m.endless || v.Endless > 0
		m.services = append(m.services, spec)
		m.hashes = append(m.hashes, protocol.HashImage(spec.Image))
	}
	for i := range pl.nodes {
		n := newNode(m, i)
		m.nodes = append(m.nodes, n)
		m.byID[n.id] = n
	}
	return m
}

func mib(x float64) protocol.Bytes { return protocol.Bytes(x * (1 << 20)) }

// maxOverrun is for how many times the scenario's duration requests may go on.
const maxOverrun = 20

// run lets everything happen and returns when the last request has ended.
func (m *mesh) run() {
	for _, n := range m.nodes {
		n.join()
	}
	m.schedule()
	last := seconds(maxOverrun*m.scenario.DurationS) + time.Hour
	for m.open > 0 && len(m.events) > 0 && m.events[0].at < last {
		e := m.events.pop()
		m.now = e.at
		e.do()
	}
	for _, j := range m.jobs { // that never end: a policy has forgotten them, or is too far behind
		if !j.ended && !j.endless {
			m.end(j, true)
		}
	}
}

// schedule puts all that is planned into the queue of events.
func (m *mesh) schedule() {
	for _, n := range m.nodes {
		if n.plan.others && m.scenario.Background.CPU > 0 {
			n.turn()
		}
	}
	for i := range m.plan.churn {
		c := &m.plan.churn[i]
		m.at(c.at, func() { m.churn(c) })
	}
	m.jobs = make([]*job, len(m.plan.arrivals))
	for i := range m.jobs {
		j := &job{arrival: m.plan.arrivals[i]}
		if !j.endless {
			m.open++
		}
		j.service = &m.plan.services[j.arrival.service]
		j.spec = &m.services[j.arrival.service]
		m.jobs[i] = j
		m.at(j.at, func() { m.arrive(j) })
	}
	end := seconds(m.scenario.DurationS)
	for i, at := range []time.Duration{(seconds(m.scenario.WarmupS) + end) / 2, end} {
		m.at(at, func() { m.counts.backlog[i] = m.backlog() })
	}
}

// backlog counts the executions on all nodes.
func (m *mesh) backlog() int {
	sum := 0
	for _, n := range m.nodes {
		sum += n.load()
	}
	return sum
}

// arrive lets the request come in at its device, or at the next one where that
// is gone: its owner walks over.
func (m *mesh) arrive(j *job) {
	if j.from = m.next(j.arrival.from); j.from == nil {
		m.end(j, true)
		return
	}
	if m.policy.gossips() {
		j.from.view.RequestReceived()
		j.demand = j.from.view.Demand(j.spec)
	}
	m.policy.place(m, j)
}

// next returns the first member from number i on, nil where there is none.
func (m *mesh) next(i int) *node {
	for k := range m.nodes {
		if n := m.nodes[(i+k)%len(m.nodes)]; n.state == in {
			return n
		}
	}
	return nil
}

// again places the request anew, its node being lost: as hearth run --retry does.
func (m *mesh) again(j *job) {
	j.attempt++
	j.started = false
	j.node = nil
	if j.from.state == leaving { // its owner walks over
		j.from = m.next(j.arrival.from)
	}
	if j.from == nil || j.from.state == gone {
		m.counts.lost++
		m.end(j, true)
		return
	}
	j.demand.Refusals = 0
	m.policy.place(m, j)
}

// exclude lets n be offered the request no more.
func (j *job) exclude(n *node) {
	if j.demand.Excluded == nil {
		j.demand.Excluded = make(map[protocol.PeerID]*protocol.Refusal)
	}
	j.demand.Excluded[n.id] = &protocol.Refusal{Code: protocol.CodeNodeLost}
}

// end ends the request at its orchestrator.
func (m *mesh) end(j *job, failed bool) {
	j.ended, j.failed = true, failed
	j.took = m.now - j.at
	if !j.endless {
		m.open--
	}
}

// distance is the way from one device to another, there and back.
func (m *mesh) distance(a, b *node) time.Duration {
	if a == b {
		return 0
	}
	return m.rtt
}

// An answer to an offer.
type answer uint8

const (
	accepted answer = iota
	refused
	unreached
)

// offer proposes the request to node n: it is accepted where a slot is free,
// where accept says so, or where it is forced. then gets the answer, and the
// load that came with it.
func (m *mesh) offer(j *job, n *node, forced bool, accept func() bool, then func(answer, protocol.Load)) {
	m.counts.offers++
	n.coming++
	way := m.distance(j.from, n) / 2
	m.after(way, func() {
		n.coming--
		if n.state == gone {
			// Nobody is told before the connection's loss is noticed.
			m.at(max(m.now, n.goneAt+seconds(m.scenario.Network.DetectS)), func() { then(unreached, protocol.Load{}) })
			return
		}
		load := n.told(n.load())
		a := refused
		switch {
		case n.state != in:
			a = unreached // it is leaving, and says so
		case forced || n.fits(j) || n.plan.lies && m.scenario.Liars.AcceptAll || accept():
			a = accepted
			n.enqueue(j)
		default:
			m.counts.refusals++
		}
		m.after(way, func() { then(a, load) })
	})
}

// send queues the request at node n without asking, for policies that know.
func (m *mesh) send(j *job, n *node) {
	m.offer(j, n, true, nil, func(a answer, _ protocol.Load) {
		if a == unreached {
			m.again(j)
		}
	})
}

// members returns the nodes that are taken to be in the mesh.
func (m *mesh) members() []*node {
	all := make([]*node, 0, len(m.nodes))
	for _, n := range m.nodes {
		if n.known {
			all = append(all, n)
		}
	}
	return all
}

func (m *mesh) churn(c *churnPlan) {
	for _, i := range c.joins {
		m.nodes[i].join()
	}
	for _, i := range c.leaves {
		m.nodes[i].leave(0)
	}
	for _, i := range c.crash {
		m.nodes[i].crash()
	}
}

func nodeID(i int) protocol.PeerID { return protocol.PeerID(fmt.Sprintf("node%05d", i)) }
