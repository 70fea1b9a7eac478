package stack

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

// stackOf makes a stack of services, each as NAME=IMAGE.
func stackOf(name protocol.StackName, services ...string) protocol.UpStack {
	s := protocol.Stack{Name: name}
	for _, text := range services {
		service, image, _ := strings.Cut(text, "=")
		s.Services = append(s.Services, protocol.StackService{Name: service, Image: image, Restart: protocol.RestartAlways})
	}
	return protocol.UpStack{Record: protocol.StackRecord{Stack: s}}
}

// withData gives a stack a volume.
func withData(u protocol.UpStack) protocol.UpStack {
	u.Record.Stack.Volumes = []protocol.StackVolume{{Name: "data"}}
	u.Record.Stack.Services[0].Mounts = []protocol.StackMount{{Kind: protocol.MountVolume, Source: "data", Target: "/data"}}
	return u
}

// told is what an up tells, in short.
func (d *rig) up(u protocol.UpStack) (told []string, err error) {
	err = d.mesh.UpStack(d.home.t.Context(), u, tell(&told))
	return told, err
}

func tell(told *[]string) func(protocol.StackUpdate) error {
	return func(u protocol.StackUpdate) error {
		switch {
		case u.Plan != nil:
			text := fmt.Sprintf("plan %d→%d on %s:", u.Plan.Current, u.Plan.Version, u.Plan.HolderName)
			for _, c := range u.Plan.Services {
				text += fmt.Sprintf(" %s %s", c.Action, c.Service)
			}
			*told = append(*told, text)
		case u.Accepted > 0:
			*told = append(*told, fmt.Sprintf("accepted %d", u.Accepted))
		case u.Status != nil && (len(*told) == 0 || (*told)[len(*told)-1] != string(u.Status.State)):
			*told = append(*told, string(u.Status.State))
		}
		return nil
	}
}

func (d *rig) mustUp(u protocol.UpStack) []string {
	d.home.t.Helper()
	told, err := d.up(u)
	if err != nil {
		d.home.t.Fatalf("%v, after %q", err, told)
	}
	return told
}

func (d *rig) list(all bool) (list []string) {
	err := d.mesh.ListStacks(d.home.t.Context(), protocol.ListStacks{All: all}, func(ss []protocol.StackStatus) error {
		for _, s := range ss {
			list = append(list, fmt.Sprintf("%s %d %s on %s", s.Name, s.Version, s.State, s.HolderName))
		}
		return nil
	})
	if err != nil {
		d.home.t.Error(err)
	}
	return list
}

func want(t *testing.T, got []string, texts ...string) {
	t.Helper()
	if !slices.Equal(got, texts) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(texts, "\n"))
	}
}

func wantCode(t *testing.T, err error, code protocol.Code, text string) {
	t.Helper()
	if protocol.CodeOf(err) != code || err != nil && !strings.Contains(err.Error(), text) {
		t.Errorf("got %v (%v), want %v with %q", err, protocol.CodeOf(err), code, text)
	}
}

// bubble runs a test of a home in a bubble.
func bubble(t *testing.T, devices int, test func(t *testing.T, h *home)) {
	synctest.Test(t, func(t *testing.T) { test(t, newHome(t, devices)) })
}

func TestLifeOfAStackOnItsOwnDevice(t *testing.T) {
	bubble(t, 1, func(t *testing.T, h *home) {
		d := h.devices[0]
		want(t, d.mustUp(stackOf("web", "db=good", "web=good")), "plan 0→1 on node0: create db create web", "accepted 1", "up")
		want(t, d.list(false), "web 1 up on node0")
		want(t, d.mustUp(stackOf("web", "db=good", "web=good")), "plan 1→1 on node0: keep db keep web")
		want(t, d.mustUp(stackOf("web", "db=good", "web=good:2", "cron=good")), "plan 1→2 on node0: keep db recreate web create cron", "accepted 2", "up")
		want(t, d.mustUp(stackOf("web", "db=good")), "plan 2→3 on node0: remove web remove cron keep db", "accepted 3", "up")
		ctx := t.Context()
		for _, c := range []protocol.ControlStack{
			{Name: "web", Action: protocol.StackRestart, Services: []string{"db"}}, {Name: "web", Action: protocol.StackStop, Services: []string{"db"}}, {Name: "web@node0", Action: protocol.StackStop}, {Name: "web", Action: protocol.StackStart},
		} {
			if err := d.mesh.ControlStack(ctx, c); err != nil {
				t.Errorf("%+v: %v", c, err)
			}
		}
		wantCode(t, d.mesh.ControlStack(ctx, protocol.ControlStack{Name: "web", Action: protocol.StackStop, Services: []string{"nosuch"}}), protocol.CodeNotFound, "no service nosuch")
		wantCode(t, d.mesh.ControlStack(ctx, protocol.ControlStack{Name: "nosuch", Action: protocol.StackStop}), protocol.CodeNotFound, "no stack nosuch")
		var lines []protocol.LogLine
		if err := d.mesh.StackLogs(ctx, protocol.StackLogs{Name: "web"}, func(l protocol.LogLine) error { lines = append(lines, l); return nil }); err != nil || len(lines) != 1 {
			t.Errorf("%v, %v", lines, err)
		}
		if err := d.mesh.ControlStack(ctx, protocol.ControlStack{Name: "web", Action: protocol.StackDown}); err != nil {
			t.Error(err)
		}
		want(t, d.list(true))
		want(t, d.keeper.log(), "apply web 1", "apply web 2", "apply web 3", "restart web [db]", "stop web [db]", "stop web []", "start web []", "remove web false")
	})
}

func TestStackThatIsNotUpGoesBack(t *testing.T) {
	bubble(t, 1, func(t *testing.T, h *home) {
		d := h.devices[0]
		told, err := d.up(stackOf("first", "web=bad"))
		wantCode(t, err, protocol.CodeStackUnhealthy, `web is unhealthy (the check fails), its last line is "no route"; there is no version before`)
		want(t, told, "plan 0→1 on node0: create web", "accepted 1", "degraded")

		d.mustUp(stackOf("web", "db=good", "web=good"))
		start := time.Now()
		u := stackOf("web", "db=good", "web=bad")
		u.Timeout = 30 * time.Second
		_, err = d.up(u)
		wantCode(t, err, protocol.CodeStackUnhealthy, "it was not up within 30s: web is unhealthy (the check fails), its last line is \"no route\"; version 1 is back, as version 3")
		if took := time.Since(start); took != 30*time.Second {
			t.Errorf("it took %v", took)
		}
		synctest.Wait()
		want(t, d.list(false), "first 1 degraded on node0", "web 3 up on node0")
		var notes []string
		_ = d.mesh.StackHistory(t.Context(), "web", func(r protocol.StackRecord) error {
			notes = append(notes, fmt.Sprintf("%d %s %s", r.Version, r.Stack.Services[1].Image, r.Note))
			return nil
		})
		want(t, notes, `3 good back to version 1: it was not up within 30s: web is unhealthy (the check fails), its last line is "no route"`, "2 bad ", "1 good ")

		start = time.Now()
		_, err = d.up(stackOf("web", "db=good", "web=fails"))
		wantCode(t, err, protocol.CodeStackUnhealthy, "web is failed; version 3 is back, as version 5")
		if took := time.Since(start); took > time.Second {
			t.Errorf("what failed for good was waited for: %v", took)
		}
		if _, err := d.up(stackOf("web", "db=good", "web=slow")); err != nil {
			t.Errorf("one that takes a minute: %v", err)
		}
	})
}

func TestRollback(t *testing.T) {
	bubble(t, 2, func(t *testing.T, h *home) {
		d, other := h.devices[0], h.devices[1]
		secret := stackOf("web", "web=good:1")
		secret.Record.Stack.Files = []protocol.StackFile{{Name: "key", Data: []byte("hunter2"), Secret: true}}
		secret.Record.Stack.Normalize()
		d.mustUp(secret)
		d.mustUp(stackOf("web", "web=good:2"))
		var told []string
		if err := other.mesh.RollbackStack(t.Context(), protocol.RollbackStack{Name: "web"}, tell(&told)); err != nil {
			t.Fatal(err)
		}
		want(t, told, "plan 2→3 on node0: recreate web", "accepted 3", "up")
		if f := d.keeper.applied["web"].Stack.Files; len(f) != 1 || string(f[0].Data) != "hunter2" {
			t.Errorf("the version that is back has the files %v", f)
		}
		wantCode(t, other.mesh.RollbackStack(t.Context(), protocol.RollbackStack{Name: "web", Version: 9}, tell(&told)), protocol.CodeNotFound, "has no version 9 any more")
		wantCode(t, other.mesh.RollbackStack(t.Context(), protocol.RollbackStack{Name: "nosuch"}, tell(&told)), protocol.CodeNotFound, "no stack nosuch")
		for i := range 12 {
			d.mustUp(stackOf("web", fmt.Sprintf("web=good:%d", 10+i)))
		}
		files, err := os.ReadDir(filepath.Join(d.dir, "stacks"))
		if err != nil || len(files) != KeptVersions {
			t.Errorf("%d files are kept, %v", len(files), err)
		}
	})
}

func TestSecretsOfAStackAreNotOnDiskAndNotTold(t *testing.T) {
	bubble(t, 1, func(t *testing.T, h *home) {
		d := h.devices[0]
		u := stackOf("web", "web=good")
		u.Record.Stack.Files = []protocol.StackFile{{Name: "key", Data: []byte("hunter2"), Secret: true}, {Name: "conf", Data: []byte("plain")}}
		u.Record.Stack.Normalize()
		d.mustUp(u)
		raw, err := os.ReadFile(filepath.Join(d.dir, "stacks", "web.1"))
		if err != nil || strings.Contains(string(raw), "hunter2") || strings.Contains(string(raw), "aHVudGVyMg") {
			t.Errorf("the file holds the secret, or cannot be read: %v", err)
		}
		_ = d.mesh.StackHistory(t.Context(), "web", func(r protocol.StackRecord) error {
			for _, f := range r.Stack.Files {
				if len(f.Data) > 0 || len(r.Signature) > 0 || len(r.Salt) > 0 {
					t.Errorf("told %+v", r)
				}
			}
			return nil
		})
		d.restart()
		synctest.Wait()
		if got := d.keeper.applied["web"]; string(got.Stack.Files[0].Data) != "hunter2" || string(got.Stack.Files[1].Data) != "plain" || string(got.Salt) != "salt" {
			t.Errorf("after a restart: %+v", got)
		}
		if told := d.mustUp(u); len(told) != 1 {
			t.Errorf("the same file again: %q", told)
		}
		u.Record.Stack.Files[0].Data = []byte("hunter3")
		want(t, d.mustUp(u), "plan 1→2 on node0: keep web", "accepted 2", "up")
	})
}

func TestStackElsewhere(t *testing.T) {
	bubble(t, 3, func(t *testing.T, h *home) {
		a, b, c := h.devices[0], h.devices[1], h.devices[2]
		no := []protocol.StackRefusal{{Service: "web", Code: protocol.CodePolicy, Reason: "no mounts", PolicyLine: "mounts = []"}}
		a.keeper.refuse = no
		plan, err := c.mesh.PlanStack(t.Context(), stackOf("web", "web=good"))
		if err != nil || plan.HolderName != "node1" || plan.Why != "the best of 3 nodes that takes it" || len(plan.Refused) != 1 || plan.Refused[0].NodeName != "node0" || !reflect.DeepEqual(plan.Refused[0].Reasons, no) {
			t.Errorf("%+v, %v", plan, err)
		}
		if len(b.keeper.log()) > 0 {
			t.Error("a plan did something")
		}
		want(t, c.mustUp(stackOf("web", "web=good")), "plan 0→1 on node1: create web", "accepted 1", "up")
		for _, d := range h.devices {
			want(t, d.list(false), "web 1 up on node1")
		}
		// Data pins: it stays, though another one would be chosen now.
		a.keeper.refuse = nil
		want(t, a.mustUp(stackOf("web", "web=good:2")), "plan 1→2 on node1: recreate web", "accepted 2", "up")
		if got := b.keeper.applied["web"]; got.By != "peer0" || got.ByName != "node0" || got.Stack.Services[0].Number != 1 {
			t.Errorf("kept %+v", got)
		}
		if err := c.mesh.ControlStack(t.Context(), protocol.ControlStack{Name: "web", Action: protocol.StackDown}); err != nil {
			t.Error(err)
		}
		want(t, a.list(true))
		wantCode(t, a.mesh.ControlStack(t.Context(), protocol.ControlStack{Name: "web", Action: protocol.StackDown}), protocol.CodeNotFound, "")
	})
}

func TestNobodyTakesTheStack(t *testing.T) {
	bubble(t, 2, func(t *testing.T, h *home) {
		for i, d := range h.devices {
			d.keeper.refuse = []protocol.StackRefusal{{Code: protocol.CodeResources, Reason: fmt.Sprintf("has %d MiB, 512 MiB asked", i)}}
		}
		h.devices[1].admit = protocol.Errorf(protocol.CodePolicy, "runs nothing for node0")
		told, err := h.devices[0].up(stackOf("web", "web=good"))
		wantCode(t, err, protocol.CodeNoNode, "node0: has 0 MiB, 512 MiB asked; node1: runs nothing for node0; node1: has 1 MiB, 512 MiB asked")
		want(t, told, "plan 0→1 on : create web")
		for _, d := range h.devices {
			if len(d.keeper.log()) > 0 || len(d.list(true)) > 0 {
				t.Errorf("%s did %q", d.id, d.keeper.log())
			}
		}
	})
}

func TestHolderIsAway(t *testing.T) {
	bubble(t, 2, func(t *testing.T, h *home) {
		a, b := h.devices[0], h.devices[1]
		a.mustUp(stackOf("web", "web=good"))
		h.leave(a)
		time.Sleep(3 * time.Hour)
		_, err := b.up(stackOf("web", "web=good"))
		wantCode(t, err, protocol.CodeNodeLost, "the stack web is held by node0, which is away; it was last seen 3 hours ago: start that first")
		wantCode(t, b.mesh.ControlStack(t.Context(), protocol.ControlStack{Name: "web", Action: protocol.StackStop}), protocol.CodeNodeLost, "node0")
		want(t, b.list(false), "web 1 away on node0")
		delete(h.away, a.id)
		h.deaf = a.id // it is connected still, and does not answer
		_, err = b.up(stackOf("web", "web=good:2"))
		wantCode(t, err, protocol.CodeNodeLost, "node0, which holds the stack, does not answer")
		want(t, b.list(false), "web 1 away on node0")
		h.deaf = ""
		h.leave(a)
		time.Sleep(3 * time.Hour)
		b.restart() // it is remembered
		want(t, b.list(false), "web 1 away on node0")
		_, err = b.up(stackOf("web", "web=good"))
		wantCode(t, err, protocol.CodeNodeLost, "node0")

		u := stackOf("web", "web=good")
		u.New = true
		want(t, b.mustUp(u), "plan 0→1 on node1: create web", "accepted 2", "up")
		h.comeBack(a)
		want(t, b.list(false), "web 1 up on node0", "web 2 up on node1")
		wantCode(t, a.mesh.ControlStack(t.Context(), protocol.ControlStack{Name: "web", Action: protocol.StackDown}), protocol.CodeInvalid, "web@node0 or web@node1")
		if err := a.mesh.ControlStack(t.Context(), protocol.ControlStack{Name: "web@node1", Action: protocol.StackDown}); err != nil {
			t.Error(err)
		}
		want(t, b.list(false), "web 1 up on node0")
	})
}

func TestDataKeepsANameWithItsNode(t *testing.T) {
	bubble(t, 2, func(t *testing.T, h *home) {
		a, b := h.devices[0], h.devices[1]
		a.mustUp(withData(stackOf("web", "web=good")))
		down := protocol.ControlStack{Name: "web", Action: protocol.StackDown}
		if err := b.mesh.ControlStack(t.Context(), down); err != nil {
			t.Fatal(err)
		}
		want(t, b.list(false))
		want(t, b.list(true), "web 1 down on node0")
		wantCode(t, b.mesh.ControlStack(t.Context(), down), protocol.CodeConflict, "--data removes that")
		wantCode(t, b.mesh.ControlStack(t.Context(), protocol.ControlStack{Name: "web", Action: protocol.StackStart}), protocol.CodeConflict, "was taken down")
		a.restart()
		want(t, b.list(true), "web 1 down on node0")
		want(t, b.mustUp(withData(stackOf("web", "web=good"))), "plan 1→2 on node0: start web", "accepted 2", "up")
		down.Data = true
		if err := b.mesh.ControlStack(t.Context(), down); err != nil {
			t.Fatal(err)
		}
		want(t, b.list(true))
		if files, _ := os.ReadDir(filepath.Join(a.dir, "stacks")); len(files) > 0 {
			t.Errorf("%v are left", files)
		}
	})
}

func TestTwoChangesAtOnce(t *testing.T) {
	bubble(t, 2, func(t *testing.T, h *home) {
		a, b := h.devices[0], h.devices[1]
		first := make(chan error, 1)
		go func() { _, err := a.up(stackOf("web", "web=slow")); first <- err }()
		synctest.Wait()
		_, err := b.up(stackOf("web", "web=good"))
		wantCode(t, err, protocol.CodeConflict, "is being changed already")
		if err := b.mesh.ControlStack(t.Context(), protocol.ControlStack{Name: "web", Action: protocol.StackStop}); err != nil {
			t.Error(err)
		}
		wantCode(t, <-first, protocol.CodeCancelled, "somebody stopped")
		want(t, a.list(false), "web 1 stopped on node0")
		want(t, b.mustUp(stackOf("web", "web=good")), "plan 1→2 on node0: recreate web", "accepted 2", "up")

		// One that was planned for another version is refused.
		u := stackOf("web", "web=good:9")
		u.Record.Version, u.Record.By = 7, b.id
		if err := SignRecord(&u.Record, testKeys(b.id).Sign); err != nil {
			t.Fatal(err)
		}
		wantCode(t, a.holder.UpStack(t.Context(), u, tell(new([]string))), protocol.CodeConflict, "it is at version 2")
		u.Record.Version = 3
		wantCode(t, a.holder.UpStack(t.Context(), u, tell(new([]string))), protocol.CodeUnauthorized, "not signed")
		if err := SignRecord(&u.Record, testKeys(b.id).Sign); err != nil {
			t.Fatal(err)
		}
		if err := a.holder.UpStack(t.Context(), u, tell(new([]string))); err != nil {
			t.Error(err)
		}
		u.Record.By = a.id
		wantCode(t, a.holder.UpStack(t.Context(), u, tell(new([]string))), protocol.CodeUnauthorized, "not signed")
	})
}

func TestAskerLeavesAndTheChangeGoesOn(t *testing.T) {
	bubble(t, 2, func(t *testing.T, h *home) {
		a, b := h.devices[0], h.devices[1]
		a.mustUp(stackOf("web", "web=good"))
		ctx, cancel := context.WithCancel(t.Context())
		u := stackOf("web", "web=bad")
		ended := make(chan error, 1)
		go func() { ended <- b.mesh.UpStack(ctx, u, tell(new([]string))) }()
		synctest.Wait()
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		time.Sleep(protocol.DefaultUpTimeout + time.Second)
		want(t, a.list(false), "web 3 up on node0")
		u = stackOf("web", "web=bad:2")
		u.Detach = true
		want(t, b.mustUp(u), "plan 3→4 on node0: recreate web", "accepted 4")
		time.Sleep(protocol.DefaultUpTimeout + time.Second)
		want(t, a.list(false), "web 5 up on node0")
	})
}

// What was under way when the process ended goes on with the next one.
func TestRestartInTheMiddle(t *testing.T) {
	bubble(t, 1, func(t *testing.T, h *home) {
		d := h.devices[0]
		d.mustUp(stackOf("web", "web=good"))
		u := stackOf("web", "web=bad")
		u.Detach, u.Timeout = true, time.Minute
		d.mustUp(u)
		time.Sleep(time.Second)
		d.restart()
		synctest.Wait()
		want(t, d.list(false), "web 2 degraded on node0")
		time.Sleep(2 * time.Minute)
		want(t, d.list(false), "web 3 up on node0")

		d.keeper.fail = nil
		if err := d.mesh.ControlStack(t.Context(), protocol.ControlStack{Name: "web", Action: protocol.StackStop}); err != nil {
			t.Fatal(err)
		}
		d.restart()
		synctest.Wait()
		want(t, d.keeper.log(), "apply web 3", "stop web []")
		want(t, d.list(false), "web 3 stopped on node0")
		want(t, d.mustUp(stackOf("web", "web=good")), "plan 3→4 on node0: start web", "accepted 4", "up")
	})
}

func TestWatchTellsChanges(t *testing.T) {
	bubble(t, 2, func(t *testing.T, h *home) {
		a, b := h.devices[0], h.devices[1]
		a.mustUp(stackOf("one", "web=good"))
		ctx, cancel := context.WithCancel(t.Context())
		var last []string
		ended := make(chan error, 1)
		go func() {
			ended <- b.mesh.ListStacks(ctx, protocol.ListStacks{Watch: true}, func(ss []protocol.StackStatus) error {
				last = nil
				for _, s := range ss {
					last = append(last, fmt.Sprintf("%s %s", s.Name, s.State))
				}
				return nil
			})
		}()
		time.Sleep(time.Minute)
		synctest.Wait()
		want(t, last, "one up")
		if err := a.mesh.ControlStack(t.Context(), protocol.ControlStack{Name: "one", Action: protocol.StackStop}); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		want(t, last, "one stopped")
		cancel()
		<-ended
	})
}

func TestPortOfAnotherStack(t *testing.T) {
	bubble(t, 2, func(t *testing.T, h *home) {
		a, b := h.devices[0], h.devices[1]
		publish := func(name protocol.StackName, p protocol.StackPort) protocol.UpStack {
			u := stackOf(name, "web=good")
			u.Record.Stack.Services[0].Ports = []protocol.StackPort{p}
			return u
		}
		a.mustUp(publish("one", protocol.StackPort{Published: 8080, Target: 80}))
		_, err := b.up(publish("two", protocol.StackPort{Published: 8080, Target: 8000}))
		wantCode(t, err, protocol.CodeConflict, "the port 8080 is published by the stack one on node0: publish another one, as 8081:8000")
		_, err = b.mesh.PlanStack(t.Context(), publish("two", protocol.StackPort{Published: 8080, Target: 8000, HostIP: "127.0.0.1"}))
		wantCode(t, err, protocol.CodeConflict, "8080")
		b.mustUp(publish("two", protocol.StackPort{Published: 8080, Target: 80, UDP: true}))
		a.mustUp(publish("one", protocol.StackPort{Published: 8080, Target: 81}))
	})
}

func TestNodeThatIsNamed(t *testing.T) {
	bubble(t, 2, func(t *testing.T, h *home) {
		d := h.devices[0]
		u := stackOf("web", "web=good")
		u.Record.Stack.Constraints.Node = "nosuch"
		_, err := d.up(u)
		wantCode(t, err, protocol.CodeUnknownNode, "no node nosuch is in the mesh")
		d.mustUp(stackOf("web", "web=good"))
		u.Record.Stack.Constraints.Node = "node1"
		_, err = d.up(u)
		wantCode(t, err, protocol.CodeConstraint, "held by node0, and only node1 is allowed")
		u.Record.Stack.Constraints.Node = "peer0"
		d.mustUp(u)
	})
}

// A device without an engine has no stacks of its own, and asks for those of
// others.
func TestDeviceWithoutKeeper(t *testing.T) {
	bubble(t, 2, func(t *testing.T, h *home) {
		a, b := h.devices[0], h.devices[1]
		synctest.Wait()
		a.holder.cfg.Keeper, a.holder.cfg.NoKeeper = nil, "no engine"
		want(t, a.mustUp(stackOf("web", "web=good")), "plan 0→1 on node1: create web", "accepted 1", "up")
		b.keeper.fail = protocol.Errorf(protocol.CodeEngineDown, "the engine does not answer")
		_, err := a.up(stackOf("other", "web=good"))
		wantCode(t, err, protocol.CodeNoNode, "node0: runs no work: no engine; node1: the engine does not answer")
		_, err = a.up(stackOf("web", "web=good:2"))
		wantCode(t, err, protocol.CodeNoNode, "the engine does not answer")
		want(t, a.list(false), "web 1 up on node1")
	})
}

// More stacks than a status names are found all the same.
func TestUnnamedStacksAreFound(t *testing.T) {
	bubble(t, 2, func(t *testing.T, h *home) {
		a, b := h.devices[0], h.devices[1]
		for i := range 40 {
			u := stackOf(protocol.StackName(fmt.Sprintf("s%02d", i)), "web=good")
			u.Detach = true
			a.mustUp(u)
		}
		time.Sleep(time.Second)
		if list := b.list(false); len(list) != 40 {
			t.Errorf("%d stacks are listed", len(list))
		}
		want(t, b.mustUp(stackOf("s39", "web=good:2")), "plan 1→2 on node0: recreate web", "accepted 2", "up")
		if err := b.mesh.ControlStack(t.Context(), protocol.ControlStack{Name: "s38", Action: protocol.StackDown}); err != nil {
			t.Error(err)
		}
		if list := b.list(true); len(list) != 39 {
			t.Errorf("%d stacks are listed", len(list))
		}
	})
}

func TestDownEndsAChange(t *testing.T) {
	bubble(t, 1, func(t *testing.T, h *home) {
		d := h.devices[0]
		first := make(chan error, 1)
		go func() { _, err := d.up(stackOf("web", "web=slow")); first <- err }()
		synctest.Wait()
		if err := d.mesh.ControlStack(t.Context(), protocol.ControlStack{Name: "web", Action: protocol.StackDown}); err != nil {
			t.Error(err)
		}
		wantCode(t, <-first, protocol.CodeCancelled, "")
		want(t, d.list(true))
	})
}

// What was stopped comes back stopped, and what was down is not begun by a change
// that fails.
func TestBackToWhatDidNotRun(t *testing.T) {
	bubble(t, 1, func(t *testing.T, h *home) {
		d := h.devices[0]
		d.mustUp(withData(stackOf("web", "web=good")))
		if err := d.mesh.ControlStack(t.Context(), protocol.ControlStack{Name: "web", Action: protocol.StackStop}); err != nil {
			t.Fatal(err)
		}
		_, err := d.up(withData(stackOf("web", "web=fails")))
		wantCode(t, err, protocol.CodeStackUnhealthy, "version 1 is back, as version 3")
		synctest.Wait()
		want(t, d.list(false), "web 3 stopped on node0")
		if err := d.mesh.ControlStack(t.Context(), protocol.ControlStack{Name: "web", Action: protocol.StackDown}); err != nil {
			t.Fatal(err)
		}
		_, err = d.up(withData(stackOf("web", "web=fails:2")))
		wantCode(t, err, protocol.CodeStackUnhealthy, "there is no version before")
	})
}

// The names that were seen are bounded; those seen longest ago go first.
func TestNamesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		names := NewNames(filepath.Join(t.TempDir(), "names"), func() time.Duration { return 0 }, time.Now, slog.New(slog.DiscardHandler))
		for i := range maxNames + 10 {
			names.Holds(protocol.StackName(fmt.Sprint("s", i)), "peer9", "node9", 1)
			time.Sleep(time.Millisecond)
		}
		if all := names.holders(""); len(all) != maxNames || len(names.holders("s9")) > 0 || len(names.holders("s10")) == 0 {
			t.Errorf("%d names are known", len(all))
		}
	})
}
