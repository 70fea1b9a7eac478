package sched

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/sched/journal"
)

// Remove implements protocol.Requests.
func (o *Orchestrator) Remove(ctx context.Context, rm protocol.Remove) error {
	r, err := o.find(ctx, rm.Request)
	if err != nil {
		return err
	}
	if err := r.endFirst(ctx, rm.Force); err != nil {
		return err
	}
	if err := o.removeRecord(ctx, r); err != nil {
		return err
	}
	info, _, _ := r.progress.summary()
	return o.do(ctx, func(t *table) {
		t.forget(r)
		t.clean(r.removal(), info.Last.Node)
	})
}

// removal is what is remembered of the request when it is removed.
func (r *request) removal() journal.Removal {
	info, _, _ := r.progress.summary()
	x := journal.Removal{ID: r.id, Attempt: info.Last.Attempt}
	if info.Last.State == protocol.StateUnknown {
		x.Node = info.Last.Node
	}
	return x
}

// removesItself reports whether a request that was looked after to its end is to be
// forgotten. Who reads its end or its output goes on reading.
func (r *request) removesItself() bool {
	return r.service.AutoRemove && r.rejection() == nil && r.state.Ended() && r.state != protocol.StateUnknown
}

// endFirst sees to it that the request has ended.
func (r *request) endFirst(ctx context.Context, force bool) error {
	info, _, _ := r.progress.summary()
	switch {
	case info.Last.State == protocol.StateUnknown && !force:
		return protocol.Errorf(protocol.CodeConflict,
			"what became of %s is not known, and %s may be running it: --force forgets it all the same, and kills it there when that device answers", r.id, nameOr(info.Last.NodeName, info.Last.Node))
	case info.Last.State.Ended():
		return nil
	case !force:
		return protocol.Errorf(protocol.CodeConflict, "%s has not ended: stop it first, or kill and remove it with --force", r.id)
	}
	if err := r.control.stop("", 0); err != nil {
		r.log.Debug("the kill was not passed on", "err", err) // it is, with the next session
	}
	s := newSession(r, sessionOptions{attach: protocol.Attach{NoOutput: true}})
	defer s.Close()
	defer context.AfterFunc(ctx, func() { s.Close() })()
	for {
		u, err := s.Next()
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			return err
		case u.Event != nil && u.Event.State.Ended():
			return nil
		}
	}
}

// removeRecord has the journal forget the request. Its end may be told already
// and not be on disk yet.
func (o *Orchestrator) removeRecord(ctx context.Context, r *request) error {
	if o.cfg.Journal == nil {
		return nil
	}
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		select {
		case <-pause.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		err := o.cfg.Journal.Removed(ctx, r.removal())
		switch {
		case errors.Is(err, journal.ErrNotEnded):
			pause.Reset(o.cfg.Params.ReattachBackoff)
			continue
		case err == nil, errors.Is(err, journal.ErrNotFound):
			return nil
		}
		return journalError(ctx, err)
	}
}

// A removal is the last attempt of a removed request. Its node keeps an ended
// execution for minutes, and would take a new offer of the same ID and attempt
// for it. So a new request under the ID goes on counting.
type removal struct {
	id      protocol.RequestID
	attempt uint32
	at      time.Duration
}

// loadRemovals takes in what earlier processes removed.
func (t *table) loadRemovals(of []journal.Removal) {
	now := t.o.cfg.Clock()
	for _, x := range of {
		t.removed = append(t.removed, removal{x.ID, x.Attempt, now - x.Age})
		t.clean(x, x.Node)
	}
}

// forget drops a request that has ended, and whoever would correct its end.
func (t *table) forget(r *request) {
	now := t.o.cfg.Clock()
	info, _, _ := r.progress.summary()
	t.removed = slices.DeleteFunc(t.removed, func(x removal) bool { return x.id == r.id || now-x.at > journal.RemovalTTL })
	if info.Last.Attempt > 0 {
		t.removed = append(t.removed, removal{r.id, info.Last.Attempt, now})
	}
	if n := len(t.removed) - journal.MaxRemovals; n > 0 {
		t.removed = slices.Delete(t.removed, 0, n)
	}
	r.removed = true
	if t.known[r.id] == r {
		t.drop(r)
	}
	t.ended = slices.DeleteFunc(t.ended, func(e endedRequest) bool { return e.request == r })
	for _, c := range t.unknown {
		if c.request.id == r.id {
			c.cancel()
		}
	}
	t.unknown = slices.DeleteFunc(t.unknown, func(c *correction) bool { return c.request.id == r.id })
}

// attemptsBefore returns the number of the last attempt of an ID that was removed lately.
func (t *table) attemptsBefore(id protocol.RequestID) uint32 {
	for _, x := range t.removed {
		if x.id == id && t.o.cfg.Clock()-x.at <= journal.RemovalTTL {
			return x.attempt
		}
	}
	return 0
}
