package main

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/sched"
)

// A policy decides where requests go. A new one is a type with these methods
// and a line in policies.
type policy interface {
	// gossips reports whether it needs the devices' views of gossiped statuses.
	gossips() bool
	// place brings j into the queue of a node, by mesh.offer or mesh.send,
	// now or later. It is called again with the same j if that node is lost.
	place(m *mesh, j *job)
}

// named is a policy with its name on the command line.
type named struct {
	name   string
	about  string
	policy policy
}

// reference is the policy that all others are compared with.
const reference = "oracle"

func policies() []named {
	return []named{
		{reference, "knows all true loads and speeds; takes the least expected completion", central{queueCost: 1}},
		{"oracle-est", "knows the same; takes the least estimate as sched makes it", central{queueCost: 0}},
		{"ours", "sched: water-filling by gossiped scores, offers that may be refused", ours{}},
		{"best", "takes the best gossiped score", best{}},
		{"poll-all", "asks every node for its load; takes the least expected completion", poll{}},
		{"power-2", "asks 2 nodes, drawn by capacity, and takes the better one", poll{of: 2}},
		{"power-4", "asks 4 nodes, drawn by capacity, and takes the best one", poll{of: 4}},
		{"late", "reserves at 2 nodes, drawn by capacity; the first with a free slot gets it", late{reservations: 2}},
		{"random", "takes any node, drawn by capacity", random{}},
	}
}

// choosePolicies returns those in a comma-separated list, the reference always.
func choosePolicies(list string) ([]named, error) {
	all := policies()
	if list == "" || list == "all" {
		return all, nil
	}
	wanted := strings.Split(list, ",")
	var chosen []named
	for _, p := range all {
		i := slices.Index(wanted, p.name)
		if i >= 0 {
			wanted = slices.Delete(wanted, i, i+1)
		}
		if i >= 0 || p.name == reference {
			chosen = append(chosen, p)
		}
	}
	if len(wanted) > 0 {
		var names []string
		for _, p := range all {
			names = append(names, p.name)
		}
		return nil, fmt.Errorf("unknown policy %q: there are %s", wanted[0], strings.Join(names, ", "))
	}
	return chosen, nil
}

// expected is when the request could be expected to have ended on node n with
// load executions before it: the slots' pace is known, and the mean work of
// services, but not how long what is there has still to run. Each queued
// execution counts cost times.
func (m *mesh) expected(j *job, n *node, load int, cost float64) float64 {
	c := n.slots(j.service)
	if c < 1 {
		return math.Inf(1)
	}
	b := j.service.Work.mean() / n.speed()
	var least time.Duration // of the wait for a slot
	if m.endless {
		long, youngest := n.longRunning()
		if free := c - int(math.Ceil(float64(long.CPUs)/j.service.CPUs)); free > 0 {
			load, c = load-int(long.Count), free
		} else {
			youngest = long.Ran
		}
		if load >= c {
			least = youngest
		}
	}
	waits := float64(max(0, load-c+1))
	if waits == 0 && !n.room(j.service) {
		waits = 1
	}
	work := max(b*(1+cost*waits/float64(c)), b+least.Seconds())
	return work + (m.distance(j.from, n) + n.cold(j.arrival.service, j.service)).Seconds()
}

// central is a greedy scheduler that sees the true state of all nodes at once,
// with what is on its way to them.
type central struct {
	queueCost float64 // 0: that of sched's estimate
}

func (central) gossips() bool { return false }

func (c central) place(m *mesh, j *job) {
	cost := c.queueCost
	if cost == 0 {
		cost = m.params.QueueCost
	}
	least, chosen := math.Inf(1), (*node)(nil)
	for _, n := range m.nodes {
		if n.state != in {
			continue
		}
		if e := m.expected(j, n, n.load()+n.coming, cost); e < least {
			least, chosen = e, n
		}
	}
	m.sendOrFail(j, chosen)
}

// expectEnd lets an oracle place anew what waits on the node when j turns out to be
// long-running there, and again whenever it has run for twice as long.
func (m *mesh) expectEnd(n *node, j *job) {
	if _, ok := m.policy.(central); !ok || !m.endless {
		return
	}
	var again func(held time.Duration)
	again = func(held time.Duration) {
		m.at(j.since+held, func() {
			if !slices.Contains(n.running, j) || m.open == 0 {
				return
			}
			waiting := n.queue
			n.queue = nil
			for _, t := range waiting {
				m.again(t.j)
			}
			again(2 * held)
		})
	}
	again(longFactor * j.usual)
}

// sendOrFail sends the request to n, or ends it where there is no node.
func (m *mesh) sendOrFail(j *job, n *node) {
	if n == nil {
		m.counts.unplaced++
		m.end(j, true)
		return
	}
	m.send(j, n)
}

// ours is Hearth's: see package sched, whose code it runs.
type ours struct{}

func (ours) gossips() bool { return true }

func (o ours) place(m *mesh, j *job) {
	view := j.from.view
	snapshot := view.Snapshot(m.peers)
	m.peers = snapshot.Peers
	choice, ok := m.placer.Place(&snapshot, &j.demand, m.rng)
	if !ok {
		m.counts.unplaced++
		m.end(j, true)
		return
	}
	n := m.byID[choice.Node]
	view.OfferSent(n.id)
	forced := choice.Only || j.demand.Refusals >= m.params.RefusableOffers
	accept := func() bool {
		queued := len(n.queue)
		return n.view.EstimateHere(*j.spec, len(n.running), queued, n.slots(j.service)) <= choice.Bound
	}
	m.offer(j, n, forced, accept, func(a answer, load protocol.Load) {
		switch a {
		case accepted:
			view.OfferAccepted(n.id)
			if choice.MaxWait > 0 {
				o.takeBack(m, j, n, choice.MaxWait)
			}
		case refused:
			view.OfferRefused(n.id, load)
			j.demand.Refusals++
			o.place(m, j)
		case unreached:
			view.OfferFailed(n.id)
			j.exclude(n)
			m.again(j)
		}
	})
}

// takeBack places the request anew where node n has not started it in time.
func (ours) takeBack(m *mesh, j *job, n *node, maxWait time.Duration) {
	accepted := m.now
	n.giveBack(j, maxWait-m.distance(j.from, n)/2, func() {
		view := j.from.view
		view.Started(n.id)
		view.Finished(n.id)
		if j.demand.Waited == nil {
			j.demand.Waited = make(map[protocol.PeerID]time.Duration)
		}
		j.demand.Waited[n.id] += m.now - accepted
		m.counts.givenBack++
		m.again(j)
	})
}

// best takes the node with the best gossiped status, as things were then.
type best struct{}

func (best) gossips() bool { return true }

func (best) place(m *mesh, j *job) {
	snapshot := j.from.view.Snapshot(m.peers)
	m.peers = snapshot.Peers
	var chosen *node
	score := math.Inf(-1)
	for i := range snapshot.Peers {
		p := &snapshot.Peers[i]
		if p.Stale || p.Status == nil || sched.Match(j.spec, p.Status, p.Self) != nil {
			continue
		}
		if p.Status.Score > score {
			score, chosen = p.Status.Score, m.byID[p.Node]
		}
	}
	m.sendOrFail(j, chosen)
}
