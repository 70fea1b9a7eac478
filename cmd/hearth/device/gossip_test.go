package device

import (
	"testing"
	"time"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/sched"
)

// What always moves a little is no news; all else is.
func TestAlike(t *testing.T) {
	told := protocol.Status{
		Node: "n", Name: "a", Role: protocol.RoleNode, Beat: time.Second, Score: 100, Speed: 1, CPUs: 4, CPUFree: 4, Slots: 4,
		MemoryTotal: 1000, MemoryFree: 900, DiskFree: 10_000, Images: []uint32{1, 2}, Labels: map[string]string{"k": "v"},
		Addresses:   []string{"/ip4/10.0.0.1/tcp/7117"},
		LongRunning: protocol.LongRunning{Count: 1, Ran: time.Minute}, Youngest: 2 * time.Second,
	}
	for name, c := range map[string]struct {
		change func(*protocol.Status)
		alike  bool
	}{
		"nothing":               {func(*protocol.Status) {}, true},
		"its beat":              {func(s *protocol.Status) { s.Beat = time.Minute }, true},
		"a little memory":       {func(s *protocol.Status) { s.MemoryFree = 860 }, true},
		"much memory":           {func(s *protocol.Status) { s.MemoryFree = 840 }, false},
		"a little disk":         {func(s *protocol.Status) { s.DiskFree = 10_400 }, true},
		"much disk":             {func(s *protocol.Status) { s.DiskFree = 5_000 }, false},
		"others, a little":      {func(s *protocol.Status) { s.CPUOthers, s.Score = 0.1, 97.5 }, true},
		"others, much":          {func(s *protocol.Status) { s.CPUOthers, s.Score = 0.3, 92.5 }, false},
		"a better rating":       {func(s *protocol.Status) { s.Score = 120 }, false},
		"one more that runs":    {func(s *protocol.Status) { s.Running = 1 }, false},
		"cores taken":           {func(s *protocol.Status) { s.CPUFree = 3.99 }, false},
		"another image":         {func(s *protocol.Status) { s.Images = []uint32{1, 3} }, false},
		"an image less":         {func(s *protocol.Status) { s.Images = s.Images[:1] }, false},
		"another address":       {func(s *protocol.Status) { s.Addresses = []string{"/ip4/10.0.0.2/tcp/7117"} }, false},
		"no longer a node":      {func(s *protocol.Status) { s.Role = 0 }, false},
		"another label":         {func(s *protocol.Status) { s.Labels = map[string]string{"k": "w"} }, false},
		"it has grown older":    {func(s *protocol.Status) { s.Youngest, s.LongRunning.Ran = 3*time.Second, time.Hour }, true},
		"one began":             {func(s *protocol.Status) { s.Youngest = time.Second }, false},
		"a long one more":       {func(s *protocol.Status) { s.LongRunning.Count = 2 }, false},
		"a long one is gone":    {func(s *protocol.Status) { s.LongRunning.Ran = time.Second }, false},
		"its engine answers":    {func(s *protocol.Status) { s.NotReady = true }, false},
		"all of them, one by 6": {func(s *protocol.Status) { s.MemoryFree, s.DiskFree, s.Score = 860, 10_400, 94 }, false},
	} {
		s := told
		c.change(&s)
		if got := alike(&s, &told); got != c.alike {
			t.Errorf("%s: alike is %v", name, got)
		}
	}
	if !alike(new(protocol.Status), new(protocol.Status)) {
		t.Error("a device that runs no work always has news")
	}
}

// A beat is short where there is news, and grows with the mesh in any case.
func TestBeat(t *testing.T) {
	for _, c := range []struct {
		devices int
		quiet   bool
		want    time.Duration
	}{
		{1, false, time.Second}, {1, true, 5 * time.Second}, {3, false, time.Second}, {10, false, 3 * time.Second},
		{5, true, 5 * time.Second}, {30, true, 30 * time.Second}, {200, false, time.Minute}, {200, true, 200 * time.Second},
		{10_000, true, protocol.MaxBeat},
	} {
		if got := beat(c.devices, c.quiet); got != c.want {
			t.Errorf("%d devices, quiet %v: %v, want %v", c.devices, c.quiet, got, c.want)
		}
	}
}

// Placement believes of a quiet device what that device's own beat allows: in a mesh
// of any size idle nodes keep nobody waiting, and none is left out.
func TestQuietDevicesAreBelievedForTheirBeat(t *testing.T) {
	for _, devices := range []int{3, 60, 100, 200, 5000} {
		now := time.Duration(0)
		v := sched.NewView("self", func() time.Duration { return now }, sched.DefaultParams())
		s := protocol.Status{
			Node: "idle", Role: protocol.RoleNode, Sequence: 1, Beat: beat(devices, true), Speed: 1, CPUs: 4, CPUFree: 4, Slots: 4,
		}
		v.Joined(s.Node, "idle", "")
		for range 3 { // beats
			s.Sequence++
			v.UpdateStatus(s)
			for range 20 {
				for _, p := range v.Snapshot(nil).Peers {
					if p.Node == s.Node && (p.Stale || p.Waited > 0) {
						t.Fatalf("%d devices, after %v: stale %v, waited %v", devices, now, p.Stale, p.Waited)
					}
				}
				now += s.Beat / 20
			}
		}
		now += time.Duration(sched.DefaultParams().StatusBeats) * s.Beat
		for _, p := range v.Snapshot(nil).Peers {
			if p.Node == s.Node && (!p.Stale || p.Waited == 0) {
				t.Errorf("%d devices: one that is silent for several beats counts", devices)
			}
		}
	}
}
