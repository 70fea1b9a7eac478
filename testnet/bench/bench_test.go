package bench

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	goruntime "runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hearth-edge/hearth/testnet"
	"github.com/hearth-edge/hearth/testnet/bench/report"
)

// reportDir is where the report of a run is put.
var reportDir = flag.String("report", "", "write bench.json and bench.svg to this `folder`, and print the table")

// run is the report of this process; benchmarks run one after another.
var run report.Report

func TestMain(m *testing.M) {
	if os.Getenv(hostEnv) != "" {
		if err := host(); err != nil {
			fmt.Fprintln(os.Stderr, "host nodes:", err)
			os.Exit(1)
		}
		return
	}
	flag.Parse()
	run.Began = time.Now()
	run.Machine = thisMachine()
	code := m.Run()
	run.Machine.Load[1] = load()
	run.Seconds = time.Since(run.Began).Seconds()
	if *reportDir != "" && len(run.Figures) > 0 {
		run.Table(os.Stdout)
		if err := write(*reportDir); err != nil {
			fmt.Fprintln(os.Stderr, "write the report:", err)
			code = max(code, 1)
		}
	}
	if err := testnet.Cleanup(); err != nil {
		fmt.Fprintln(os.Stderr, "clean up:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

func write(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	data, err := run.JSON()
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "bench.json"), data, 0o644)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "bench.svg"), run.SVG(), 0o644)
	}
	return err
}

// record puts a figure into the report and gives the benchmark its median, and
// its 95th percentile where there are samples enough to have one.
func record(b *testing.B, f *report.Figure) {
	b.Helper()
	if len(f.Samples) == 0 {
		b.Fatalf("%s: %s was never measured", f.Group, f.Name)
	}
	run.Add(f)
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

// once ends a benchmark that has nothing to repeat.
func once(b *testing.B) {
	for b.Loop() { // Go runs one again that has not looped
	}
	b.ReportMetric(0, "ns/op")
}

// series is what one quantity was measured as, in milliseconds where it is a
// time.
type series []float64

func (s *series) add(d time.Duration) { *s = append(*s, float64(d)/1e6) }

func thisMachine() report.Machine {
	m := report.Machine{Processor: "unknown", Cores: goruntime.NumCPU(), Go: goruntime.Version() + " " + goruntime.GOARCH, Kernel: "unknown"}
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(text)) {
			if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
				m.Processor = strings.TrimSpace(value)
			}
		}
	}
	if text, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		m.Kernel = "Linux " + strings.TrimSpace(string(text))
	}
	if kib, err := field("/proc/meminfo", "MemTotal:", 1); err == nil {
		m.Memory = 1024 * kib
	}
	m.Load[0] = load()
	return m
}

// load is the number of processes that wanted to run in the last minute.
func load() float64 {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return 0
	}
	one, _, _ := strings.Cut(string(text), " ")
	n, err := strconv.ParseFloat(one, 64)
	if err != nil {
		return 0
	}
	return n
}
