package sched

import (
	"context"
	"errors"
	"fmt"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/sched/journal"
)

// load takes up the requests of the journal: those without an end, and those
// with an unknown one. It runs before anything is served.
func (o *Orchestrator) load(t *table) error {
	if o.cfg.Journal == nil {
		o.leases.serve(true)
		return nil
	}
	t.loadRemovals(o.cfg.Journal.Removals())
	taken := 0
	var over []*request // that were to be forgotten, and this process ended first
	err := o.cfg.Journal.Load(func(rec journal.Record) error {
		switch {
		case rec.End == nil:
			taken++
			r := o.fromRecord(&rec)
			r.attemptsBefore = t.attemptsBefore(r.id)
			t.add(r)
			if r.leased() && rec.Offer.Attempt > 0 {
				o.leases.begin(r.id, rec.Offer.Attempt, rec.Offer.Node)
			}
			t.look(r, func(ctx context.Context) protocol.Session { return r.resume(ctx, &rec) })
		case rec.End.Event.State == protocol.StateUnknown:
			t.scheduleCorrection(o.fromRecord(&rec))
		case rec.Service.AutoRemove:
			over = append(over, o.fromRecord(&rec))
		}
		return nil
	})
	if len(over) > 0 {
		t.launch(func(ctx context.Context) {
			for _, r := range over {
				_ = o.removeRecord(ctx, r) // the next start would, too
			}
		})
	}
	o.leases.serve(err == nil)
	if taken > 0 {
		o.cfg.Log.Info("requests taken up again", "count", taken)
	}
	return err
}

// resume takes a request up that was accepted before this process began. One
// that was never offered is placed; else the node of its last offer is asked,
// and no other: it may be running it.
func (r *request) resume(ctx context.Context, rec *journal.Record) protocol.Session {
	params := &r.o.cfg.Params
	r.nodeDeadline = r.o.cfg.Clock() + params.ResumeTimeout
	r.publish(protocol.Event{State: protocol.StateAccepted, At: rec.At})
	switch {
	case rec.Offer.Attempt == 0 && !rec.InDoubt:
		return r.placeFirst(ctx)
	case rec.Offer.Attempt == 0:
		r.publish(protocol.Event{State: protocol.StatePlacing})
		r.end(protocol.StateUnknown, protocol.CodeInternal,
			"the journal of this device was damaged, or an older version of hearth wrote it: whether this was run, and where, is not known")
		return nil
	}
	r.attempt, r.node, r.name = rec.Offer.Attempt, rec.Offer.Node, rec.Offer.Name
	if r.lostAttempts = rec.Offer.Lost; rec.InDoubt {
		r.lostAttempts = r.service.Retry // it may have ended, and that was told
	}
	if r.lostAttempts > 0 { // whatever becomes of this attempt: what has run is not refused
		r.lastEnd = &protocol.Event{State: protocol.StateLost, Code: protocol.CodeNodeLost, Attempt: r.attempt,
			Reason: "an attempt of it was lost before this device was restarted; there is no node to run it again"}
	}
	r.setOutputBase(position{rec.Offer.Stdout, rec.Offer.Stderr})
	r.publish(protocol.Event{State: protocol.StatePlacing, Reason: "this device was restarted: asking " + r.name})
	s, err := r.reattach(ctx, newReattachBackoff(params, params.ResumeTimeout))
	switch {
	case err == nil:
		r.o.cfg.View.Reattached(r.node)
		return s
	case leaving(ctx):
	case errors.Is(err, errForgotten) && r.node == r.o.cfg.Self && !rec.Offer.Started && !rec.InDoubt:
		// The node is this device: it was down as well, has forgotten nothing
		// that ran, and nothing had begun. So it was in the queue at most.
		r.attempt++
		r.node, r.name = "", ""
		return r.placeNew(ctx)
	case errors.Is(err, errForgotten):
		// Another node keeps what ended for minutes, and nobody knows for how long this
		// device was down: that it never ran there would be a guess.
		r.attemptLost(protocol.Event{State: protocol.StateLost, Code: protocol.CodeNodeLost, Reason: fmt.Sprintf(
			"this device was restarted, and %s knows nothing of it: it never got it, or forgot it since; whether it ran is not known", r.name)})
	default:
		r.attemptLost(protocol.Event{State: protocol.StateUnknown, Code: lostCode(ctx), Reason: fmt.Sprintf(
			"this device was restarted, and %s does not answer: %s; whether it ran there is not known",
			r.name, lostReason(ctx, r.reattachTimeout(params.ResumeTimeout)))})
	}
	return nil
}

// setOutputBase says where in the feed the attempt's output begins: what was written
// before is not there any more.
func (r *request) setOutputBase(base position) {
	feed := r.progress.currentFeed()
	have := positionOf(feed)
	feed.Cut(protocol.Stdout, base.stdout-min(base.stdout, have.stdout))
	feed.Cut(protocol.Stderr, base.stderr-min(base.stderr, have.stderr))
	r.outputBase = base
}
