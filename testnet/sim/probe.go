package main

import (
	"math"
	"slices"
)

// drawn returns up to k different members that could run the request, drawn
// with a probability proportional to their capacity.
func (m *mesh) drawn(j *job, k int) []*node {
	all := m.members()
	able := all[:0]
	total := 0.0
	for _, n := range all {
		if n.slots(j.service) > 0 {
			able = append(able, n)
			total += n.capacity()
		}
	}
	var chosen []*node
	for len(chosen) < k && len(able) > 0 {
		x, i := m.rng.Float64()*total, 0
		for ; i < len(able)-1; i++ {
			if x -= able[i].capacity(); x < 0 {
				break
			}
		}
		n := able[i]
		chosen = append(chosen, n)
		total -= n.capacity()
		able[i] = able[len(able)-1]
		able = able[:len(able)-1]
	}
	return chosen
}

func (n *node) capacity() float64 { return n.plan.speed * float64(n.plan.slots) }

// random takes a node by capacity alone.
type random struct{}

func (random) gossips() bool { return false }

func (random) place(m *mesh, j *job) {
	if n := m.drawn(j, 1); len(n) > 0 {
		m.sendOrFail(j, n[0])
		return
	}
	m.sendOrFail(j, nil)
}

// poll asks nodes for their load and takes the one with the least expected
// completion: all of them, or some drawn by capacity.
type poll struct {
	of int // 0: all
}

func (poll) gossips() bool { return false }

func (p poll) place(m *mesh, j *job) {
	asked := m.members()
	if p.of > 0 {
		asked = m.drawn(j, p.of)
	}
	m.counts.probes += len(asked)
	expected := make([]float64, len(asked))
	// The state is that of half a round trip ago when the answers are in.
	m.after(m.rtt/2, func() {
		for i, n := range asked {
			expected[i] = math.Inf(1)
			load := n.load()
			if n.plan.lies {
				load = 0
			}
			if n.state == in {
				expected[i] = m.expected(j, n, load, 1)
			}
		}
		m.after(m.rtt/2, func() {
			least, chosen := math.Inf(1), (*node)(nil)
			for i, n := range asked {
				if expected[i] < least {
					least, chosen = expected[i], n
				}
			}
			switch {
			case chosen == nil && len(asked) > 0 && p.of > 0:
				m.after(seconds(0.1), func() { m.policy.place(m, j) }) // they are all gone
			default:
				m.sendOrFail(j, chosen)
			}
		})
	})
}

// late reserves a place in several queues. The first node that has a slot free
// for it asks for the work itself: nothing has to be estimated.
type late struct {
	reservations int
}

func (late) gossips() bool { return false }

func (l late) place(m *mesh, j *job) {
	nodes := m.drawn(j, l.reservations)
	if len(nodes) == 0 {
		m.sendOrFail(j, nil)
		return
	}
	attempt := j.attempt
	var held []reservation
	for _, n := range nodes {
		m.counts.probes++
		n.coming++
		m.after(m.distance(j.from, n)/2, func() {
			n.coming--
			if n.state == in {
				held = append(held, reservation{n, n.member})
				n.reserve(ticket{j: j, attempt: attempt, ask: true})
			}
		})
	}
	if len(m.plan.churn) == 0 {
		return
	}
	// Where all that were asked are lost before they began, others are asked.
	var watch func()
	watch = func() {
		switch {
		case j.started || j.attempt != attempt:
		case slices.ContainsFunc(held, reservation.stands):
			m.at(m.now+seconds(1), watch)
		default:
			m.again(j)
		}
	}
	m.at(m.now+m.rtt+seconds(m.scenario.Network.DetectS), watch)
}

// reservation is a place in the queue of a node, as long as that is a member.
type reservation struct {
	n      *node
	member int
}

func (r reservation) stands() bool { return r.n.member == r.member }
