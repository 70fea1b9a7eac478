package faults

import (
	"fmt"
	"os"
	"slices"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/hearth-edge/hearth/testnet"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if err := testnet.Cleanup(); err != nil {
		fmt.Fprintln(os.Stderr, "clean up:", err)
		code = max(code, 1)
	}
	table()
	os.Exit(code)
}

// figures are what was measured, in their order.
var figures []*figure

// A figure is a time that was measured a number of times, or a text.
type figure struct {
	name, limit string
	times       []time.Duration
	text        string
}

// reported begins a figure, in place of one that an earlier, shorter run of the
// benchmark made.
func reported(name, limit string) *figure {
	figures = slices.DeleteFunc(figures, func(f *figure) bool { return f.name == name })
	f := &figure{name: name, limit: limit}
	figures = append(figures, f)
	return f
}

func (f *figure) add(d time.Duration) { f.times = append(f.times, d) }

func (f *figure) at(q float64) time.Duration {
	sorted := slices.Sorted(slices.Values(f.times))
	return sorted[int(q*float64(len(sorted)-1)+0.5)].Round(time.Millisecond)
}

func table() {
	if len(figures) == 0 {
		return
	}
	fmt.Println()
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "FIGURE\tMEDIAN\tP99\tWORST\tTIMES\tLIMIT")
	for _, f := range figures {
		switch {
		case f.text != "":
			fmt.Fprintf(w, "%s\t%s\t\t\t\t%s\n", f.name, f.text, f.limit)
		case len(f.times) > 0:
			fmt.Fprintf(w, "%s\t%v\t%v\t%v\t%d\t%s\n", f.name, f.at(0.5), f.at(0.99), f.at(1), len(f.times), f.limit)
		}
	}
	w.Flush()
}

// metric gives the benchmark's own line the figure too.
func metric(b *testing.B, f *figure, unit string) {
	if len(f.times) > 0 {
		b.ReportMetric(float64(f.at(0.5))/1e6, unit+"-ms")
		b.ReportMetric(float64(f.at(0.99))/1e6, unit+"-p99-ms")
	}
	b.ReportMetric(0, "ns/op")
}
