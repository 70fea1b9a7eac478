package sched

import (
	"slices"
	"sync"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

// account is what is known of a request, for whoever asks: the request's own
// goroutine writes it, anyone reads it.
type account struct {
	historyKept, decisionsKept int

	mu sync.Mutex // guards all that follows
	// feed is what sessions read. It is replaced when an end as unknown is
	// corrected: those who read the old one were told unknown, and that was so.
	feed      *protocol.Feed
	marks     marks // when the feed's output came
	info      protocol.RequestInfo
	sequence  uint64
	events    []protocol.Event
	decisions []protocol.Decision
	// takenUp: an earlier process had it, and may have told its askers more of the
	// output than this one knows of: claimed is what they say.
	takenUp bool
	claimed position
}

// maxClaim bounds how much output an asker is believed to have.
const maxClaim = 1 << 40

func newAccount(p *Params, info protocol.RequestInfo) account {
	return account{
		historyKept: p.HistoryKept, decisionsKept: p.DecisionsKept,
		feed: protocol.NewFeed(p.OutputKept), info: info,
	}
}

// event takes an event in, and tells the sessions.
func (a *account) event(e protocol.Event) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.feed.Event(e)
	a.note(e)
}

// past takes in an event of the time before this process. Of an end that was
// corrected later, sessions are not told: the last thing they hear is an end.
func (a *account) past(e protocol.Event) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !e.State.Ended() {
		a.feed.Event(e)
	}
	a.note(e)
}

// note is called with mu held. Of the history the first and the last events
// stay: how it began and how it ended say more than how often a node did not
// answer.
func (a *account) note(e protocol.Event) {
	a.info.Last = e
	switch {
	case e.State == protocol.StateAccepted:
		a.info.Accepted = e.At
	case e.State == protocol.StateRunning && a.info.Started.IsZero():
		a.info.Started = e.At
	case e.State.Ended():
		a.info.Ended = e.At
	}
	if e.Progress != nil {
		return
	}
	a.events = append(a.events, e)
	if len(a.events) > a.historyKept {
		a.events = slices.Delete(a.events, a.historyKept/2, a.historyKept/2+1)
	}
}

// decision takes a decision in; the latest ones stay.
func (a *account) decision(d protocol.Decision) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.feed.Decision(d)
	a.decisions = append(a.decisions, d)
	if len(a.decisions) > a.decisionsKept {
		a.decisions = slices.Delete(a.decisions, 0, 1)
	}
}

// output returns the feed.
func (a *account) output() *protocol.Feed {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.feed
}

// reopen replaces the feed, which has ended, by one that goes on from there.
func (a *account) reopen(f *protocol.Feed, now time.Duration, at time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.marks.add(now, at, positionOf(a.feed))
	a.feed = f
}

// outputComes takes note that output comes after position p of the feed; at is
// zero where it is not known when it was written.
func (a *account) outputComes(now time.Duration, at time.Time, p position) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.marks.add(now, at, p)
}

// timed tells when out came, and parts it where not all came then: rest is what
// came later, or nil.
func (a *account) timed(out *protocol.Output) (first, rest *protocol.Output) {
	a.mu.Lock()
	defer a.mu.Unlock()
	told := *out
	at, end := a.marks.of(out.Channel, out.Offset)
	told.At = at
	if end >= out.Offset+uint64(len(out.Data)) {
		return &told, nil
	}
	n := end - out.Offset
	later := *out
	told.Data = out.Data[:n:n]
	later.Offset, later.Cut, later.Data = end, 0, out.Data[n:]
	return &told, &later
}

// claim takes note of what an asker has of the output.
func (a *account) claim(p position) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.takenUp && max(p.stdout, p.stderr) <= maxClaim {
		a.claimed = a.claimed.max(p)
	}
}

// outputEnd returns where what comes next in the output begins: after all that
// came, and that somebody has.
func (a *account) outputEnd() position {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.claimed.max(positionOf(a.feed))
}

// outputSince returns the feed, and where in it the output begins that came at
// the time then or later.
func (a *account) outputSince(then time.Duration) (*protocol.Feed, position) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if p, ok := a.marks.since(then); ok {
		return a.feed, p
	}
	return a.feed, positionOf(a.feed)
}

// detach makes the request one that goes on without an app.
func (a *account) detach() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.info.Detached = true
}

func (a *account) numbered(sequence uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.sequence = sequence
}

// line returns what a list says of the request, and its place in it; a request
// that is not accepted yet has none.
func (a *account) line() (info protocol.RequestInfo, sequence uint64, accepted bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.info, a.sequence, len(a.events) > 0
}

// detail returns all.
func (a *account) detail(s protocol.Service) protocol.RequestDetail {
	a.mu.Lock()
	defer a.mu.Unlock()
	return protocol.RequestDetail{
		RequestInfo: a.info, Service: s,
		Events: slices.Clone(a.events), Decisions: slices.Clone(a.decisions),
	}
}

// history returns the events so far, and the decisions kept.
func (a *account) history() ([]protocol.Event, []protocol.Decision) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.events), slices.Clone(a.decisions)
}
