package bench

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/hearth-edge/hearth/testnet"
	"github.com/hearth-edge/hearth/testnet/bench/report"
)

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
	code := run.Main(m, "bench")
	if err := testnet.Cleanup(); err != nil {
		fmt.Fprintln(os.Stderr, "clean up:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

// record puts a figure into the report of this process.
func record(b *testing.B, f *report.Figure) {
	b.Helper()
	run.Record(b, f)
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
