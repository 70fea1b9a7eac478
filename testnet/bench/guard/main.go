// Command guard compares what does not depend on the machine's mood with the
// figures that are kept in the repository (guard.json): allocations of chosen
// benchmarks, goroutines and heap of an idle node, the engine's calls for an
// execution, the size of the binary, and what is linked into it. It fails where
// one grew by more than 5 %, and where one fell by more than 20 %: a figure that
// was improved must be kept, else the improvement can be lost unnoticed.
//
//	go run ./testnet/bench/guard           compare
//	go run ./testnet/bench/guard -update   accept what is measured now
//
// It is run from the root of the source tree. Times are not looked at: `make
// bench` tells them. Instructions are not counted either: that takes hardware
// counters, which most CI machines lack, or an emulator that runs a Go program for
// minutes.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	goruntime "runtime"
	"slices"
	"text/tabwriter"
)

const (
	file = "testnet/bench/guard.json"
	// tolerance is by how much a figure may grow, slack by how much it may fall.
	tolerance = 0.05
	slack     = 0.20
)

// kept is the file: figures by their names, and the Go that they were measured
// with, for another one allocates otherwise.
type kept struct {
	Go      string             `json:"go"`
	Figures map[string]float64 `json:"figures"`
}

func main() {
	update := flag.Bool("update", false, "keep what is measured now")
	flag.Parse()
	failed, err := run(*update)
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(2)
	}
	if failed > 0 {
		os.Exit(1)
	}
}

// run returns how many figures are out of bounds.
func run(update bool) (failed int, err error) {
	now := kept{Go: goruntime.Version(), Figures: make(map[string]float64)}
	if err := measure(now.Figures); err != nil {
		return 0, err
	}
	var before kept
	data, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(data, &before)
	}
	if err != nil && (!update || !errors.Is(err, fs.ErrNotExist)) {
		return 0, fmt.Errorf("the kept figures: %w", err)
	}
	worse, better := compare(os.Stdout, before.Figures, now.Figures)
	if update {
		data, err := json.MarshalIndent(now, "", "  ")
		if err == nil {
			err = os.WriteFile(file, append(data, '\n'), 0o644)
		}
		return 0, err
	}
	if worse > 0 && before.Go != now.Go {
		fmt.Printf("\nThe kept figures are of %s, and this is %s: that may be why.\n", before.Go, now.Go)
	}
	if worse > 0 {
		fmt.Printf("\n%d figures are more than %.0f %% worse. Mend it; or, where it is worth it, accept it with `make bench-guard UPDATE=1` and say why in the commit.\n", worse, 100*tolerance)
	}
	if better > 0 {
		fmt.Printf("\n%d figures fell by more than %.0f %%. Keep them with `make bench-guard UPDATE=1`.\n", better, 100*slack)
	}
	return worse + better, nil
}

// compare prints the figures beside the kept ones. One that is not measured any
// more, or is new, counts as worse: the file must say what is guarded.
func compare(w io.Writer, before, now map[string]float64) (worse, better int) {
	names := make([]string, 0, len(now))
	for name := range now {
		names = append(names, name)
	}
	for name := range before {
		if _, ok := now[name]; !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "figure\tkept\tnow\t\t")
	for _, name := range names {
		old, was := before[name]
		v, is := now[name]
		verdict := ""
		switch {
		case !was:
			verdict, worse = "NEW", worse+1
		case !is:
			verdict, worse = "NOT MEASURED", worse+1
		case v > allowed(old):
			verdict, worse = fmt.Sprintf("WORSE by %s", change(old, v)), worse+1
		case v < old*(1-slack):
			verdict, better = fmt.Sprintf("BETTER by %s", change(old, v)), better+1
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t\n", name, number(old, was), number(v, is), verdict)
	}
	t.Flush()
	return worse, better
}

// allowed is what a figure may grow to.
func allowed(v float64) float64 { return v * (1 + tolerance) }

func change(from, to float64) string {
	if from == 0 {
		return number(to, true)
	}
	return fmt.Sprintf("%.1f %%", 100*math.Abs(to-from)/from)
}

func number(v float64, known bool) string {
	if !known {
		return "-"
	}
	return fmt.Sprintf("%.6g", v)
}
