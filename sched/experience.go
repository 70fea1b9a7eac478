package sched

import (
	"math"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

// experience is what this orchestrator has learned of one node by what became of
// its own executions there, whatever the node says of itself. It is kept while
// the node is gone, and gossiped to nobody: each orchestrator believes its own eyes.
type experience struct {
	// slow is the moving average of ln(actual / expected run time), spread that
	// of its square, runs their number.
	slow, spread, runs float64
	// faults is the share of executions, lately, that the node lost by a fault of
	// its own, as it was at the time at.
	faults float64
	at     time.Duration
	last   uint64 // experiences.count when it was last learned from
}

// addRun takes in that an execution ran e^residual times as long as it should have.
func (e *experience) addRun(p *Params, residual float64) {
	weight := max(p.RunWeight, 1/(e.runs+1))
	e.slow += weight * (residual - e.slow)
	e.spread += weight * (residual*residual - e.spread)
	e.runs = min(e.runs+1, 2/p.RunWeight) // as many as a moving average is worth
}

// slower returns ln of the factor by which executions run longer there than by
// the node's speed. Few or scattered observations are no proof, so the average m of
// n is shrunk by how far it may be off by chance:
//
//	m · max(0, 1 − z²·variance/(n·m²))
func (e *experience) slower(p *Params) float64 {
	square := e.slow * e.slow
	if square == 0 {
		return 0
	}
	chance := max(0, e.spread-square) / e.runs
	if e.runs < minRuns {
		return 0 // their variance tells nothing
	}
	m := e.slow * max(0, 1-p.RunDeviations*p.RunDeviations*chance/square)
	most := math.Log(p.MaxSlowdown)
	return min(max(m, -most), most)
}

// minRuns is how many executions a correction of a node's speed needs.
const minRuns = 4

// addOutcome takes in whether the node brought an execution to its end.
func (e *experience) addOutcome(p *Params, now time.Duration, delivered bool) {
	e.faults, e.at = e.faulty(p, now)*(1-p.FaultWeight), now
	if !delivered {
		e.faults += p.FaultWeight
	}
}

// faulty returns the share of executions lost by the node. It fades, so that a
// node without work is tried again.
func (e *experience) faulty(p *Params, now time.Duration) float64 {
	if e.faults == 0 {
		return 0
	}
	return e.faults * math.Exp2(-float64(now-e.at)/float64(p.FaultHalfLife))
}

// factor is by how much longer executions are taken to last on the node than by
// its status: see Peer.Slower. A node that loses all it gets would look idle, and
// get more than any other.
func (e *experience) factor(p *Params, now time.Duration) float64 {
	if e == nil {
		return 0
	}
	return math.Exp(e.slower(p))*(1+(p.FaultCost-1)*e.faulty(p, now)) - 1
}

// experiences are those of all nodes that were met. Not safe for concurrent use.
type experiences struct {
	max    int
	byNode map[protocol.PeerID]*experience
	count  uint64
}

// of returns what is known of the node, to learn from it. It forgets the node
// that was not learned of for longest, where there are too many.
func (x *experiences) of(node protocol.PeerID) *experience {
	x.count++
	e := x.byNode[node]
	if e == nil {
		x.makeRoom()
		e = new(experience)
		x.byNode[node] = e
	}
	e.last = x.count
	return e
}

func (x *experiences) makeRoom() {
	if len(x.byNode) < x.max {
		return
	}
	var oldest protocol.PeerID
	last := uint64(math.MaxUint64)
	for node, e := range x.byNode {
		if e.last < last {
			oldest, last = node, e.last
		}
	}
	delete(x.byNode, oldest)
}
