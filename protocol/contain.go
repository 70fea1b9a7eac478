package protocol

import (
	"errors"
	"log/slog"
	"runtime/debug"
)

// errPanic is what becomes of a conversation whose handling has panicked.
var errPanic = errors.New("a failure of this device, which its log tells")

// contain runs f, a part of a conversation that has a goroutine of its own. If f
// panics, that is logged by slog's default logger, since a conversation has none,
// and contain returns errPanic: the conversation ends as if the other side had
// left, and nothing else does. Whoever runs the conversation recovers from what
// its own goroutine does.
func contain(f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			slog.Error("panic in a conversation", "err", r, "stack", string(debug.Stack()))
			err = errPanic
		}
	}()
	return f()
}
