package main

import "github.com/hearth-edge/hearth/protocol"

// told is how the node speaks of a load.
func (n *node) told(load int) protocol.Load {
	return protocol.Load{
		Running: uint32(len(n.running)), Queued: uint32(load - len(n.running)), Slots: uint32(n.plan.slots),
	}
}

// score is the node's, as it is; what a liar tells others is another matter.
func (n *node) score() protocol.Score {
	load := n.told(n.load())
	s := protocol.Score{
		Node: n.id, Name: string(n.id), Sequence: n.gossips, Beat: seconds(n.m.scenario.Network.BeatS),
		Role: protocol.RoleNode, Speed: n.plan.speed, CPUs: protocol.Cores(n.plan.slots), Slots: load.Slots,
		CPUOthers: protocol.Cores(n.others() * float64(n.plan.slots)),
		Running:   load.Running, Queued: load.Queued,
		CPUFree:     protocol.Cores(float64(n.plan.slots) - n.cpus),
		MemoryTotal: mib(n.plan.memory), MemoryFree: mib(n.plan.memory - n.memory), DiskFree: 1 << 40,
		Arch: "amd64", OS: "linux", Drivers: []string{"docker"}, Images: n.images(),
	}
	s.Rating = n.m.params.Rate(&s)
	return s
}

// publicScore is what the node gossips.
func (n *node) publicScore() protocol.Score {
	s := n.score()
	if n.plan.lies {
		s.Running, s.Queued, s.CPUFree, s.MemoryFree = 0, 0, s.CPUs, s.MemoryTotal
		s.Rating = n.m.params.Rate(&s)
	}
	return s
}

func (n *node) images() []uint32 {
	all := make([]uint32, 0, len(n.fetched))
	for i, at := range n.fetched {
		if at <= n.m.now {
			all = append(all, n.m.hashes[i])
		}
	}
	return all
}

// changed tells the node's own view what it is now, and the others soon, where
// changes are gossiped.
func (n *node) changed() {
	if n.view == nil || n.state != in {
		return
	}
	n.view.Score(n.score())
	c := seconds(n.m.scenario.Network.ChangeS)
	if c == 0 || n.soon {
		return
	}
	n.soon = true
	member := n.member
	n.m.at(n.last+c, func() {
		n.soon = false
		if n.member == member {
			n.gossip()
		}
	})
}

// gossip sends the score to all others.
func (n *node) gossip() {
	m := n.m
	n.gossips++
	n.last = m.now
	n.view.Score(n.score())
	s := n.publicScore()
	m.at(m.now+seconds(m.scenario.Network.DelayMS/1e3), func() {
		for _, other := range m.nodes {
			if other == n || other.view == nil || other.state == gone {
				continue
			}
			if m.scenario.Network.Loss == 0 || m.loss.Float64() >= m.scenario.Network.Loss {
				other.view.Score(s)
			}
		}
	})
}

// beat gossips at the node's beat while it is a member.
func (n *node) beat() {
	m := n.m
	member := n.member
	var again func()
	again = func() {
		if n.member != member {
			return
		}
		n.gossip()
		m.at(m.now+seconds(m.scenario.Network.BeatS), again)
	}
	m.at(m.now+n.plan.phase, again)
}
