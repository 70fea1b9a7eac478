package report

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

func sample() *Report {
	r := &Report{Machine: Machine{Processor: `a "fast" <one>`, Cores: 2}}
	for i, nodes := range []int{3, 100, 200} {
		r.Add(&Figure{
			Group: "growth", Name: "started", Nodes: nodes, Unit: "ms", Samples: []float64{float64(i + 1), 3, 2},
			Reference: &Reference{Name: "3 nodes", Samples: []float64{1, 1, 4}},
		})
	}
	r.Add(&Figure{Group: "growth", Name: "accepted", Nodes: 100, Unit: "ms", Samples: []float64{1, 1, 1, 9}})
	r.Add(&Figure{Group: "throughput", Name: "output", Nodes: 2, Unit: "MB/s", Samples: []float64{199}})
	return r
}

// What is above or below its limit is said so, and what has none is not judged.
func TestLimits(t *testing.T) {
	t.Parallel()
	r := sample()
	want := [][]bool{nil, nil, {false}, {true, false}, {false}} // of each figure
	for i, f := range r.Figures {
		if len(f.Limits) != len(want[i]) {
			t.Fatalf("%s has the limits %v, want %d", f.title(), f.Limits, len(want[i]))
		}
		for k, l := range f.Limits {
			if l.Met != want[i][k] {
				t.Errorf("%s: %v: met is %v", f.title(), l, l.Met)
			}
		}
	}
	if judged, missed := r.Missed(); judged != 4 || missed != 3 {
		t.Errorf("%d of %d missed", missed, judged)
	}
}

// Every limit is about a statistic that exists, and of a reference only where
// the figure could have one.
func TestLimitsAreOfStatistics(t *testing.T) {
	t.Parallel()
	for _, l := range limits {
		f := &Figure{Unit: l.Unit, Samples: []float64{1}, Stats: Summarise([]float64{1}), Reference: &Reference{}}
		f.judge(l.Limit) // panics
		if _, ok := words[l.Of]; !ok {
			t.Errorf("there are no words for %q", l.Of)
		}
	}
}

// Each figure of the established project stands beside one of ours, which has
// a limit, or is of a growth.
func TestEstablishedHasAPlace(t *testing.T) {
	t.Parallel()
	for _, e := range instead {
		placed := e.group == "growth" // it is measured at many sizes, not all with a limit
		for _, l := range limits {
			placed = placed || l.group == e.group && l.name == e.name && l.nodes == e.nodes
		}
		if !placed {
			t.Errorf("nothing stands beside %q: %s", e.name, e.figure)
		}
	}
}

func TestSummarise(t *testing.T) {
	t.Parallel()
	var samples []float64
	for i := range 101 {
		samples = append(samples, float64((i*37)%101))
	}
	if got, want := Summarise(samples), (Stats{Count: 101, Min: 0, Median: 50, P95: 95, P99: 99, Max: 100}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if got := Summarise(nil); got != (Stats{}) {
		t.Errorf("of nothing: %+v", got)
	}
}

// The table and the JSON hold all figures, and are well formed.
func TestForms(t *testing.T) {
	t.Parallel()
	r := sample()
	var table bytes.Buffer
	r.Table(&table)
	for _, want := range []string{
		"growth: started", "3 nodes 1", "1 of 4 limits", "NOT MET: throughput: output, 2 nodes: 199 MB/s, limit ≥ 200 MB/s",
		"    p99 to median",
	} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("the table has no %q:\n%s", want, &table)
		}
	}
	data, err := r.JSON()
	if err != nil {
		t.Fatal(err)
	}
	var back Report
	if err := json.Unmarshal(data, &back); err != nil || len(back.Figures) != len(r.Figures) || back.Figures[2].Limits[0].Value == 0 {
		t.Errorf("%v, %+v", err, back)
	}
}
