package runtime

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

// errGone is the error of a container that is gone with its exit state.
var errGone = protocol.Errorf(protocol.CodeNotFound, "its container was removed by someone else; how it ended is not known")

// An outcome is how a container ended, and why.
type outcome struct {
	exit Exit
	err  error
	// cause is StateCancelled or StateTimedOut where this node ended it.
	cause protocol.State
	// signalled: it was sent its stop signal; killed: SIGKILL, after that or at once.
	signalled, killed bool
}

// stopped says how this node ended it.
func (o *outcome) stopped() string {
	switch {
	case o.killed && o.signalled:
		return "stopped: it did not end in time, and was killed"
	case o.killed:
		return "killed"
	}
	return "stopped"
}

// exited reports whether the exit code is the container's own.
func (o *outcome) exited() bool {
	return o.exit.Lost == 0 && (o.err == nil || protocol.CodeOf(o.err) == protocol.CodeStartFailed)
}

// follow looks after a container that was started: it passes on output and
// input, carries out stops, and tells the end after all output. stdio is nil
// where the container is to be attached to.
func (e *execution) follow(ctx context.Context, stdio *Stdio) {
	out := newOutput(e)
	working, cancel := context.WithCancel(ctx)
	defer cancel()
	reading, stopReading := context.WithCancel(working)
	waiting, stopWaiting := context.WithCancel(reading)
	feeding, endInput := context.WithCancel(working)
	defer stopReading()
	defer stopWaiting()
	defer endInput()
	out.stopReading, out.stopWaiting = stopReading, stopWaiting
	var helpers sync.WaitGroup
	helpers.Go(func() { out.pump(reading, waiting, stdio) })
	if stdio != nil && stdio.Stdin != nil {
		helpers.Go(func() { e.input.pump(feeding, stdio.Stdin) })
	} else {
		e.input.close()
	}
	exited := make(chan outcome, 1)
	helpers.Go(func() { exited <- e.wait(working) })

	e.setWriting(writesFiles, nil)
	e.reachInto(e.container, protocol.StateRunning)
	end := e.supervise(ctx, exited)
	e.reachInto("", protocol.StateLost)
	e.setWriting(writeNone, nil)
	if ctx.Err() == nil {
		e.node.release(e)
		e.input.close()
		endInput()
		out.drain(ctx, end.cause != 0)
	}
	left := ctx.Err() != nil
	cancel()
	helpers.Wait()
	if left {
		e.abandon()
		return
	}
	e.end(e.ending(end, out), end.exit.Ran)
	if e.filled() != nil || e.awaitRead(ctx) { // what filled the disk is not kept there
		e.remove(ctx)
	}
}

// wait returns how the container ended, over restarts of the engine.
func (e *execution) wait(ctx context.Context) outcome {
	for {
		exit, err := e.node.cfg.Driver.Wait(ctx, e.spec.ID)
		switch {
		case err == nil:
			return outcome{exit: exit}
		case errors.Is(err, ErrNotFound):
			return outcome{err: errGone}
		case protocol.CodeOf(err) == protocol.CodeStartFailed:
			return outcome{exit: exit, err: err}
		}
		if err := e.node.engineBack(ctx); err != nil {
			return outcome{err: err}
		}
	}
}

// supervise returns when the container has ended, or ctx.
func (e *execution) supervise(ctx context.Context, exited <-chan outcome) outcome {
	var cause protocol.State
	overdue, kill := time.NewTimer(e.spec.Timeout-e.ranBefore), time.NewTimer(0)
	kill.Stop()
	if e.spec.Timeout == 0 {
		overdue.Stop()
	}
	defer overdue.Stop()
	defer kill.Stop()
	var killAt time.Time // zero: not stopped yet
	var asked, killed bool
	end := func(why protocol.State, grace time.Duration) {
		if cause == 0 {
			cause = why
		}
		at := time.Now().Add(grace)
		if grace > 0 && killAt.IsZero() {
			asked = true
			e.signal(ctx, "")
		}
		if killAt.IsZero() || at.Before(killAt) {
			killAt = at
			kill.Reset(grace)
		}
	}
	for {
		select {
		case o := <-exited:
			o.cause, o.signalled, o.killed = cause, asked, killed
			return o
		case <-e.control.notify:
			e.sendControl(ctx)
		case grace := <-e.stops:
			end(protocol.StateCancelled, grace)
		case <-overdue.C:
			end(protocol.StateTimedOut, timeoutGrace)
		case <-kill.C:
			// Again and again: the engine may have been down.
			killed = true
			e.signal(ctx, "KILL")
			kill.Reset(timeoutGrace)
		case <-ctx.Done():
			return outcome{err: ctx.Err(), cause: cause}
		}
	}
}

func (e *execution) signal(ctx context.Context, name string) {
	ctx, cancel := context.WithTimeout(ctx, timeoutGrace)
	defer cancel()
	if err := e.node.cfg.Driver.Signal(ctx, e.spec.ID, name); err != nil && !errors.Is(err, ErrNotFound) {
		e.node.cfg.Log.Warn("signal not sent", "request", e.spec.ID.Request, "attempt", e.spec.ID.Attempt, "signal", name, "err", err)
	}
}

func (e *execution) resize(ctx context.Context, rows, columns uint16) {
	ctx, cancel := context.WithTimeout(ctx, timeoutGrace)
	defer cancel()
	if err := e.node.cfg.Driver.Resize(ctx, e.spec.ID, rows, columns); err != nil && !errors.Is(err, ErrNotFound) {
		e.node.cfg.Log.Warn("terminal not resized", "request", e.spec.ID.Request, "attempt", e.spec.ID.Attempt, "err", err)
	}
}

// overran reports whether an earlier process of this node must have ended the
// container for having run too long.
func (e *execution) overran(exit Exit) bool {
	return e.adopted && e.spec.Timeout > 0 && e.ranBefore >= e.spec.Timeout && exit.Code != 0
}

// ending makes the last event.
func (e *execution) ending(o outcome, out *output) protocol.Event {
	event := e.event(protocol.StateSucceeded)
	event.ExitCode, event.Exited = o.exit.Code, o.exited()
	switch {
	case o.cause == protocol.StateCancelled && e.expired.Load():
		event.State, event.Code, event.Reason = protocol.StateFailed, protocol.CodeLeaseExpired, errExpired.Message
	case o.cause == protocol.StateCancelled && e.filled() != nil:
		event.State, event.Code, event.Reason = protocol.StateFailed, protocol.CodeOf(e.filled()), publicText(e.filled())
	case o.cause == protocol.StateCancelled:
		event.State, event.Code, event.Reason = o.cause, protocol.CodeCancelled, o.stopped()
	case o.cause == protocol.StateTimedOut, e.overran(o.exit):
		event.State, event.Code = protocol.StateTimedOut, protocol.CodeTimeout
		event.Reason = fmt.Sprintf("it ran longer than the %v allowed", e.spec.Timeout)
	case o.err != nil:
		event.State, event.Code, event.Reason = protocol.StateFailed, protocol.CodeOf(o.err), publicText(o.err)
		if errors.Is(o.err, errGone) {
			event.State = protocol.StateLost
		}
	case o.exit.Lost != 0:
		event.State, event.Code, event.ExitCode = protocol.StateLost, o.exit.Lost, 0
		event.Reason = "the container engine went down under it"
		if o.exit.Lost == protocol.CodeNodeLost {
			event.Reason = "it was running when the device went down"
		}
	case o.exit.OOMKilled && o.exit.Code == 0: // its main process coped with it
		event.Reason = fmt.Sprintf("a process in it ran out of memory: it may use %s; ask for more with --memory", e.spec.Memory)
	case o.exit.OOMKilled:
		event.State = protocol.StateFailed
		event.Reason = fmt.Sprintf("out of memory: it may use %s; ask for more with --memory", e.spec.Memory)
	case o.exit.Code != 0:
		event.State, event.Reason = protocol.StateFailed, e.deniedHint(o.exit.Ran)
	}
	if out.lossy {
		event.Reason += "; the container engine went away meanwhile, and some of the output may be missing"
	}
	if out.incomplete {
		event.Reason += "; the end of its output could not be read"
	}
	event.Reason = strings.TrimPrefix(event.Reason, "; ")
	return event
}
