package stack_test

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime/stack"
)

func TestStopAndStart(t *testing.T) {
	inBubble(t, func(b *bed) {
		r := record("s", 1, svc("web", 1, needs("db", protocol.ConditionStarted)), svc("db", 2, script("ignore-term", "sleep=1000h")))
		b.apply(r)
		b.must(b.keeper.Stop(b.Context(), "s", []string{"web"}))
		b.is("s", "web", protocol.InstanceStopped)
		b.is("s", "db", protocol.InstanceRunning)
		b.restart(r)
		b.is("s", "web", protocol.InstanceStopped)
		b.must(b.keeper.Start(b.Context(), "s", []string{"web"}))
		b.is("s", "web", protocol.InstanceRunning)
		b.must(b.keeper.Restart(b.Context(), "s", []string{"web"}))
		if i := b.is("s", "web", protocol.InstanceRunning); i.Restarts == 0 {
			t.Errorf("%+v", i)
		}
		stopped := r
		stopped.Version, stopped.Stopped = 2, true
		b.apply(stopped)
		// Dependents go first, and who does not listen is killed after 10 s.
		b.is("s", "web", protocol.InstanceStopped)
		b.after(9 * time.Second)
		if c := b.containers(); c[1].State != stack.Running && c[0].State != stack.Running {
			t.Error("db was killed before its time")
		}
		b.after(2 * time.Second)
		b.is("s", "db", protocol.InstanceStopped)
		if s := b.status("s"); s.State != protocol.StackStopped || b.reserved != 0 {
			t.Errorf("%+v, %s reserved", s, b.reserved)
		}
	})
}

// TestWholeStackStopsAndStarts: by the verb, without another version, also before the
// engine answers.
func TestWholeStackStopsAndStarts(t *testing.T) {
	inBubble(t, func(b *bed) {
		r := record("s", 1, svc("a", 1), svc("b", 2))
		b.apply(r)
		b.must(b.keeper.Stop(b.Context(), "s", nil))
		if s := b.status("s"); s.State != protocol.StackStopped || b.reserved != 0 {
			t.Errorf("%+v, %s reserved", s, b.reserved)
		}
		r.Stopped = true
		b.engine.SetDown(true)
		b.stop()
		b.run(r)
		b.must(b.keeper.Stop(b.Context(), "s", nil))
		b.engine.SetDown(false)
		b.after(10 * time.Second)
		b.is("s", "a", protocol.InstanceStopped)
		b.must(b.keeper.Start(b.Context(), "s", []string{"b"}))
		b.is("s", "a", protocol.InstanceStopped)
		b.is("s", "b", protocol.InstanceRunning)
		b.must(b.keeper.Start(b.Context(), "s", nil))
		if s := b.status("s"); s.State != protocol.StackUp || b.reserved != 128<<20 {
			t.Errorf("%+v, %s reserved", s, b.reserved)
		}
		if err := b.keeper.Start(b.Context(), "s", []string{"x"}); protocol.CodeOf(err) != protocol.CodeNotFound {
			t.Error(err)
		}
		if err := b.keeper.Restart(b.Context(), "x", nil); protocol.CodeOf(err) != protocol.CodeNotFound {
			t.Error(err)
		}
	})
}

func TestWatchYieldsEachChange(t *testing.T) {
	inBubble(t, func(b *bed) {
		if err := b.keeper.Watch(b.Context(), "s", nil); protocol.CodeOf(err) != protocol.CodeNotFound {
			t.Errorf("%v", err)
		}
		b.must(b.keeper.Apply(b.Context(), record("s", 1, svc("a", 1))))
		var states []protocol.InstanceState
		err := b.keeper.Watch(b.Context(), "s", func(s protocol.StackStatus) error {
			states = append(states, s.Instances[0].State)
			if s.State == protocol.StackUp {
				return errStop
			}
			return nil
		})
		if !errors.Is(err, errStop) || states[len(states)-1] != protocol.InstanceRunning {
			t.Errorf("%v, %v", states, err)
		}
	})
}

func TestLogsAreMergedAndFollowRestarts(t *testing.T) {
	inBubble(t, func(b *bed) {
		b.apply(record("s", 1, svc("a", 1, script("out=1\n", "sleep=2s", "out=3\n", "sleep=1000h")), svc("b", 2, script("sleep=1s", "out=2\n", "sleep=1000h"))))
		b.after(5 * time.Second)
		if got := b.lines("s", stack.LogQuery{}); !slices.Equal(got, []string{"a: 1", "b: 2", "a: 3"}) {
			t.Errorf("%q", got)
		}
		if got := b.lines("s", stack.LogQuery{Services: []string{"a"}, Tail: 1}); !slices.Equal(got, []string{"a: 3"}) {
			t.Errorf("%q", got)
		}
		got := make(chan string, 10)
		go b.keeper.Logs(b.Context(), "s", stack.LogQuery{Follow: true, Tail: 1}, func(l protocol.LogLine) error {
			got <- l.Text
			return nil
		})
		synctest.Wait()
		b.stacks.Signal("s", "a", "KILL", true)
		b.after(5 * time.Second)
		close(got)
		var texts []string
		for text := range got {
			texts = append(texts, text)
		}
		if !slices.Equal(texts, []string{"2", "3", "1", "3"}) {
			t.Errorf("followed %q", texts)
		}
	})
}

// slowNetworks is an engine that takes a while to make a network.
type slowNetworks struct{ stack.Engine }

func (e slowNetworks) MakeNetwork(ctx context.Context, n stack.Network) error {
	time.Sleep(time.Second)
	return e.Engine.MakeNetwork(ctx, n)
}

// TestRemoveWaitsForWhatIsBeingPrepared: else a network would be left behind.
func TestRemoveWaitsForWhatIsBeingPrepared(t *testing.T) {
	inBubble(t, func(b *bed) {
		b.stop()
		b.cfg.Engine = slowNetworks{b.stacks}
		b.run()
		b.apply(record("s", 1, svc("a", 1)))
		b.after(100 * time.Millisecond)
		b.must(b.keeper.Remove(b.Context(), "s", true))
		b.after(5 * time.Second)
		left, err := b.stacks.Networks(b.Context())
		if err != nil || len(left) != 0 || len(b.containers()) != 0 {
			t.Errorf("left behind: %+v, %v", left, err)
		}
	})
}

// TestStartedAgainIsNotCompleted: what completed once and was started by hand comes
// back after a restart of the device, like any other that was ended.
func TestStartedAgainIsNotCompleted(t *testing.T) {
	for name, start := range map[string]func(b *bed) error{
		"with hearth":     func(b *bed) error { return b.keeper.Start(b.Context(), "s", []string{"a"}) },
		"with the engine": func(b *bed) error { return b.stacks.Start(b.Context(), b.containers()[0].ID, nil) },
		"killed when its end was known": func(b *bed) error {
			b.stacks.Signal("s", "a", "TERM", false)
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(b *bed) {
				r := record("s", 1, svc("a", 1, script("sleep=1s", "exit=0"), policy(protocol.RestartOnFailure)))
				b.apply(r)
				b.after(2 * time.Second)
				b.is("s", "a", protocol.InstanceCompleted)
				b.restart(r)
				b.is("s", "a", protocol.InstanceCompleted)
				b.must(start(b))
				b.is("s", "a", protocol.InstanceRunning)
				b.stop()
				b.stacks.Signal("s", "a", "KILL", false)
				synctest.Wait()
				b.run(r)
				synctest.Wait()
				b.is("s", "a", protocol.InstanceRunning)
			})
		})
	}
}

// stuckEngine is one whose containers cannot be stopped, nor started again.
type stuckEngine struct {
	stack.Engine
	stops      atomic.Int32
	startError error
}

func (e *stuckEngine) Stop(context.Context, string, string, time.Duration) error {
	e.stops.Add(1)
	return errors.New("permission denied")
}

func (e *stuckEngine) Start(ctx context.Context, id string, spec *stack.Spec) error {
	if e.startError != nil {
		return e.startError
	}
	return e.Engine.Start(ctx, id, spec)
}

// TestStopThatFailsIsRepeatedWithBackoff: a daemon under AppArmor or a broken runtime
// fails at once, each time.
func TestStopThatFailsIsRepeatedWithBackoff(t *testing.T) {
	inBubble(t, func(b *bed) {
		b.stop()
		e := &stuckEngine{Engine: b.stacks}
		b.cfg.Engine = e
		b.run()
		b.apply(record("s", 1, svc("a", 1)))
		b.must(b.keeper.Stop(b.Context(), "s", []string{"a"}))
		b.after(time.Minute)
		if n := e.stops.Load(); n < 3 || n > 7 {
			t.Errorf("%d tries to stop it", n)
		}
	})
}

// TestPortErrorKeepsTheContainer: engines name their networking in errors about
// ports, too, and only a network that is gone needs another container.
func TestPortErrorKeepsTheContainer(t *testing.T) {
	for text, same := range map[string]bool{
		"failed to set up container networking: driver failed programming external connectivity on endpoint a: Bind for 0.0.0.0:80 failed: port is already allocated": true,
		"network 7b1c not found": false,
	} {
		inBubble(t, func(b *bed) {
			b.stop()
			b.cfg.Engine = &stuckEngine{Engine: b.stacks, startError: protocol.Errorf(protocol.CodeStartFailed, "the container could not be started: %s", text)}
			b.run()
			b.apply(record("s", 1, svc("a", 1)))
			b.after(20 * time.Second)
			first := func(c stack.Container) bool { return c.ID == "stack-00000001" }
			if all := b.containers(); slices.ContainsFunc(all, first) != same {
				t.Errorf("%s: there are %+v", text, all)
			}
		})
	}
}
