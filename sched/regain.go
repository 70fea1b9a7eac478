package sched

import (
	"context"
	"errors"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

var (
	// errGone: the node did not come back in time.
	errGone = errors.New("the node did not come back in time")
	// errForgotten: the node answers, and knows of no such execution.
	errForgotten = errors.New("the node has no such execution")
)

// patience paces the tries to take up an execution again, over flickers of the
// connection too: the first at once, the next ones further and further apart.
type patience struct {
	params *Params
	// total is how long it takes at most.
	total time.Duration
	pause time.Duration
}

func newPatience(p *Params, total time.Duration) *patience {
	return &patience{params: p, total: total}
}

// wait waits until it is time for the next try, or ctx ends.
func (p *patience) wait(ctx context.Context) {
	timer := time.NewTimer(p.pause)
	defer timer.Stop()
	p.pause = min(max(2*p.pause, p.params.RegainPause), p.params.RegainPauseMax)
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// regain takes up again the execution that r.node has, or may have, with the
// output from where it broke off. It is asked nowhere else meanwhile. The error
// is errGone, errForgotten, or that with which ctx ended. With errGone an attempt
// that has a lease has surely stopped, and p says only for how long the node may
// renew it though it cannot be asked.
func (r *request) regain(ctx context.Context, p *patience) (protocol.Session, error) {
	told := false
	if !r.leased() {
		return r.reach(ctx, p, p.total, &told)
	}
	until := r.o.cfg.Clock() + p.total
	for {
		if r.o.cfg.Clock() >= until {
			r.o.leases.revoke(r.id)
		}
		s, err := r.reach(ctx, p, r.o.leases.left(r.id), &told)
		if !errors.Is(err, errGone) || r.o.leases.giveUp(r.id) {
			return s, err
		}
	}
}

// waits returns for how long regain waits: total, or what a lease takes.
func (r *request) waits(total time.Duration) time.Duration {
	if r.leased() {
		return min(total, r.o.leases.span)
	}
	return total
}

// reach is regain for so long. told says that the askers know.
func (r *request) reach(ctx context.Context, p *patience, total time.Duration, told *bool) (protocol.Session, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, total, errGone)
	defer cancel()
	tell := func() {
		if !*told && ctx.Err() == nil {
			*told = true
			r.note(protocol.CodeNodeLost, "%s does not answer; waiting up to %v", r.name, max(total.Round(time.Second), time.Second))
		}
	}
	for {
		if !r.o.cfg.View.Connected(r.node) {
			tell()
			r.o.presence.await(ctx, r.node)
			p.pause = 0
		}
		p.wait(ctx)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		s, err := r.attachFrom(ctx, r.account.output())
		switch {
		case err == nil && *told:
			r.note(protocol.CodeNone, "%s answers again", r.name)
			return s, nil
		case err == nil:
			return s, nil
		case protocol.CodeOf(err) == protocol.CodeNotFound:
			return nil, errForgotten
		}
		r.log.Debug("execution not taken up again", "peer", r.node, "attempt", r.attempt, "err", err)
		tell()
	}
}

// attachFrom asks r.node for the execution, with the output that feed lacks.
func (r *request) attachFrom(ctx context.Context, feed *protocol.Feed) (protocol.Session, error) {
	executor, err := r.o.cfg.Executor(r.node)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, r.o.cfg.Params.AnswerTimeout)
	defer cancel()
	have := positionOf(feed)
	return executor.Attach(ctx, protocol.Attach{
		Request: r.id, Attempt: r.attempt, Stdout: have.stdout - r.base.stdout, Stderr: have.stderr - r.base.stderr,
	})
}

// whyLost says in words for people why the request is given up.
func whyLost(ctx context.Context, waited time.Duration) string {
	if ctx.Err() != nil {
		return errOverdue.Error()
	}
	return "it was not heard of for " + waited.String()
}

func codeOfLoss(ctx context.Context) protocol.Code {
	if ctx.Err() != nil {
		return protocol.CodeTimeout
	}
	return protocol.CodeNodeLost
}
