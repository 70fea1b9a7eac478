package bench

import (
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/hearth-edge/hearth/testnet"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if err := testnet.Cleanup(); err != nil {
		fmt.Fprintln(os.Stderr, "clean up:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

// series is what one quantity was measured as.
type series []time.Duration

func (s *series) add(d time.Duration) { *s = append(*s, d) }

// at returns the quantile q, 0 to 1.
func (s series) at(q float64) time.Duration {
	if len(s) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(s))
	return sorted[int(q*float64(len(sorted)-1)+0.5)]
}

// report gives the benchmark's median and 95th percentile in milliseconds.
func (s series) report(b *testing.B, name string) {
	b.ReportMetric(float64(s.at(0.5))/1e6, name+"-ms")
	b.ReportMetric(float64(s.at(0.95))/1e6, name+"-p95-ms")
}

// quiet removes the benchmark's own time per operation, which also counts what
// was done to prepare.
func quiet(b *testing.B) { b.ReportMetric(0, "ns/op") }
