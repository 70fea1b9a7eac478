// Command figures puts into a text, between the two lines that mark the place, what
// became of every promise in runs of the benchmarks:
//
//	go run ./testnet/bench/figures README.md testnet/out/bench.json testnet/out/faults.json
//
// A run that was not made is left out, and what it would have measured is said to be
// unmeasured.
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
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: figures TEXT REPORT.json...")
		os.Exit(2)
	}
	if err := insert(os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func insert(path string, runs []string) error {
	var reports []*report.Report
	for _, name := range runs {
		data, err := os.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) {
			fmt.Fprintf(os.Stderr, "%s was not measured\n", name)
			continue
		}
		if err != nil {
			return err
		}
		r := new(report.Report)
		if err := json.Unmarshal(data, r); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		reports = append(reports, r)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	filled, err := report.Insert(string(text), reports...)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return os.WriteFile(path, []byte(filled), 0o644)
}
