package device

import (
	"testing"
	"time"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/sched"
)

// An interval is short where there is news, and grows with the mesh in any case.
func TestBeat(t *testing.T) {
	for _, c := range []struct {
		devices int
		quiet   bool
		want    time.Duration
	}{
		{1, false, time.Second}, {1, true, 5 * time.Second}, {3, false, time.Second}, {10, false, 3 * time.Second},
		{5, true, 5 * time.Second}, {30, true, 30 * time.Second}, {200, false, time.Minute}, {200, true, 200 * time.Second},
		{10_000, true, protocol.MaxStatusInterval},
	} {
		if got := statusInterval(c.devices, c.quiet); got != c.want {
			t.Errorf("%d devices, quiet %v: %v, want %v", c.devices, c.quiet, got, c.want)
		}
	}
}

// Placement believes of a quiet device what that device's own interval allows: in a mesh
// of any size idle nodes keep nobody waiting, and none is left out.
func TestQuietDevicesAreBelievedForTheirBeat(t *testing.T) {
	for _, devices := range []int{3, 60, 100, 200, 5000} {
		now := time.Duration(0)
		v := sched.NewView("self", func() time.Duration { return now }, sched.DefaultParams())
		s := protocol.Status{
			Node: "idle", Role: protocol.RoleNode, Sequence: 1, Interval: statusInterval(devices, true), Speed: 1, CPUs: 4, CPUFree: 4, Slots: 4,
		}
		v.Joined(s.Node, "idle", "")
		for range 3 { // intervals
			s.Sequence++
			v.UpdateStatus(s)
			for range 20 {
				for _, p := range v.Snapshot(nil).Peers {
					if p.Node == s.Node && (p.Stale || p.Waited > 0) {
						t.Fatalf("%d devices, after %v: stale %v, waited %v", devices, now, p.Stale, p.Waited)
					}
				}
				now += s.Interval / 20
			}
		}
		now += time.Duration(sched.DefaultParams().StaleIntervals) * s.Interval
		for _, p := range v.Snapshot(nil).Peers {
			if p.Node == s.Node && (!p.Stale || p.Waited == 0) {
				t.Errorf("%d devices: one that is silent for several intervals counts", devices)
			}
		}
	}
}
