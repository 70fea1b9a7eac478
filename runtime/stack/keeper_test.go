package stack_test

import (
	"context"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime"
	"github.com/hearth-edge/hearth/runtime/fake"
	"github.com/hearth-edge/hearth/runtime/stack"
)

func TestStackOfTwoServicesRunsInOrder(t *testing.T) {
	inBubble(t, func(b *bed) {
		b.apply(record("shop", 1, svc("web", 1, needs("db", protocol.ConditionHealthy)), svc("db", 2, checked("true", 5*time.Second))))
		b.is("shop", "db", protocol.InstanceStarting)
		if i := b.is("shop", "web", protocol.InstanceWaiting); i.Reason != "waits for db to be healthy" {
			t.Errorf("reason %q", i.Reason)
		}
		if s := b.status("shop"); s.State != protocol.StackStarting || s.Holder != self {
			t.Errorf("%+v", s)
		}
		b.after(5 * time.Second)
		b.is("shop", "db", protocol.InstanceRunning)
		b.is("shop", "web", protocol.InstanceRunning)
		if s := b.status("shop"); s.State != protocol.StackUp || s.Reason != "" {
			t.Errorf("%+v", s)
		}
		if b.reserved != 128<<20 {
			t.Errorf("%s are reserved", b.reserved)
		}
	})
}

func TestKilledInstanceIsStartedAtOnceThenWithBackoff(t *testing.T) {
	inBubble(t, func(b *bed) {
		b.apply(record("s", 1, svc("a", 1)))
		first := b.instance("s", "a").Container
		b.stacks.Signal("s", "a", "KILL", true)
		synctest.Wait()
		if i := b.is("s", "a", protocol.InstanceRunning); i.Restarts != 1 || i.Container != first {
			t.Errorf("%+v", i)
		}
		for _, pause := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60} {
			b.stacks.Signal("s", "a", "KILL", true)
			b.after(pause*time.Second - time.Millisecond)
			if i := b.is("s", "a", protocol.InstanceBackoff); !strings.Contains(i.Reason, "exit code 137") || i.LastOutput != strings.TrimSuffix(strings.Repeat("a began\n", int(i.Restarts)+1), "\n") && i.Restarts < 9 {
				t.Errorf("%+v", i)
			}
			b.after(time.Millisecond)
			b.is("s", "a", protocol.InstanceRunning)
		}
		b.after(10 * time.Minute)
		b.stacks.Signal("s", "a", "KILL", true)
		synctest.Wait()
		b.is("s", "a", protocol.InstanceRunning)
	})
}

// TestEndByAnotherHandIsNoFailure: what the engine was told to end is started again
// at once, each time, also where it ended in success.
func TestEndByAnotherHandIsNoFailure(t *testing.T) {
	inBubble(t, func(b *bed) {
		b.apply(record("s", 1, svc("a", 1, policy(protocol.RestartOnFailure))))
		for range 5 {
			b.stacks.Signal("s", "a", "TERM", false)
			synctest.Wait()
			b.is("s", "a", protocol.InstanceRunning)
		}
	})
}

func TestRestartPolicies(t *testing.T) {
	inBubble(t, func(b *bed) {
		b.apply(record("s", 1,
			svc("job", 1, script("exit=0"), policy(protocol.RestartOnFailure)),
			svc("once", 2, script("exit=3"), policy(protocol.RestartNo)),
			svc("failing", 3, script("err=why\n", "sleep=10ms", "exit=1"), policy(protocol.RestartOnFailure)),
			svc("always", 4, script("sleep=1s", "exit=0")),
			svc("after", 5, needs("job", protocol.ConditionCompleted)),
			svc("never", 6, needs("once", protocol.ConditionCompleted)),
			svc("anyway", 7, func(s *protocol.StackService) {
				s.DependsOn = []protocol.Dependency{{Service: "once", Condition: protocol.ConditionCompleted, Optional: true}}
			}),
		))
		b.after(100 * time.Millisecond) // two ends at the same time would be one
		b.is("s", "job", protocol.InstanceCompleted)
		if i := b.is("s", "once", protocol.InstanceFailed); i.ExitCode != 3 || !i.Exited {
			t.Errorf("%+v", i)
		}
		if i := b.is("s", "failing", protocol.InstanceBackoff); i.LastOutput != "why\nwhy" {
			t.Errorf("%+v", i)
		}
		b.is("s", "after", protocol.InstanceRunning)
		b.is("s", "anyway", protocol.InstanceRunning)
		if i := b.is("s", "never", protocol.InstanceWaiting); i.Reason != "waits for once, which failed with exit code 3" {
			t.Errorf("%+v", i)
		}
		b.after(1500 * time.Millisecond)
		b.is("s", "always", protocol.InstanceRunning)
		if s := b.status("s"); s.State != protocol.StackDegraded {
			t.Errorf("%+v", s)
		}
		// Started by hand, what has ended for good runs once more.
		b.must(b.keeper.Start(b.Context(), "s", []string{"once"}))
		if i := b.is("s", "once", protocol.InstanceFailed); i.Restarts != 1 {
			t.Errorf("%+v", i)
		}
	})
}

func TestUnhealthyInstanceIsRestartedAfterThreeRounds(t *testing.T) {
	inBubble(t, func(b *bed) {
		b.apply(record("s", 1, svc("a", 1, checked("false", 10*time.Second))))
		b.after(30 * time.Second)
		b.is("s", "a", protocol.InstanceUnhealthy)
		b.after(29 * time.Second)
		if i := b.is("s", "a", protocol.InstanceUnhealthy); i.Restarts != 0 {
			t.Errorf("%+v", i)
		}
		b.after(2 * time.Second)
		if i := b.is("s", "a", protocol.InstanceStarting); i.Restarts != 1 {
			t.Errorf("%+v", i)
		}
	})
}

func TestOnlyWhatChangedIsTouched(t *testing.T) {
	inBubble(t, func(b *bed) {
		web := svc("web", 1, func(s *protocol.StackService) {
			s.DependsOn = []protocol.Dependency{{Service: "db", Condition: protocol.ConditionStarted, Restart: true}}
		})
		b.apply(record("s", 1, web, svc("db", 2), svc("old", 3), svc("cache", 4)))
		before := b.status("s").Instances
		db := svc("db", 2, func(s *protocol.StackService) { s.Env = []string{"X=1"} })
		b.apply(record("s", 2, web, db, svc("cache", 4)))
		after := b.status("s").Instances
		if before[1].Container == after[1].Container || before[0].Container != after[0].Container || before[3].Container != after[2].Container {
			t.Errorf("before %+v\nafter %+v", before, after)
		}
		if !after[0].Since.Equal(before[0].Since) && after[0].State != protocol.InstanceRunning {
			t.Errorf("%+v", after[0])
		}
		if got := b.lines("s", stack.LogQuery{Services: []string{"web"}}); len(got) != 2 {
			t.Errorf("web was not restarted after its database: %q", got)
		}
		if got := b.lines("s", stack.LogQuery{Services: []string{"cache"}}); len(got) != 1 {
			t.Errorf("the cache was restarted: %q", got)
		}
		if n := len(b.containers()); n != 3 {
			t.Errorf("%d containers", n)
		}
	})
}

// TestMissingImageTouchesNothing: the old version runs until all images are there.
func TestMissingImageTouchesNothing(t *testing.T) {
	inBubble(t, func(b *bed) {
		b.apply(record("s", 1, svc("a", 1), svc("b", 2)))
		changed := func(image string) []protocol.StackService {
			return []protocol.StackService{
				svc("a", 1, func(s *protocol.StackService) { s.Image = image }),
				svc("b", 2, func(s *protocol.StackService) { s.Env = []string{"V=2"} }),
			}
		}
		b.apply(record("s", 2, changed("broken")...))
		b.after(3 * time.Second)
		for _, c := range b.containers() {
			if c.State != stack.Running {
				t.Errorf("%s was touched", c.Service)
			}
		}
		if i := b.instance("s", "a"); i.State != protocol.InstanceRunning {
			t.Errorf("%+v", i)
		}
		if s := b.status("s"); s.State != protocol.StackStarting || !strings.HasPrefix(s.Reason, "a runs on as it was: ") {
			t.Errorf("a version that does not run is %s (%s)", s.State, s.Reason)
		}
		b.apply(record("s", 3, changed("absent")...))
		b.after(5 * time.Second)
		for _, c := range b.containers() {
			if c.State != stack.Running {
				t.Errorf("%s was touched before the image was there", c.Service)
			}
		}
		b.after(6 * time.Second)
		b.is("s", "a", protocol.InstanceRunning)
		if i := b.instance("s", "a"); i.Image != "absent" || i.Container == "stack-00000001" || b.status("s").State != protocol.StackUp {
			t.Errorf("%+v, %s", i, b.status("s").State)
		}
	})
}

// TestAdoption: what runs is taken up over restarts of the process, of the engine
// and of both; what completed does not run again.
func TestAdoption(t *testing.T) {
	inBubble(t, func(b *bed) {
		r := record("s", 1, svc("a", 1), svc("job", 2, script("out=x\n", "exit=0"), policy(protocol.RestartOnFailure)),
			svc("b", 3, policy(protocol.RestartOnFailure), needs("job", protocol.ConditionCompleted)))
		b.apply(r)
		before := b.containers()
		b.restart(r)
		b.is("s", "a", protocol.InstanceRunning)
		b.is("s", "job", protocol.InstanceCompleted)
		b.engine.Restart()
		b.after(10 * time.Second)
		b.is("s", "a", protocol.InstanceRunning)
		b.is("s", "b", protocol.InstanceRunning)
		b.stop()
		b.engine.Restart()
		time.Sleep(time.Minute)
		b.restart(r)
		b.after(10 * time.Second)
		b.is("s", "a", protocol.InstanceRunning)
		b.is("s", "b", protocol.InstanceRunning)
		if got := b.lines("s", stack.LogQuery{Services: []string{"job"}}); len(got) != 1 {
			t.Errorf("the job ran %d times", len(got))
		}
		for i, c := range b.containers() {
			if c.ID != before[i].ID {
				t.Errorf("%s has another container", c.Service)
			}
		}
	})
}

func TestEngineDownIsTold(t *testing.T) {
	inBubble(t, func(b *bed) {
		b.apply(record("s", 1, svc("a", 1)))
		b.engine.SetDown(true)
		synctest.Wait()
		if s := b.status("s"); s.State != protocol.StackDegraded || !strings.Contains(s.Reason, "does not answer") {
			t.Errorf("%+v", s)
		}
		b.stacks.Signal("s", "a", "KILL", true)
		b.apply(record("t", 1, svc("x", 1)))
		b.after(time.Minute)
		b.engine.SetDown(false)
		b.after(6 * time.Second)
		b.is("s", "a", protocol.InstanceRunning)
		b.is("t", "x", protocol.InstanceRunning)
	})
}

func TestRemove(t *testing.T) {
	inBubble(t, func(b *bed) {
		data := func(s *protocol.StackService) {
			s.Mounts = []protocol.StackMount{{Kind: protocol.MountVolume, Source: "data", Target: "/data"}}
		}
		r := record("s", 1, svc("web", 1, needs("db", protocol.ConditionStarted)), svc("db", 2, data))
		r.Stack.Volumes = []protocol.StackVolume{{Name: "data"}}
		b.apply(r)
		b.must(b.keeper.Remove(b.Context(), "s", false))
		networks, _ := b.stacks.Networks(b.Context())
		if len(b.containers()) != 0 || len(networks) != 0 || len(b.keeper.Status()) != 0 || b.reserved != 0 {
			t.Errorf("left: %v, %v, %v", b.containers(), networks, b.keeper.Status())
		}
		if _, err := b.stacks.Volume(b.Context(), "hearth_s_data"); err != nil {
			t.Errorf("the data is gone: %v", err)
		}
		// Its volume was lost meanwhile: no empty one takes its place.
		b.must(b.stacks.RemoveVolume(b.Context(), "hearth_s_data"))
		b.apply(r)
		if i := b.is("s", "db", protocol.InstanceWaiting); !strings.Contains(i.Reason, "hearth_s_data is missing") {
			t.Errorf("%+v", i)
		}
		b.must(b.keeper.Remove(b.Context(), "s", true))
		b.apply(r)
		b.is("s", "db", protocol.InstanceRunning)
		b.must(b.keeper.Remove(b.Context(), "s", true))
		if _, err := b.stacks.Volume(b.Context(), "hearth_s_data"); err == nil {
			t.Error("the data is still there")
		}
		b.must(b.keeper.Remove(b.Context(), "s", true))
	})
}

// TestImagesOwnVolumesOutliveTheContainer: what an image declares to hold data is the
// stack's, too.
func TestImagesOwnVolumesOutliveTheContainer(t *testing.T) {
	inBubble(t, func(b *bed) {
		db := func(env string) protocol.StackService {
			return svc("db", 1, func(s *protocol.StackService) {
				s.Image, s.Env = "db", []string{env}
				s.Mounts = []protocol.StackMount{{Kind: protocol.MountTmpfs, Target: "/log"}}
			})
		}
		b.apply(record("s", 1, db("X=1")))
		b.apply(record("s", 2, db("X=2")))
		b.is("s", "db", protocol.InstanceRunning)
		const name = "hearth_s_db.var-lib-db"
		if !b.keeper.HasData("s") || b.keeper.HasData("other") {
			t.Error("it is not known who has data")
		}
		if _, err := b.stacks.Volume(b.Context(), name); err != nil {
			t.Error(err)
		}
		if _, err := b.stacks.Volume(b.Context(), "hearth_s_db.log"); err == nil {
			t.Error("a path with something else mounted has a volume")
		}
		b.must(b.keeper.Remove(b.Context(), "s", false))
		if !b.keeper.HasData("s") {
			t.Error("its data is forgotten")
		}
		b.must(b.stacks.RemoveVolume(b.Context(), name))
		b.apply(record("s", 3, db("X=3")))
		if i := b.instance("s", "db"); !strings.Contains(i.Reason, "is missing") {
			t.Errorf("%+v", i)
		}
		b.must(b.keeper.Remove(b.Context(), "s", true))
		if b.keeper.HasData("s") {
			t.Error("its data is still known")
		}
	})
}

// TestRemoveEndsPulls: nobody waits for an image that nobody needs any more.
func TestRemoveEndsPulls(t *testing.T) {
	inBubble(t, func(b *bed) {
		absent := func(s *protocol.StackService) { s.Image = "absent" }
		b.apply(record("s", 1, svc("a", 1, absent), svc("b", 2)))
		b.after(time.Second)
		if i := b.is("s", "a", protocol.InstancePulling); !strings.Contains(i.Reason, "%") {
			t.Errorf("%+v", i)
		}
		began := time.Now()
		b.must(b.keeper.Remove(b.Context(), "s", false))
		if took := time.Since(began); took > time.Second {
			t.Errorf("it took %v", took)
		}
		b.apply(record("s", 1, svc("a", 1, absent)))
		b.after(10 * time.Second)
		b.is("s", "a", protocol.InstanceRunning)
	})
}

// TestPullAlwaysAsksForEachVersion: and only what came as another image is remade.
func TestPullAlwaysAsksForEachVersion(t *testing.T) {
	inBubble(t, func(b *bed) {
		always := func(s *protocol.StackService) { s.Pull = protocol.PullAlways }
		r := record("s", 1, svc("a", 1, always), svc("b", 2, func(s *protocol.StackService) { s.Image = "other" }))
		b.apply(r)
		b.is("s", "a", protocol.InstanceRunning)
		first := b.status("s").Instances
		b.engine.AddImage("app", fake.Image{ID: "sha256:" + protocol.ImageID(strings.Repeat("5", 64))})
		b.engine.AddImage("other", fake.Image{ID: "sha256:" + protocol.ImageID(strings.Repeat("6", 64))})
		b.restart(r) // the same version: nothing is asked
		if now := b.status("s").Instances; now[0].Container != first[0].Container || now[1].Container != first[1].Container {
			t.Errorf("%+v", now)
		}
		r.Version = 2
		b.apply(r)
		now := b.status("s").Instances
		if now[0].Container == first[0].Container || now[1].Container == first[1].Container || now[0].State != protocol.InstanceRunning || now[1].State != protocol.InstanceRunning {
			t.Errorf("%+v", now)
		}
		r.Version = 3
		b.apply(r)
		if same := b.status("s").Instances; same[0].Container != now[0].Container || same[1].Container != now[1].Container {
			t.Errorf("%+v", same)
		}
	})
}

func TestUnusedNetworkIsRemoved(t *testing.T) {
	inBubble(t, func(b *bed) {
		on := func(network string) func(*protocol.StackService) {
			return func(s *protocol.StackService) { s.Networks = []protocol.NetworkAttachment{{Network: network}} }
		}
		names := func() (names []string) {
			all, err := b.stacks.Networks(b.Context())
			b.must(err)
			for _, n := range all {
				names = append(names, n.Name)
			}
			return names
		}
		r := record("s", 1, svc("a", 1, on("back")), svc("b", 2))
		r.Stack.Networks = []protocol.StackNetwork{{Name: "back"}}
		b.apply(r)
		if got := names(); !slices.Equal(got, []string{"hearth_s_back", "hearth_s_default"}) {
			t.Errorf("%q", got)
		}
		b.apply(record("s", 2, svc("a", 1), svc("b", 2)))
		if got := names(); !slices.Equal(got, []string{"hearth_s_default"}) {
			t.Errorf("%q", got)
		}
		b.is("s", "a", protocol.InstanceRunning)
	})
}

// TestPrunedNetworkIsMadeAgain: with the same addresses, and in no busy loop.
func TestPrunedNetworkIsMadeAgain(t *testing.T) {
	inBubble(t, func(b *bed) {
		b.apply(record("s", 1, svc("a", 1)))
		before := b.containers()[0]
		b.must(b.stacks.RemoveNetwork(b.Context(), "hearth_s_default"))
		b.must(b.stacks.Remove(b.Context(), before.ID))
		b.after(5 * time.Second)
		b.is("s", "a", protocol.InstanceRunning)
		if now := b.containers()[0]; now.Hash != before.Hash || !slices.Equal(now.Hosts, before.Hosts) {
			t.Errorf("%+v, before %+v", now, before)
		}
	})
}

// TestNewVersionIsNotRemoved: a removal that could not be written down is given up by
// the next version.
func TestNewVersionIsNotRemoved(t *testing.T) {
	inBubble(t, func(b *bed) {
		b.apply(record("s", 1, svc("a", 1)))
		b.must(os.Rename(b.cfg.Dir, b.cfg.Dir+".away"))
		if err := b.keeper.Remove(b.Context(), "s", true); err == nil {
			t.Error("a removal was begun that is not on the disk")
		}
		b.must(os.Rename(b.cfg.Dir+".away", b.cfg.Dir))
		r := record("s", 2, svc("a", 1))
		b.apply(r)
		b.restart(r)
		b.after(time.Minute)
		b.is("s", "a", protocol.InstanceRunning)
	})
}

// TestFilesAreLookedAtWithoutTheLock: a disk that does not answer, as one of a server
// that is away, stops no other stack.
func TestFilesAreLookedAtWithoutTheLock(t *testing.T) {
	inBubble(t, func(b *bed) {
		b.stop()
		here := b.cfg.Here
		var locked, looked atomic.Bool
		b.cfg.Policy.WritableMounts = []string{"/srv"}
		b.cfg.Here = func() runtime.Here {
			h := here()
			h.Look = func(path string) (runtime.File, error) {
				looked.Store(true)
				if b.keeper.Locked() {
					locked.Store(true)
				}
				return runtime.LookFile(path)
			}
			return h
		}
		b.run()
		b.apply(record("s", 1, svc("a", 1, func(s *protocol.StackService) {
			s.Mounts = []protocol.StackMount{{Kind: protocol.MountBind, Source: "/srv", Target: "/srv"}}
		})))
		if !looked.Load() || locked.Load() {
			t.Errorf("looked %v, locked %v", looked.Load(), locked.Load())
		}
	})
}

// silentLogs is an engine that has no end of a log.
type silentLogs struct{ stack.Engine }

func (silentLogs) Logs(ctx context.Context, _ string, _ stack.LogOptions, _ func(protocol.LogLine) error) error {
	<-ctx.Done()
	return ctx.Err()
}

// TestLogWithoutAnEndHoldsUpNoNews: the last words of an instance are read where its
// end is taken in.
func TestLogWithoutAnEndHoldsUpNoNews(t *testing.T) {
	inBubble(t, func(b *bed) {
		b.stop()
		b.cfg.Engine = silentLogs{b.stacks}
		b.run()
		b.apply(record("s", 1, svc("a", 1, script("exit=1"), policy(protocol.RestartNo)), svc("b", 2)))
		b.after(time.Second)
		b.stacks.Signal("s", "b", "KILL", true)
		b.after(time.Minute)
		if i := b.is("s", "b", protocol.InstanceRunning); i.Restarts != 1 {
			t.Errorf("%+v", i)
		}
	})
}
