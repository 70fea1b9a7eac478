package protocol

import (
	"io"
	"math"
	"slices"
)

// A FeedReader reads a Feed. Next is for one goroutine at a time; Close may be
// called by another.
type FeedReader struct {
	feed *Feed
	wake chan struct{} // holds a token when there may be something new

	// The feed's mutex guards the rest.
	seq    uint64             // of the newest entry that was read
	entry  int                // index of the entry to read next
	piece  int                // number of the piece to read next, from Feed.base
	at     uint64             // position in Feed.written
	next   [Stderr + 1]uint64 // offsets to read next
	closed bool
	until  uint64 // nothing with a higher seq is read; see endless
}

// endless is the until of a reader that follows the feed to its end.
const endless = math.MaxUint64 - 1

// Next blocks until there is another update. It returns io.EOF after the last
// one of a feed that has ended, or of its moment (Feed.ReaderOfNow), and io.ErrClosedPipe once the reader is closed.
// What the update points to is shared with other readers: don't change it.
func (r *FeedReader) Next() (Update, error) {
	for {
		u, done, err := r.poll()
		if done || err != nil {
			return u, err
		}
		<-r.wake
	}
}

func (r *FeedReader) poll() (u Update, done bool, err error) {
	f := r.feed
	f.mu.Lock()
	defer f.mu.Unlock()
	if r.closed {
		return Update{}, false, io.ErrClosedPipe
	}
	e, p := r.nextEntry(), r.nextPiece()
	if e != nil && e.seq > r.until {
		e = nil
	}
	if p != nil && p.seq > r.until {
		p = nil
	}
	switch {
	case p != nil && (e == nil || p.seq < e.seq):
		return Update{Output: r.take(p)}, true, nil
	case e != nil:
		if o := r.loss(e.seq); o != nil {
			return Update{Output: o}, true, nil
		}
		r.seq = e.seq
		r.entry++
		return e.update, true, nil
	}
	if o := r.loss(r.until + 1); o != nil {
		return Update{Output: o}, true, nil
	}
	if f.ended || r.until != endless {
		return Update{}, false, io.EOF
	}
	return Update{}, false, nil
}

// nextEntry returns the entry to read next, which may have taken the place of
// one that was read already.
func (r *FeedReader) nextEntry() *entry {
	entries := r.feed.entries
	for r.entry > 0 && entries[r.entry-1].seq > r.seq {
		r.entry--
	}
	if r.entry < len(entries) {
		return &entries[r.entry]
	}
	return nil
}

// nextPiece returns the piece to read next, passing over what was read and what
// is not wanted. The last piece is not left behind, as it may grow.
func (r *FeedReader) nextPiece() *piece {
	f := r.feed
	r.piece = max(r.piece, f.base)
	for r.piece < f.base+len(f.pieces) {
		p := f.pieces[r.piece-f.base]
		if p.end() > r.next[p.channel] {
			return p
		}
		r.moveTo(p.at + uint64(len(p.data)))
		if r.piece == f.base+len(f.pieces)-1 {
			return nil
		}
		r.piece++
		f.madeRoom()
	}
	return nil
}

// take hands out what r has not read of p.
func (r *FeedReader) take(p *piece) *Output {
	next := r.next[p.channel]
	o := &Output{Channel: p.channel, Offset: max(p.offset, next)}
	o.Cut = o.Offset - next
	o.Data = p.data[o.Offset-p.offset : len(p.data) : len(p.data)]
	r.next[p.channel] = p.end()
	r.moveTo(p.at + uint64(len(p.data)))
	return o
}

// loss tells of bytes that were dropped before the entry numbered seq, and after
// which no more of their channel came.
func (r *FeedReader) loss(seq uint64) *Output {
	for _, c := range []Channel{Stdout, Stderr} {
		l := r.feed.lost[c]
		if l.upTo > r.next[c] && l.seq < seq {
			o := &Output{Channel: c, Offset: l.upTo, Cut: l.upTo - r.next[c]}
			r.next[c] = l.upTo
			return o
		}
	}
	return nil
}

func (r *FeedReader) moveTo(at uint64) {
	if at > r.at {
		r.at = at
		r.feed.madeRoom()
	}
}

// Close detaches the reader and unblocks Next. It never fails.
func (r *FeedReader) Close() error {
	f := r.feed
	f.mu.Lock()
	defer f.mu.Unlock()
	if !r.closed {
		r.closed = true
		f.readers = slices.DeleteFunc(f.readers, func(other *FeedReader) bool { return other == r })
		f.madeRoom()
		token(r.wake)
	}
	return nil
}
