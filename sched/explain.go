package sched

import (
	"cmp"
	"slices"

	"github.com/hearth-edge/hearth/protocol"
)

// Explain returns the last placement in a form that people can follow: every
// device with its estimate and chance, best first, then those left out, each
// with its reason, up to Params.MaxExplained. It must be called before the
// snapshot's memory is used again.
func (p *Placer) Explain() protocol.Decision {
	s := p.snapshot
	d := protocol.Decision{
		Level:      seconds(p.poured.level),
		Places:     p.poured.wanted,
		Candidates: make([]protocol.Candidate, len(s.Peers)),
	}
	for i := range s.Peers {
		d.Candidates[i] = p.explain(&s.Peers[i])
	}
	if p.chosen >= 0 {
		d.Candidates[p.chosen].Chosen = true
		d.Candidates[p.chosen].Chance = 1 // of a choice without drawing
	}
	for i := range p.poured.below {
		c := &p.poured.below[i]
		d.Candidates[c.peer].Chance = c.places(p.poured.level) / p.poured.places
	}
	slices.SortFunc(d.Candidates, p.compare)
	d.Candidates = shorten(d.Candidates, p.params.MaxExplained)
	return d
}

// shorten keeps the first most candidates, and the chosen one in any case.
func shorten(all []protocol.Candidate, most int) []protocol.Candidate {
	if len(all) <= most {
		return all
	}
	for i := most; i < len(all); i++ {
		if all[i].Chosen {
			all[most-1] = all[i]
		}
	}
	return slices.Clone(all[:most])
}

// reason says why placement left the peer out.
func (m misfit) reason(peer *Peer, d *Demand) (protocol.Code, string) {
	switch m.why {
	case misfitRefused:
		refusal := d.Excluded[peer.Node]
		return refusal.Code, refusal.Reason
	case misfitNoScore:
		return protocol.CodeBusy, "has told no score yet: it has just joined"
	case misfitStale:
		return protocol.CodeNodeLost, "has told no score for too long: it does not answer"
	case misfitPlatform:
		return protocol.CodeImagePlatform, d.Facts.otherPlatform(peer.Score)
	}
	refusal := m.explain(d.Service, peer.Score)
	return refusal.Code, refusal.Reason
}

func (p *Placer) explain(peer *Peer) protocol.Candidate {
	c := protocol.Candidate{Node: peer.Node, Name: peer.Name, Self: peer.Self}
	if peer.Score != nil {
		c.Rating = peer.Score.Rating
	}
	if m := p.leftOut(peer); m.why != fits {
		c.Code, c.Excluded = m.reason(peer, p.demand)
		return c
	}
	e := p.params.estimate(peer, p.demand, p.snapshot.MeanWork)
	c.Estimate = seconds(e.total())
	c.Work, c.Network, c.Cold = seconds(e.work), seconds(e.network), seconds(e.cold)
	return c
}

// compare puts the ranked ones first, the best of them first, then the one that
// was asked for by name, if it was left out, then the others left out, by name.
func (p *Placer) compare(a, b protocol.Candidate) int {
	asked := p.demand.Service.Constraints.Node
	group := func(c *protocol.Candidate) int {
		switch {
		case c.Code == protocol.CodeNone:
			return 0
		case asked != "" && (c.Name == asked || string(c.Node) == asked):
			return 1
		}
		return 2
	}
	return cmp.Or(
		cmp.Compare(group(&a), group(&b)),
		cmp.Compare(a.Estimate, b.Estimate),
		cmp.Compare(b.Chance, a.Chance),
		cmp.Compare(a.Name, b.Name),
		cmp.Compare(a.Node, b.Node),
	)
}
