package docker

import (
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// The labels that say when a container was created: on which boot of this
// machine, and at what time since then.
const (
	labelBoot = "dev.hearth.boot"
	labelAt   = "dev.hearth.at"
)

// An instant is a moment on this machine's monotonic clock, which no one can
// set, which all processes of one boot share, and which stands still while the
// machine sleeps: as the timers do that limit how long a container runs.
type instant struct {
	boot string // which boot it belongs to; empty where that cannot be told
	at   time.Duration
}

// now reads the clock.
func now() instant {
	var t unix.Timespec
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil || unix.ClockGettime(unix.CLOCK_MONOTONIC, &t) != nil {
		return instant{}
	}
	return instant{strings.TrimSpace(string(boot)), time.Duration(t.Nano())}
}

// addTo writes the instant into a container's labels.
func (i instant) addTo(labels map[string]string) {
	labels[labelBoot] = i.boot
	labels[labelAt] = strconv.FormatInt(int64(i.at), 10)
}

// laterBoot reports whether the machine was started again since the labels were
// written, as far as that is known.
func (i instant) laterBoot(labels map[string]string) bool {
	return i.boot != "" && labels[labelBoot] != "" && i.boot != labels[labelBoot]
}

// since returns how long ago the labels were written; ok is false where that was
// on another boot, or is not known.
func (i instant) since(labels map[string]string) (ago time.Duration, ok bool) {
	at, err := strconv.ParseInt(labels[labelAt], 10, 64)
	if err != nil || i.boot == "" || i.boot != labels[labelBoot] || at > int64(i.at) {
		return 0, false
	}
	return i.at - time.Duration(at), true
}
