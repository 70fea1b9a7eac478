package runtime_test

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/hearth-edge/hearth/protocol"
)

func TestRefusesWithFreshLoad(t *testing.T) {
	inBubble(t, func(b *bed) {
		b.run()
		for i := range 2 {
			b.offer(offer(fmt.Sprint(i), "sleep=10s"))
		}
		b.offer(forced("queued", "sleep=10s"))
		r := b.refused(offer("more"), protocol.CodeBusy)
		if want := (protocol.Load{Running: 2, Queued: 1, Slots: 2}); r.Load != want {
			t.Errorf("load %+v, want %+v", r.Load, want)
		}
		if _, err := b.node.Attach(b.t.Context(), protocol.Attach{Request: "more", Attempt: 1}); protocol.CodeOf(err) != protocol.CodeNotFound {
			t.Errorf("a refused one is known: %v", err)
		}
		time.Sleep(time.Minute)
		again := offer("more")
		again.Attempt = 2 // the first was denied
		b.offer(again)
		synctest.Wait()
		b.idle()
	})
}

func TestBoundDecidesWhatIsQueued(t *testing.T) {
	inBubble(t, func(b *bed) {
		var asked [][3]int
		b.cfg.Estimate = func(_ protocol.Service, running, queued, slots int) time.Duration {
			asked = append(asked, [3]int{running, queued, slots})
			return time.Duration(1+queued) * time.Second
		}
		b.run()
		for i := range 4 {
			o := offer(fmt.Sprint(i), "sleep=10s")
			o.Bound = 2 * time.Second
			b.offer(o)
		}
		o := offer("more")
		o.Bound = 2 * time.Second
		b.refused(o, protocol.CodeBusy)
		if want := [][3]int{{2, 0, 2}, {2, 1, 2}, {2, 2, 2}}; !reflect.DeepEqual(asked, want) {
			t.Errorf("asked with %v, want %v", asked, want)
		}
	})
}

func TestQueueIsInOrder(t *testing.T) {
	inBubble(t, func(b *bed) {
		b.run()
		// Of two cores one is free, but the large one goes first.
		sizes := []protocol.Cores{1, 2, 1, 1}
		var sessions []protocol.Session
		for i, cpus := range sizes {
			o := forced(fmt.Sprint(i), "sleep=10s")
			o.Service.CPUs = cpus
			sessions = append(sessions, b.offer(o))
			synctest.Wait()
		}
		if n := len(b.starts()); n != 1 {
			t.Errorf("%d started while the large one waits", n)
		}
		last := listen(sessions[3])
		// The last two fit at the same time.
		if order := b.starts(); len(order) != 4 || order[0].Request != "0" || order[1].Request != "1" {
			t.Errorf("started in the order %v", order)
		}
		var places []uint32
		for _, e := range last.events {
			if e.State == protocol.StatePlacing {
				places = append(places, e.QueuePlace)
				contains(t, e.Reason, fmt.Sprintf("queued, %d before it", e.QueuePlace))
			}
		}
		if !slices.Equal(places, []uint32{3, 2}) {
			t.Errorf("places told: %v", places)
		}
		time.Sleep(time.Minute)
		b.idle()
	})
}

func TestQueueIsBounded(t *testing.T) {
	inBubble(t, func(b *bed) {
		b.run()
		const most = 1024
		for i := range 2 + most {
			b.offer(forced(fmt.Sprint(i), "sleep=1s")).Close()
		}
		b.refused(forced("more"), protocol.CodeOverloaded)
		s, err := b.node.Attach(b.t.Context(), protocol.Attach{Request: protocol.RequestID(fmt.Sprint(1 + most)), Attempt: 1})
		if err != nil {
			t.Fatal(err)
		}
		if told := listen(s).events; len(told) > 100 {
			t.Errorf("the last one was told %d events", len(told))
		}
		b.idle()
	})
}

func TestNeverFits(t *testing.T) {
	inBubble(t, func(b *bed) {
		b.cfg.Policy.MaxCPUs, b.cfg.Policy.MaxMemory = 1.5, 1<<30
		b.cfg.Check = func(s protocol.Service) error {
			if s.Constraints.Node != "" {
				return &protocol.Refusal{Code: protocol.CodeConstraint, Reason: "this is not " + s.Constraints.Node}
			}
			return nil
		}
		b.run()
		tests := []struct {
			change func(*protocol.Service)
			code   protocol.Code
			reason string
		}{
			{func(s *protocol.Service) { s.CPUs = 8 }, protocol.CodeResources, "asks for 8 cores, this node lends 2 cores"},
			{func(s *protocol.Service) { s.Memory = 3 << 30 }, protocol.CodeResources, "asks for 3 GiB of memory, this node lends 2 GiB"},
			{func(s *protocol.Service) { s.CPUs = 2 }, protocol.CodePolicy, "allows a container 1.5"},
			{func(s *protocol.Service) { s.Memory = 2 << 30 }, protocol.CodePolicy, "allows a container 1 GiB"},
			{func(s *protocol.Service) { s.CPUs = protocol.Cores(math.NaN()) }, protocol.CodeInvalid, "cpus"},
			{func(s *protocol.Service) { s.Constraints.Node = "you" }, protocol.CodeConstraint, "this is not you"},
		}
		for _, test := range tests {
			o := forced("a")
			test.change(&o.Service)
			contains(t, b.refused(o, test.code).Reason, test.reason)
		}
		b.idle()
	})
}

func TestSlots(t *testing.T) {
	tests := []struct {
		cpus   protocol.Cores
		memory protocol.Bytes
		slots  uint32
	}{
		{4, 4 << 30, 4},
		{0.5, 1 << 30, 1}, // less than a core: one slot of what there is
		{2.9, 1 << 30, 2}, // no fraction of a slot
		{4, 128 << 20, 2}, // so little memory that not every core gets its 64 MiB
		{4, 32 << 20, 1},  // less than that in all
	}
	for _, test := range tests {
		inBubble(t, func(b *bed) {
			b.cfg.CPUs, b.cfg.Memory = test.cpus, test.memory
			b.run()
			if got := b.node.State().Load.Slots; got != test.slots {
				t.Errorf("%v cores and %d bytes make %d slots, want %d", test.cpus, test.memory, got, test.slots)
			}
			for i := range test.slots {
				o := offer(fmt.Sprint(i), "sleep=1s")
				o.Service.Memory = 0
				b.offer(o)
			}
			o := offer("more")
			o.Service.Memory = 0
			b.refused(o, protocol.CodeBusy)
		})
	}
}

// step is one thing that happens to a node in TestNothingIsLost.
type step struct {
	cpus   protocol.Cores
	memory protocol.Bytes
	script []string
	forced bool
	bound  time.Duration
	pause  time.Duration
	// stop this offer, counted back from the newest; none where negative.
	stop    int
	restart bool // of the engine
	down    time.Duration
}

var steps = rapid.Custom(func(t *rapid.T) step {
	scripts := [][]string{
		{"out=x"}, {"sleep=1s"}, {"sleep=20s", "exit=3"}, {"ignore-term", "sleep=5s"}, {"bytes=300000"}, {"unstartable=126"},
	}
	return step{
		cpus:    protocol.Cores(rapid.SampledFrom([]float64{0, 0.1, 0.3, 0.5, 1, 1.5, 2}).Draw(t, "cpus")),
		memory:  protocol.Bytes(rapid.SampledFrom([]int64{0, 1 << 20, 700 << 20, 2 << 30}).Draw(t, "memory")),
		script:  rapid.SampledFrom(scripts).Draw(t, "script"),
		forced:  rapid.Bool().Draw(t, "forced"),
		bound:   time.Duration(rapid.IntRange(0, 5).Draw(t, "bound")) * time.Second,
		pause:   time.Duration(rapid.IntRange(0, 3000).Draw(t, "pause")) * time.Millisecond,
		stop:    rapid.IntRange(-3, 5).Draw(t, "stop"),
		restart: rapid.IntRange(0, 9).Draw(t, "restart") == 0,
		down:    time.Duration(max(rapid.IntRange(-8, 3).Draw(t, "down"), 0)) * time.Second,
	}
})

// TestNothingIsLost: whatever happens, the node never promises more than it
// lends, every execution that it took ends, and in the end nothing is taken.
func TestNothingIsLost(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		plan := rapid.SliceOfN(steps, 1, 25).Draw(rt, "plan")
		var problems []string
		inBubble(t, func(b *bed) {
			b.cfg.Estimate = func(_ protocol.Service, _, queued, _ int) time.Duration {
				return time.Duration(queued) * time.Second
			}
			b.run()
			problems = b.carryOut(plan)
			b.idle()
		})
		if len(problems) > 0 {
			rt.Fatal(problems)
		}
	})
}

func (b *bed) carryOut(plan []step) (problems []string) {
	var taken []protocol.Session
	answers := make(chan *said, len(plan))
	for i, step := range plan {
		o := offer(fmt.Sprint(i), step.script...)
		o.Service.CPUs, o.Service.Memory = step.cpus, step.memory
		o.Forced, o.Bound = step.forced, step.bound
		if s, err := b.node.Offer(b.t.Context(), o); err == nil {
			taken = append(taken, s)
			go func() { answers <- listen(s) }()
		}
		if step.stop >= 0 && step.stop < len(taken) {
			taken[len(taken)-1-step.stop].Stop(time.Second)
		}
		if step.restart {
			b.engine.Restart()
		}
		if step.down > 0 {
			b.engine.SetDown(true)
			time.Sleep(step.down)
			b.engine.SetDown(false)
		}
		time.Sleep(step.pause)
		problems = append(problems, b.overCapacity()...)
	}
	for range taken {
		if a := <-answers; a.err != nil || !a.end().State.Ended() {
			problems = append(problems, fmt.Sprintf("no end: %+v, %v", a.end(), a.err))
		}
	}
	return problems
}

// overCapacity asks the engine, not the node.
func (b *bed) overCapacity() (problems []string) {
	found, err := b.cfg.Driver.Recover(b.t.Context())
	if err != nil {
		return []string{err.Error()}
	}
	var cpus protocol.Cores
	var memory protocol.Bytes
	for _, r := range found {
		if r.Running {
			cpus += r.CPUs
			memory += r.Memory
		}
	}
	if cpus > b.cfg.CPUs+1e-9 || memory > b.cfg.Memory {
		problems = append(problems, fmt.Sprintf("%v cores and %d bytes are in use", cpus, memory))
	}
	return problems
}
