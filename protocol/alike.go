package protocol

import (
	"math"
	"reflect"
)

// little is the share by which what always moves, as free memory does, may differ
// and still say the same.
const little = 0.05

// Alike reports whether two statuses of one device say the same, but for what always
// moves a little and for their numbers. Older is the one that came first.
func (s *Status) Alike(older *Status) bool {
	near := func(x, y, whole float64) bool { return math.Abs(x-y) <= little*whole }
	if !near(s.Score, older.Score, older.Score) ||
		!near(float64(s.CPUOthers), float64(older.CPUOthers), float64(older.CPUs)) ||
		!near(float64(s.MemoryFree), float64(older.MemoryFree), float64(older.MemoryTotal)) ||
		!near(float64(s.DiskFree), float64(older.DiskFree), float64(older.DiskFree)) {
		return false
	}
	if s.Youngest < older.Youngest || s.LongRunning.Ran < older.LongRunning.Ran {
		return false // else they have just grown older
	}
	c := *s
	c.Youngest, c.LongRunning.Ran, c.Sequence = older.Youngest, older.LongRunning.Ran, older.Sequence
	c.Interval, c.Score, c.CPUOthers, c.MemoryFree, c.DiskFree = older.Interval, older.Score, older.CPUOthers, older.MemoryFree, older.DiskFree
	return reflect.DeepEqual(&c, older)
}
