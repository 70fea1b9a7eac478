package report

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"text/tabwriter"
)

// Table prints the report for people.
func (r *Report) Table(w io.Writer) {
	m := &r.Machine
	fmt.Fprintf(w, "\n%s, %d cores, %.0f GB of memory; %s; %s; load %.1f before, %.1f after; %.0f s\n\n",
		m.Processor, m.Cores, float64(m.Memory)/1e9, m.Kernel, m.Go, m.Load[0], m.Load[1], r.Seconds)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "what\tnodes\tmedian\tp95\tp99\tn\treference\tits median\tratio\tdifference\tlimit\t")
	for _, f := range r.Figures {
		fmt.Fprintln(t, strings.Join(f.row(), "\t")+"\t")
	}
	t.Flush()
	judged, missed := r.Missed()
	fmt.Fprintf(w, "\n%d of %d limits are kept.\n", judged-missed, judged)
	for _, what := range r.Unmeasured {
		fmt.Fprintf(w, "NOT MEASURED: %s\n", what)
	}
	told := make(map[string]bool)
	for _, f := range r.Figures {
		if f.Note != "" && !told[f.Group+f.Name] {
			told[f.Group+f.Name] = true
			fmt.Fprintf(w, "  %s: %s: %s\n", f.Group, f.Name, f.Note)
		}
	}
}

// title names the figure to people.
func (f *Figure) title() string {
	if f.Nodes > 0 {
		return fmt.Sprintf("%s: %s, %d nodes", f.Group, f.Name, f.Nodes)
	}
	return f.Group + ": " + f.Name
}

func (f *Figure) row() []string {
	nodes := ""
	if f.Nodes > 0 {
		nodes = strconv.Itoa(f.Nodes)
	}
	row := []string{f.Group + ": " + f.Name, nodes, short(f.Stats.Median) + " " + f.Unit, short(f.Stats.P95), short(f.Stats.P99), strconv.Itoa(f.Stats.Count)}
	if ref := f.Reference; ref != nil {
		row = append(row, ref.Name, short(ref.Stats.Median), short(ref.Ratio), fmt.Sprintf("%+.3g", ref.Difference))
	} else {
		row = append(row, "", "", "", "")
	}
	var kept []string
	for _, l := range f.Limits {
		verdict := "met"
		if !l.Met {
			verdict = fmt.Sprintf("NOT MET (%s)", short(l.Value))
		}
		kept = append(kept, l.String()+": "+verdict)
	}
	return append(row, strings.Join(kept, "; "))
}

// short prints a number with about three digits.
func short(v float64) string {
	if v == math.Trunc(v) || math.Abs(v) >= 100 {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}
