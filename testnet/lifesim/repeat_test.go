//go:build !race

package lifesim

import (
	"runtime"
	"slices"
	"testing"
)

// The same seed is the same history on one processor: what happens at the same
// instant then happens in one order. The race detector shuffles that on purpose.
func TestSeedRepeats(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	for s := range uint64(5) {
		_, first := simulate(t, DefaultConfig(s+1))
		_, again := simulate(t, DefaultConfig(s+1))
		if !slices.Equal(first, again) {
			for i := range min(len(first), len(again)) {
				if first[i] != again[i] {
					t.Fatalf("seed %d: line %d\n%s\n%s", s+1, i, first[i], again[i])
				}
			}
			t.Fatalf("seed %d: %d lines, then %d", s+1, len(first), len(again))
		}
	}
}
