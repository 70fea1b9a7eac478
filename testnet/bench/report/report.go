// Package report holds what was measured, beside what it was measured against
// and the limit that the project sets itself, and tells it to people (a table, a
// page) and to programs (JSON, whose schema is that of the
// type Report). It measures nothing and judges nothing but whether a limit was kept.
//
// limits.go holds the promises, established.go what the established project does.
package report

import (
	"encoding/json"
	"slices"
	"time"
)

// A Report is one run on one machine.
type Report struct {
	Machine Machine   `json:"machine"`
	Began   time.Time `json:"began"`
	Seconds float64   `json:"seconds"`
	// Figures are in the order in which they were measured.
	Figures []*Figure `json:"figures"`
	// Unmeasured says what this machine could not bring about, and why.
	Unmeasured []string `json:"unmeasured,omitempty"`
}

// A Figure is one quantity: its samples, and those of its reference where there
// is one, taken in turns with them.
type Figure struct {
	// Group and Name are what limits go by. Nodes is the size of the mesh, and
	// 0 where that does not matter.
	Group string `json:"group"`
	Name  string `json:"name"`
	Nodes int    `json:"nodes,omitempty"`
	Unit  string `json:"unit"`
	// Samples in the order in which they were taken.
	Samples   []float64  `json:"samples"`
	Stats     Stats      `json:"stats"`
	Reference *Reference `json:"reference,omitempty"`
	Limits    []Limit    `json:"limits,omitempty"`
	// Note says what a reader of the figure has to know.
	Note string `json:"note,omitempty"`
}

// A Reference is what somebody would have without hearth, or without so many
// devices.
type Reference struct {
	Name    string    `json:"name"`
	Samples []float64 `json:"samples"`
	Stats   Stats     `json:"stats"`
	// Ratio and Difference compare the medians, ours to the reference.
	Ratio      float64 `json:"ratio"`
	Difference float64 `json:"difference"`
}

// Stats sum samples up. Quantiles are samples, never in between.
type Stats struct {
	Count  int     `json:"count"`
	Min    float64 `json:"min"`
	Median float64 `json:"median"`
	P95    float64 `json:"p95"`
	P99    float64 `json:"p99"`
	Max    float64 `json:"max"`
}

// Summarise makes Stats of samples; of none they are zero.
func Summarise(samples []float64) Stats {
	if len(samples) == 0 {
		return Stats{}
	}
	sorted := slices.Sorted(slices.Values(samples))
	at := func(q float64) float64 { return sorted[int(q*float64(len(sorted)-1)+0.5)] }
	return Stats{Count: len(sorted), Min: at(0), Median: at(0.5), P95: at(0.95), P99: at(0.99), Max: at(1)}
}

// Add finishes a figure, judges it by the limits that there are for it, and puts
// it into the report.
func (r *Report) Add(f *Figure) {
	f.Stats = Summarise(f.Samples)
	if ref := f.Reference; ref != nil {
		ref.Stats = Summarise(ref.Samples)
		ref.Difference = f.Stats.Median - ref.Stats.Median
		if ref.Stats.Median != 0 {
			ref.Ratio = f.Stats.Median / ref.Stats.Median
		}
	}
	for _, l := range limits {
		if l.about(f) {
			f.Limits = append(f.Limits, f.judge(l.Limit))
		}
	}
	r.Figures = append(r.Figures, f)
}

// Missed returns how many limits were judged, and how many of them not kept.
func (r *Report) Missed() (judged, missed int) {
	for _, f := range r.Figures {
		for _, l := range f.Limits {
			judged++
			if !l.Met {
				missed++
			}
		}
	}
	return judged, missed
}

// JSON encodes the report.
func (r *Report) JSON() ([]byte, error) {
	data, err := json.MarshalIndent(r, "", " ")
	return append(data, '\n'), err
}
