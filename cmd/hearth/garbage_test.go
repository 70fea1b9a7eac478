package main

import (
	"runtime"
	"slices"
	"testing"
	"time"
)

// Garbage is collected early on a device that makes little, and as Go does it on one
// that makes much.
func TestCollectionPace(t *testing.T) {
	now := time.Now()
	var set []int
	p := &collectionPace{ended: now, set: func(percent int) int { set = append(set, percent); return 0 }}
	for _, apart := range []time.Duration{time.Minute, calmCycle, calmCycle - 1, time.Millisecond, time.Hour} {
		now = now.Add(apart)
		p.next(now)
	}
	if want := []int{calmPercent, busyPercent, calmPercent}; !slices.Equal(set, want) {
		t.Errorf("%v, want %v", set, want)
	}
}

// It is looked at after each of the collector's cycles.
func TestPaceCollection(t *testing.T) {
	told := make(chan int, 1)
	paceCollection(func(percent int) int {
		select {
		case told <- percent:
		default:
		}
		return 0
	})
	runtime.GC()
	select {
	case <-told:
	case <-time.After(10 * time.Second):
		t.Error("not told of a cycle")
	}
}
