package chaos_test

import (
	"reflect"
	"testing"
	"time"

	"github.com/hearth-edge/hearth/testnet/chaos"
	"github.com/hearth-edge/hearth/testnet/history"
)

// TestSchedule: a seed says all; a device and the network have one fault at a
// time, nothing lasts beyond the end, and there is some of everything.
func TestSchedule(t *testing.T) {
	t.Parallel()
	const devices, total = 5, 10 * time.Minute
	kinds := map[history.Kind]bool{}
	for seed := range uint64(100) {
		steps := chaos.Schedule(seed, devices, total)
		if !reflect.DeepEqual(steps, chaos.Schedule(seed, devices, total)) {
			t.Fatalf("seed %d makes two schedules", seed)
		}
		free := map[int]time.Duration{}
		for _, s := range steps {
			kinds[s.Kind] = true
			if s.For <= 0 || s.At+s.For > total || len(s.Devices) == 0 {
				t.Errorf("seed %d: %v", seed, s)
			}
			var hit []int
			if s.Kind != history.Partition {
				hit = append(hit, s.Devices...)
			}
			if s.Kind == history.Partition || s.Kind == history.Isolate || s.Kind == history.Sleep {
				hit = append(hit, devices)
			}
			for _, d := range hit {
				if s.At < free[d] {
					t.Errorf("seed %d: %v, and the fault before lasts until %v", seed, s, free[d])
				}
				free[d] = s.At + s.For
			}
		}
	}
	if len(kinds) != 12 {
		t.Errorf("there are %d kinds of faults: %v", len(kinds), kinds)
	}
	if reflect.DeepEqual(chaos.Schedule(1, devices, total), chaos.Schedule(2, devices, total)) {
		t.Error("two seeds make one schedule")
	}
}
