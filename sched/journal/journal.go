package journal

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

var (
	// ErrExists says that the request ID has a record already.
	ErrExists = errors.New("the request is in the journal already")
	// ErrNotFound says that the request ID has no record, or none any more.
	ErrNotFound = errors.New("the request is not in the journal")
	// ErrEnded says that the request has ended, and not as unknown.
	ErrEnded = errors.New("the request has ended already")
	// ErrNotEnded says that the request is under way.
	ErrNotEnded = errors.New("the request has not ended")
	// ErrClosed says that the journal is closed, or closing.
	ErrClosed = errors.New("the journal is closed")
)

// Options say what is kept, and for how long. Use DefaultOptions and set Clock
// and Log.
type Options struct {
	// Clock tells the monotonic time since some start that stays the same.
	Clock func() time.Duration
	Log   *slog.Logger
	// Sealer keeps secrets of services; without one none are taken.
	Sealer Sealer
	// Former is the path of a journal in the format before, to be read where there
	// is no other; empty is none.
	Former string
	// LockTimeout is how long Open waits for another process to let go of the
	// file.
	LockTimeout time.Duration
	// MaxLinger is how long an End with Linger waits for others to share a
	// commit with.
	MaxLinger time.Duration
	// MaxEnded, EndedTTL and MaxBytes say how many ended requests are
	// kept, for how long, and how many bytes their records and output may take.
	MaxEnded int
	EndedTTL time.Duration
	MaxBytes protocol.Bytes
	// MaxOutput is how many bytes of a request's output are kept, the last
	// ones; MaxHistory how many events, the first and the last ones.
	MaxOutput  int
	MaxHistory int
}

// DefaultOptions returns what Hearth runs with, but for Clock and Log.
func DefaultOptions() Options {
	return Options{
		LockTimeout: time.Second,
		MaxLinger:   50 * time.Millisecond,
		MaxEnded:    1000,
		EndedTTL:    24 * time.Hour,
		MaxBytes:    32 << 20,
		MaxOutput:   64 << 10,
		MaxHistory:  64,
	}
}

// Validate checks that all is set and nothing is negative.
func (o *Options) Validate() error {
	switch {
	case o.Clock == nil || o.Log == nil:
		return errors.New("journal: Clock and Log must be set")
	case o.LockTimeout < 0 || o.MaxLinger < 0 || o.MaxEnded < 0 || o.EndedTTL < 0 || o.MaxOutput < 0 || o.MaxHistory < 0:
		return errors.New("journal: an option is negative")
	}
	return nil
}

// Journal is an open journal. Its methods may be called concurrently.
type Journal struct {
	opts   Options
	log    *slog.Logger
	path   string
	report Report

	// mu guards what follows. It is never held across I/O.
	mu      sync.Mutex
	index   map[protocol.RequestID]*entry // of all that is committed
	file    *logFile                      // only the writer replaces it
	waiting []*call
	writing bool // a writer runs
	// notify is filled by a call without linger since the writer looked.
	notify  chan struct{}
	closed  bool
	broken  error          // set when the file cannot be trusted any more
	writers sync.WaitGroup // at most one at a time

	// What follows belongs to the writer; to Open and Close when there is none.
	failing bool // the last write failed, and may have left something behind end
	// dirUnsynced: the file has a new name that may not be on disk. syncDir is what
	// puts it there, the function of that name but in tests.
	dirUnsynced bool
	syncDir     func(path string) error
	end         int64 // of what is committed in the file
	totals      totals
	// opened is the journal's age when it was opened, start the clock's time then.
	opened, start time.Duration
	removals      []Removal // when it was opened
	// tooBig is the size from which a compaction is tried again that failed.
	tooBig int64
}

// Accepted writes down a request, and returns its record. With ErrExists the
// ID has a record already: that one is returned; compare its Hash to tell
// whether the same service is meant. Other errors are an *protocol.Error
// (CodeInvalid, CodeDiskFull, CodeInternal), ErrClosed, or that of ctx: then
// the request is not accepted.
func (j *Journal) Accepted(ctx context.Context, r Request) (Record, error) {
	if rec, err := j.Find(r.ID); err == nil {
		return rec, ErrExists
	}
	rec := Record{Request: r, Hash: ServiceHash(r.Service)}
	raw, err := encodeRequest(&rec)
	if err != nil {
		return Record{}, err
	}
	sealed, err := j.seal(&rec)
	if err != nil {
		return Record{}, err
	}
	err = j.submit(ctx, &call{size: len(raw) + len(sealed)}, func(b *batch) (verdict, err error) {
		if e := b.find(r.ID); e != nil {
			rec, err = b.read(e)
			return ErrExists, err
		}
		rec.Sequence, err = b.accept(r.ID, raw, sealed, r.Offer)
		return nil, err
	})
	if err != nil && !errors.Is(err, ErrExists) {
		return Record{}, err
	}
	return rec, err
}

// Offered writes down to whom the request is about to be offered. Call it before
// the offer is sent. Only the last one is kept; the zero value takes it back,
// where it was not sent. Errors are as for Accepted, and ErrNotFound and ErrEnded.
func (j *Journal) Offered(ctx context.Context, id protocol.RequestID, o Offer) error {
	var raw []byte
	if o != (Offer{}) {
		var err error
		if raw, err = encodeOffer(o); err != nil {
			return err
		}
	}
	return j.submit(ctx, &call{size: len(raw)}, func(b *batch) (verdict, err error) {
		e := b.find(id)
		switch {
		case e == nil:
			return ErrNotFound, nil
		case e.ended:
			return ErrEnded, nil
		case raw == nil:
			if e.parts[kindOffer].size == 0 {
				return nil, nil
			}
		}
		b.put(e, kindOffer, raw)
		return nil, nil
	})
}

// Ended writes down how the request ended. Of its output and history no more is
// kept than the Options allow. An end as protocol.StateUnknown may be replaced
// by another one; any other is final. Errors are as for Accepted, and ErrNotFound
// and ErrEnded; with any but these two the request still counts as under way.
func (j *Journal) Ended(ctx context.Context, id protocol.RequestID, end End) error {
	if !end.Event.State.Ended() {
		return protocol.Errorf(protocol.CodeInvalid, "journal: the state %d is no end", end.Event.State)
	}
	raw, err := encodeEnd(&end, j.opts.MaxHistory)
	if err != nil {
		return err
	}
	output := encodeOutput(tail(end.Output, j.opts.MaxOutput))
	return j.submit(ctx, &call{size: len(raw) + len(output), linger: end.Linger}, func(b *batch) (verdict, err error) {
		e := b.find(id)
		switch {
		case e == nil:
			return ErrNotFound, nil
		case e.ended && !e.unknown:
			return ErrEnded, nil
		}
		b.end(e, raw, output, end.Event.State == protocol.StateUnknown)
		return nil, nil
	})
}

// Removed forgets a request that has ended, and returns once that is on disk.
// What x says of its last attempt is remembered, see Removals; attempt 0 is none.
// Errors are as for Accepted, ErrNotFound, and ErrNotEnded.
func (j *Journal) Removed(ctx context.Context, x Removal) error {
	return j.submit(ctx, new(call), func(b *batch) (verdict, err error) {
		e := b.find(x.ID)
		switch {
		case e == nil:
			return ErrNotFound, nil
		case !e.ended:
			return ErrNotEnded, nil
		}
		b.remove(e, x)
		return nil, nil
	})
}

// Removals returns what was removed lately, before Open, the oldest first.
func (j *Journal) Removals() []Removal { return j.removals }

// Find returns the record of a request, without its output, or ErrNotFound.
func (j *Journal) Find(id protocol.RequestID) (Record, error) { return j.record(id) }

// Output returns the output kept of a request that has ended; nil while it has
// not. ErrNotFound as for Find.
func (j *Journal) Output(id protocol.RequestID) ([]protocol.Output, error) {
	e, file, err := j.lookup(id)
	if err != nil {
		return nil, err
	}
	defer file.users.Done()
	x := e.parts[kindOutput]
	if x == (extent{}) {
		return nil, nil
	}
	raw, err := file.read(x, kindOutput, e.seq)
	if err != nil {
		return nil, j.readError(err)
	}
	return decodeOutput(raw)
}

// Load calls yield with every record there is, in the order of acceptance,
// without output. It stops at the first error, which it returns. Requests that
// come or go meanwhile may be left out. yield may call the Journal.
func (j *Journal) Load(yield func(Record) error) error {
	for _, id := range j.all() {
		rec, err := j.record(id)
		switch {
		case errors.Is(err, ErrNotFound):
			continue // dropped since
		case err != nil:
			return err
		}
		if err := yield(rec); err != nil {
			return err
		}
	}
	return nil
}

// Report tells what Open found.
func (j *Journal) Report() Report { return j.report }

// Close commits what waits, and closes the file; calls that come later return
// ErrClosed. It may be called again.
func (j *Journal) Close() error {
	j.mu.Lock()
	first := !j.closed
	j.closed = true
	j.notifyWriter()
	j.mu.Unlock()
	j.writers.Wait()
	if !first {
		return nil
	}
	if j.broken == nil {
		j.saveAge()
	}
	j.file.users.Wait()
	return errors.Join(j.syncName(), j.file.Close())
}
