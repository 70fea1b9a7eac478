package report

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// folder is where the report of a run is put.
var folder = flag.String("report", "", "write what is measured to this `folder` as JSON")

// Main runs a package's benchmarks, which record into r; then it prints the table
// and writes NAME.json. It returns the exit code.
func (r *Report) Main(m *testing.M, name string) int {
	flag.Parse()
	r.Began, r.Machine = time.Now(), thisMachine()
	code := m.Run()
	r.Machine.Load[1] = load()
	r.Seconds = time.Since(r.Began).Seconds()
	if len(r.Figures)+len(r.Unmeasured) == 0 || *folder == "" {
		return code
	}
	r.Table(os.Stdout)
	if err := r.write(*folder, name); err != nil {
		fmt.Fprintln(os.Stderr, "write the report:", err)
		return max(code, 1)
	}
	return code
}

func (r *Report) write(dir, name string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	data, err := r.JSON()
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, name+".json"), data, 0o644)
	}
	return err
}

// Record puts a figure into the report and gives the benchmark its median, and its
// 95th percentile where there are samples enough to have one.
func (r *Report) Record(b *testing.B, f *Figure) {
	b.Helper()
	if len(f.Samples) == 0 {
		b.Fatalf("%s was never measured", f.title())
	}
	r.Add(f)
	unit := strings.ReplaceAll(f.Name+"-"+f.Unit, " ", "-")
	b.ReportMetric(f.Stats.Median, unit)
	if f.Stats.Count >= 20 {
		b.ReportMetric(f.Stats.P95, "p95-"+unit)
	}
	if f.Reference != nil {
		b.ReportMetric(f.Reference.Stats.Median, strings.ReplaceAll(f.Reference.Name+"-"+f.Unit, " ", "-"))
	}
	b.ReportMetric(0, "ns/op") // it also counts what was done to prepare
}
