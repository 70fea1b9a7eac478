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
// is errGone, errForgotten, or that with which ctx ended.
func (r *request) regain(ctx context.Context, p *patience) (protocol.Session, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, p.total, errGone)
	defer cancel()
	told := false
	tell := func() {
		if !told && ctx.Err() == nil {
			told = true
			r.note(protocol.CodeNodeLost, "%s does not answer; waiting up to %v", r.name, p.total)
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
		case err == nil && told:
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
	stdout, stderr := feed.Offsets()
	return executor.Attach(ctx, protocol.Attach{
		Request: r.id, Attempt: r.attempt, Stdout: stdout, Stderr: stderr,
	})
}

// lose ends a request whose execution was there, and cannot be followed to its
// end any more. When this device shuts down the request is let go.
func (r *request) lose(ctx context.Context, err error) {
	switch {
	case leaving(ctx):
	case ctx.Err() != nil:
		r.end(protocol.StateUnknown, codeOfLoss(ctx), "%s: how it ends on %s is not known", errOverdue, r.name)
	case errors.Is(err, errForgotten):
		r.end(protocol.StateLost, protocol.CodeNodeLost, "%s knows nothing of it any more; whether it finished is not known", r.name)
	default:
		r.end(protocol.StateLost, protocol.CodeNodeLost, "%s went away while it ran this; whether it finished is not known", r.name)
	}
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
