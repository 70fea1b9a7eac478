package sched

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/sched/journal"
)

var _ protocol.Orchestrator = (*Orchestrator)(nil)

// maxCandidates is how many IDs are named where a beginning is ambiguous.
const maxCandidates = 5

// Attach implements protocol.Requests. Write on the session returns
// io.ErrClosedPipe: input comes from the app that made the request.
func (o *Orchestrator) Attach(ctx context.Context, a protocol.Attach) (protocol.Session, error) {
	r, err := o.find(ctx, a.Request)
	if err != nil {
		return nil, err
	}
	r.progress.claimOutput(position{a.Stdout, a.Stderr})
	return newSession(r, sessionOptions{attach: a}), nil
}

// Stop implements protocol.Requests.
func (o *Orchestrator) Stop(ctx context.Context, s protocol.Stop) error {
	r, err := o.find(ctx, s.Request)
	if err != nil {
		return err
	}
	signal := strings.TrimPrefix(s.Signal, "SIG")
	if s.SignalOnly {
		err = r.control.signal(cmp.Or(signal, "TERM"))
	} else {
		err = r.control.stop(signal, s.Grace)
	}
	if err != nil && protocol.CodeOf(err) == protocol.CodeInternal {
		// The session broke under it; a stop is remembered, and passed on with
		// the next one.
		r.log.Debug("a wish was not passed on", "err", err)
		return nil
	}
	return err
}

// Inspect implements protocol.Requests.
func (o *Orchestrator) Inspect(ctx context.Context, id protocol.RequestID) (protocol.RequestDetail, error) {
	r, err := o.find(ctx, id)
	if err != nil {
		return protocol.RequestDetail{}, err
	}
	return r.progress.detail(r.service), nil
}

// List implements protocol.Requests. No other device is asked.
func (o *Orchestrator) List(ctx context.Context, all bool, yield func(protocol.RequestInfo) error) ([]string, error) {
	type line struct {
		info     protocol.RequestInfo
		sequence uint64
	}
	var lines []line
	known := make(map[protocol.RequestID]bool)
	err := o.do(ctx, func(t *table) {
		t.all(func(r *request) {
			info, sequence, accepted := r.progress.summary()
			if accepted {
				known[r.id] = true
			}
			if accepted && (all || !info.Last.State.Ended()) {
				lines = append(lines, line{info, sequence})
			}
		})
	})
	if err != nil {
		return nil, err
	}
	if all && o.cfg.Journal != nil {
		err = o.cfg.Journal.Load(func(rec journal.Record) error {
			if rec.End != nil && !known[rec.ID] {
				lines = append(lines, line{o.line(&rec), rec.Sequence})
			}
			return ctx.Err()
		})
		if err != nil {
			return nil, journalError(ctx, err)
		}
	}
	slices.SortFunc(lines, func(a, b line) int { return cmp.Compare(b.sequence, a.sequence) })
	for _, l := range lines {
		if err := yield(l.info); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// line returns what a list says of a request that is only in the journal.
func (o *Orchestrator) line(rec *journal.Record) protocol.RequestInfo {
	a := newProgress(&o.cfg.Params, protocol.RequestInfo{
		ID: rec.ID, Orchestrator: o.cfg.Self, OrchestratorName: o.cfg.Name,
		Image: rec.Service.Image, Args: rec.Service.Args, Tags: rec.Service.Tags, Detached: rec.Detached, Accepted: rec.At,
	})
	for _, e := range rec.End.History {
		a.record(e)
	}
	a.record(rec.End.Event)
	return a.info
}

// find returns the request that id means; see protocol.Requests. One that is only
// in the journal is made from its record. The request is accepted.
func (o *Orchestrator) find(ctx context.Context, id protocol.RequestID) (*request, error) {
	if _, err := protocol.ParseRequestID(string(id)); err != nil {
		return nil, err
	}
	var exact *request
	var named []*request
	err := o.do(ctx, func(t *table) {
		if exact = t.find(id); exact == nil {
			named = t.namedBy(id)
		}
	})
	if err != nil {
		return nil, err
	}
	if exact == nil {
		if exact, err = o.search(id, named); err != nil {
			return nil, err
		}
	}
	if exact.awaitDecision(ctx) != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, errNotFound(id)
	}
	return exact, nil
}

// search finds the request that id means among those given, and those that only
// the journal has.
func (o *Orchestrator) search(id protocol.RequestID, inMemory []*request) (*request, error) {
	byID := make(map[protocol.RequestID]*request)
	var named []protocol.RequestInfo
	for _, r := range inMemory {
		byID[r.id] = r
		info, _, _ := r.progress.summary()
		named = append(named, info)
	}
	if o.cfg.Journal != nil {
		if r, err := o.recorded(id); !errors.Is(err, journal.ErrNotFound) {
			return r, err
		}
		err := o.cfg.Journal.Load(func(rec journal.Record) error {
			if rec.End == nil || byID[rec.ID] != nil {
				return nil
			}
			info := protocol.RequestInfo{ID: rec.ID, Tags: rec.Service.Tags, Last: rec.End.Event}
			if ok, _ := info.NamedBy(id); ok {
				named = append(named, info)
			}
			return nil
		})
		if err != nil {
			return nil, journalError(context.Background(), err)
		}
	}
	meant := protocol.Meant(id, named)
	switch {
	case len(meant) > 1:
		return nil, errAmbiguous(id, meant)
	case len(meant) == 0:
		return nil, errNotFound(id)
	}
	if r := byID[meant[0].ID]; r != nil {
		return r, nil
	}
	r, err := o.recorded(meant[0].ID)
	if errors.Is(err, journal.ErrNotFound) {
		return nil, errNotFound(id)
	}
	return r, err
}

// recorded returns a request that has ended, from the journal; the error is a
// *protocol.Error or journal.ErrNotFound.
func (o *Orchestrator) recorded(id protocol.RequestID) (*request, error) {
	rec, err := o.cfg.Journal.Find(id)
	switch {
	case errors.Is(err, journal.ErrNotFound), err == nil && rec.End == nil:
		return nil, journal.ErrNotFound // what has not ended is in memory
	case err != nil:
		return nil, journalError(context.Background(), err)
	}
	return o.fromRecord(&rec), nil
}

func errNotFound(id protocol.RequestID) error {
	return protocol.Errorf(protocol.CodeNotFound,
		"this device has no request %s: it was never accepted here, or ended so long ago that it is not kept any more", id)
}

func errAmbiguous(id protocol.RequestID, meant []protocol.RequestInfo) error {
	var ids []string
	for i := range meant {
		ids = append(ids, string(meant[i].ID))
	}
	slices.Sort(ids)
	more := ""
	if n := len(ids) - maxCandidates; n > 0 {
		ids = ids[:maxCandidates]
		more = fmt.Sprintf(" and %d more", n)
	}
	if meant[0].Tags[protocol.TagName] == string(id) {
		return protocol.Errorf(protocol.CodeInvalid, "%s is the name of several requests: %s%s; give an ID", id, strings.Join(ids, ", "), more)
	}
	return protocol.Errorf(protocol.CodeInvalid, "%s is the beginning of several request IDs: %s%s; give more of it",
		id, strings.Join(ids, ", "), more)
}
