package reaper

import (
	"context"
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// sleep waits for d by Now, sleep of the machine included, and reports false where
// ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	fd, err := unix.TimerfdCreate(unix.CLOCK_BOOTTIME, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK)
	if err != nil {
		return sleepMonotonic(ctx, d)
	}
	timer := os.NewFile(uintptr(fd), "timer")
	defer timer.Close()
	at := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(max(d, 1)))}
	if err := unix.TimerfdSettime(fd, 0, &at, nil); err != nil {
		return sleepMonotonic(ctx, d)
	}
	release := context.AfterFunc(ctx, func() { _ = timer.SetReadDeadline(time.Unix(0, 1)) })
	defer release()
	if _, err := timer.Read(make([]byte, 8)); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		return sleepMonotonic(ctx, d)
	}
	return ctx.Err() == nil
}
