package sched

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/sched/journal"
)

// A Journal keeps what must survive this process; *journal.Journal is one, and
// says what is promised. The first four return when what they write is on disk.
type Journal interface {
	// Accepted returns the record; with journal.ErrExists the one there was.
	Accepted(ctx context.Context, r journal.Request) (journal.Record, error)
	// Offered is called before the offer is sent, where that was not known when the
	// request was accepted. The zero value says that there is none.
	Offered(ctx context.Context, id protocol.RequestID, o journal.Offer) error
	// Ended replaces an end as protocol.StateUnknown, and no other.
	Ended(ctx context.Context, id protocol.RequestID, end journal.End) error
	// Removed forgets a request that has ended, but for the number of its last
	// attempt; with journal.ErrNotEnded it has not. Removals are those of earlier
	// processes.
	Removed(ctx context.Context, id protocol.RequestID, attempt uint32) error
	Removals() []journal.Removal
	// Find returns a record, or journal.ErrNotFound; Output what is kept of its
	// output; Load all records, in the order of acceptance.
	Find(id protocol.RequestID) (journal.Record, error)
	Output(id protocol.RequestID) ([]protocol.Output, error)
	Load(yield func(journal.Record) error) error
}

// accept writes the request down and tells that it is accepted. It reports
// whether there is something to be done for it: not where it was not accepted,
// and not where the journal knows its end from before.
func (r *request) accept(ctx context.Context) bool {
	accepted := protocol.Event{State: protocol.StateAccepted}
	if r.o.cfg.Now != nil {
		accepted.At = r.o.cfg.Now()
	}
	if r.o.cfg.Journal != nil {
		info, _, _ := r.account.line()
		request := journal.Request{ID: r.id, Service: r.secrets.into(r.service), Detached: info.Detached, At: accepted.At}
		if f := r.first; f != nil {
			request.Offer = journal.Offer{Attempt: r.attemptsBefore + 1, Node: f.Node, Name: nameOr(f.Name, f.Node)}
		}
		rec, err := r.o.cfg.Journal.Accepted(ctx, request)
		switch {
		case errors.Is(err, journal.ErrExists) && rec.Hash != r.hash:
			r.decide(protocol.Errorf(protocol.CodeConflict,
				"the request ID %s is in use for a different service: choose another one, or none", r.id))
			return false
		case errors.Is(err, journal.ErrExists) && rec.End != nil:
			r.recall(&rec)
			r.decide(nil)
			return false
		case err != nil && !errors.Is(err, journal.ErrExists):
			r.decide(journalError(ctx, err))
			return false
		}
		r.account.numbered(rec.Sequence)
		if r.first != nil {
			r.first.kept = err == nil
		}
	}
	r.report(accepted)
	r.decide(nil)
	return true
}

// decide tells those who wait whether the request is accepted.
func (r *request) decide(failed error) {
	r.failed = failed
	close(r.decided)
}

// journalError returns err as it may be told to an asker.
func journalError(ctx context.Context, err error) error {
	if e, ok := errors.AsType[*protocol.Error](err); ok {
		return e
	}
	if ctx.Err() != nil {
		return errLeaves()
	}
	return protocol.Errorf(protocol.CodeInternal, "the journal of this device cannot be written: its log says why")
}

// keepOffer writes down whom the request is about to be offered to, and reports
// whether it may be: a node that nobody remembers would make it run twice.
func (r *request) keepOffer(ctx context.Context) bool {
	if r.o.cfg.Journal == nil {
		return true
	}
	r.marking.Wait() // of an earlier attempt: the last word counts
	err := r.o.cfg.Journal.Offered(ctx, r.id, r.record())
	switch {
	case err == nil:
		return true
	case leaving(ctx):
		return false
	case r.stopping():
		r.endUnplaced()
		return false
	}
	r.log.Error("the offer was not written down", "peer", r.node, "err", err)
	if r.endAsBefore() {
		return false
	}
	why := journalError(ctx, err)
	r.node, r.name = "", ""
	r.end(protocol.StateRefused, protocol.CodeOf(why), "it could not be offered: %v", why)
	return false
}

// takeBackOffer writes down that nobody was offered the request, so that the next
// start of this device places it.
func (r *request) takeBackOffer() {
	if err := r.o.cfg.Journal.Offered(context.Background(), r.id, journal.Offer{}); err != nil {
		r.log.Warn("that it was not offered was not written down", "err", err)
	}
}

// record returns what is written down of the attempt.
func (r *request) record() journal.Offer {
	return journal.Offer{
		Attempt: r.attempt, Node: r.node, Name: r.name,
		Lost: r.lost, Stdout: r.base.stdout, Stderr: r.base.stderr,
	}
}

// markBegun writes down, once and without waiting for it, that a container was
// seen on this device: see resume for what that is good for.
func (r *request) markBegun(s protocol.State) {
	if s < protocol.StateStarting || s.Ended() || r.begun || r.node != r.o.cfg.Self || r.o.cfg.Journal == nil {
		return
	}
	r.begun = true
	offer := r.record()
	offer.Begun = true
	r.marking.Go(func() {
		err := r.o.cfg.Journal.Offered(context.Background(), r.id, offer)
		if err != nil && !errors.Is(err, journal.ErrEnded) {
			r.log.Warn("the start was not written down", "err", err)
		}
	})
}

// keepEnd writes down that the request ended with e. told says that it was told,
// so that nobody waits for the disk.
func (r *request) keepEnd(e protocol.Event, told bool) {
	if r.o.cfg.Journal == nil {
		r.kept = true
		return
	}
	feed := r.account.output()
	// What has ended is written down while this device shuts down, too.
	events, decisions := r.account.history()
	err := r.o.cfg.Journal.Ended(context.Background(), r.id, journal.End{
		Event: e, Attempts: r.attempt, Unhurried: told, History: before(events, e),
		Decisions: decisions, Output: r.account.kept(feed),
	})
	switch {
	case err == nil:
		r.kept = true
	case errors.Is(err, journal.ErrEnded), errors.Is(err, journal.ErrNotFound), errors.Is(err, journal.ErrClosed):
		r.kept = true // there is nothing more to do
		r.log.Warn("the end was not written down", "err", err)
	default:
		r.log.Error("the end was not written down", "err", err)
	}
}

// keepTrying writes the end down that was told already, until it is on disk or
// ctx ends: then the next start asks the node once more.
func (r *request) keepTrying(ctx context.Context) {
	params := &r.o.cfg.Params
	for pause := params.JournalPause; ; pause = min(2*pause, params.JournalPauseMax) {
		info, _, _ := r.account.line()
		if r.keepEnd(info.Last, true); r.kept {
			return
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}

// before returns the events without e at their end.
func before(events []protocol.Event, e protocol.Event) []protocol.Event {
	if n := len(events); n > 0 && events[n-1] == e {
		return events[:n-1]
	}
	return events
}

// kept returns the output that a feed holds, and when it came. It shares the feed's
// bytes, which never change.
func (a *account) kept(feed *protocol.Feed) []protocol.Output {
	reader := feed.ReaderOfNow(0, 0)
	defer reader.Close()
	var all []protocol.Output
	for {
		u, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		for out := u.Output; out != nil; {
			var first *protocol.Output
			first, out = a.timed(out)
			all = appendKept(all, first)
		}
	}
}

// Output that came within keptSpan is kept as one piece, of keptPiece bytes or a
// little more.
const (
	keptSpan  = time.Second
	keptPiece = 4 << 10
)

// appendKept adds the next piece, to the last one where it follows that in its
// channel and came soon after: pieces cost room.
func appendKept(all []protocol.Output, out *protocol.Output) []protocol.Output {
	if n := len(all); n > 0 {
		last := &all[n-1]
		if last.Channel == out.Channel && out.Cut == 0 && out.At.IsZero() == last.At.IsZero() && out.At.Sub(last.At) < keptSpan && len(last.Data) < keptPiece {
			last.Data = append(last.Data[:len(last.Data):len(last.Data)], out.Data...)
			return all
		}
	}
	return append(all, *out)
}

// recall makes r what the journal knows of a request that has ended.
func (r *request) recall(rec *journal.Record) {
	r.secrets.drop()
	r.kept = true
	r.state, r.attempt = rec.End.Event.State, rec.End.Attempts
	r.node, r.name = rec.Offer.Node, rec.Offer.Name
	r.account.numbered(rec.Sequence)
	for _, e := range rec.End.History {
		r.account.past(e)
	}
	output, err := r.o.cfg.Journal.Output(r.id)
	if err != nil {
		r.log.Warn("the output kept cannot be read", "err", err)
	}
	for i := range output {
		r.take(context.Background(), &output[i], output[i].At) // nobody reads yet: it cannot block
	}
	r.beginAt(position{rec.Offer.Stdout, rec.Offer.Stderr})
	for _, d := range rec.End.Decisions {
		r.account.decision(d)
	}
	r.account.event(rec.End.Event)
	r.account.output().End()
	r.control.end(!r.correctable())
}

// fromRecord returns the request that a record speaks of. It is decided; whoever
// asked for it went with the process that accepted it, so it goes on by itself.
func (o *Orchestrator) fromRecord(rec *journal.Record) *request {
	r := newRequest(o, rec.ID, rec.Service, rec.Hash)
	r.goesOn, r.account.takenUp, r.replay.on = true, true, true
	r.account.info.Detached = rec.Detached
	r.account.info.Accepted = rec.At
	r.account.numbered(rec.Sequence)
	if rec.End != nil {
		r.recall(rec)
	}
	r.decide(nil)
	return r
}
