package sched

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

// Why a request is given up although nobody knows its end.
var (
	errOverdue = errors.New("it did not end in time after it was asked to stop")
	errLeaving = errors.New("this device shuts down")
)

// request is one request under way. Its goroutine, run, owns all fields but
// feed and control, which others use too, and id and service, which stay the
// same.
type request struct {
	o       *Orchestrator
	id      protocol.RequestID
	service protocol.Service
	feed    *protocol.Feed
	control *control
	log     *slog.Logger

	state   protocol.State
	demand  Demand
	attempt uint32
	// node has the offer or the execution; name is what it is called.
	node protocol.NodeID
	name string
	// last is the last event that the execution told.
	last protocol.Event
	// started is when the execution was seen running.
	started time.Duration
}

// run looks after the request until its end.
func (r *request) run(ctx context.Context) {
	ctx, cancel := context.WithCancelCause(ctx)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		r.watchStop(ctx, cancel)
	}()
	defer func() {
		cancel(nil)
		<-watched
		r.control.end()
		r.feed.End()
	}()
	r.report(protocol.Event{State: protocol.StateAccepted})
	r.o.cfg.View.Arrived()
	r.demand = r.o.cfg.View.Demand(&r.service)
	r.report(protocol.Event{State: protocol.StatePlacing})
	if s := r.place(ctx); s != nil {
		r.execute(ctx, s)
	}
}

// watchStop gives the request up when it has not ended long after it should
// have stopped.
func (r *request) watchStop(ctx context.Context, giveUp context.CancelCauseFunc) {
	select {
	case <-r.control.stopping:
	case <-ctx.Done():
		return
	}
	overdue := time.NewTimer(r.control.stopGrace() + r.o.cfg.Params.StopSlack)
	defer overdue.Stop()
	select {
	case <-overdue.C:
		giveUp(errOverdue)
	case <-ctx.Done():
	}
}

func (r *request) stopping() bool {
	select {
	case <-r.control.stopping:
		return true
	default:
		return false
	}
}

// execute relays what the execution tells until it has ended, over as many
// sessions as it takes.
func (r *request) execute(ctx context.Context, s protocol.Session) {
	params := &r.o.cfg.Params
	touch := newPatience(params)
	defer func() { r.o.cfg.View.Returned(r.node) }()
	for {
		since := r.o.cfg.Clock()
		if r.follow(ctx, s) {
			return
		}
		if r.o.cfg.Clock()-since > params.RegainPauseMax {
			touch = newPatience(params) // it was not just a flicker
		}
		var err error
		if s, err = r.regain(ctx, touch); err != nil {
			r.lose(ctx, err)
			return
		}
	}
}

// follow relays what s tells, and reports whether the request has ended. If not,
// the session broke, or ctx ended.
func (r *request) follow(ctx context.Context, s protocol.Session) bool {
	defer s.Close()
	release := context.AfterFunc(ctx, func() { s.Close() })
	defer release()
	if err := r.control.attach(s); err != nil {
		r.log.Debug("session broke", "peer", r.node, "err", err)
	}
	for ctx.Err() == nil {
		u, err := s.Next()
		if err != nil {
			r.log.Debug("session broke", "peer", r.node, "err", err)
			break
		}
		if r.relay(ctx, &u) {
			return true
		}
	}
	r.control.detach()
	return false
}

// relay passes an update on to the askers, and reports whether it was the end.
func (r *request) relay(ctx context.Context, u *protocol.Update) bool {
	switch {
	case u.Event != nil:
		return r.told(*u.Event)
	case u.Output != nil:
		r.output(ctx, u.Output)
	}
	return false
}

// told takes in an event of the execution, and reports whether it was the end.
// After a session was taken up again, what was told before comes once more.
func (r *request) told(e protocol.Event) bool {
	if e.State < protocol.StatePlacing {
		e.State = protocol.StatePlacing // accepted is what this device says
	}
	if !mayFollow(r.state, e.State) || sameNews(&e, &r.last) {
		return false
	}
	r.last = e
	if e.State == protocol.StateRunning && r.state != protocol.StateRunning {
		r.started = r.o.cfg.Clock()
	}
	r.learn(e.State)
	r.report(e)
	return e.State.Ended()
}

func sameNews(a, b *protocol.Event) bool {
	return a.State == b.State && a.Code == b.Code && a.Reason == b.Reason && a.ExitCode == b.ExitCode &&
		a.QueuePlace == b.QueuePlace && a.Container == b.Container && a.Progress == nil && b.Progress == nil
}

// learn corrects what the service's work is taken to be, when an execution ended
// by itself. A node learns of what runs on itself for all orchestrators.
func (r *request) learn(end protocol.State) {
	ran := end == protocol.StateSucceeded || end == protocol.StateFailed
	if ran && r.state == protocol.StateRunning && r.node != r.o.cfg.Self {
		r.o.cfg.View.Ran(&r.service, r.node, r.o.cfg.Clock()-r.started)
	}
}

// output passes on what was not passed on before: no byte twice, and a mark
// where some are missing.
func (r *request) output(ctx context.Context, out *protocol.Output) {
	var have uint64
	switch out.Channel {
	case protocol.Stdout:
		have, _ = r.feed.Offsets()
	case protocol.Stderr:
		_, have = r.feed.Offsets()
	default:
		return
	}
	data := out.Data
	switch {
	case out.Offset > have:
		r.feed.Cut(out.Channel, out.Offset-have)
	case have-out.Offset >= uint64(len(data)):
		return
	default:
		data = data[have-out.Offset:]
	}
	if err := r.feed.Output(ctx, out.Channel, data); err != nil {
		r.log.Debug("output was not passed on", "err", err)
	}
}

// report tells the askers an event about this device, or about the node where
// there is one, and moves to its state.
func (r *request) report(e protocol.Event) {
	if !mayFollow(r.state, e.State) {
		r.log.Error("impossible step in a request's life", "from", int(r.state), "to", int(e.State))
		return
	}
	r.state = e.State
	e.Request, e.Attempt = r.id, r.attempt
	e.Node, e.NodeName = r.node, r.name
	if e.At.IsZero() && r.o.cfg.Now != nil {
		e.At = r.o.cfg.Now()
	}
	r.feed.Event(e)
	if e.State.Ended() {
		r.log.Info("request ended", "peer", r.node, "attempt", r.attempt, "code", e.Code.String())
	}
}

// note tells the askers something within the present state.
func (r *request) note(code protocol.Code, format string, args ...any) {
	r.report(protocol.Event{State: r.state, Code: code, Reason: fmt.Sprintf(format, args...)})
}

func (r *request) end(s protocol.State, code protocol.Code, format string, args ...any) {
	r.report(protocol.Event{State: s, Code: code, Reason: fmt.Sprintf(format, args...)})
}
