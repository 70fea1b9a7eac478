package sched

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/sched/journal"
)

// A Journal keeps what must survive this process; *journal.Journal is one and
// states the promises. The first four methods return when the record is on
// disk.
type Journal interface {
	// Accepted returns the record; with journal.ErrExists the one there was.
	Accepted(ctx context.Context, r journal.Request) (journal.Record, error)
	// Offered is called before the offer is sent, where that was not known when the
	// request was accepted. The zero value says that there is none.
	Offered(ctx context.Context, id protocol.RequestID, o journal.Offer) error
	// Ended replaces an end as protocol.StateUnknown, and no other.
	Ended(ctx context.Context, id protocol.RequestID, end journal.End) error
	// Removed forgets a request that has ended, but for what is said of its last
	// attempt; with journal.ErrNotEnded it has not. Removals are those of earlier
	// processes.
	Removed(ctx context.Context, x journal.Removal) error
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
		info, _, _ := r.progress.summary()
		request := journal.Request{ID: r.id, Service: r.secrets.fill(r.service), Detached: info.Detached, At: accepted.At}
		if f := r.firstPlacement; f != nil {
			request.Offer = journal.Offer{Attempt: r.attemptsBefore + 1, Node: f.Node, Name: nameOr(f.Name, f.Node)}
		}
		rec, err := r.o.cfg.Journal.Accepted(ctx, request)
		switch {
		case errors.Is(err, journal.ErrExists) && rec.Hash != r.hash:
			r.decide(protocol.Errorf(protocol.CodeConflict,
				"the request ID %s is in use for a different service: choose another one, or none", r.id))
			return false
		case errors.Is(err, journal.ErrExists) && rec.End != nil:
			r.restore(&rec)
			r.decide(nil)
			return false
		case err != nil && !errors.Is(err, journal.ErrExists):
			r.decide(journalError(ctx, err))
			return false
		}
		r.progress.setSequence(rec.Sequence)
		if r.firstPlacement != nil {
			r.firstPlacement.persisted = err == nil
		}
	}
	r.publish(accepted)
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

// persistOffer writes down whom the request is about to be offered to, and reports
// whether it may be: a node that nobody remembers would make it run twice.
func (r *request) persistOffer(ctx context.Context) bool {
	if r.o.cfg.Journal == nil {
		return true
	}
	r.writes.Wait() // of an earlier attempt: the last word counts
	err := r.o.cfg.Journal.Offered(ctx, r.id, r.journalOffer())
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
	if r.endAsLastAttempt() {
		return false
	}
	why := journalError(ctx, err)
	r.node, r.name = "", ""
	r.end(protocol.StateRefused, protocol.CodeOf(why), "it could not be offered: %v", why)
	return false
}

// withdrawOffer writes down that nobody was offered the request, so that the next
// start of this device places it.
func (r *request) withdrawOffer() {
	if err := r.o.cfg.Journal.Offered(context.Background(), r.id, journal.Offer{}); err != nil {
		r.log.Warn("that it was not offered was not written down", "err", err)
	}
}

// journalOffer returns what is written down of the attempt.
func (r *request) journalOffer() journal.Offer {
	return journal.Offer{
		Attempt: r.attempt, Node: r.node, Name: r.name,
		Lost: r.lostAttempts, Stdout: r.outputBase.stdout, Stderr: r.outputBase.stderr,
	}
}

// markContainerSeen records, once and without waiting, that a container was
// seen on this device; see resume.
func (r *request) markContainerSeen(s protocol.State) {
	if s < protocol.StateStarting || s.Ended() || r.containerSeen || r.node != r.o.cfg.Self || r.o.cfg.Journal == nil {
		return
	}
	r.containerSeen = true
	offer := r.journalOffer()
	offer.Started = true
	r.writes.Go(func() {
		err := r.o.cfg.Journal.Offered(context.Background(), r.id, offer)
		if err != nil && !errors.Is(err, journal.ErrEnded) {
			r.log.Warn("the start was not written down", "err", err)
		}
	})
}

// persistEnd writes down that the request ended with e. After published nobody
// waits for the disk.
func (r *request) persistEnd(e protocol.Event, published bool) {
	if r.o.cfg.Journal == nil {
		r.persisted = true
		return
	}
	feed := r.progress.currentFeed()
	// What has ended is written down while this device shuts down, too.
	events, decisions := r.progress.history()
	err := r.o.cfg.Journal.Ended(context.Background(), r.id, journal.End{
		Event: e, Attempts: r.attempt, Linger: published, History: withoutLast(events, e),
		Decisions: decisions, Output: r.progress.keptOutput(feed),
	})
	switch {
	case err == nil:
		r.persisted = true
	case errors.Is(err, journal.ErrEnded), errors.Is(err, journal.ErrNotFound), errors.Is(err, journal.ErrClosed):
		r.persisted = true // there is nothing more to do
		r.log.Warn("the end was not written down", "err", err)
	default:
		r.log.Error("the end was not written down", "err", err)
	}
}

// retryPersist writes the end down that was told already, until it is on disk or
// ctx ends: then the next start asks the node once more.
func (r *request) retryPersist(ctx context.Context) {
	params := &r.o.cfg.Params
	for pause := params.JournalBackoff; ; pause = min(2*pause, params.MaxJournalBackoff) {
		info, _, _ := r.progress.summary()
		if r.persistEnd(info.Last, true); r.persisted {
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

// withoutLast returns the events without e at their end.
func withoutLast(events []protocol.Event, e protocol.Event) []protocol.Event {
	if n := len(events); n > 0 && events[n-1] == e {
		return events[:n-1]
	}
	return events
}

// keptOutput returns the output that a feed holds, and when it came. It shares the feed's
// bytes, which never change.
func (p *progress) keptOutput(feed *protocol.Feed) []protocol.Output {
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
			first, out = p.splitByTime(out)
			all = appendOutput(all, first)
		}
	}
}

// Output that came within outputPieceSpan is kept as one piece, of outputPieceSize bytes or a
// little more.
const (
	outputPieceSpan = time.Second
	outputPieceSize = 4 << 10
)

// appendOutput adds the next piece, to the last one where it follows that in its
// channel and came soon after: pieces cost room.
func appendOutput(all []protocol.Output, out *protocol.Output) []protocol.Output {
	if n := len(all); n > 0 {
		last := &all[n-1]
		if last.Channel == out.Channel && out.Cut == 0 && out.At.IsZero() == last.At.IsZero() && out.At.Sub(last.At) < outputPieceSpan && len(last.Data) < outputPieceSize {
			last.Data = append(last.Data[:len(last.Data):len(last.Data)], out.Data...)
			return all
		}
	}
	return append(all, *out)
}

// restore makes r what the journal knows of a request that has ended.
func (r *request) restore(rec *journal.Record) {
	r.secrets.drop()
	r.persisted = true
	r.state, r.attempt = rec.End.Event.State, rec.End.Attempts
	r.node, r.name = rec.Offer.Node, rec.Offer.Name
	r.progress.setSequence(rec.Sequence)
	for _, e := range rec.End.History {
		r.progress.addPast(e)
	}
	output, err := r.o.cfg.Journal.Output(r.id)
	if err != nil {
		r.log.Warn("the output kept cannot be read", "err", err)
	}
	for i := range output {
		r.passOutput(context.Background(), &output[i], output[i].At) // nobody reads yet: it cannot block
	}
	r.setOutputBase(position{rec.Offer.Stdout, rec.Offer.Stderr})
	for _, d := range rec.End.Decisions {
		r.progress.addDecision(d)
	}
	r.progress.addEvent(rec.End.Event)
	r.progress.currentFeed().End()
	r.control.end(!r.correctable())
}

// fromRecord returns the request that a record speaks of. It is decided; whoever
// asked for it went with the process that accepted it, so it goes on by itself.
func (o *Orchestrator) fromRecord(rec *journal.Record) *request {
	r := newRequest(o, rec.ID, rec.Service, rec.Hash)
	r.detached, r.progress.resumed, r.replay.on = true, true, true
	r.progress.info.Detached = rec.Detached
	r.progress.info.Accepted = rec.At
	r.progress.setSequence(rec.Sequence)
	if rec.End != nil {
		r.restore(rec)
	}
	r.decide(nil)
	return r
}
