package protocol

import (
	"testing"
	"time"
)

// What always moves a little is no news; all else is.
func TestAlike(t *testing.T) {
	told := Status{
		Node: "n", Name: "a", Role: RoleNode, Interval: time.Second, Score: 100, Speed: 1, CPUs: 4, CPUFree: 4, Slots: 4,
		MemoryTotal: 1000, MemoryFree: 900, DiskFree: 10_000, Images: []uint32{1, 2}, Labels: map[string]string{"k": "v"},
		Addresses:   []string{"/ip4/10.0.0.1/tcp/7117"},
		LongRunning: LongRunning{Count: 1, Ran: time.Minute}, Youngest: 2 * time.Second,
	}
	for name, c := range map[string]struct {
		change func(*Status)
		alike  bool
	}{
		"nothing":               {func(*Status) {}, true},
		"its number":            {func(s *Status) { s.Sequence = 9 }, true},
		"its interval":          {func(s *Status) { s.Interval = time.Minute }, true},
		"a little memory":       {func(s *Status) { s.MemoryFree = 860 }, true},
		"much memory":           {func(s *Status) { s.MemoryFree = 840 }, false},
		"a little disk":         {func(s *Status) { s.DiskFree = 10_400 }, true},
		"much disk":             {func(s *Status) { s.DiskFree = 5_000 }, false},
		"others, a little":      {func(s *Status) { s.CPUOthers, s.Score = 0.1, 97.5 }, true},
		"others, much":          {func(s *Status) { s.CPUOthers, s.Score = 0.3, 92.5 }, false},
		"a better rating":       {func(s *Status) { s.Score = 120 }, false},
		"one more that runs":    {func(s *Status) { s.Running = 1 }, false},
		"cores taken":           {func(s *Status) { s.CPUFree = 3.99 }, false},
		"another image":         {func(s *Status) { s.Images = []uint32{1, 3} }, false},
		"an image less":         {func(s *Status) { s.Images = s.Images[:1] }, false},
		"another address":       {func(s *Status) { s.Addresses = []string{"/ip4/10.0.0.2/tcp/7117"} }, false},
		"no longer a node":      {func(s *Status) { s.Role = 0 }, false},
		"another label":         {func(s *Status) { s.Labels = map[string]string{"k": "w"} }, false},
		"it has grown older":    {func(s *Status) { s.Youngest, s.LongRunning.Ran = 3*time.Second, time.Hour }, true},
		"one began":             {func(s *Status) { s.Youngest = time.Second }, false},
		"a long one more":       {func(s *Status) { s.LongRunning.Count = 2 }, false},
		"a long one is gone":    {func(s *Status) { s.LongRunning.Ran = time.Second }, false},
		"its engine answers":    {func(s *Status) { s.NotReady = true }, false},
		"all of them, one by 6": {func(s *Status) { s.MemoryFree, s.DiskFree, s.Score = 860, 10_400, 94 }, false},
	} {
		s := told
		c.change(&s)
		if got := s.Alike(&told); got != c.alike {
			t.Errorf("%s: alike is %v", name, got)
		}
	}
	if !new(Status).Alike(new(Status)) {
		t.Error("a device that runs no work always has news")
	}
}
