package sched

import (
	"context"
	"slices"

	"github.com/hearth-edge/hearth/protocol"
)

// correction is a request whose end is unknown, and how to give it up.
type correction struct {
	request *request
	cancel  context.CancelFunc
}

// correctable reports whether a node may know how the request really ended.
func (r *request) correctable() bool {
	return r.state == protocol.StateUnknown && r.node != ""
}

// scheduleCorrection has the end of r corrected, if it is unknown, when the node is
// seen again. The oldest are given up for the newest.
func (t *table) scheduleCorrection(r *request) {
	if !r.correctable() || t.leaving() {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	c := &correction{r, cancel}
	t.unknown = append(t.unknown, c)
	if len(t.unknown) > t.o.cfg.Params.MaxUnknown {
		t.unknown[0].cancel()
		t.unknown = slices.Delete(t.unknown, 0, 1)
	}
	o := t.o
	t.launch(func(run context.Context) {
		defer cancel()
		defer context.AfterFunc(run, cancel)()
		r.correct(ctx)
		_ = o.do(run, func(t *table) { t.corrected(c) })
	})
}

func (t *table) corrected(c *correction) {
	t.unknown = slices.DeleteFunc(t.unknown, func(other *correction) bool { return other == c })
}

// correct asks the node, whenever it is there, how the execution ended, until it
// tells; if it knows nothing of it, it is lost. What it tells meanwhile is not passed on: to the
// askers the request has ended. A stop still reaches the execution.
func (r *request) correct(ctx context.Context) {
	defer r.control.end(true)
	feed := r.copyFeed(ctx)
	touch := newReattachBackoff(&r.o.cfg.Params, 0)
	for {
		if !r.o.cfg.View.Connected(r.node) {
			r.o.peerWaiter.await(ctx, r.node)
			touch.pause = 0
		}
		touch.wait(ctx)
		if ctx.Err() != nil {
			return
		}
		s, err := r.attachFrom(ctx, feed)
		if protocol.CodeOf(err) == protocol.CodeNotFound {
			r.replaceEnd(ctx, protocol.Event{State: protocol.StateLost, Code: protocol.CodeNodeLost,
				Reason: r.name + " is back and knows nothing of it; whether it ran is not known"}, feed)
			return
		}
		if err != nil {
			continue
		}
		if e, ok := r.trueEnd(ctx, s, feed); ok {
			r.replaceEnd(ctx, e, feed)
			return
		}
	}
}

// replaceEnd replaces the unknown end by the true one.
func (r *request) replaceEnd(ctx context.Context, e protocol.Event, feed *protocol.Feed) {
	r.progress.replaceFeed(feed, r.o.cfg.Clock(), r.wallClock())
	r.publish(e)
	feed.End()
	r.persisted = false
	r.retryPersist(ctx)
}

// copyFeed returns a feed that tells what r's did but for the end, and can go on.
func (r *request) copyFeed(ctx context.Context) *protocol.Feed {
	feed := protocol.NewFeed(r.o.cfg.Params.MaxOutput)
	reader := r.progress.currentFeed().ReaderOfNow(0, 0)
	defer reader.Close()
	for {
		u, err := reader.Next()
		switch {
		case err != nil:
			return feed
		case u.Event != nil && !u.Event.State.Ended():
			feed.Event(*u.Event)
		case u.Decision != nil:
			feed.Decision(*u.Decision)
		case u.Output != nil:
			_ = passOn(ctx, feed, u.Output) // no reader: it cannot block
		}
	}
}

// trueEnd follows an execution to its end, and reports whether it told one.
func (r *request) trueEnd(ctx context.Context, s protocol.Session, feed *protocol.Feed) (protocol.Event, bool) {
	defer s.Close()
	defer context.AfterFunc(ctx, func() { s.Close() })()
	_ = r.control.attach(s) // a session that broke is seen below
	defer r.control.detach()
	for {
		u, err := s.Next()
		switch {
		case err != nil:
			return protocol.Event{}, false
		case u.Output != nil:
			_ = passOn(ctx, feed, r.outputBase.shifted(u.Output))
		case u.Event != nil && u.Event.State.Ended():
			return *u.Event, mayFollow(protocol.StateUnknown, u.Event.State)
		}
	}
}
