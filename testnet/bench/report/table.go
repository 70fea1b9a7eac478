package report

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"text/tabwriter"
)

// Table prints the report for people: a line for each figure, and one for each
// limit on anything but its median.
func (r *Report) Table(w io.Writer) {
	fmt.Fprintf(w, "\n%s; %.0f s\n\n", r.Machine.String(), r.Seconds)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	columns := []string{"what", "nodes", "median", "p95", "p99", "n", "reference", "ratio", "limit", "", "established project"}
	fmt.Fprintln(t, strings.Join(columns, "\t")+"\t")
	group := ""
	for _, f := range r.Figures {
		if f.Group != group && group != "" {
			fmt.Fprintln(t, strings.Repeat("\t", len(columns)))
		}
		group = f.Group
		for _, row := range f.rows() {
			fmt.Fprintln(t, strings.Join(row, "\t")+"\t")
		}
	}
	t.Flush()
	r.conclude(w)
}

// conclude sums up which limits are kept, and says what a reader has to know.
func (r *Report) conclude(w io.Writer) {
	judged, missed := r.Missed()
	fmt.Fprintf(w, "\n%d of %d limits are kept.\n", judged-missed, judged)
	for _, f := range r.Figures {
		for _, l := range f.Limits {
			if !l.Met {
				fmt.Fprintf(w, "NOT MET: %s%s: %s, limit %s\n", f.title(), words[l.Of], quantity(l.Value, l.Unit), l)
			}
		}
	}
	for _, what := range r.Unmeasured {
		fmt.Fprintf(w, "NOT MEASURED: %s\n", what)
	}
	told := make(map[string]bool)
	for _, f := range r.Figures {
		if f.Note != "" && !told[f.Note] {
			told[f.Note] = true
			fmt.Fprintf(w, "  %s: %s: %s\n", f.Group, f.Name, f.Note)
		}
	}
	fmt.Fprintf(w, "  %s\n", explained)
}

// title names the figure to people.
func (f *Figure) title() string {
	return f.Group + ": " + f.inMesh()
}

// inMesh is the figure's name, and the mesh that it was measured in.
func (f *Figure) inMesh() string {
	switch f.Nodes {
	case 0:
		return f.Name
	case 1:
		return f.Name + ", 1 node"
	}
	return fmt.Sprintf("%s, %d nodes", f.Name, f.Nodes)
}

// rows are the figure's lines in the table. The first is for its samples and a
// limit on their median, and each further one for another limit.
func (f *Figure) rows() [][]string {
	nodes := ""
	if f.Nodes > 0 {
		nodes = strconv.Itoa(f.Nodes)
	}
	first := []string{
		f.Group + ": " + f.Name, nodes, quantity(f.Stats.Median, f.Unit), short(f.Stats.P95), short(f.Stats.P99),
		strconv.Itoa(f.Stats.Count), "", "", "", "", other(f.Group, f.Name, f.Nodes),
	}
	if f.Stats.Count == 1 {
		first[3], first[4] = "", ""
	}
	if ref := f.Reference; ref != nil {
		first[6], first[7] = ref.Name+" "+short(ref.Stats.Median), short(ref.Ratio)
	}
	rows := [][]string{first}
	for _, l := range f.Limits {
		if l.Of == "median" {
			rows[0][8], rows[0][9] = l.String(), l.verdict()
			continue
		}
		rows = append(rows, []string{strings.Repeat(" ", 4) + strings.TrimPrefix(words[l.Of], ", "), nodes, quantity(l.Value, l.Unit), "", "", "", "", "", l.String(), l.verdict(), ""})
	}
	return rows
}

// quantity prints a number with its unit.
func quantity(v float64, unit string) string {
	if unit == fold {
		return short(v) + "-fold"
	}
	return short(v) + " " + unit
}

// short prints a number with about three digits.
func short(v float64) string {
	if v == math.Trunc(v) || math.Abs(v) >= 100 {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}
