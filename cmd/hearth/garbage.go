package main

import (
	"runtime"
	"time"
)

const (
	// calmCycle is how long the collector's cycles are apart at least on a device that
	// has little to do.
	calmCycle = 100 * time.Millisecond
	// calmPercent and busyPercent are by how much the heap may grow over what is alive
	// before it is collected (GOGC): on a calm device, where a cycle costs next to
	// nothing, and on a busy one, where it is Go's own.
	calmPercent, busyPercent = 20, 100
)

// paceCollection has the garbage of a calm device be collected early, so that it holds
// little more memory than it uses, and that of a busy one as Go does by itself. It
// is for the rest of the process; set is debug.SetGCPercent.
func paceCollection(set func(percent int) int) {
	p := &collectionPace{set: set, ended: time.Now()}
	p.cycle = func(c *collectionCycle) {
		p.next(time.Now())
		runtime.SetFinalizer(c, p.cycle)
	}
	runtime.SetFinalizer(&collectionCycle{p}, p.cycle)
}

// A collectionCycle is garbage, whose finalizer is thus called after each cycle.
type collectionCycle struct{ *collectionPace }

type collectionPace struct {
	set     func(percent int) int
	cycle   func(*collectionCycle)
	ended   time.Time // the last cycle
	percent int
}

// next is called at the end of each cycle, by the goroutine that runs finalizers.
func (p *collectionPace) next(now time.Time) {
	percent := busyPercent
	if now.Sub(p.ended) >= calmCycle {
		percent = calmPercent
	}
	p.ended = now
	if percent != p.percent {
		p.percent = percent
		p.set(percent)
	}
}
