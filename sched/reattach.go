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

// reattachBackoff paces the tries to take up an execution again, over flickers of the
// connection too: the first at once, the next ones further and further apart.
type reattachBackoff struct {
	params *Params
	// total is how long it takes at most.
	total time.Duration
	pause time.Duration
}

func newReattachBackoff(p *Params, total time.Duration) *reattachBackoff {
	return &reattachBackoff{params: p, total: total}
}

// wait waits until it is time for the next try, or ctx ends.
func (b *reattachBackoff) wait(ctx context.Context) {
	timer := time.NewTimer(b.pause)
	defer timer.Stop()
	b.pause = min(max(2*b.pause, b.params.ReattachBackoff), b.params.MaxReattachBackoff)
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// reattach attaches to the execution that r.node has, or may have, from where
// the output broke off. Nobody else is asked meanwhile. The error is errGone,
// errForgotten, or the cause of ctx's end. After errGone an attempt with a
// lease has surely stopped; p only bounds how long the node may renew it.
func (r *request) reattach(ctx context.Context, p *reattachBackoff) (protocol.Session, error) {
	published := false
	if !r.leased() {
		return r.tryReattach(ctx, p, p.total, &published)
	}
	until := r.o.cfg.Clock() + p.total
	for {
		if r.o.cfg.Clock() >= until {
			r.o.leases.revoke(r.id)
		}
		s, err := r.tryReattach(ctx, p, r.o.leases.remaining(r.id), &published)
		if !errors.Is(err, errGone) || r.o.leases.expire(r.id) {
			return s, err
		}
	}
}

// reattachTimeout returns for how long reattach waits: total, or what a lease takes.
func (r *request) reattachTimeout(total time.Duration) time.Duration {
	if r.leased() {
		return min(total, r.o.leases.span)
	}
	return total
}

// tryReattach is reattach for so long. published says that the askers know.
func (r *request) tryReattach(ctx context.Context, p *reattachBackoff, total time.Duration, published *bool) (protocol.Session, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, total, errGone)
	defer cancel()
	publishLost := func() {
		if !*published && ctx.Err() == nil {
			*published = true
			r.publishNote(protocol.CodeNodeLost, "%s does not answer; waiting up to %v", r.name, max(total.Round(time.Second), time.Second))
		}
	}
	for {
		if !r.o.cfg.View.Connected(r.node) {
			publishLost()
			r.o.peerWaiter.await(ctx, r.node)
			p.pause = 0
		}
		p.wait(ctx)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		s, err := r.attachFrom(ctx, r.progress.currentFeed())
		switch {
		case err == nil && *published:
			r.publishNote(protocol.CodeNone, "%s answers again", r.name)
			return s, nil
		case err == nil:
			return s, nil
		case protocol.CodeOf(err) == protocol.CodeNotFound:
			return nil, errForgotten
		}
		r.log.Debug("execution not taken up again", "peer", r.node, "attempt", r.attempt, "err", err)
		publishLost()
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
		Request: r.id, Attempt: r.attempt, Stdout: have.stdout - r.outputBase.stdout, Stderr: have.stderr - r.outputBase.stderr,
	})
}

// lostReason says in words for people why the request is given up.
func lostReason(ctx context.Context, waited time.Duration) string {
	if ctx.Err() != nil {
		return errOverdue.Error()
	}
	return "it was not heard of for " + waited.String()
}

func lostCode(ctx context.Context) protocol.Code {
	if ctx.Err() != nil {
		return protocol.CodeTimeout
	}
	return protocol.CodeNodeLost
}
