package runtime

import (
	"math"
	"slices"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

// maxQueue is the most executions that wait on a node. Whoever sends more is
// better served elsewhere, whatever was forced.
const maxQueue = 1024

// demand is what an execution takes while it runs. Processor time is counted
// in billionths of a core, in whole numbers, so that what is taken and given
// back a million times adds up to zero.
type demand struct {
	cpu    int64
	memory protocol.Bytes
}

func nano(c protocol.Cores) int64 { return int64(math.Round(float64(c) * 1e9)) }

func demandOf(cpus protocol.Cores, memory protocol.Bytes) demand {
	return demand{cpu: max(nano(cpus), 1), memory: memory}
}

// A ledger counts what is lent, what is taken, by whom, and who waits. It has no
// lock: the Node's mutex guards it.
type ledger struct {
	lent, taken demand
	running     []*execution // those that hold what they demand
	queue       []*execution
}

// slots returns how many executions of this size fit into what is lent.
func (l *ledger) slots(d demand) int {
	c := l.lent.cpu / max(d.cpu, 1)
	if d.memory > 0 {
		c = min(c, int64(min(l.lent.memory/d.memory, math.MaxInt32)))
	}
	return int(min(c, math.MaxInt32))
}

// free returns what is lent and not taken. Adopted executions may take more
// than is lent, where the owner lends less than before the restart.
func (l *ledger) free() demand {
	return demand{
		cpu:    max(l.lent.cpu-l.taken.cpu, 0),
		memory: l.lent.memory - min(l.taken.memory, l.lent.memory),
	}
}

// fits reports whether an execution of this size can start now. None does while
// others wait: a small one never overtakes a large one.
func (l *ledger) fits(d demand) bool {
	return len(l.queue) == 0 && l.fitsFree(d)
}

func (l *ledger) fitsFree(d demand) bool {
	f := l.free()
	return d.cpu <= f.cpu && d.memory <= f.memory
}

// take lets e hold what it demands, from now on.
func (l *ledger) take(e *execution, now time.Time) {
	e.heldSince = now
	l.running = append(l.running, e)
	l.taken.cpu += e.demand.cpu
	l.taken.memory += e.demand.memory
}

// release takes back what e holds, and reports whether it held anything.
func (l *ledger) release(e *execution) bool {
	i := slices.Index(l.running, e)
	if i < 0 {
		return false
	}
	l.running = slices.Delete(l.running, i, i+1)
	e.heldSince = time.Time{}
	l.taken.cpu -= e.demand.cpu
	l.taken.memory -= e.demand.memory
	return true
}

// next takes the first of the queue out if it fits now, or returns nil.
func (l *ledger) next(now time.Time) *execution {
	if len(l.queue) == 0 || !l.fitsFree(l.queue[0].demand) {
		return nil
	}
	e := l.queue[0]
	l.queue = slices.Delete(l.queue, 0, 1)
	l.take(e, now)
	return e
}

// leave takes e out of the queue and reports whether it was there.
func (l *ledger) leave(e *execution) bool {
	i := slices.Index(l.queue, e)
	if i < 0 {
		return false
	}
	l.queue = slices.Delete(l.queue, i, i+1)
	return true
}

// load is what the node tells of its load, in slots of size d.
func (l *ledger) load(d demand, now time.Time) protocol.Load {
	load := protocol.Load{
		Running: uint32(len(l.running)),
		Queued:  uint32(len(l.queue)),
		Slots:   uint32(l.slots(d)),
	}
	for i, e := range l.running {
		held := now.Sub(e.heldSince)
		if i == 0 || held < load.Youngest {
			load.Youngest = held
		}
		if held <= longFactor*max(e.expected, minExpected) {
			continue
		}
		long := &load.LongRunning
		if long.Count++; long.Count == 1 || held < long.Ran {
			long.Ran = held
		}
		long.CPUs += protocol.Cores(float64(e.demand.cpu) / 1e9)
		long.Memory += e.demand.memory
	}
	return load
}

const (
	// longFactor is for how many times its expected time an execution must have
	// held its slot to count as long-running.
	longFactor = 4
	// minExpected bounds the expected time from below: what usually takes a
	// moment is not long-running for having waited for a busy engine.
	minExpected = 250 * time.Millisecond
)
