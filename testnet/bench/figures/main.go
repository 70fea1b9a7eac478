// Command figures puts what became of every promise in runs of the benchmarks into
// the page of figures, and the chief ones into the README:
//
//	go run ./testnet/bench/figures testnet/out/bench.json testnet/out/faults.json
//
// It is run from the root of the source tree. A run that was not made is left out,
// and what it would have measured is said to be unmeasured.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/hearth-edge/hearth/testnet/bench/report"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: figures REPORT.json...")
		os.Exit(2)
	}
	if err := write(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func write(runs []string) error {
	reports, err := read(runs)
	if err != nil {
		return err
	}
	return errors.Join(
		insert("README.md", true, reports),
		insert("cmd/hearth/help/figures.md", false, reports),
	)
}

func read(runs []string) ([]*report.Report, error) {
	var reports []*report.Report
	for _, name := range runs {
		data, err := os.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) {
			fmt.Fprintf(os.Stderr, "%s was not measured\n", name)
			continue
		}
		if err != nil {
			return nil, err
		}
		r := new(report.Report)
		if err := json.Unmarshal(data, r); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		reports = append(reports, r)
	}
	return reports, nil
}

func insert(path string, brief bool, reports []*report.Report) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	filled, err := report.Insert(string(text), brief, reports...)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return os.WriteFile(path, []byte(filled), 0o644)
}
