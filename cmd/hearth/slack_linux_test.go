package main

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Timers of all threads may be late: of those that there are, and of those that
// they start. Without the privilege it is the calling thread.
func TestAllowLateTimers(t *testing.T) {
	runtime.LockOSThread() // and never unlock it: the thread ends with the test
	if err := unix.Prctl(unix.PR_SET_TIMERSLACK, 50_000, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	err := allowLateTimers()
	if err != nil && !errors.Is(err, unix.EPERM) {
		t.Fatal(err)
	}
	if now, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0); err != nil || time.Duration(now) != timerSlack {
		t.Errorf("the calling thread's timers may be %v late, %v", time.Duration(now), err)
	}
	if err != nil {
		t.Logf("of other threads: %v", err)
		return
	}
	threads, err := filepath.Glob("/proc/self/task/[0-9]*")
	if err != nil || len(threads) < 2 {
		t.Fatalf("%v, %v", threads, err)
	}
	for _, thread := range threads {
		text, err := os.ReadFile(filepath.Join("/proc", filepath.Base(thread), "timerslack_ns"))
		if errors.Is(err, os.ErrNotExist) {
			continue // it has ended
		}
		if err != nil || strings.TrimSpace(string(text)) != "1000000" {
			t.Errorf("%s: %s, %v", thread, text, err)
		}
	}
}
