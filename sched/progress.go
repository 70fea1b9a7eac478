package sched

import (
	"slices"
	"sync"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

// progress is what is known of a request, for whoever asks: the request's own
// goroutine writes it, anyone reads it.
type progress struct {
	maxHistory, maxDecisions int

	mu sync.Mutex // guards all that follows
	// feed is the source of sessions. A correction of an unknown end replaces
	// it: readers of the old one were told unknown, which was true then.
	feed      *protocol.Feed
	marks     marks // when the feed's output came
	info      protocol.RequestInfo
	sequence  uint64
	events    []protocol.Event
	decisions []protocol.Decision
	// resumed: an earlier process had it, and may have told its askers more of the
	// output than this one knows of: claimed is what they say.
	resumed       bool
	claimedOutput position
}

// maxClaimedOutput bounds how much output an asker is believed to have.
const maxClaimedOutput = 1 << 40

func newProgress(p *Params, info protocol.RequestInfo) progress {
	return progress{
		maxHistory: p.MaxHistory, maxDecisions: p.MaxDecisions,
		feed: protocol.NewFeed(p.MaxOutput), info: info,
	}
}

// addEvent takes an event in, and tells the sessions.
func (p *progress) addEvent(e protocol.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.feed.Event(e)
	p.record(e)
}

// addPast takes in an event of the time before this process. Of an end that was
// corrected later, sessions are not told: the last thing they hear is an end.
func (p *progress) addPast(e protocol.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !e.State.Ended() {
		p.feed.Event(e)
	}
	p.record(e)
}

// record is called with mu held. Of the history the first and the last events
// stay: how it began and how it ended say more than how often a node did not
// answer.
func (p *progress) record(e protocol.Event) {
	p.info.Last = e
	switch {
	case e.State == protocol.StateAccepted:
		p.info.Accepted = e.At
	case e.State == protocol.StateRunning && p.info.Started.IsZero():
		p.info.Started = e.At
	case e.State.Ended():
		p.info.Ended = e.At
	}
	if e.Progress != nil {
		return
	}
	p.events = append(p.events, e)
	if len(p.events) > p.maxHistory {
		p.events = slices.Delete(p.events, p.maxHistory/2, p.maxHistory/2+1)
	}
}

// addDecision takes a decision in; the latest ones stay.
func (p *progress) addDecision(d protocol.Decision) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.feed.Decision(d)
	p.decisions = append(p.decisions, d)
	if len(p.decisions) > p.maxDecisions {
		p.decisions = slices.Delete(p.decisions, 0, 1)
	}
}

// currentFeed returns the feed.
func (p *progress) currentFeed() *protocol.Feed {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.feed
}

// replaceFeed replaces the feed, which has ended, by one that goes on from there.
func (p *progress) replaceFeed(f *protocol.Feed, now time.Duration, at time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.marks.add(now, at, positionOf(p.feed))
	p.feed = f
}

// markOutput takes note that output comes after the position from of the feed; at is
// zero where it is not known when it was written.
func (p *progress) markOutput(now time.Duration, at time.Time, from position) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.marks.add(now, at, from)
}

// splitByTime tells when out came, and parts it where not all came then: rest is what
// came later, or nil.
func (p *progress) splitByTime(out *protocol.Output) (first, rest *protocol.Output) {
	p.mu.Lock()
	defer p.mu.Unlock()
	told := *out
	at, end := p.marks.of(out.Channel, out.Offset)
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

// claimOutput takes note of what an asker has of the output.
func (p *progress) claimOutput(has position) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.resumed && max(has.stdout, has.stderr) <= maxClaimedOutput {
		p.claimedOutput = p.claimedOutput.max(has)
	}
}

// outputEnd returns where the next output begins: after everything received,
// and everything an asker claims to have.
func (p *progress) outputEnd() position {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.claimedOutput.max(positionOf(p.feed))
}

// outputSince returns the feed, and where in it the output begins that came at
// the time then or later.
func (p *progress) outputSince(then time.Duration) (*protocol.Feed, position) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if from, ok := p.marks.since(then); ok {
		return p.feed, from
	}
	return p.feed, positionOf(p.feed)
}

// detach makes the request one that goes on without an app.
func (p *progress) detach() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.info.Detached = true
}

func (p *progress) setSequence(sequence uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sequence = sequence
}

// summary returns what a list says of the request, and its place in it; a request
// that is not accepted yet has none.
func (p *progress) summary() (info protocol.RequestInfo, sequence uint64, accepted bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.info, p.sequence, len(p.events) > 0
}

// detail returns all.
func (p *progress) detail(s protocol.Service) protocol.RequestDetail {
	p.mu.Lock()
	defer p.mu.Unlock()
	return protocol.RequestDetail{
		RequestInfo: p.info, Service: s,
		Events: slices.Clone(p.events), Decisions: slices.Clone(p.decisions),
	}
}

// history returns the events so far, and the decisions kept.
func (p *progress) history() ([]protocol.Event, []protocol.Decision) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.events), slices.Clone(p.decisions)
}
