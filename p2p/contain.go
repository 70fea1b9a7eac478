package p2p

import (
	"errors"
	"log/slog"
	"runtime/debug"
)

// errPanic is what becomes of a handshake or a message over which this device has
// panicked.
var errPanic = errors.New("a failure of this device, which its log tells")

// contain runs f, which handles what a device has sent. If f panics, that is
// logged, and the error is errPanic: what was sent is refused, and nothing else.
// It has no place where f can leave a mutex locked.
func contain(log *slog.Logger, from any, f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			log.Error("panic while serving a device", "peer", from, "err", r, "stack", string(debug.Stack()))
			err = errPanic
		}
	}()
	return f()
}
