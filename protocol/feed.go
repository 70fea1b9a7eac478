package protocol

import (
	"context"
	"io"
	"sync"
)

// DefaultOutputLimit is how much output a Feed keeps where nothing else is
// asked for.
const DefaultOutputLimit = 256 << 10

const (
	// maxPiece is the most output that one piece holds.
	maxPiece = 64 << 10
	// joinPiece is up to where small pieces are joined into one, so that a
	// program that writes byte by byte does not cost a hundred bytes a byte.
	joinPiece = 4 << 10
	// pieceShare bounds the number of pieces kept to limit/pieceShare: joining
	// does not help where channels alternate.
	pieceShare = 64
)

// A Feed is the ordered log of a session's updates, with one side that fills
// it and any number of readers. Events and decisions are kept for good; of the
// output, the last bytes up to the limit. All methods may be called
// concurrently; all readers see one order.
type Feed struct {
	limit int

	mu      sync.Mutex // guards all that follows, and the readers' positions
	seq     uint64     // of the last entry or piece
	entries []entry
	pieces  []*piece
	base    int    // how many pieces were dropped before pieces[0]
	kept    int    // bytes in pieces
	written uint64 // bytes that ever went into pieces, of all channels
	total   [Stderr + 1]uint64
	lost    [Stderr + 1]loss
	readers []*FeedReader
	room    chan struct{} // closed when a reader made room; nil if none waits
	ended   bool
}

// entry is an event or a decision in the log.
type entry struct {
	seq    uint64
	update Update
}

// piece is output in the log. Its bytes never change once they are written,
// but more may follow while it is the log's last thing.
type piece struct {
	seq     uint64
	channel Channel
	offset  uint64 // of data[0] in its channel
	at      uint64 // of data[0] in Feed.written
	data    []byte
}

func (p *piece) end() uint64 { return p.offset + uint64(len(p.data)) }

// loss says up to where bytes of a channel were dropped, and when the newest
// of them were written.
type loss struct {
	seq, upTo uint64
}

// NewFeed returns an empty feed that keeps limit bytes of output. Memory is
// taken only as output comes.
func NewFeed(limit int) *Feed {
	return &Feed{limit: max(limit, 1)}
}

// Event adds an event. It never blocks. Progress that directly follows progress
// in the same state takes its place: a reader that is slow skips the older.
// After End it does nothing.
func (f *Feed) Event(e Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended {
		return
	}
	n := len(f.entries)
	if n > 0 && f.entries[n-1].seq == f.seq && supersedes(&e, f.entries[n-1].update.Event) {
		f.entries = f.entries[:n-1]
	}
	f.add(Update{Event: &e})
}

// supersedes reports whether e is newer progress of what old reports.
func supersedes(e, old *Event) bool {
	return old != nil && e.Progress != nil && old.Progress != nil &&
		e.State == old.State && e.Attempt == old.Attempt && e.Node == old.Node
}

// Decision adds a decision. It never blocks; after End it does nothing. The
// candidates are shared with the readers: they must not change any more.
func (f *Feed) Decision(d Decision) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.ended {
		f.add(Update{Decision: &d})
	}
}

func (f *Feed) add(u Update) {
	f.seq++
	f.entries = append(f.entries, entry{seq: f.seq, update: u})
	f.wakeReaders()
}

// Output adds a copy of p, which came on channel c (Stdout or Stderr). While an
// attached reader is so far behind that p would push out what it has not read,
// Output blocks: a slow reader slows the container. With no reader attached it
// never blocks, and the oldest output goes. It returns ctx's error when ctx
// ends first, part of p may have been added then, and io.ErrClosedPipe after
// End.
func (f *Feed) Output(ctx context.Context, c Channel, p []byte) error {
	for len(p) > 0 {
		n := min(len(p), maxPiece, f.limit)
		if err := f.put(ctx, c, p[:n]); err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}

func (f *Feed) put(ctx context.Context, c Channel, p []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for !f.ended && !f.fits(len(p)) {
		if f.room == nil {
			f.room = make(chan struct{})
		}
		room := f.room
		f.mu.Unlock()
		var err error
		select {
		case <-room:
		case <-ctx.Done():
			err = ctx.Err()
		}
		f.mu.Lock()
		if err != nil {
			return err
		}
	}
	if f.ended {
		return io.ErrClosedPipe
	}
	f.appendPiece(c, p)
	f.total[c] += uint64(len(p))
	f.written += uint64(len(p))
	f.kept += len(p)
	f.shrink()
	f.wakeReaders()
	return nil
}

// fits reports whether n more bytes push out nothing that is still to be read.
func (f *Feed) fits(n int) bool {
	for _, r := range f.readers {
		behind := f.written - r.at
		if behind > 0 && behind+uint64(n) > uint64(f.limit) {
			return false
		}
		if f.base+len(f.pieces)-r.piece >= f.maxPieces() {
			return false
		}
	}
	return true
}

func (f *Feed) maxPieces() int { return max(f.limit/pieceShare, 4) }

// appendPiece adds p to the last piece where it can, else as a new one.
func (f *Feed) appendPiece(c Channel, p []byte) {
	if n := len(f.pieces); n > 0 {
		last := f.pieces[n-1]
		if last.seq == f.seq && last.channel == c && len(last.data)+len(p) <= joinPiece {
			last.data = append(last.data, p...)
			return
		}
	}
	f.seq++
	f.pieces = append(f.pieces, &piece{
		seq: f.seq, channel: c, offset: f.total[c], at: f.written,
		data: append([]byte(nil), p...),
	})
}

// shrink drops the oldest output beyond the limit. All readers have read it.
func (f *Feed) shrink() {
	for f.kept > f.limit || len(f.pieces) > f.maxPieces() {
		p := f.pieces[0]
		n := len(p.data)
		if len(f.pieces) <= f.maxPieces() {
			n = min(n, f.kept-f.limit)
		}
		f.kept -= n
		p.offset += uint64(n)
		p.at += uint64(n)
		p.data = p.data[n:]
		if p.offset > f.lost[p.channel].upTo {
			f.lost[p.channel] = loss{seq: p.seq, upTo: p.offset}
		}
		if len(p.data) == 0 {
			f.pieces[0] = nil
			f.pieces = f.pieces[1:]
			f.base++
		}
	}
}

// Cut tells that n bytes of channel c that belong here will never come, because
// they were dropped where the output came from. It never blocks.
func (f *Feed) Cut(c Channel, n uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended || n == 0 {
		return
	}
	f.seq++
	f.total[c] += n
	f.lost[c] = loss{seq: f.seq, upTo: f.total[c]}
	f.wakeReaders()
}

// Offsets returns how many bytes of each output channel have gone by.
func (f *Feed) Offsets() (stdout, stderr uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.total[Stdout], f.total[Stderr]
}

// End ends the log: readers get io.EOF after what is in it.
func (f *Feed) End() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended = true
	f.madeRoom()
	f.wakeReaders()
}

func (f *Feed) wakeReaders() {
	for _, r := range f.readers {
		token(r.wake)
	}
}

func (f *Feed) madeRoom() {
	if f.room != nil {
		close(f.room)
		f.room = nil
	}
}

// Reader attaches a reader, which gets everything from the first event on, and
// the output from the byte stdout of the one and the byte stderr of the other
// channel on. Close it: the feed waits for a reader that doesn't read.
func (f *Feed) Reader(stdout, stderr uint64) *FeedReader {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.attach(stdout, stderr, endless)
}

// ReaderOfNow attaches a reader like Reader, which gets what is in the feed at
// this moment and then io.EOF, however much follows meanwhile.
func (f *Feed) ReaderOfNow(stdout, stderr uint64) *FeedReader {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.attach(stdout, stderr, f.seq)
}

func (f *Feed) attach(stdout, stderr, until uint64) *FeedReader {
	r := &FeedReader{feed: f, wake: make(chan struct{}, 1), piece: f.base, at: f.written - uint64(f.kept), until: until}
	r.next[Stdout], r.next[Stderr] = stdout, stderr
	f.readers = append(f.readers, r)
	return r
}
