//go:build !linux

package reaper

import "time"

var started = time.Now()

// Now returns the time since this process's start.
func Now() time.Duration { return time.Since(started) }

// bootID tells each process from all others, as Now does not go on after it.
func bootID() string { return started.String() }
