package stack

import (
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

// saw takes in what the engine tells of the container now. It reports whether the
// instance has just failed.
func (i *instance) saw(c Container, restart protocol.RestartPolicy, now time.Time) (failed bool) {
	was := i.Container
	i.Container = c
	if c.State != was.State {
		i.stuckUntil = time.Time{}
	}
	if c.ID != was.ID {
		*i = instance{Container: c, busy: i.busy, absent: i.absent, fetch: i.fetch, failures: i.failures, notBefore: i.notBefore}
		was = Container{State: Created}
	}
	switch {
	case c.State == Running:
		if was.State != Running || c.Started.After(was.Started) {
			i.up, i.signalled, i.done, i.again, i.unhealthy = now, false, false, false, time.Time{}
		}
		i.sawHealth(c, now)
	case c.State == Exited && (was.State == Running || was.State == Created || c.Finished.After(was.Finished)):
		i.unhealthy = time.Time{}
		return i.ended(restart, now)
	}
	return false
}

func (i *instance) sawHealth(c Container, now time.Time) {
	switch {
	case c.Health != "unhealthy":
		i.unhealthy = time.Time{}
	case i.unhealthy.IsZero():
		i.unhealthy = now
	}
}

// ended judges an end, and reports whether it is a failure. What somebody else
// ended is none, and is started again, also where it ended with 0 and its policy
// is on-failure: an engine that shuts down ends all, and well-behaved programs
// exit with 0 then.
func (i *instance) ended(restart protocol.RestartPolicy, now time.Time) bool {
	if i.again { // it was stopped to begin anew
		return false
	}
	if restart == protocol.RestartNo {
		i.done = true
		return i.ExitCode != 0 && !i.signalled
	}
	if i.signalled {
		return false
	}
	if restart != protocol.RestartAlways && i.ExitCode == 0 {
		i.done = true
		return false
	}
	i.failed(now)
	return true
}

// endedByAnother notes that the engine was told to end it. News of the end may have
// come before.
func (i *instance) endedByAnother(restart protocol.RestartPolicy) {
	if i.State == Exited && !i.signalled {
		i.failures, i.notBefore = max(0, i.failures-1), time.Time{}
		i.done = i.done && restart == protocol.RestartNo
	}
	i.signalled = true
}

// failed counts a failure and sets the back-off. Earlier ones are forgotten if it
// ran well for long.
func (i *instance) failed(now time.Time) {
	if !i.up.IsZero() && now.Sub(i.up) >= healthyAfter {
		i.failures = 0
	}
	i.up = time.Time{}
	i.failures++
	i.notBefore = now.Add(backoff(i.failures))
}

// couldNot counts a step that failed: unlike after an end, the first try more
// comes after a pause, too.
func (i *instance) couldNot(now time.Time) {
	i.failures++
	i.notBefore = now.Add(backoff(i.failures + 1))
}

// adopted judges a container that was there before this process: completed says
// that it is known to have ended for good.
func (i *instance) adopted(restart protocol.RestartPolicy, completed bool) {
	if i.State == Exited {
		i.done = completed || restart == protocol.RestartNo
	}
}

// removed forgets the container.
func (i *instance) removed() {
	*i = instance{busy: i.busy, asked: i.asked, absent: i.absent, fetch: i.fetch, failures: i.failures, notBefore: i.notBefore}
}

// startAgain has an instance begin anew, at once, whatever it did before.
func (i *instance) startAgain() {
	i.failures, i.notBefore, i.stuckUntil, i.done = 0, time.Time{}, time.Time{}, false
	i.again = i.State == Running
}
