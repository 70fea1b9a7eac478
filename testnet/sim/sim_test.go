package main

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/hearth-edge/hearth/sched"
)

// scenarioNamed returns a built-in scenario.
func scenarioNamed(t *testing.T, set, name string) *Scenario {
	t.Helper()
	all, err := builtInSet(set)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		if s.Name == name {
			return s
		}
	}
	t.Fatalf("there is no scenario %s in %s", name, set)
	return nil
}

// measured runs ours beside the oracle.
func measured(t *testing.T, s *Scenario) *result {
	t.Helper()
	chosen, err := choosePolicies("ours")
	if err != nil {
		t.Fatal(err)
	}
	r, err := simulate(s, chosen, sched.DefaultParams())
	if err != nil {
		t.Fatal(err)
	}
	ours := &r.Results[1]
	t.Logf("%s, seed %d: mean %.2f ±%.2f and p99 %.2f ±%.2f of the oracle's, %.2f offers a request, overload %.1f",
		s.Name, s.Seed, ours.MeanRatio.Value, ours.MeanRatio.CI, ours.P99Ratio.Value, ours.P99Ratio.CI, ours.Avg.Offers, ours.Avg.Overload)
	return ours
}

// What placement promises, on the default fleet with statuses that come each
// second; and what it must not lose on fleets that it was not tuned on.
func TestTargets(t *testing.T) {
	for _, c := range []struct {
		set, name string
		// mean and p99 as multiples of the oracle's, offers a request and the
		// most executions a slot: at most this.
		mean, p99, offers, overload float64
	}{
		{"tune", "50-load-0.3", 1.15, 1.15, 1.15, 6},
		{"tune", "50-load-0.8", 0.85, 1.25, 2, 6},
		{"tune", "50-load-0.9", 1, 1.15, 3, 6},
		{"tune", "50-beat-5", 1, 1.3, 2, 6},
		{"tune", "200-load-0.8", 1, 1.3, 2, 6},
		{"tune", "50-burst-200", 1.4, 1.4, 3, 6},
		{"tune", "3-nodes", 1, 1.3, 1.5, 6},
		{"tune", "5-nodes", 1, 1.3, 1.5, 6},
		{"judge", "homogeneous", 1.2, 1.2, 1.5, 6},
		{"judge", "log-uniform", 1, 1.3, 2.5, 10},
		{"judge", "half-leave", 1.1, 1.6, 2, 8},
		{"judge", "liars", 1, 1.3, 2, 6},
		{"judge", "greedy-liars", 1.9, 1.9, 2, 10},
		{"judge", "boasters", 1.1, 1.5, 2, 8},
		{"judge", "real-beat", 1, 1.25, 2, 6},
		{"judge", "cold-caches", 1.1, 1.2, 2, 8},
		{"judge", "tight-memory", 1.2, 1.2, 2, 6},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := scenarioNamed(t, c.set, c.name)
			s.Replications = min(s.Replications, 8)
			if s.Fleet.Count >= 50 && s.Load.Utilisation > 0 { // many requests each
				s.Replications = 2
			}
			if s.Fleet.Count >= 100 {
				s.Replications, s.DurationS, s.WarmupS = 1, 12, 4
			}
			r := measured(t, s)
			if !r.Stable {
				t.Errorf("it falls behind: the backlog grew by %.2f of all slots", r.Avg.Growth)
			}
			for _, x := range []struct {
				what      string
				got, most float64
			}{
				{"mean", r.MeanRatio.Value, c.mean}, {"p99", r.P99Ratio.Value, c.p99},
				{"offers", r.Avg.Offers, c.offers}, {"overload", r.Avg.Overload, c.overload},
			} {
				if x.got > x.most {
					t.Errorf("seed %d: %s is %.3f, and must be at most %v", s.Seed, x.what, x.got, x.most)
				}
			}
		})
	}
}

// small is a scenario with a little of everything.
const small = `{"name": "small", "fleet": {"count": 12, "memory_mib": 4096}, "load": {"utilisation": 0.6, "bursts": [{"at_s": 4, "requests": 30}]},
 "services": [{"name": "a", "share": 3}, {"name": "b", "work": {"dist": "lognormal", "mean": 2, "sigma": 1}, "cpus": 2, "memory_mib": 512, "image_mib": 50, "present": 0.3}],
 "network": {"changes_per_beat": 10, "beat_per_device_s": 0.3, "loss": 0.2}, "churn": [{"at_s": 5, "leave": 0.2, "crash": 0.2}, {"at_s": 8, "join": 1}],
 "liars": {"share": 0.2, "accept_all": true}, "background": {"share": 0.5}, "boasters": {"share": 0.3, "times": 2}, "warmup_s": 2, "duration_s": 12, "replications": 2}`

func decoded(t *testing.T, text string) *Scenario {
	t.Helper()
	s, err := decode(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSameSeedSameReport(t *testing.T) {
	run := func() *report {
		r, err := simulate(decoded(t, small), policies(), sched.DefaultParams())
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	if a, b := run(), run(); !reflect.DeepEqual(a, b) {
		t.Error("two runs with one seed differ")
	}
}

// Under every policy each request ends once, and no node has more at work than
// it has room for.
func TestEveryRequestEnds(t *testing.T) {
	s := decoded(t, small)
	for _, p := range policies() {
		pl, err := newPlan(s, 0)
		if err != nil {
			t.Fatal(err)
		}
		m := newMesh(s, pl, 0, p.policy, sched.DefaultParams())
		m.run()
		if m.now > seconds(10*s.DurationS) {
			t.Errorf("%s: some requests never end", p.name)
		}
		failed := 0
		for _, j := range m.jobs {
			if j.failed {
				failed++
			}
			if b := seconds(j.work / 4); !j.failed && j.took < b {
				t.Errorf("%s: a request took %v, on the fastest node it takes %v", p.name, j.took, b)
			}
		}
		if failed > len(m.jobs)/5 {
			t.Errorf("%s: %d of %d requests failed", p.name, failed, len(m.jobs))
		}
		for _, n := range m.nodes {
			if n.cpus > float64(n.plan.slots)+1e-6 || n.load() < 0 {
				t.Errorf("%s: %s has %v cores taken of %d", p.name, n.id, n.cpus, n.plan.slots)
			}
		}
	}
}

// An M/M/1 queue has a mean response time that is known: 1/(μ−λ).
func TestQueueingTheory(t *testing.T) {
	s := decoded(t, `{"fleet": {"nodes": [{"speed": 1, "slots": 1}]}, "load": {"utilisation": 0.5},
	 "network": {"rtt_ms": 0}, "warmup_s": 100, "duration_s": 4000, "replications": 10}`)
	r, err := simulate(s, policies()[:1], sched.DefaultParams())
	if err != nil {
		t.Fatal(err)
	}
	if got := r.Results[0].Avg.Mean; got < 1.9 || got > 2.1 {
		t.Errorf("the mean response time is %.3f s, theory says 2 s", got)
	}
}

func TestBadScenarios(t *testing.T) {
	for text, want := range map[string]string{
		``:                              "EOF",
		`{"flet": {}}`:                  `unknown field "flet"`,
		`{} {}`:                         "nothing after it",
		`{"duration_s": -1}`:            "duration_s is -1",
		`{"warmup_s": 50}`:              "below duration_s",
		`{"replications": 0}`:           "replications is 0, and must be from 1 to 1000",
		`{"fleet": {"count": 1000000}}`: "fleet.count",
		`{"fleet": {"speed": {"dist": "fixed", "mean": 1}}}`:              "speed and slots go together",
		`{"fleet": {"kinds": [{"share": 1, "speed": 0, "slots": 1}]}}`:    "fleet.kinds[0].speed is 0",
		`{"services": [{"work": {"dist": "gauss"}}]}`:                     `dist is "gauss"`,
		`{"load": {"utilisation": 0.5, "rate": 1}}`:                       "not both",
		`{"load": {"bursts": [{"at_s": 99, "requests": 1}]}}`:             "load.bursts[0].at_s",
		`{"churn": [{"at_s": 1, "leave": 2}]}`:                            "churn[0].leave is 2",
		`{"network": {"loss": 1}}`:                                        "network.loss",
		`{"fleet": {"nodes": [{"speed": 1, "slots": 1}], "kinds": [{}]}}`: "give one of",
		`{"name": "` + strings.Repeat("x", maxScenario) + `"}`:            "larger than",
	} {
		if _, err := decode(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60s: %v, want %q", text, err, want)
		}
	}
	s := decoded(t, `{"load": {"rate": 999999}, "duration_s": 10000}`)
	if _, err := newPlan(s, 0); err == nil {
		t.Error("billions of requests are taken")
	}
}

func FuzzScenario(f *testing.F) {
	f.Add([]byte(small))
	f.Add([]byte(`{"fleet": {"speed": {"dist": "loguniform", "min": 0.1, "max": 4}, "slots": {"dist": "choice", "values": [1, 2]}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := decode(bytes.NewReader(data))
		if err != nil {
			return
		}
		// What is taken can be planned, or is refused for its size.
		if s.DurationS < 100 && s.Fleet.Count < 100 {
			if pl, err := newPlan(s, 0); err == nil && len(pl.nodes) == 0 {
				t.Error("a plan without nodes")
			}
		}
	})
}

func TestCommand(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "s.json")
	if err := os.WriteFile(file, []byte(small), 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := run([]string{"--scenario", file, "--json", "--policies", "ours,late"}, &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	var r report
	if err := json.Unmarshal(out.Bytes(), &r); err != nil || len(r.Results) != 3 || r.Results[0].Policy != reference {
		t.Errorf("%v: %s", err, out.String())
	}
	out.Reset()
	if err := run([]string{"--scenario", file, "--policies", "ours", "--param", "Spread=0.1"}, &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "mean/oracle") {
		t.Errorf("no table: %s", out.String())
	}
	for _, args := range [][]string{
		{"--scenario", filepath.Join(dir, "none")}, {"--policies", "none"}, {"--set", "none"}, {"more"},
		{"--param", "None=1"}, {"--param", "Spread"}, {"--replications", "-1"},
	} {
		if err := run(args, io.Discard, io.Discard); err == nil {
			t.Errorf("%v is taken", args)
		}
	}
}
