package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// timerSlack is by how much what this process waits for may be late, so that the
// kernel wakes it once for several things: Go's runtime looks after its threads each
// 20 µs while one runs, which on a device that mostly sleeps is what most switches of
// threads are for. 50 µs is the kernel's own.
const timerSlack = time.Millisecond

// allowLateTimers sets it for all threads, and so for those that they start, unless
// it is that already, as by hearth.service. For other threads than the calling one
// it takes a privilege (CAP_SYS_NICE).
func allowLateTimers() error {
	if now, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0); err == nil && time.Duration(now) >= timerSlack {
		return nil
	}
	slack := strconv.FormatInt(timerSlack.Nanoseconds(), 10)
	threads, err := filepath.Glob("/proc/self/task/[0-9]*")
	if err != nil {
		return err
	}
	errs := []error{unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(timerSlack.Nanoseconds()), 0, 0, 0)}
	for _, t := range threads {
		path := filepath.Join("/proc", filepath.Base(t), "timerslack_ns")
		if err := os.WriteFile(path, []byte(slack), 0); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, fmt.Errorf("allow timers to be late: %w", err))
		}
	}
	return errors.Join(errs...)
}
