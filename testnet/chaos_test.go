package testnet_test

import (
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/hearth-edge/hearth/testnet/chaos"
)

// What TestChaos does unless `make chaos` says otherwise.
const (
	chaosSeed  = 1
	chaosShort = 50 * time.Second
)

// TestChaos: five devices with engines of their own, under load, to whom faults
// happen by a schedule of random ones, keep every promise. CHAOS_SEED and
// CHAOS_MINUTES choose another schedule (`make chaos`).
//
// It takes the whole machine, so it runs beside no other test.
func TestChaos(t *testing.T) {
	seed, total, asked := uint64(chaosSeed), chaosShort, false
	if text := os.Getenv("CHAOS_SEED"); text != "" {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatalf("CHAOS_SEED: %v", err)
		}
		seed, asked = n, true
	}
	if text := os.Getenv("CHAOS_MINUTES"); text != "" {
		n, err := strconv.ParseFloat(text, 64)
		if err != nil || n <= 0 {
			t.Fatalf("CHAOS_MINUTES is %q, which is no number of minutes", text)
		}
		total, asked = time.Duration(n*float64(time.Minute)), true
	}
	steps := chaos.Schedule(seed, 5, total)
	t.Logf("seed %d, %v:", seed, total)
	for _, s := range steps {
		t.Log(s)
	}
	m := chaos.Start(t, chaos.Options{Seed: seed, Devices: 5, Engines: true, Clocks: true, Disk: 8 << 20})
	load := m.Load(chaos.LoadOptions{Apps: 1, Lines: 20, Every: 200 * time.Millisecond, Timeout: 6 * time.Minute, Keep: asked})
	m.Play(steps)
	m.WaitAll()
	m.Settle(load)
}
