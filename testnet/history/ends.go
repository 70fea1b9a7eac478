package history

import (
	"fmt"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

// ends looks at what was told of the request's end.
func (c *checker) ends(ran []*Container) {
	var accepted bool
	var last *Told // the end that was told
	for i := range c.request.Told {
		t := &c.request.Told[i]
		if t.State == 0 {
			if t.Code == protocol.CodeNotFound.String() && accepted && (last == nil || last.unknown()) {
				c.broken(NotForgotten, "at %v its device knew nothing of it: %s", t.At, t.Reason)
			}
			continue
		}
		accepted = true
		if !t.ended() || last != nil && same(last, t) {
			continue
		}
		if last != nil && !last.unknown() {
			c.broken(OneEnd, "%s, and then %s", text(last), text(t))
			continue
		}
		last = t
		c.truth(t, ran)
	}
	switch {
	case !accepted && len(ran) > 0:
		c.broken(NotForgotten, "it ran, as %v, and nobody was told that it was accepted", names(ran))
	case !accepted:
	case last == nil:
		c.broken(Ends, "it was asked of %s at %v and has not ended at %v", c.request.Device, c.request.Asked, c.h.Ended)
	case last.unknown():
		c.broken(Corrected, "%s", text(last))
	}
}

// truth compares an end with what the engines tell.
func (c *checker) truth(t *Told, ran []*Container) {
	var own *Container // that the end is of
	for _, k := range ran {
		if k.Attempt == t.Attempt && (k.Node == t.Node || t.Node == "") {
			own = k
		}
	}
	switch protocol.State(t.State) {
	case protocol.StateUnknown:
		return // promises nothing
	case protocol.StateSucceeded:
		c.exit(t, own)
	case protocol.StateFailed:
		if t.Code == "" || t.Code == protocol.CodeNone.String() {
			c.exit(t, own)
		}
	case protocol.StateRefused:
		if len(ran) > 0 {
			c.broken(Truth, "%s, and it ran as %v", text(t), names(ran))
		}
	case protocol.StateCancelled:
		if c.request.Stopped == 0 || c.request.Stopped > t.At {
			c.broken(Truth, "%s, and nobody wanted that", text(t))
		}
	case protocol.StateTimedOut:
		c.broken(Truth, "%s, and it had no time limit", text(t))
	}
	for _, k := range ran {
		if end := max(c.end(k), k.Started); end > t.At+Tolerance {
			c.broken(Truth, "%s, and container %s ran from %v until %v", text(t), name(k), k.Started, end)
		}
	}
}

// exit compares the exit code that was told with the engine's.
func (c *checker) exit(t *Told, own *Container) {
	switch {
	case own == nil:
		c.broken(Truth, "%s, and no such container was started", text(t))
	case own.Exited && own.ExitCode != t.ExitCode:
		c.broken(Truth, "%s, and the exit code of %s is %d", text(t), name(own), own.ExitCode)
	case t.State == State(protocol.StateSucceeded) != (t.ExitCode == 0):
		c.broken(Truth, "%s", text(t))
	}
}

// same reports whether both tell one end.
func same(a, b *Told) bool {
	return a.State == b.State && a.ExitCode == b.ExitCode && a.Attempt == b.Attempt && a.Node == b.Node
}

func text(t *Told) string {
	s := fmt.Sprintf("%v was told at %v: exit code %d, attempt %d on %s", t.State, t.At.Round(time.Millisecond), t.ExitCode, t.Attempt, tail(t.Node))
	if t.Code != "" || t.Reason != "" {
		s += fmt.Sprintf(" (%s: %s)", t.Code, t.Reason)
	}
	return s
}
