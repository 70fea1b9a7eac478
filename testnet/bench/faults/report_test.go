package faults

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
	code := run.Main(m, "faults")
	if err := testnet.Cleanup(); err != nil {
		fmt.Fprintln(os.Stderr, "clean up:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

// timed is a time that is measured a number of times.
type timed struct {
	name    string
	seconds []float64
}

func (t *timed) add(d time.Duration) { t.seconds = append(t.seconds, d.Seconds()) }

// record puts a time into the report, where it was measured at all.
func (t *timed) record(b *testing.B, note string) {
	b.Helper()
	if len(t.seconds) > 0 {
		run.Record(b, &report.Figure{Group: "faults", Name: t.name, Nodes: 3, Unit: "s", Samples: t.seconds, Note: note})
	}
}
