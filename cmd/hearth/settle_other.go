//go:build !linux

package main

import "runtime/debug"

// settle gives back the memory that only starting took.
func settle() error {
	debug.FreeOSMemory()
	return nil
}

// allowLateTimers has no meaning here.
func allowLateTimers() error { return nil }
