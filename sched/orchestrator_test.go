package sched

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

var abc = []protocol.PeerID{"a", "b", "c"}

func TestRequestRunsToItsEnd(t *testing.T) {
	inMesh(t, abc, func(t *testing.T, m *mesh) {
		app := m.run(protocol.Run{ID: "r1"})
		e := m.nodes["c"].only(t) // the fastest
		for _, s := range []protocol.State{protocol.StatePulling, protocol.StateStarting, protocol.StateRunning} {
			e.say(s)
		}
		e.write(t, "hello")
		e.exit(3)
		end := app.end()
		if end.State != protocol.StateFailed || end.ExitCode != 3 || end.Node != "c" || end.NodeName != "c" ||
			end.Request != "r1" || end.Attempt != 1 {
			t.Errorf("end: %+v", end)
		}
		want := []protocol.State{protocol.StateAccepted, protocol.StatePlacing, protocol.StatePulling,
			protocol.StateStarting, protocol.StateRunning, protocol.StateFailed}
		if got := app.states(); !slices.Equal(got, want) {
			t.Errorf("states %v, want %v", got, want)
		}
		if string(app.stdout) != "hello" {
			t.Errorf("output %q", app.stdout)
		}
		if len(app.decisions) != 1 || app.decisions[0].Candidates[0].Node != "c" || !app.decisions[0].Candidates[0].Chosen {
			t.Errorf("decisions: %+v", app.decisions)
		}
	})
}

func TestOneIDRunsOnce(t *testing.T) {
	inMesh(t, abc, func(t *testing.T, m *mesh) {
		var apps [100]*asker
		var accepting sync.WaitGroup
		for i := range apps {
			accepting.Go(func() { apps[i] = m.run(protocol.Run{ID: "same"}) })
		}
		accepting.Wait()
		e := m.nodes["c"].only(t)
		e.say(protocol.StateRunning)
		e.write(t, "once")
		e.exit(0)
		for i, app := range apps {
			if end := app.end(); end.State != protocol.StateSucceeded || string(app.stdout) != "once" {
				t.Fatalf("app %d: %+v, %q", i, end, app.stdout)
			}
		}
		if n := len(m.nodes["c"].offers); n != 1 {
			t.Errorf("%d offers", n)
		}
		// It is so after the end, too.
		again := m.run(protocol.Run{ID: "same"})
		if end := again.end(); end.State != protocol.StateSucceeded || string(again.stdout) != "once" {
			t.Errorf("asked again: %+v, %q", end, again.stdout)
		}
	})
}

func TestAcceptRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		params := DefaultParams()
		params.MaxRequests = 1
		m := newMesh(t, params, abc...)
		m.run(protocol.Run{ID: "r1"})
		for _, c := range []struct {
			run  protocol.Run
			want protocol.Code
		}{
			{protocol.Run{ID: "not an ID", Service: protocol.Service{Image: "busybox"}}, protocol.CodeInvalid},
			{protocol.Run{}, protocol.CodeInvalid},
			{protocol.Run{ID: "r1", Service: protocol.Service{Image: "alpine"}}, protocol.CodeConflict},
			{protocol.Run{Service: protocol.Service{Image: "busybox"}}, protocol.CodeOverloaded},
		} {
			_, err := m.orch.Accept(t.Context(), c.run)
			if protocol.CodeOf(err) != c.want {
				t.Errorf("%+v: %v, want %v", c.run, err, c.want)
			}
		}
		m.close()
		_, err := m.orch.Accept(t.Context(), protocol.Run{Service: protocol.Service{Image: "busybox"}})
		if protocol.CodeOf(err) != protocol.CodeLeaving {
			t.Errorf("after Run: %v", err)
		}
	})
}

func TestThirdOfferIsForced(t *testing.T) {
	inMesh(t, abc, func(t *testing.T, m *mesh) {
		for _, n := range m.nodes {
			n.answers = []error{busy(), busy()}
		}
		app := m.run(protocol.Run{})
		synctest.Wait()
		var offers []protocol.Offer
		for _, n := range m.nodes {
			offers = append(offers, n.offers...)
		}
		forced := 0
		for _, o := range offers {
			if o.Forced {
				forced++
			} else if o.Bound <= 0 {
				t.Errorf("no bound: %+v", o)
			}
		}
		// A forced offer that is refused as busy is against the rules: that node
		// is left out, and the next one asked.
		if len(offers) < 3 || len(offers)-forced != 2 {
			t.Errorf("%d offers, %d forced, want 2 that were not", len(offers), forced)
		}
		if app.last().State.Ended() {
			t.Errorf("nobody took it: %+v", app.last())
		}
	})
}

func TestOnlyNodeIsForced(t *testing.T) {
	inMesh(t, abc, func(t *testing.T, m *mesh) {
		m.run(protocol.Run{Service: protocol.Service{Constraints: protocol.Constraints{Node: "b"}}})
		synctest.Wait()
		if o := m.nodes["b"].offers; len(o) != 1 || !o[0].Forced {
			t.Errorf("offers: %+v", o)
		}
	})
}

func TestHardRefusalsLeadOn(t *testing.T) {
	refuse := func(code protocol.Code, reason string) []error {
		return []error{&protocol.Refusal{Code: code, Reason: reason}}
	}
	inMesh(t, abc, func(t *testing.T, m *mesh) {
		m.nodes["a"].answers = refuse(protocol.CodePolicy, "its owner forbids it")
		m.nodes["b"].unreachable = true
		m.nodes["c"].answers = refuse(protocol.CodeEngineDown, "has no engine")
		app := m.run(protocol.Run{})
		app.end()
		app.wants(protocol.StateRefused, protocol.CodeNoNode,
			"no node can run it: a: its owner forbids it; b: cannot be reached; c: has no engine")
		last := app.decisions[len(app.decisions)-1]
		for _, c := range last.Candidates {
			if c.Excluded == "" {
				t.Errorf("no reason: %+v", c)
			}
		}
	})
}

func TestNamedNode(t *testing.T) {
	named := func(name string, cpus protocol.Cores) protocol.Run {
		return protocol.Run{Service: protocol.Service{CPUs: cpus, Constraints: protocol.Constraints{Node: name}}}
	}
	inMesh(t, abc, func(t *testing.T, m *mesh) {
		app := m.run(named("tv", 0))
		app.end()
		app.wants(protocol.StateRefused, protocol.CodeUnknownNode, "no device named tv is in the mesh; there are: a; b; c")
		app = m.run(named("b", 8))
		app.end()
		app.wants(protocol.StateRefused, protocol.CodeNoNode, "no other node is allowed, and b has 4 cores, 8 cores asked")
	})
}

func TestEndedRequestsAreDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		params := DefaultParams()
		params.MaxEnded = 2
		m := newMesh(t, params, abc...)
		defer m.close()
		once := func(id protocol.RequestID) {
			app := m.run(protocol.Run{ID: id})
			synctest.Wait()
			for _, n := range m.nodes {
				for key, e := range n.executions {
					if key.Request == id {
						e.exit(0)
					}
				}
			}
			app.end()
			synctest.Wait()
		}
		offers := func() (n int) {
			for _, node := range m.nodes {
				n += len(node.offers)
			}
			return n
		}
		for i := range 3 {
			once(protocol.RequestID(fmt.Sprintf("r%d", i)))
		}
		m.run(protocol.Run{ID: "r2"}).end()
		if offers() != 3 {
			t.Fatalf("%d offers for 3 requests", offers())
		}
		once("r0") // the third one pushed it out
		if offers() != 4 {
			t.Errorf("%d offers; more than 2 ended requests were kept", offers())
		}
		time.Sleep(params.EndedTTL)
		once("r0")
		if offers() != 5 {
			t.Errorf("%d offers; an ended request was kept for longer than %v", offers(), params.EndedTTL)
		}
	})
}
