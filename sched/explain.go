package sched

import (
	"cmp"
	"slices"

	"github.com/hearth-edge/hearth/protocol"
)

// Explain returns the last placement in a form that people can follow: devices
// with their estimate and chance, best first, then those left out, each with its
// reason; at most so many, the chosen one among them. Looking at the others takes
// time, but no memory. It must be called before the snapshot's memory is used
// again.
func (p *Placer) Explain(most int) protocol.Decision {
	named := p.best(most)
	if room := most - len(named); room > 0 {
		named = append(named, p.others(room)...)
	}
	d := protocol.Decision{
		Level: seconds(p.filled.level), Places: p.filled.wanted,
		Candidates: make([]protocol.Candidate, len(named)),
		Unnamed:    len(p.snapshot.Peers) - len(named),
	}
	for i, n := range named {
		d.Candidates[i] = p.explain(n)
	}
	return d
}

// A rankedPeer is a device as a Decision names it.
type rankedPeer struct {
	*Peer
	index            int // in Snapshot.Peers
	estimate, chance float64
}

// best returns those who could run it, the best first, at most so many; the
// chosen one is among them.
func (p *Placer) best(most int) []rankedPeer {
	top := make([]rankedPeer, 0, min(most, len(p.ranked)))
	var chosen rankedPeer
	for i := range p.ranked {
		c := &p.ranked[i]
		n := rankedPeer{Peer: &p.snapshot.Peers[c.peer], index: c.peer, estimate: c.start}
		if i < len(p.filled.below) { // which is where p.ranked begins
			n.chance = c.places(p.filled.level) / p.filled.places
		}
		if c.peer == p.chosen {
			chosen = n
		}
		top = insert(top, n, most, func(a, b rankedPeer) int {
			return cmp.Or(cmp.Compare(a.estimate, b.estimate), cmp.Compare(b.chance, a.chance), byName(a, b))
		})
	}
	if chosen.Peer != nil && !slices.Contains(top, chosen) && len(top) > 0 {
		top[len(top)-1] = chosen
	}
	return top
}

// others returns those left out, by name, at most so many; one that was asked
// for comes first.
func (p *Placer) others(most int) []rankedPeer {
	var all []rankedPeer
	asked := p.demand.Service.Constraints.Node
	wanted := func(n rankedPeer) int {
		if asked != "" && (n.Name == asked || string(n.Node) == asked) {
			return 0
		}
		return 1
	}
	for i := range p.snapshot.Peers {
		peer := &p.snapshot.Peers[i]
		if p.ineligibility(peer).why != feasible {
			all = insert(all, rankedPeer{Peer: peer, index: i}, most, func(a, b rankedPeer) int {
				return cmp.Or(cmp.Compare(wanted(a), wanted(b)), byName(a, b))
			})
		}
	}
	return all
}

func byName(a, b rankedPeer) int {
	return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Node, b.Node))
}

// insert puts n into its place among the first most of all, which are in order.
func insert(all []rankedPeer, n rankedPeer, most int, compare func(a, b rankedPeer) int) []rankedPeer {
	i, _ := slices.BinarySearchFunc(all, n, compare)
	if i == most {
		return all
	}
	return slices.Insert(all[:min(len(all), most-1)], i, n)
}

// reason says why placement left the peer out.
func (m ineligible) reason(peer *Peer, d *Demand) (protocol.Code, string) {
	switch m.why {
	case ineligibleRefused:
		refusal := d.Excluded[peer.Node]
		return refusal.Code, refusal.Reason
	case ineligibleNoStatus:
		return protocol.CodeNotReady, "has told no score yet"
	case ineligibleStale:
		return protocol.CodeNodeLost, "no score of it has come for too long; 'hearth doctor' on this device tells what was dropped"
	case ineligibleNoImage:
		return protocol.CodeImageNotFound, "does not have the image"
	case ineligiblePlatform:
		return protocol.CodeImagePlatform, d.Facts.otherPlatform(peer.Status)
	}
	refusal := m.explain(d.Service, peer.Status)
	return refusal.Code, refusal.Reason
}

func (p *Placer) explain(n rankedPeer) protocol.Candidate {
	c := protocol.Candidate{Node: n.Node, Name: n.Name, Self: n.Self, Chance: n.chance}
	if n.index == p.chosen {
		c.Chosen = true
		if len(p.filled.below) == 0 {
			c.Chance = 1 // there was no draw
		}
	}
	if n.Status != nil {
		c.Score = n.Status.Score
	}
	if m := p.ineligibility(n.Peer); m.why != feasible {
		c.Code, c.Excluded = m.reason(n.Peer, p.demand)
		return c
	}
	e := p.params.estimate(n.Peer, p.demand, p.snapshot.MeanWork)
	c.Estimate = seconds(e.total())
	c.Guess = p.demand.Unseen || e.cold > 0 && p.demand.Fetch == 0
	c.Work, c.Network, c.Cold = seconds(e.work), seconds(e.network), seconds(e.cold)
	return c
}
