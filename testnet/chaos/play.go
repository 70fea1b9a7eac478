package chaos

import (
	"cmp"
	"slices"
	"time"

	"github.com/hearth-edge/hearth/testnet/history"
	"github.com/hearth-edge/hearth/testnet/netns"
)

// skew is how wrong a wall clock is made.
const skew = time.Hour

// Play brings about a schedule, and returns when all of it is over. On a machine
// that is too busy a step may come late; the order stays.
func (m *Mesh) Play(steps []Step) {
	m.t.Helper()
	type moment struct {
		at time.Duration
		do func()
	}
	var moments []moment
	for _, s := range steps {
		var end func()
		moments = append(moments,
			moment{s.At, func() { end = m.bring(s) }},
			moment{s.At + s.For, func() { end() }})
	}
	slices.SortStableFunc(moments, func(a, b moment) int { return cmp.Compare(a.at, b.at) })
	begun, late := time.Now(), time.Duration(0)
	for _, next := range moments {
		timer := time.NewTimer(next.at - time.Since(begun))
		<-timer.C
		late = max(late, time.Since(begun)-next.at)
		next.do()
	}
	m.t.Logf("the latest step came %v late", late.Round(time.Millisecond))
}

// bring brings about a fault; end ends it.
func (m *Mesh) bring(s Step) (end func()) {
	m.t.Helper()
	if s.Kind == history.Partition {
		var first []*Device
		for _, i := range s.Devices {
			first = append(first, m.Devices[i])
		}
		return m.Partition(first...)
	}
	d := m.Devices[s.Devices[0]]
	switch s.Kind {
	case history.Kill:
		d.Kill()
		return d.Restart
	case history.Stop:
		d.Stop()
		return d.Restart
	case history.Freeze:
		d.Freeze()
		return d.Thaw
	case history.Sleep:
		d.Sleep()
		return d.Wake
	case history.Isolate:
		d.Isolate()
		return d.Heal
	case history.Lossy:
		d.Shape(s.Kind, netns.Link{Loss: 0.3})
		return func() { d.Shape(s.Kind, netns.Link{}) }
	case history.Slow:
		d.Shape(s.Kind, netns.Link{Delay: 200 * time.Millisecond, Jitter: 50 * time.Millisecond})
		return func() { d.Shape(s.Kind, netns.Link{}) }
	case history.Skew:
		d.Skew(skew)
		return func() { d.Skew(0) }
	case history.FillDisk:
		d.FillDisk()
		return d.FreeDisk
	case history.EngineHang:
		d.HangEngine()
		return d.AnswerEngine
	case history.EngineDown:
		d.KillEngine()
		return d.RestartEngine
	}
	m.t.Fatalf("nobody knows how to bring about %q", s.Kind)
	return nil
}
