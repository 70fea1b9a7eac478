package sched

import (
	"math"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

// workKey says which services are taken to need the same work: those of one
// image, entrypoint and first argument, which is a subcommand more often than
// not. All arguments would be too many: a file name among them, and nothing is
// ever learned.
type workKey struct {
	image, entrypoint, arg string
}

func keyOf(s *protocol.Service) workKey {
	k := workKey{image: s.Image, entrypoint: s.Entrypoint}
	if len(s.Args) > 0 {
		k.arg = s.Args[0]
	}
	return k
}

// workTable remembers the work of services: a moving average of running time ×
// speed, in seconds of one core of the reference device. Not safe for
// concurrent use.
type workTable struct {
	weight float64
	max    int
	mean   float64 // of all services
	def    float64
	seen   map[workKey]*workSeen
	count  uint64 // of executions learned from
}

type workSeen struct {
	work float64
	// typical is the moving average of ln(work): what executions are compared
	// with, for it has no preference for the long ones.
	typical float64
	first   protocol.PeerID // where it was seen first
	several bool            // it was seen on another node, too
	last    uint64          // workTable.count when it was last learned from
}

func newWorkTable(p Params) workTable {
	return workTable{
		weight: p.WorkWeight, max: p.MaxWorkSeen,
		mean: p.DefaultWork, def: p.DefaultWork,
		seen: make(map[workKey]*workSeen),
	}
}

// minWork keeps estimates above zero for what ends at once.
const minWork = 1e-3

// learn records an execution on node: work by the node's speed, where
// executions run e^slower times as long as by that. It returns ln of how much
// longer than usual it took. The second result says whether that tells
// something of the node: the service ran on others too.
func (t *workTable) learn(k workKey, node protocol.PeerID, work, slower float64) (residual float64, telling bool) {
	residual = math.Log(max(work, minWork))
	work = max(work*math.Exp(-slower), minWork)
	t.count++
	t.mean += t.weight * (work - t.mean)
	s := t.seen[k]
	if s == nil {
		t.makeRoom()
		s = &workSeen{work: work, typical: math.Log(work), first: node}
		t.seen[k] = s
	}
	s.several = s.several || node != s.first
	residual -= s.typical
	s.typical += t.weight * (math.Log(work) - s.typical)
	s.work += t.weight * (work - s.work)
	s.last = t.count
	return residual, s.several
}

// makeRoom forgets the service that was not run for longest.
func (t *workTable) makeRoom() {
	if len(t.seen) < t.max {
		return
	}
	var oldest workKey
	last := uint64(math.MaxUint64)
	for k, s := range t.seen {
		if s.last < last {
			oldest, last = k, s.last
		}
	}
	delete(t.seen, oldest)
}

// expect returns the work of the service, and whether it was seen: else it is the
// default.
func (t *workTable) expect(k workKey) (work float64, seen bool) {
	if s := t.seen[k]; s != nil {
		return s.work, true
	}
	return t.def, false
}

// rateWindow is over how long the rate of requests is averaged.
const rateWindow = 2 * time.Second

// arrivalRate counts events, older ones fading away exponentially.
type arrivalRate struct {
	faded float64
	last  time.Duration
}

func (r *arrivalRate) count(now time.Duration) {
	r.faded = r.at(now)*rateWindow.Seconds() + 1
	r.last = now
}

// at returns events a second.
func (r *arrivalRate) at(now time.Duration) float64 {
	return r.faded * math.Exp(-(now-r.last).Seconds()/rateWindow.Seconds()) / rateWindow.Seconds()
}
