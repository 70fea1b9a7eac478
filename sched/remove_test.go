package sched

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/sched/journal"
)

// keyless keeps secrets as they are: it is not the disk that is tried here.
type keyless struct{}

func (keyless) Seal(plain, _ []byte) []byte           { return slices.Clone(plain) }
func (keyless) Open(sealed, _ []byte) ([]byte, error) { return sealed, nil }

func named(node string, id protocol.RequestID, name string) protocol.Run {
	r := on(node, id)
	r.Service.Tags = map[string]string{protocol.TagName: name, "project": "photos"}
	r.Detach = true
	return r
}

func ids(t *testing.T, m *mesh) (list []string) {
	t.Helper()
	synctest.Wait()
	if _, err := m.orch.List(t.Context(), true, func(i protocol.RequestInfo) error {
		list = append(list, string(i.ID))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	slices.Sort(list)
	return list
}

// What has ended can be forgotten, over a restart as well; what has not is left
// alone, or killed where that is asked for.
func TestRemove(t *testing.T) {
	withJournal(t, abc, func(t *testing.T, m *mesh) {
		m.run(on("b", "ended"))
		m.nodes["b"].only(t).exit(0)
		synctest.Wait()
		m.run(named("c", "running", "web"))
		if err := m.orch.Remove(t.Context(), protocol.Remove{Request: "web"}); protocol.CodeOf(err) != protocol.CodeConflict {
			t.Errorf("what runs: %v", err)
		}
		if err := m.orch.Remove(t.Context(), protocol.Remove{Request: "nosuch"}); protocol.CodeOf(err) != protocol.CodeNotFound {
			t.Errorf("what is not there: %v", err)
		}
		if err := m.orch.Remove(t.Context(), protocol.Remove{Request: "end"}); err != nil {
			t.Error(err)
		}
		if got := ids(t, m); !slices.Equal(got, []string{"running"}) {
			t.Errorf("listed: %v", got)
		}
		e := m.nodes["c"].only(t)
		go func() {
			synctest.Wait()
			if _, stops := e.wishes(); len(stops) != 1 || stops[0] != 0 {
				t.Errorf("the kill came as %v", stops)
			}
			e.say(protocol.StateCancelled)
			e.feed.End()
		}()
		if err := m.orch.Remove(t.Context(), protocol.Remove{Request: "web", Force: true}); err != nil {
			t.Error(err)
		}
		for range 2 {
			if got := ids(t, m); len(got) > 0 {
				t.Errorf("listed: %v", got)
			}
			m.restart()
		}
	})
}

// TestAutoRemoveForgetsWhatHasEnded: whoever follows it gets the end, nobody else
// finds it; over a restart between its end and its removal, too.
func TestAutoRemoveForgetsWhatHasEnded(t *testing.T) {
	brief := func(node string, id protocol.RequestID) protocol.Run {
		run := on(node, id)
		run.Service.AutoRemove = true
		return run
	}
	inMesh(t, abc, func(t *testing.T, m *mesh) {
		m.run(brief("b", "r"))
		m.nodes["b"].only(t).exit(0)
		synctest.Wait()
		if got := ids(t, m); len(got) > 0 {
			t.Errorf("listed without a journal: %v", got)
		}
	})
	withJournal(t, abc, func(t *testing.T, m *mesh) {
		app := m.run(brief("b", "r"))
		m.nodes["b"].only(t).exit(3)
		synctest.Wait()
		if e := app.last(); e.State != protocol.StateFailed || e.ExitCode != 3 {
			t.Errorf("who follows it is told %+v", e)
		}
		time.Sleep(time.Second) // its end is on disk by then
		synctest.Wait()
		if _, err := m.orch.Inspect(t.Context(), "r"); protocol.CodeOf(err) != protocol.CodeNotFound {
			t.Errorf("whoever asks later: %v", err)
		}
		if again := m.run(brief("b", "r")); again.last().Attempt != 2 {
			t.Errorf("its ID is not free: %+v", again.last())
		}
		m.kill()
		j := openJournal(t, m.journal.path)
		end := protocol.Event{Request: "r", State: protocol.StateSucceeded, Attempt: 2}
		if err := j.Ended(t.Context(), "r", journal.End{Event: end, Attempts: 2}); err != nil {
			t.Fatal(err)
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		m.revive()
		time.Sleep(time.Second)
		synctest.Wait()
		if got := ids(t, m); len(got) > 0 {
			t.Errorf("listed after a restart: %v", got)
		}
	})
}

// An ID that was removed is free, and its next attempt is not mistaken by the node
// for the one that it had: over restarts too, and where the journal was made smaller.
func TestRemovedIDStartsAnew(t *testing.T) {
	test := func(restart func(m *mesh)) func(t *testing.T, m *mesh) {
		return func(t *testing.T, m *mesh) {
			m.run(on("b", "r"))
			m.nodes["b"].only(t).exit(3)
			synctest.Wait()
			if err := m.orch.Remove(t.Context(), protocol.Remove{Request: "r"}); err != nil {
				t.Fatal(err)
			}
			restart(m)
			a := m.run(on("b", "r"))
			synctest.Wait()
			if e := a.last(); e.State.Ended() || e.Attempt != 2 {
				t.Errorf("the second request is told %+v", e)
			}
			restart(m)
			synctest.Wait()
			if e := m.inspect("r").Last; e.State.Ended() || e.Attempt != 2 {
				t.Errorf("the second request is told %+v after a restart", e)
			}
		}
	}
	inMesh(t, abc, test(func(*mesh) {}))
	withJournal(t, abc, test(func(m *mesh) { m.restart() }))
	withJournal(t, abc, test(func(m *mesh) { m.restart(); m.restart() }))
}

// What was accepted under a removed ID, and not offered before a restart, counts on.
func TestRemovedIDResumedUnofferedCountsOn(t *testing.T) {
	withJournal(t, abc, func(t *testing.T, m *mesh) {
		m.run(on("b", "r"))
		m.nodes["b"].only(t).exit(3)
		synctest.Wait()
		if err := m.orch.Remove(t.Context(), protocol.Remove{Request: "r"}); err != nil {
			t.Fatal(err)
		}
		m.kill()
		j := openJournal(t, m.journal.path)
		run := on("b", "r")
		run.Service.Image = "busybox"
		if _, err := j.Accepted(t.Context(), journal.Request{ID: "r", Service: run.Service, Detached: true}); err != nil {
			t.Fatal(err)
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		m.revive()
		if e := m.inspect("r").Last; e.State.Ended() || e.Attempt != 2 {
			t.Errorf("it is told %+v", e)
		}
	})
}

// A name means the request that has not ended; of several, none.
func TestNameMeansWhatHasNotEnded(t *testing.T) {
	withJournal(t, abc, func(t *testing.T, m *mesh) {
		find := func(text protocol.RequestID) string {
			synctest.Wait()
			d, err := m.orch.Inspect(t.Context(), text)
			if err != nil {
				return err.Error()
			}
			return string(d.ID)
		}
		m.run(named("b", "one", "web"))
		m.nodes["b"].only(t).exit(0)
		if got := find("web"); got != "one" {
			t.Errorf("of one that ended: %s", got)
		}
		m.run(named("c", "two", "web"))
		if got := find("web"); got != "two" {
			t.Errorf("of one that runs and one that ended: %s", got)
		}
		m.nodes["c"].only(t).exit(0)
		if got := find("web"); !strings.Contains(got, "the name of several requests: one, two") {
			t.Errorf("of two that ended: %s", got)
		}
		m.run(named("a", "web", "other"))
		if got := find("web"); got != "web" {
			t.Errorf("an ID: %s", got)
		}
		m.restart()
		if d := m.inspect("one"); d.Tags["project"] != "photos" || d.Service.Tags["name"] != "web" {
			t.Errorf("after a restart: %+v", d.Tags)
		}
	})
}

// TestNameIsOneLiveRequests: a second one is refused, and told whose it is, until the
// first has ended; over a restart too. The same request again is no second one.
func TestNameIsOneLiveRequests(t *testing.T) {
	withJournal(t, abc, func(t *testing.T, m *mesh) {
		taken := func(id protocol.RequestID) error {
			r := named("c", id, "web")
			r.Service.Image = "busybox"
			s, err := m.orch.Accept(t.Context(), r)
			if err == nil {
				s.Close()
			}
			return err
		}
		first := named("b", "one", "web")
		m.run(first)
		m.run(first)
		for range 2 {
			if err := taken("two"); protocol.CodeOf(err) != protocol.CodeConflict || !strings.Contains(err.Error(), "web is in use by the request one,") {
				t.Errorf("the name of one that runs: %v", err)
			}
			m.restart()
		}
		m.run(named("c", "other", "other"))
		m.nodes["b"].only(t).exit(0)
		synctest.Wait()
		if err := taken("two"); err != nil {
			t.Errorf("the name of one that has ended: %v", err)
		}
	})
}

// Secrets reach the node that won, and nobody else; also after a restart, and for
// another attempt. Asking for an ID with another secret is a conflict.
func TestSecretsReachTheNodeOnly(t *testing.T) {
	withJournal(t, abc, func(t *testing.T, m *mesh) {
		r := on("b", "r")
		r.Detach = true
		r.Service.Secrets = []protocol.Secret{{Name: "key", Data: protocol.Confidential("hunter2"), Size: 7}}
		m.run(r)
		synctest.Wait()
		var offered []protocol.Secret
		m.nodes["b"].set(func() { offered = m.nodes["b"].offers[0].Service.Secrets })
		if len(offered) != 1 || string(offered[0].Data) != "hunter2" {
			t.Errorf("offered: %v", offered)
		}
		d := m.inspect("r")
		if len(d.Service.Secrets) != 1 || d.Service.SecretsComplete() || d.Service.Secrets[0].Size != 7 {
			t.Errorf("inspect tells %+v", d.Service.Secrets)
		}
		other := r
		other.Service.Secrets = []protocol.Secret{{Name: "key", Data: protocol.Confidential("hunter3"), Size: 7}}
		if _, err := m.orch.Accept(t.Context(), other); protocol.CodeOf(err) != protocol.CodeConflict {
			t.Errorf("with another secret: %v", err)
		}
		m.restart()
		if rec, err := m.journal.Find("r"); err != nil || !rec.Service.SecretsComplete() {
			t.Errorf("after a restart: %v", err)
		}
		m.nodes["b"].only(t).exit(0)
		time.Sleep(time.Second) // the journal waits a little to share a commit
		if rec, err := m.journal.Find("r"); err != nil || rec.Service.SecretsComplete() {
			t.Errorf("after the end: %v", err)
		}
	})
}

// What services of requests take in memory is bounded; those that ended make room.
func TestServicesInMemoryAreBounded(t *testing.T) {
	large := func(id protocol.RequestID) protocol.Run {
		r := on("b", id)
		r.Detach = true
		for range 4 {
			r.Service.Args = append(r.Service.Args, strings.Repeat("x", 100<<10))
		}
		return r
	}
	params := DefaultParams()
	params.MaxServiceBytes = 1 << 20
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t, params, "a", "b")
		defer m.close()
		m.run(large("r1"))
		m.run(large("r2"))
		if _, err := m.orch.Accept(t.Context(), large("r3")); protocol.CodeOf(err) != protocol.CodeOverloaded {
			t.Errorf("a third one: %v", err)
		}
		if err := m.orch.Stop(t.Context(), protocol.Stop{Request: "r1"}); err != nil {
			t.Error(err)
		}
		m.nodes["b"].set(func() {
			m.nodes["b"].executions[protocol.Attach{Request: "r1", Attempt: 1}].exit(0)
		})
		synctest.Wait()
		m.run(large("r3"))
		if _, err := m.orch.Inspect(t.Context(), "r1"); !errors.Is(err, journal.ErrNotFound) && protocol.CodeOf(err) != protocol.CodeNotFound {
			t.Errorf("r1 did not make room: %v", err)
		}
	})
}
