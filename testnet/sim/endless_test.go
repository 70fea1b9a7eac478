package main

import (
	"testing"

	"github.com/hearth-edge/hearth/sched"
)

// Where 1 % of the requests never end, each of the others completes within three
// times what the oracle takes for it, and 5 s, on the same random numbers. The
// oracle does not know which never end either.
func TestNobodyWaitsBehindWhatNeverEnds(t *testing.T) {
	for _, name := range []string{"endless-3", "endless-10", "endless-50"} {
		t.Run(name, func(t *testing.T) {
			s := scenarioNamed(t, "judge", name)
			for r := range s.Replications {
				pl, err := newPlan(s, r)
				if err != nil {
					t.Fatal(err)
				}
				run := func(p policy) *mesh {
					m := newMesh(s, pl, r, p, sched.DefaultParams())
					m.run()
					return m
				}
				oracle, ours := run(central{queueCost: 1}), run(ours{})
				held, slots, worst := 0, 0, 0.0
				for i, n := range ours.nodes {
					held += len(ours.nodes[i].running)
					slots += n.plan.slots
				}
				for i, j := range ours.jobs {
					if j.endless {
						continue
					}
					want := 3*oracle.jobs[i].took.Seconds() + 5
					worst = max(worst, j.took.Seconds()/want)
					if j.failed || oracle.jobs[i].failed || j.took.Seconds() > want {
						t.Errorf("replication %d: request %d took %v, the oracle's %v (failed: %v, %v)", r, i, j.took, oracle.jobs[i].took, j.failed, oracle.jobs[i].failed)
					}
				}
				t.Logf("replication %d: %d requests, %d of %d slots held for ever, the worst took %.2f of what it may, %.3f given back",
					r, len(ours.jobs), held, slots, worst, float64(ours.counts.givenBack)/float64(len(ours.jobs)))
			}
		})
	}
}
