package report

import "fmt"

// A Limit is what the project promises itself of one statistic of a figure.
type Limit struct {
	// Of is the statistic: "min", "median", "p95", "p99", "max"; "p99/median"; or the
	// "ratio" or "difference" to the reference.
	Of string `json:"of"`
	// Bound is the most that it may be, or the least with AtLeast.
	Bound   float64 `json:"bound"`
	AtLeast bool    `json:"at_least,omitempty"`
	// Value is what it is, Met whether that keeps the limit.
	Value float64 `json:"value"`
	Met   bool    `json:"met"`
}

// judge fills in what became of a limit.
func (f *Figure) judge(l Limit) Limit {
	l.Value = f.statistic(l.Of)
	l.Met = l.Value <= l.Bound
	if l.AtLeast {
		l.Met = l.Value >= l.Bound
	}
	return l
}

func (f *Figure) statistic(of string) float64 {
	switch of {
	case "min":
		return f.Stats.Min
	case "median":
		return f.Stats.Median
	case "p95":
		return f.Stats.P95
	case "p99":
		return f.Stats.P99
	case "max":
		return f.Stats.Max
	case "p99/median":
		return f.Stats.P99 / f.Stats.Median
	case "ratio":
		return f.Reference.Ratio
	case "difference":
		return f.Reference.Difference
	}
	panic(fmt.Sprintf("there is no statistic %q", of))
}

// A promise is a limit and the figure that it is for; nodes is 0 for meshes of
// every size.
type promise struct {
	group, name string
	nodes       int
	Limit
}

// limits are the promises, in the units of their figures.
var limits = []promise{
	{"overhead", "accepted", 3, most("median", 2)},
	{"overhead", "taken by a node", 3, most("median", 2)},
	{"overhead", "started", 3, most("difference", 5)},
	{"growth", "accepted", 3, most("median", 2)},
	{"growth", "accepted", 3, most("p99/median", 5)},
	{"growth", "accepted", 100, most("median", 4)},
	{"growth", "accepted", 100, most("p99/median", 5)},
	{"growth", "started", 200, most("ratio", 1.5)},
	{"join", "ready", 0, most("median", 50)},
	{"join", "connected", 0, most("median", 100)},
	{"join", "usable", 0, most("median", 300)},
	{"loss", "killed", 0, most("median", 500)},
	{"loss", "frozen", 0, most("median", 3000)},
	{"loss", "cut off", 0, most("median", 3000)},
	{"idle", "memory", 3, most("median", 20)},
	{"idle", "memory of each further node", 30, most("median", 60)},
	{"idle", "processor", 3, most("median", 0.2)},
	{"idle", "disk writes", 3, most("max", 0)},
	{"idle", "wake-ups", 3, most("median", 5)},
	{"idle", "network", 30, most("median", 10)},
	{"idle", "binary", 0, most("median", 20)},
	{"throughput", "requests through one device", 0, least("median", 2000)},
	{"throughput", "accepted at 1,000 a second", 0, most("p99", 20)},
	{"throughput", "output", 0, least("median", 200)},
	{"throughput", "memory with 1,000 attached", 0, most("median", 150)},
	{"burst", "requests run once, of 20", 0, least("min", 20)},
	{"burst", "requests run once, of 200", 0, least("min", 200)},
	{"burst", "requests run once, of 2000", 0, least("min", 2000)},
}

func most(of string, bound float64) Limit { return Limit{Of: of, Bound: bound} }

func least(of string, bound float64) Limit { return Limit{Of: of, Bound: bound, AtLeast: true} }

// String tells a limit to people.
func (l Limit) String() string {
	sign, of := "≤", l.Of+" "
	if l.AtLeast {
		sign = "≥"
	}
	return fmt.Sprintf("%s%s %s", of, sign, short(l.Bound))
}
