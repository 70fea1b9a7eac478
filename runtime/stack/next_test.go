package stack

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/hearth-edge/hearth/protocol"
)

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

func running(hash string) *instance {
	return &instance{Container: Container{ID: "id-" + hash, Hash: hash, State: Running, Started: noon}}
}

func exited(hash string, code int, done bool) *instance {
	return &instance{Container: Container{ID: "id-" + hash, Hash: hash, State: Exited, ExitCode: code}, done: done}
}

func depends(name string, c protocol.Condition, change ...func(*protocol.Dependency)) protocol.Dependency {
	d := protocol.Dependency{Service: name, Condition: c}
	for _, f := range change {
		f(&d)
	}
	return d
}

func TestNext(t *testing.T) {
	a := service{name: "a", hash: "a", restart: protocol.RestartAlways}
	on := func(c protocol.Condition, change ...func(*protocol.Dependency)) service {
		return service{name: "b", hash: "b", deps: []protocol.Dependency{depends("a", c, change...)}}
	}
	optional := func(d *protocol.Dependency) { d.Optional = true }
	sick := running("a")
	sick.unhealthy, sick.HealthInterval = noon.Add(-20*time.Second), 10*time.Second
	created := &instance{Container: Container{ID: "id-b", Hash: "b", State: Created}}
	paused := exited("a", 1, false)
	paused.notBefore = noon.Add(4 * time.Second)
	stuck := running("old")
	stuck.stuckUntil = noon.Add(4 * time.Second)
	joined := service{name: "b", hash: "b", joins: "a"}
	inside := running("b")
	inside.Joined, inside.Started = "id-a", noon.Add(-time.Second)
	for name, c := range map[string]struct {
		desired desired
		seen    map[string]*instance
		want    []string // "step service cause"
		again   time.Duration
	}{
		"all is made at once":                  {desired{services: []service{a, on("healthy")}}, nil, []string{"2 a 0", "2 b 0"}, 0},
		"an image is fetched first":            {desired{services: []service{a}}, map[string]*instance{"a": {absent: true}}, []string{"1 a 0"}, 0},
		"what waits is not started":            {desired{services: []service{a, on("started")}}, map[string]*instance{"a": exited("a", 0, false), "b": created}, []string{"3 a 0"}, 0},
		"what has its dependency starts":       {desired{services: []service{a, on("started")}}, map[string]*instance{"a": running("a"), "b": created}, []string{"3 b 0"}, 0},
		"running is not healthy":               {desired{services: []service{a, on("healthy")}}, map[string]*instance{"a": running("a"), "b": created}, nil, 0},
		"completed":                            {desired{services: []service{a, on("completed")}}, map[string]*instance{"a": exited("a", 0, true), "b": created}, []string{"3 b 0"}, 0},
		"failed for good":                      {desired{services: []service{a, on("completed")}}, map[string]*instance{"a": exited("a", 1, true), "b": created}, nil, 0},
		"an optional one that failed":          {desired{services: []service{a, on("completed", optional)}}, map[string]*instance{"a": exited("a", 1, true), "b": created}, []string{"3 b 0"}, 0},
		"back-off":                             {desired{services: []service{a}}, map[string]*instance{"a": paused}, nil, 4 * time.Second},
		"another version":                      {desired{services: []service{a}}, map[string]*instance{"a": running("old")}, []string{"4 a 1"}, 0},
		"another version, stopped":             {desired{services: []service{a}}, map[string]*instance{"a": exited("old", 0, true)}, []string{"5 a 1"}, 0},
		"a service less":                       {desired{services: []service{a}}, map[string]*instance{"a": running("a"), "x": running("x")}, []string{"4 x 0"}, 0},
		"unhealthy, not for long enough":       {desired{services: []service{a}}, map[string]*instance{"a": sick}, nil, 10 * time.Second},
		"dependents go first":                  {desired{services: []service{a, on("started")}, stopped: true}, map[string]*instance{"a": running("a"), "b": running("b")}, []string{"4 b 0"}, 0},
		"then the others":                      {desired{services: []service{a, on("started")}, stopped: true}, map[string]*instance{"a": running("a"), "b": exited("b", 0, false)}, []string{"4 a 0"}, 0},
		"one is stopped, its dependent is not": {desired{services: []service{{name: "a", hash: "a", stopped: true}, on("started")}}, map[string]*instance{"a": running("a"), "b": running("b")}, []string{"4 a 0"}, 0},
		"forbidden":                            {desired{services: []service{{name: "a", hash: "a", forbidden: true}}}, map[string]*instance{"a": running("a")}, []string{"4 a 0"}, 0},
		"blocked, and left alone":              {desired{services: []service{{name: "a", hash: "other", blocked: "no device"}}}, map[string]*instance{"a": running("a")}, nil, 0},
		"its network began anew":               {desired{services: []service{a, joined}}, map[string]*instance{"a": running("a"), "b": inside}, []string{"4 b 4"}, 0},
		"removal":                              {desired{services: []service{a, on("started")}, gone: true}, map[string]*instance{"a": running("a"), "b": exited("b", 0, false)}, []string{"4 a 0", "5 b 0"}, 0},
		"removal's end":                        {desired{services: []service{a}, gone: true}, map[string]*instance{"a": {}}, []string{"6  0"}, 0},
		"a stop that failed":                   {desired{services: []service{a}}, map[string]*instance{"a": stuck}, nil, 4 * time.Second},
		"a stop that failed at the end":        {desired{services: []service{a}, gone: true}, map[string]*instance{"a": stuck}, nil, 4 * time.Second},
		"a stop that failed of one less":       {desired{}, map[string]*instance{"x": stuck}, nil, 4 * time.Second},
		"nothing to do":                        {desired{services: []service{a}}, map[string]*instance{"a": running("a")}, nil, 0},
	} {
		due, again := next(&c.desired, c.seen, noon)
		var got []string
		for _, d := range due {
			got = append(got, fmt.Sprintf("%d %s %d", d.step, d.service, d.cause))
		}
		slices.Sort(got)
		slices.Sort(c.want)
		want := time.Time{}
		if c.again > 0 {
			want = noon.Add(c.again)
		}
		if !slices.Equal(got, c.want) || !again.Equal(want) {
			t.Errorf("%s: due %q, again %v; want %q, %v", name, got, again, c.want, want)
		}
	}
}

func TestBackoffGrowsToAMinute(t *testing.T) {
	want := []time.Duration{0, 0, 1, 2, 4, 8, 16, 32, 60, 60}
	for failures, seconds := range want {
		if got := backoff(failures); got != seconds*time.Second {
			t.Errorf("after %d failures: %v", failures, got)
		}
	}
	if got := backoff(1 << 30); got != time.Minute {
		t.Errorf("%v", got)
	}
}

// model is an engine that does each step at once.
type model struct {
	seen map[string]*instance
	made int
}

func (m *model) do(d *desired, a action, now time.Time) {
	i := m.seen[a.service]
	if i == nil {
		i = &instance{}
		m.seen[a.service] = i
	}
	s := (&decision{desired: d}).service(a.service)
	restart := protocol.RestartNo
	if s != nil {
		restart = s.restart
	}
	c := i.Container
	switch a.step {
	case stepPull:
		i.absent, i.fetch = false, false
		return
	case stepCreate:
		m.made++
		c = Container{ID: fmt.Sprint(m.made), Hash: s.hash, State: Created}
		if s.joins != "" {
			c.Joined = m.seen[s.joins].ID
		}
	case stepStart:
		c.State, c.Started = Running, now
	case stepStop:
		i.signalled, i.again = true, a.cause != unwanted
		c.State, c.Finished = Exited, now
	case stepRemove:
		i.removed()
		return
	default:
		return
	}
	i.saw(c, restart, now)
	if a.step == stepStop {
		i.again = false
	}
}

// TestNextSettles: from any state of what is there, the stack comes to what is
// desired in a bounded number of steps, and then nothing is due; no two steps of one
// service are due at once, and no step makes no sense in its state.
func TestNextSettles(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		count := rapid.IntRange(1, 5).Draw(t, "services")
		d := &desired{stopped: rapid.Bool().Draw(t, "stopped"), gone: rapid.IntRange(0, 4).Draw(t, "gone") == 0}
		m := &model{seen: make(map[string]*instance)}
		for n := range count {
			s := service{
				name: fmt.Sprint("s", n), hash: fmt.Sprint("h", rapid.IntRange(0, 1).Draw(t, "hash")),
				restart: rapid.SampledFrom([]protocol.RestartPolicy{protocol.RestartAlways, protocol.RestartOnFailure, protocol.RestartNo}).Draw(t, "restart"),
				stopped: rapid.IntRange(0, 5).Draw(t, "stopped") == 0,
			}
			for other := range n { // no circles
				if rapid.IntRange(0, 3).Draw(t, "depends") == 0 {
					s.deps = append(s.deps, depends(fmt.Sprint("s", other), protocol.ConditionStarted))
				}
			}
			if n > 0 && rapid.IntRange(0, 5).Draw(t, "joins") == 0 {
				s.joins = "s0"
			}
			d.services = append(d.services, s)
		}
		for n := range rapid.IntRange(0, 7).Draw(t, "containers") {
			state := rapid.SampledFrom([]ContainerState{Absent, Created, Running, Exited}).Draw(t, "state")
			i := &instance{Container: Container{State: state}, absent: rapid.Bool().Draw(t, "absent"), fetch: rapid.IntRange(0, 3).Draw(t, "fetch") == 0, again: state == Running && rapid.Bool().Draw(t, "again")}
			if state != Absent {
				i.ID, i.Hash = fmt.Sprint("old", n), fmt.Sprint("h", rapid.IntRange(0, 1).Draw(t, "hash"))
			}
			if state == Running {
				i.Started = noon
			}
			m.seen[fmt.Sprint("s", n)] = i
		}
		now := noon.Add(time.Second)
		for round := 0; ; round++ {
			due, again := next(d, m.seen, now)
			if len(due) == 1 && due[0].step == stepCleanUp {
				return
			}
			if len(due) == 0 && again.IsZero() {
				break
			}
			if round > 20*(count+8) {
				t.Fatalf("it does not settle: due %v", due)
			}
			did := make(map[string]bool)
			for _, a := range due {
				if did[a.service] {
					t.Fatalf("two steps for %s at once", a.service)
				}
				did[a.service] = true
				checkStep(t, m, a)
			}
			if len(due) > 0 { // they are done in any order
				m.do(d, rapid.SampledFrom(due).Draw(t, "first done"), now)
			}
			now = now.Add(time.Second)
		}
		checkSettled(t, d, m)
	})
}

func checkStep(t *rapid.T, m *model, a action) {
	i := m.seen[a.service]
	state := Absent
	if i != nil {
		state = i.State
	}
	ok := map[step]bool{
		stepPull: i != nil && (i.absent || i.fetch), stepCreate: state == Absent, stepStart: state == Created || state == Exited,
		stepStop: state == Running, stepRemove: state == Created || state == Exited,
	}[a.step]
	if !ok {
		t.Fatalf("step %d for %s, which is in state %d", a.step, a.service, state)
	}
}

func checkSettled(t *rapid.T, d *desired, m *model) {
	if d.gone {
		t.Fatal("a stack that is to be gone has settled without its end")
	}
	n := decision{desired: d, seen: m.seen, now: noon}
	for i := range d.services {
		s := &d.services[i]
		in := n.instance(s.name)
		switch {
		case n.wantsDown(s):
			if in.State == Running {
				t.Fatalf("%s runs and should not", s.name)
			}
		case in.State != Running && !in.done && n.waitsFor(s) == "":
			t.Fatalf("%s should run: %+v", s.name, in)
		case in.State == Running && n.isStale(s, in):
			t.Fatalf("%s is of an old version", s.name)
		}
	}
	for name, in := range m.seen {
		if n.service(name) == nil && in.State != Absent {
			t.Fatalf("%s is left over", name)
		}
	}
}
