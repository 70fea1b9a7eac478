package p2p

import (
	"errors"
	"log/slog"
	"runtime/debug"
)

// errPanic is the error of a handler that panicked.
var errPanic = errors.New("a failure of this device, which its log tells")

// contain runs f, the handler of something a device sent. A panic in f is
// logged and becomes errPanic, so only this input is refused. f must not hold a
// mutex where it can panic.
func contain(log *slog.Logger, from any, f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			log.Error("panic while serving a device", "peer", from, "err", r, "stack", string(debug.Stack()))
			err = errPanic
		}
	}()
	return f()
}
