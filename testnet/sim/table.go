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
	fmt.Fprintln(t, "policy\tmean s\tp50\tp95\tp99\tmean/oracle\tp99/oracle\toffers\tmessages\trefusals\toverload\tfairness\tstable\tfailed\t")
	for i := range r.Results {
		x := &r.Results[i]
		a := &x.Avg
		stable := "yes"
		if !x.Stable {
			stable = "NO"
		}
		fmt.Fprintf(t, "%s\t%.3f\t%.3f\t%.3f\t%.3f\t%.2f ±%.2f\t%.2f ±%.2f\t%.2f\t%.2f\t%.2f\t%.1f\t%.2f\t%s\t%.1f%%\t\n",
			x.Policy, a.Mean, a.P50, a.P95, a.P99, x.MeanRatio.Value, x.MeanRatio.CI, x.P99Ratio.Value, x.P99Ratio.CI,
			a.Offers, a.Messages, a.Refusals, a.Overload, a.Fairness, stable, 100*a.Failed)
	}
	t.Flush()
	fmt.Fprintln(w)
}
