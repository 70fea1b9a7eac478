package main

import (
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

// told is how the node speaks of a load.
func (n *node) told(load int) protocol.Load {
	long, youngest := n.longRunning()
	return protocol.Load{
		Running: uint32(len(n.running)), Queued: uint32(load - len(n.running)), Slots: uint32(n.plan.slots),
		LongRunning: long, Youngest: youngest,
	}
}

// longFactor is for how many times its usual time an execution must have held its
// slot to count as long-running, as in package runtime.
const longFactor = 4

// longRunning returns what long-running executions take, and for how long the
// youngest execution has run.
func (n *node) longRunning() (long protocol.LongRunning, youngest time.Duration) {
	for i, j := range n.running {
		held := n.m.now - j.since
		if i == 0 || held < youngest {
			youngest = held
		}
		if held < longFactor*j.usual {
			continue
		}
		if long.Count++; long.Count == 1 || held < long.Ran {
			long.Ran = held
		}
		long.CPUs += protocol.Cores(j.service.CPUs)
		long.Memory += mib(j.service.MemoryMiB)
	}
	return long, youngest
}

// status is the node's, as it is; what a liar tells others is another matter.
func (n *node) status() protocol.Status {
	load := n.told(n.load())
	s := protocol.Status{
		Node: n.id, Name: string(n.id), Sequence: n.gossips, Interval: n.interval(),
		Role: protocol.RoleNode, Speed: n.plan.told, CPUs: protocol.Cores(n.plan.slots), Slots: load.Slots,
		CPUOthers: protocol.Cores(n.others() * float64(n.plan.slots)),
		Running:   load.Running, Queued: load.Queued, LongRunning: load.LongRunning, Youngest: load.Youngest,
		CPUFree:     protocol.Cores(float64(n.plan.slots) - n.cpus),
		MemoryTotal: mib(n.plan.memory), MemoryFree: mib(n.plan.memory - n.memory), DiskFree: 1 << 40,
		Arch: "amd64", OS: "linux", Drivers: []string{"docker"}, PullRate: mib(n.m.scenario.Fleet.PullMiBS),
	}
	for i, at := range n.fetched {
		if at <= n.m.now {
			s.Images = append(s.Images, n.m.hashes[i])
			s.ImageSizes = append(s.ImageSizes, protocol.SizeCode(mib(n.m.plan.services[i].size)))
		}
	}
	s.Score = n.m.params.Rate(&s)
	return s
}

// publicScore is what the node gossips.
func (n *node) publicStatus() protocol.Status {
	s := n.status()
	if n.plan.lies {
		s.Running, s.Queued, s.CPUFree, s.MemoryFree = 0, 0, s.CPUs, s.MemoryTotal
		s.LongRunning, s.Youngest = protocol.LongRunning{}, 0
		s.Score = n.m.params.Rate(&s)
	}
	return s
}

// interval is the time between two statuses of a device, as hearth reckons it.
func (m *mesh) interval() time.Duration {
	w := &m.scenario.Network
	return seconds(max(w.BeatS, w.DeviceS*float64(m.known)))
}

// interval is that of the node: it gossips more rarely what it has said before, that it
// is idle.
func (n *node) interval() time.Duration {
	if n.load() > 0 || n.said.Running+n.said.Queued > 0 {
		return n.m.interval()
	}
	return max(n.m.interval(), seconds(n.m.scenario.Network.QuietS))
}

// changed tells the node's own view what it is now, and the others soon, where
// changes are gossiped.
func (n *node) changed() {
	if n.view == nil || n.state != in {
		return
	}
	m := n.m
	n.view.UpdateStatus(n.status())
	changes := m.scenario.Network.Changes
	if changes == 0 || n.soon {
		return
	}
	n.soon = true
	settle := m.now + seconds(m.scenario.Network.SettleMS/1e3)
	n.gossipAt(max(settle, n.last+time.Duration(float64(m.interval())/changes)), func() bool {
		n.soon = false
		s := n.status()
		return s.Running != n.said.Running || s.Queued != n.said.Queued || len(s.Images) != len(n.said.Images)
	})
}

// gossip sends the status to all others.
func (n *node) gossip() {
	m := n.m
	n.gossips++
	n.last, n.soon = m.now, false
	n.gossipAt(m.now+n.interval(), always)
	n.said = n.status()
	n.view.UpdateStatus(n.said)
	s := n.publicStatus()
	m.at(m.now+seconds(m.scenario.Network.DelayMS/1e3), func() {
		for _, other := range m.nodes {
			if other == n || other.view == nil || other.state == gone {
				continue
			}
			if m.scenario.Network.Loss == 0 || m.loss.Float64() >= m.scenario.Network.Loss {
				other.view.UpdateStatus(s)
			}
		}
	})
}

// gossipAt gossips at the moment t where there is a reason then, and at the node's
// interval from then on, unless something was gossiped before, or the device is no
// member any more.
func (n *node) gossipAt(t time.Duration, reason func() bool) {
	member, gossips := n.member, n.gossips
	n.m.at(t, func() {
		if n.member == member && n.gossips == gossips && reason() {
			n.gossip()
		}
	})
}

func always() bool { return true }
