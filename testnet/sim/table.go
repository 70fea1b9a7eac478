package main

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// table prints the report for people.
func (r *report) table(w io.Writer) {
	fmt.Fprintf(w, "%s: %d nodes, %.0f requests", r.Scenario, r.Nodes, r.Requests)
	if r.About != "" {
		fmt.Fprintf(w, " (%s)", r.About)
	}
	fmt.Fprintln(w)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "policy\tmean s\tp50\tp95\tp99\tmean/oracle\tp50/oracle\tp95/oracle\tp99/oracle\toffers\tmessages\trefusals\toverload\tgiven back\tfairness\tstable\tfailed\t")
	for i := range r.Results {
		x := &r.Results[i]
		a, ci := &x.Avg, &x.CI
		fmt.Fprintf(t, "%s\t", x.Policy)
		for _, f := range []struct{ value, ci float64 }{{a.Mean, ci.Mean}, {a.P50, ci.P50}, {a.P95, ci.P95}, {a.P99, ci.P99}} {
			fmt.Fprintf(t, "%.3f ±%.3f\t", f.value, f.ci)
		}
		for _, f := range []ratio{x.MeanRatio, x.P50Ratio, x.P95Ratio, x.P99Ratio} {
			fmt.Fprintf(t, "%.2f ±%.2f\t", f.Value, f.CI)
		}
		stable := "yes"
		if !x.Stable {
			stable = "NO"
		}
		fmt.Fprintf(t, "%.2f\t%.2f\t%.2f\t%.1f\t%.4f\t%.2f\t%s\t%.1f%%\t\n",
			a.Offers, a.Messages, a.Refusals, a.Overload, a.GivenBack, a.Fairness, stable, 100*a.Failed)
	}
	t.Flush()
	fmt.Fprintln(w)
}
