package lifesim

import (
	"context"
	"flag"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

var (
	seed  = flag.Uint64("seed", 0, "simulate this seed alone, and print its trace")
	seeds = flag.Uint64("seeds", 1000, "how many seeds are simulated")
)

// simulate runs one seed in a bubble of its own.
func simulate(t *testing.T, cfg Config) (violations, trace []string) {
	synctest.Test(t, func(t *testing.T) { violations, trace = Run(context.Background(), cfg) })
	return violations, trace
}

// search simulates seeds until one breaks a promise, in parallel, and returns
// it, what was broken and the history; 0 where none does.
func search(t *testing.T, most uint64, bugs Bugs) (found uint64, violations, history []string) {
	t.Helper()
	var next atomic.Uint64
	var mu sync.Mutex
	t.Run("seeds", func(t *testing.T) {
		for range 2 {
			t.Run("", func(t *testing.T) {
				t.Parallel()
				for s := next.Add(1); s <= most; s = next.Add(1) {
					cfg := DefaultConfig(s)
					cfg.Bugs = bugs
					broken, trace := simulate(t, cfg)
					if len(broken) == 0 {
						continue
					}
					mu.Lock()
					if found == 0 || s < found {
						found, violations, history = s, broken, trace
					}
					mu.Unlock()
					next.Store(most)
				}
			})
		}
	})
	return found, violations, history
}

func TestPromisesAreKept(t *testing.T) {
	if *seed > 0 {
		broken, trace := simulate(t, DefaultConfig(*seed))
		t.Log("\n" + strings.Join(trace, "\n"))
		if len(broken) > 0 {
			t.Errorf("seed %d:\n%s", *seed, strings.Join(broken, "\n"))
		}
		return
	}
	start := time.Now()
	found, broken, trace := search(t, *seeds, Bugs{})
	if found > 0 {
		t.Fatalf("seed %d (try -seed %d -cpu 1, without -race):\n%s\n\n%s", found, found, strings.Join(broken, "\n"), strings.Join(trace, "\n"))
	}
	t.Logf("%d seeds in %v", *seeds, time.Since(start).Round(time.Millisecond))
}

// Each deliberate mistake is found, or the search could find nothing.
func TestBugsAreFound(t *testing.T) {
	for _, c := range []struct {
		name  string
		bugs  Bugs
		seeds uint64
	}{
		{"skip the sync", Bugs{SkipSync: true}, 200},
		{"forget duplicates", Bugs{ForgetDuplicates: true}, 200},
		{"forget what was denied", Bugs{ForgetDenied: true}, 3000},
		{"ignore the attempt", Bugs{IgnoreAttempt: true}, 1000},
		{"renew for anyone", Bugs{RenewAnything: true}, 200},
		{"go on after the lease", Bugs{IgnoreLeaseEnd: true}, 200},
		{"do not wait for the lease", Bugs{HastyRetry: true}, 200},
		{"take the offer for a renewal", Bugs{OfferIsRenewal: true}, 2000},
		{"no watchdog", Bugs{NoWatchdog: true}, 200},
	} {
		t.Run(c.name, func(t *testing.T) {
			found, broken, _ := search(t, c.seeds, c.bugs)
			if found == 0 {
				t.Fatalf("not found in %d seeds", c.seeds)
			}
			t.Logf("seed %d: %s", found, broken[0])
		})
	}
}

// TestRefusedHasNotRun: what is told as refused ran nowhere. It is told often enough
// for that to mean something, and a node that runs what it refuses is found.
func TestRefusedHasNotRun(t *testing.T) {
	refused := fmt.Sprintf("state %d, ", protocol.StateRefused)
	for _, bugs := range []Bugs{{}, {RunRefused: true}} {
		told, ran := 0, 0
		for seed := range uint64(60) {
			cfg := DefaultConfig(seed + 1)
			cfg.Bugs = bugs
			broken, trace := simulate(t, cfg)
			told += strings.Count(strings.Join(trace, "\n"), refused)
			for _, promise := range broken {
				if strings.Contains(promise, refused) && strings.HasSuffix(promise, "and has run") {
					ran++
				}
			}
		}
		if told < 10 || (ran > 0) != bugs.RunRefused {
			t.Errorf("%+v: %d were told as refused, %d of them had run", bugs, told, ran)
		}
	}
}
