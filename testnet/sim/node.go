package main

import (
	"math"
	"slices"
	"time"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/sched"
)

// standing of a device in the mesh.
type standing uint8

const (
	out     standing = iota // never in, or left and done
	in                      // a member
	leaving                 // takes nothing any more, and finishes what it has
	gone                    // crashed
)

// node is one device. It admits and queues as package runtime does.
type node struct {
	m       *mesh
	index   int
	id      protocol.PeerID
	plan    *nodePlan
	state   standing
	known   bool // to the others as a member
	goneAt  time.Duration
	crashes int // what was scheduled before a crash is void after it
	member  int // grows as it joins and as it goes

	busy    bool // other programs use its CPU now
	queue   []ticket
	running []*job
	cpus    float64 // taken by executions
	memory  float64 // MiB taken by executions
	coming  int     // offers on their way to it
	fetched []time.Duration
	view    *sched.View
	gossips uint64          // statuses made
	last    time.Duration   // when the last one was
	soon    bool            // another one is on its way
	said    protocol.Status // the last one, if it is no liar's
}

// ticket is a place in a node's queue.
type ticket struct {
	j       *job
	attempt int
	// ask: the place is a reservation, and the orchestrator is asked for the
	// work when a slot is free.
	ask bool
}

const never = time.Duration(math.MaxInt64)

func newNode(m *mesh, i int) *node {
	n := &node{m: m, index: i, id: nodeID(i), plan: &m.plan.nodes[i]}
	for _, present := range n.plan.images {
		at := never
		if present {
			at = 0
		}
		n.fetched = append(n.fetched, at)
	}
	return n
}

// speed is the true one.
func (n *node) speed() float64 { return n.plan.speed * (1 - n.others()) }

// others is the part of its CPU that other programs use.
func (n *node) others() float64 {
	if n.busy {
		return n.m.scenario.Background.CPU
	}
	return 0
}

// turn lets other programs begin or end, and again, for ever.
func (n *node) turn() {
	b := &n.m.scenario.Background
	var again func()
	again = func() {
		n.busy = !n.busy
		d := b.OffS
		if n.busy {
			d = b.OnS
		}
		n.m.at(n.m.now+seconds(d), again)
	}
	n.m.at(n.plan.turning, again)
}

func (n *node) load() int { return len(n.running) + len(n.queue) }

// slots is how many executions of the service fit in.
func (n *node) slots(v *servicePlan) int {
	c := math.Floor(float64(n.plan.slots)/v.CPUs + 1e-9)
	if v.MemoryMiB > 0 {
		c = min(c, math.Floor(n.plan.memory/v.MemoryMiB))
	}
	return int(c)
}

// fits reports whether the request could start at once.
func (n *node) fits(j *job) bool { return len(n.queue) == 0 && n.room(j.service) }

func (n *node) room(v *servicePlan) bool {
	return n.cpus+v.CPUs <= float64(n.plan.slots)+1e-9 && n.memory+v.MemoryMiB <= n.plan.memory
}

// enqueue takes the request: it starts when those before it have, and fits.
func (n *node) enqueue(j *job) {
	j.node = n
	n.reserve(ticket{j: j, attempt: j.attempt})
}

// reserve takes a place in the queue.
func (n *node) reserve(t ticket) {
	n.queue = append(n.queue, t)
	n.m.counts.overload = max(n.m.counts.overload, float64(n.load())/float64(n.plan.slots))
	n.pump()
}

// pump starts what can be started.
func (n *node) pump() {
	for len(n.queue) > 0 {
		t := n.queue[0]
		if t.attempt != t.j.attempt || t.ask && t.j.started {
			n.queue = n.queue[1:] // it runs elsewhere
			continue
		}
		if !n.room(t.j.service) {
			break
		}
		n.queue = n.queue[1:]
		t.j.started, t.j.node = true, n
		n.start(t)
	}
	n.changed()
}

func (n *node) start(t ticket) {
	j, m := t.j, n.m
	n.running = append(n.running, j)
	j.since, j.usual = m.now, n.usual(j)
	n.cpus += j.service.CPUs
	n.memory += j.service.MemoryMiB
	var wait time.Duration
	if t.ask {
		wait = m.distance(n, j.from)
	}
	cold := n.cold(j.arrival.service, j.service)
	n.fetched[j.arrival.service] = min(n.fetched[j.arrival.service], m.now+wait+cold)
	ran := seconds(j.work / n.speed())
	crashes := n.crashes
	m.after(m.distance(n, j.from)/2, func() {
		if j.from.view != nil {
			j.from.view.Started(n.id)
		}
	})
	m.expectEnd(n, j)
	if j.endless {
		return
	}
	m.at(m.now+wait+cold+ran, func() {
		if n.crashes == crashes && t.attempt == j.attempt {
			n.finish(j, ran)
		}
	})
}

// usual is how long the request's execution is expected to take.
func (n *node) usual(j *job) time.Duration {
	if n.view != nil {
		return n.view.ExpectedHere(j.spec)
	}
	return seconds(j.service.Work.mean() / n.speed())
}

// giveBack lets the request leave the queue after a while if it has not started by
// then, and tells its orchestrator.
func (n *node) giveBack(j *job, after time.Duration, then func()) {
	attempt, m := j.attempt, n.m
	m.at(m.now+after, func() {
		i := slices.IndexFunc(n.queue, func(t ticket) bool { return t.j == j && t.attempt == attempt })
		if i < 0 || n.state != in {
			return
		}
		n.queue = slices.Delete(n.queue, i, i+1)
		m.after(m.distance(n, j.from)/2, then)
		n.pump()
	})
}

// cold is how long the image's fetching takes from now.
func (n *node) cold(service int, v *servicePlan) time.Duration {
	if at := n.fetched[service]; at != never {
		return max(0, at-n.m.now)
	}
	return seconds(v.size / n.m.scenario.Fleet.PullMiBS)
}

// finish ends an execution, and tells its orchestrator.
func (n *node) finish(j *job, ran time.Duration) {
	m := n.m
	i := slices.Index(n.running, j)
	n.running = slices.Delete(n.running, i, i+1)
	n.cpus -= j.service.CPUs
	n.memory -= j.service.MemoryMiB
	m.after(m.distance(n, j.from)/2, func() {
		if j.from.view != nil {
			j.from.view.Finished(n.id)
			j.from.view.RecordRun(j.spec, n.id, ran)
		}
		m.end(j, false)
	})
	n.pump()
}

// join makes the device a member that knows nothing.
func (n *node) join() {
	m := n.m
	if n.state = in; !n.known {
		n.known = true
		m.known++
	}
	n.member++
	if !m.policy.gossips() {
		return
	}
	n.view = sched.NewView(n.id, func() time.Duration { return m.now }, m.params)
	for _, other := range m.nodes {
		if other.view == nil || other.state == gone {
			continue
		}
		n.meet(other)
		other.meet(n)
	}
	n.gossip()
	n.gossipAt(m.now+time.Duration(n.plan.phase*float64(m.interval())), always)
}

func (n *node) meet(other *node) {
	n.view.Joined(other.id, string(other.id), "")
	n.view.RTT(other.id, n.m.distance(n, other))
	n.view.UpdateStatus(other.publicStatus())
}

// leave says goodbye: the others know after delay. What waits is turned away, and
// placed again by who sent it; what runs goes on.
func (n *node) leave(delay time.Duration) {
	if n.state != in {
		return
	}
	n.state = leaving
	n.member++
	turned := n.queue
	n.queue = nil
	n.forget(delay)
	for _, t := range turned {
		if t.attempt == t.j.attempt && !t.ask {
			n.m.after(n.m.distance(n, t.j.from)/2, func() {
				t.j.exclude(n)
				n.m.again(t.j)
			})
		}
	}
}

// crash ends the device with all that it runs. That is placed again when its
// loss is noticed.
func (n *node) crash() {
	if n.state != in {
		return
	}
	m := n.m
	n.state, n.goneAt = gone, m.now
	n.crashes++
	n.member++
	lost := n.running
	for _, t := range n.queue {
		if t.attempt == t.j.attempt && !t.ask {
			lost = append(lost, t.j)
		}
	}
	n.queue, n.running, n.cpus, n.memory = nil, nil, 0, 0
	detect := seconds(m.scenario.Network.DetectS)
	n.forget(detect)
	for _, j := range lost {
		m.at(m.now+detect, func() { m.again(j) })
	}
}

// forget lets all others take the device for gone after delay.
func (n *node) forget(delay time.Duration) {
	member := n.member
	n.m.at(n.m.now+delay+seconds(n.m.scenario.Network.DelayMS/1e3), func() {
		if n.member != member {
			return
		}
		n.known = false
		n.m.known--
		for _, other := range n.m.nodes {
			if other.view != nil && other != n {
				other.view.Left(n.id)
			}
		}
	})
}
