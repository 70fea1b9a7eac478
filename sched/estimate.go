package sched

import (
	"math"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

// estimate is the time to the end of an execution on one node, in seconds, and
// what it is made of.
type estimate struct {
	// work is what the execution takes, with waiting for a slot.
	work float64
	// network and cold are the round trip and the fetching of the image.
	network, cold float64
	// load is the number of executions there, as far as can be told, and slots how
	// many of the service run there at a time; both without the long-running ones,
	// and the slots that these hold, where they leave any.
	load, slots float64
	// long is how many of those there are.
	long float64
	// speed of one execution, relative to one core of the reference device.
	speed float64
}

func (e estimate) total() float64 { return e.work + e.network + e.cold }

// expect returns how long the demanded execution would take on the node that s
// speaks of, with n executions there, running and queued, and c slots that the
// service fits in:
//
//	b   = work / speed
//	est = b · (1 + κ·max(0, n−c+1)/c) + RTT + cold
//
// The speed is the status's, less what experience says. The RTT is left to the caller.
//
// Long-running executions are left out of n, and the slots that they hold out of c.
// What has run for so long is expected to run for as long again, whatever its
// service usually takes: no slot of a full node is free before its youngest
// execution has, and where the long-running ones hold all, before one of them has.
// That wait, too, counts κ times.
func (p *Params) expect(s *protocol.Status, d *Demand, n, c, slower float64) estimate {
	e := estimate{speed: p.speed(s) / (1 + slower), load: n, slots: c}
	var wait time.Duration
	if s.LongRunning.Count > 0 {
		if free := slotsFree(d.Service, s); free >= 1 {
			e.long = min(n, float64(s.LongRunning.Count))
			e.load, e.slots = n-e.long, min(c, free)
		} else {
			wait = s.LongRunning.Ran
		}
	}
	b := d.Work / e.speed
	e.work = b
	if over := e.load - e.slots + 1; over > 0 {
		wait = max(wait, s.Youngest)
		e.work = max(b*(1+p.QueueCost*over/e.slots), b+p.QueueCost*wait.Seconds()*min(over, 1))
	}
	if !hasImage(s, d.Image) {
		e.cold = p.cold(s, d)
	}
	return e
}

// cold returns how long fetching the image takes on a node that has it not:
//
//	cold = base + bytes to fetch / bytes a second
//
// at the rate that the node has seen lately, or the usual one.
func (p *Params) cold(s *protocol.Status, d *Demand) float64 {
	if d.Fetch == 0 {
		return p.ColdStart.Seconds()
	}
	rate := s.PullRate
	if rate == 0 {
		rate = p.PullRate
	}
	return p.ColdBase.Seconds() + float64(d.Fetch)/float64(rate)
}

// moved returns how much a fetch moves of an image that takes so much on disk.
func (p *Params) moved(onDisk protocol.Bytes) protocol.Bytes {
	return protocol.Bytes(p.ImageShrink * float64(onDisk))
}

// estimate returns what the demanded execution would take on the peer, which
// must have a status. mean is the work of one of those that run there. Whoever has
// kept this device waiting is taken to do so for as long again, whatever the
// status says: it may be wrong, or come from a node that is no more.
func (p *Params) estimate(peer *Peer, d *Demand, mean float64) estimate {
	s := peer.Status
	c := slotsFor(d.Service, s)
	n := load(peer, mean*(1+peer.Slower)/p.speed(s))
	if !hasRoom(d.Service, s) {
		n = max(n, c)
	}
	e := p.expect(s, d, n, c, peer.Slower)
	waited := peer.Waited
	if len(d.Waited) > 0 {
		waited = max(waited, d.Waited[peer.Node])
	}
	if waited > 0 {
		e.work = max(e.work, d.Work/e.speed+waited.Seconds())
	}
	e.network = float64(peer.RTT) / 1e9
	return e
}

// load returns how many executions are on the peer: what it said, less what it
// will have ended since, where one takes so many seconds, and what this
// orchestrator sent there and got back since; but no less than what is there
// from this orchestrator itself, which it knows for certain. Those that run for
// long do not end, and no other one sooner than its youngest has run already.
func load(peer *Peer, takes float64) float64 {
	s := peer.Status
	n, c, long := float64(s.Running)+float64(s.Queued), float64(s.Slots), 0.0
	if s.LongRunning.Count > 0 {
		long = min(n, float64(s.LongRunning.Count))
		c = min(c, max(0, slotsFree(&anyService, s)))
	}
	turns := peer.Age.Seconds() / max(takes, s.Youngest.Seconds())
	return max(drained(n-long, c, turns)+long+float64(peer.Sent-peer.Finished), float64(peer.Inflight))
}

// anyService asks for one slot.
var anyService protocol.Service

// drained returns how many of n executions on c slots are left after so many
// turns, a turn being what one execution takes on average. As long as some wait,
// c end in each turn; then ever fewer do, as fewer are there to end: the last
// one of eight is not gone an eighth of a turn after the seven others.
func drained(n, c, turns float64) float64 {
	if turns <= 0 {
		return n
	}
	if n > c {
		full := (n - c) / c // turns until nobody waits
		if turns < full {
			return n - c*turns
		}
		n, turns = c, turns-full
	}
	return n * math.Exp(-turns)
}

// speed returns how fast one execution runs on the node, relative to one core
// of the reference device: less where other programs take their part of the
// CPU, where heat or power holds it back, and where a slot is less than a core.
func (p *Params) speed(s *protocol.Status) float64 {
	speed := s.Speed
	if s.CPUOthers > 0 || s.Throttled > 0 {
		speed *= max(p.MinSpeedShare, (1-float64(s.CPUOthers/s.CPUs))*(1-s.Throttled))
	}
	if slots := protocol.Cores(s.Slots); s.CPUs < slots {
		speed *= float64(s.CPUs / slots)
	}
	return speed
}

// almostOne makes up for the rounding of fractions of cores.
const almostOne = 1 - 1e-9

// slotsFor returns how many executions of the service the node could run at
// once if it ran nothing else: at least 1 for a node that Match admits.
func slotsFor(service *protocol.Service, s *protocol.Status) float64 {
	c := float64(s.Slots)
	if service.CPUs > 0 {
		c = math.Floor(float64(s.CPUs/service.CPUs) + 1 - almostOne)
	}
	if service.Memory > 0 {
		c = min(c, float64(s.MemoryTotal/service.Memory))
	}
	return max(1, c)
}

// slotsFree is slotsFor beside the long-running executions: less than 1 where they
// leave no room for one.
func slotsFree(service *protocol.Service, s *protocol.Status) float64 {
	cpus, memory := float64(s.CPUs-s.LongRunning.CPUs), float64(s.MemoryTotal)-float64(s.LongRunning.Memory)
	if service.CPUs <= 0 {
		// A slot is a share of what is lent.
		left := cpus / float64(s.CPUs)
		if s.MemoryTotal > 0 {
			left = min(left, memory/float64(s.MemoryTotal))
		}
		return math.Floor(float64(s.Slots)*left + 1 - almostOne)
	}
	c := math.Floor(cpus/float64(service.CPUs) + 1 - almostOne)
	if service.Memory > 0 {
		c = min(c, math.Floor(memory/float64(service.Memory)))
	}
	return c
}

// hasRoom reports whether the node has the CPU and the memory for the service
// right now.
func hasRoom(service *protocol.Service, s *protocol.Status) bool {
	return service.CPUs*almostOne <= s.CPUFree && service.Memory <= s.MemoryFree
}

func hasImage(s *protocol.Status, hash uint32) bool {
	for _, h := range s.Images {
		if h == hash {
			return true
		}
	}
	return false
}

// seconds converts to a duration, the longest one for what is beyond it.
func seconds(s float64) time.Duration {
	const most = float64(math.MaxInt64) / float64(time.Second)
	if !(s < most) {
		return math.MaxInt64
	}
	return time.Duration(s * float64(time.Second))
}

// Rate returns the score for the inputs in s: how able the node is, and how
// idle; higher is better, 0 is no node at all. An idle node is rated 100 times
// its speed, less what other programs use and what heat takes away:
//
//	score = 100 · speed / (1 + n/c + κ·max(0, n−c+1)/c)
//
// with n executions, running and queued, on c slots. The last term is that of
// the estimate, so that among idle nodes and among full ones the higher score
// is the shorter wait; n/c makes each execution count from the first.
func (p Params) Rate(s *protocol.Status) float64 {
	if s.Role != protocol.RoleNode || s.Slots == 0 || !(s.CPUs > 0) {
		return 0
	}
	n, c := float64(s.Running)+float64(s.Queued), float64(s.Slots)
	return 100 * p.speed(s) / (1 + n/c + p.QueueCost*max(0, n-c+1)/c)
}
