package chaos

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/hearth-edge/hearth/testnet/history"
)

// A Step is a fault of a schedule.
type Step struct {
	// At is when it begins, and For how long it lasts.
	At, For time.Duration
	Kind    history.Kind
	// Devices it happens to, by their index.
	Devices []int
}

func (s Step) String() string {
	var names []string
	for _, d := range s.Devices {
		names = append(names, fmt.Sprintf("node%d", d+1))
	}
	return fmt.Sprintf("%7.1fs  %-11s  %-11s  for %.1fs", s.At.Seconds(), s.Kind, strings.Join(names, ","), s.For.Seconds())
}

// menu is what may happen, for how long at least and at most, and how often.
var menu = []struct {
	kind        history.Kind
	least, most time.Duration
	weight      int
}{
	{history.Kill, 100 * time.Millisecond, 6 * time.Second, 6},
	{history.Stop, 100 * time.Millisecond, 6 * time.Second, 2},
	{history.Freeze, time.Second, 15 * time.Second, 2},
	{history.Sleep, 2 * time.Second, 20 * time.Second, 2},
	{history.Isolate, 500 * time.Millisecond, 20 * time.Second, 2},
	{history.Partition, 2 * time.Second, 20 * time.Second, 3},
	{history.Lossy, 3 * time.Second, 15 * time.Second, 1},
	{history.Slow, 3 * time.Second, 15 * time.Second, 1},
	{history.Skew, 3 * time.Second, 15 * time.Second, 1},
	{history.FillDisk, 2 * time.Second, 8 * time.Second, 1},
	{history.EngineHang, 2 * time.Second, 15 * time.Second, 2},
	{history.EngineDown, time.Second, 8 * time.Second, 2},
}

const (
	// warmUp is before the first fault, and recovery between two of a device.
	warmUp   = 3 * time.Second
	recovery = 2 * time.Second
	// atOnce is how many devices have a fault at the same time at most.
	atOnce = 3
)

// Schedule returns what happens to so many devices in the time, by the seed alone.
// A device has one fault at a time, and so has the network.
func Schedule(seed uint64, devices int, total time.Duration) (steps []Step) {
	random := rand.New(rand.NewPCG(seed, 1))
	free := make([]time.Duration, devices+1) // from when on; the last is the network
	network := &free[devices]
	for at := warmUp; ; at += time.Duration(500+random.IntN(4000)) * time.Millisecond {
		s := Step{At: at}
		var least, most time.Duration
		s.Kind, least, most = draw(random)
		s.For = least + time.Duration(random.Int64N(int64(most-least)))
		order := random.Perm(devices)
		if at >= total {
			return steps
		}
		s.For = min(s.For, total-at)
		if onNetwork(s.Kind) {
			if *network > at {
				continue
			}
			*network = at + s.For + recovery
		}
		if s.Kind == history.Partition {
			s.Devices = order[:1+random.IntN(max(1, devices/2))]
			steps = append(steps, s)
			continue
		}
		if busy(free[:devices], at) >= atOnce {
			continue
		}
		for _, d := range order {
			if free[d] <= at {
				free[d] = at + s.For + recovery
				s.Devices = []int{d}
				steps = append(steps, s)
				break
			}
		}
	}
}

// onNetwork reports whether the fault is one of the switch.
func onNetwork(k history.Kind) bool {
	return k == history.Partition || k == history.Isolate || k == history.Sleep
}

func busy(free []time.Duration, at time.Duration) (count int) {
	for _, f := range free {
		if f > at {
			count++
		}
	}
	return count
}

func draw(random *rand.Rand) (k history.Kind, least, most time.Duration) {
	sum := 0
	for _, m := range menu {
		sum += m.weight
	}
	n := random.IntN(sum)
	for _, m := range menu {
		if n -= m.weight; n < 0 {
			return m.kind, m.least, m.most
		}
	}
	panic("unreachable: n is less than the sum")
}
