package report

import "fmt"

// A Limit is what the project promises itself of one statistic of a figure.
type Limit struct {
	// Of is the statistic: "min", "median", "p95", "p99", "max"; "p99/median"; or the
	// "ratio" or "difference" to the reference.
	Of string `json:"of"`
	// Bound is the most that it may be, or the least with AtLeast, in Unit: that
	// of the figure, or "fold" where one is divided by another.
	Bound   float64 `json:"bound"`
	Unit    string  `json:"unit"`
	AtLeast bool    `json:"at_least,omitempty"`
	// Value is what it is, Met whether that keeps the limit.
	Value float64 `json:"value"`
	Met   bool    `json:"met"`
}

// judge fills in what became of a limit.
func (f *Figure) judge(l Limit) Limit {
	if l.Unit != fold && l.Unit != f.Unit {
		panic(fmt.Sprintf("%s is in %s, and its limit in %s", f.title(), f.Unit, l.Unit))
	}
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

// words are what people are told of a statistic, after the name of its figure.
var words = map[string]string{
	"min": ", the least", "median": "", "p95": ", p95", "p99": ", p99", "max": ", the most",
	"p99/median": ", p99 to median", "ratio": ", against its reference", "difference": ", beyond its reference",
}

// fold is the unit of what says how many times something is something else.
const fold = "fold"

// A promise is a limit and the figure that it is for; nodes is 0 for meshes of
// every size.
type promise struct {
	group, name string
	nodes       int
	Limit
	// brief says that the README shows it.
	brief bool
}

// limits are the promises, in the order in which people read them.
var limits = []promise{
	{"overhead", "accepted", 3, most("median", 2, "ms"), true},
	{"overhead", "taken by a node", 3, most("median", 2, "ms"), false},
	{"overhead", "started", 3, most("difference", 5, "ms"), true},
	{"growth", "accepted", 3, most("median", 2, "ms"), false},
	{"growth", "accepted", 3, most("p99/median", 5, fold), false},
	{"growth", "accepted", 100, most("median", 4, "ms"), false},
	{"growth", "accepted", 100, most("p99/median", 5, fold), false},
	{"growth", "accepted", 200, most("ratio", 1.5, fold), false},
	{"growth", "started", 200, most("ratio", 1.5, fold), false},
	{"join", "ready", 3, most("median", 50, "ms"), false},
	{"join", "connected", 3, most("median", 100, "ms"), false},
	{"join", "usable", 3, most("median", 300, "ms"), true},
	{"loss", "killed", 2, most("median", 500, "ms"), true},
	{"loss", "frozen", 2, most("median", 3000, "ms"), false},
	{"loss", "cut off", 2, most("median", 3000, "ms"), true},
	{"idle", "memory of its own", 3, most("median", 12, "MB"), true},
	{"idle", "memory", 3, most("median", 28, "MB"), false},
	{"idle", "memory of each further node", 30, most("median", 60, "kB"), false},
	{"idle", "processor", 3, most("median", 0.2, "%"), false},
	{"idle", "disk writes", 3, most("max", 0, "B/s"), true},
	{"idle", "wake-ups", 3, most("median", 5, "/s"), false},
	{"idle", "network", 30, most("median", 10, "kB/s"), false},
	{"idle", "binary", 0, most("median", 28, "MB"), false},
	{"throughput", "requests through one device", 1, least("median", 2000, "/s"), false},
	{"throughput", "accepted at 1,000 a second", 1, most("p99", 20, "ms"), false},
	{"throughput", "output", 2, least("median", 200, "MB/s"), false},
	{"throughput", "memory with 1,000 attached", 1, most("median", 150, "MB"), false},
	{"burst", "requests run once, of 20", 10, least("min", 20, "requests"), true},
	{"burst", "requests run once, of 200", 10, least("min", 200, "requests"), false},
	{"burst", "requests run once, of 2000", 10, least("min", 2000, "requests"), false},
	{"faults", "noticed, killed", 3, most("median", 0.5, "s"), false},
	{"faults", "noticed, frozen", 3, most("median", 3, "s"), false},
	{"faults", "noticed, cut off", 3, most("median", 3, "s"), false},
	{"faults", "rejoined, killed", 3, most("p99", 2, "s"), false},
	{"faults", "rejoined, frozen", 3, most("p99", 2, "s"), false},
	{"faults", "rejoined, cut off", 3, most("p99", 2, "s"), false},
	{"faults", "run elsewhere, warm image", 3, most("p99", 10, "s"), false},
	{"faults", "wrong suspicions, idle", 13, most("max", 0, "times"), false},
	{"faults", "wrong suspicions, 30 % loss and 200 ms", 13, most("max", 0, "times"), false},
	{"faults", "request while a member floods scores", 3, most("ratio", 2, fold), false},
	{"faults", "request while a member floods streams", 3, most("ratio", 2, fold), false},
	{"faults", "request while a member floods frames", 3, most("ratio", 2, fold), false},
}

func most(of string, bound float64, unit string) Limit {
	return Limit{Of: of, Bound: bound, Unit: unit}
}

func least(of string, bound float64, unit string) Limit {
	return Limit{Of: of, Bound: bound, Unit: unit, AtLeast: true}
}

// about returns whether the promise is about the figure.
func (p *promise) about(f *Figure) bool {
	return p.group == f.Group && p.name == f.Name && (p.nodes == 0 || p.nodes == f.Nodes)
}

// String tells a limit to people.
func (l Limit) String() string {
	sign := "≤"
	if l.AtLeast {
		sign = "≥"
	}
	return sign + " " + quantity(l.Bound, l.Unit)
}

// verdict says whether the limit is kept.
func (l Limit) verdict() string {
	if l.Met {
		return "met"
	}
	return "NOT MET"
}
