package report

import (
	"fmt"
	"strconv"
	"strings"
)

// The lines between which a text has the figures.
const (
	begin = "<!-- figures: `make figures` writes what stands from here -->"
	end   = "<!-- to here -->"
)

// Markdown tells what became of every promise, or of the brief ones only, as a
// table. Figures that none of the reports has are said to be unmeasured.
func Markdown(brief bool, reports ...*Report) string {
	var b strings.Builder
	for _, r := range reports {
		fmt.Fprintf(&b, "%s, on %s.\n", r.Began.Format("2 January 2006"), r.Machine.String())
	}
	if len(reports) > 0 {
		fmt.Fprintln(&b)
	}
	fmt.Fprintln(&b, "| what | nodes | measured | limit | reference | established project |")
	fmt.Fprintln(&b, "|---|---|---|---|---|---|")
	for _, p := range limits {
		if p.brief || !brief {
			fmt.Fprintf(&b, "| %s |\n", strings.Join(p.cells(reports), " | "))
		}
	}
	fmt.Fprintf(&b, "\n%s\n", explained)
	return b.String()
}

// cells are the promise's row.
func (p *promise) cells(reports []*Report) []string {
	nodes := ""
	if p.nodes > 0 {
		nodes = strconv.Itoa(p.nodes)
	}
	cells := []string{p.group + ": " + p.name + words[p.Of], nodes, "not measured", p.String(), "", other(p.group, p.name, p.nodes)}
	for _, r := range reports {
		for _, f := range r.Figures {
			if !p.about(f) {
				continue
			}
			l := f.judge(p.Limit)
			cells[2] = quantity(l.Value, l.Unit)
			if !l.Met {
				cells[2] += ", **not met**"
			}
			if f.Reference != nil {
				cells[4] = fmt.Sprintf("%s: %s", f.Reference.Name, quantity(f.Reference.Stats.Median, f.Unit))
			}
		}
	}
	return cells
}

// Insert puts the table of [Markdown] into a text, in place of the one there.
func Insert(text string, brief bool, reports ...*Report) (string, error) {
	head, rest, found := strings.Cut(text, begin)
	_, tail, closed := strings.Cut(rest, end)
	if !found || !closed {
		return "", fmt.Errorf("there is no line %q, or none %q after it", begin, end)
	}
	return head + begin + "\n\n" + Markdown(brief, reports...) + "\n" + end + tail, nil
}
