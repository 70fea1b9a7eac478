package sched

import (
	"context"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

// handleOutput passes on what was not passed on before: no byte twice, and a cut
// where some are missing.
func (r *request) handleOutput(ctx context.Context, out *protocol.Output) {
	at := r.wallClock()
	if r.replay.covers(r.o.cfg.Clock()) {
		at = time.Time{}
	}
	before := r.passOutput(ctx, out, at)
	if !at.IsZero() {
		at = r.wallClock()
	}
	r.progress.markOutput(r.o.cfg.Clock(), at, before) // it may have waited for readers
}

// passOutput passes on output that was written at a time, or at none that is known. It
// returns where in the feed it begins.
func (r *request) passOutput(ctx context.Context, out *protocol.Output, at time.Time) position {
	feed := r.progress.currentFeed()
	before := positionOf(feed)
	r.progress.markOutput(r.o.cfg.Clock(), at, before)
	if err := passOn(ctx, feed, r.outputBase.shifted(out)); err != nil {
		r.log.Debug("output was not passed on", "err", err)
	}
	return before
}

func passOn(ctx context.Context, feed *protocol.Feed, out *protocol.Output) error {
	var have uint64
	switch out.Channel {
	case protocol.Stdout:
		have, _ = feed.Offsets()
	case protocol.Stderr:
		_, have = feed.Offsets()
	default:
		return nil
	}
	data := out.Data
	switch {
	case out.Offset > have:
		feed.Cut(out.Channel, out.Offset-have)
	case have-out.Offset >= uint64(len(data)):
		return nil
	default:
		data = data[have-out.Offset:]
	}
	return feed.Output(ctx, out.Channel, data)
}

const (
	// replayGap without output ends a replay, and so does replayTimeout at the latest.
	replayGap, replayTimeout = time.Second, 10 * time.Second
)

// A replay separates the output that a node kept from before this process from
// new output: the time of the former is unknown. It is the first output of a
// session, without a gap. The zero value covers nothing.
type replay struct {
	on, begun   bool
	first, last time.Duration
}

// covers reports whether what comes now is part of it.
func (p *replay) covers(now time.Duration) bool {
	switch {
	case !p.on:
		return false
	case !p.begun:
		p.begun, p.first = true, now
	case now-p.last > replayGap, now-p.first > replayTimeout:
		p.on = false
		return false
	}
	p.last = now
	return true
}
