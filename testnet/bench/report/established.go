package report

// An established is what somebody has today who takes the established project of
// this kind instead: one that speaks HTTP and asks every node for its score at each
// request. It was measured once, on a machine like the one that hearth is
// developed on, and is no part of a run.
type established struct {
	group, name string
	nodes       int
	figure      string
}

var instead = []established{
	{"overhead", "accepted", 3, "18–20 ms, and nothing is created yet"},
	{"overhead", "started", 3, "19 ms beyond the Engine API"},
	{"growth", "accepted", 10, "21 ms, p95 73 (8 nodes)"},
	{"join", "connected", 3, "90 ms"},
	{"join", "usable", 3, "1130 ms"},
	{"loss", "killed", 2, "61–64 s"},
	{"loss", "cut off", 2, "87–92 s"},
	{"idle", "memory", 3, "22.3 MB"},
	{"idle", "processor", 3, "0.3 %"},
	{"idle", "disk writes", 3, "25–47 kB/s"},
	{"idle", "binary", 0, "16.9 MB"},
	{"burst", "requests run once, of 20", 10, "2–3, all on one of 3 nodes"},
	{"faults", "run elsewhere, warm image", 3, "never, and the asker is not told"},
}

// explained says what the column of the established project is.
const explained = "The established project's figures are not of this run: they were measured once, on an equal machine."

// other returns what the established project's figure is, or nothing.
func other(group, name string, nodes int) string {
	for _, e := range instead {
		if e.group == group && e.name == name && e.nodes == nodes {
			return e.figure
		}
	}
	return ""
}
