package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

// A replay brings the tables about that a file's frames say.
type replay struct {
	*scanner
	index  map[protocol.RequestID]*entry
	bySeq  map[uint64]*entry
	totals totals
	end    int64 // of the last commit
	// faults counts what was passed over by salvage.
	faults int
}

func newReplay(s *scanner) *replay {
	return &replay{scanner: s, index: make(map[protocol.RequestID]*entry), bySeq: make(map[uint64]*entry)}
}

// A step is a frame of a commit that is not known to be whole yet: only of
// requests and ends does the content matter.
type step struct {
	extent
	kind   kind
	number uint64
	id     protocol.RequestID
	end    endRecord
	gone   Removal
}

// run reads the file up to its end, or up to a write that was cut short. It
// returns what is wrong with the file.
func (r *replay) run() error {
	header, ok := r.frame(0)
	switch {
	case !ok && r.torn(0) && r.size < headSize:
		return errors.New("it ends within its first record")
	case !ok || header.kind != kindHeader:
		return errors.New("it is no journal")
	case header.number != formatVersion:
		return errForeign
	}
	r.end = header.end()
	for at := r.end; at < r.size; {
		end, err := r.commit(at)
		if err != nil {
			if r.passable(at) {
				break
			}
			return err
		}
		r.end, at = end, end
	}
	r.finish()
	return nil
}

var errForeign = errors.New("it was written by another version of hearth")

// passable reports whether what is at a position, where no whole commit is, is
// the last write only, and was cut short: nobody was told that it succeeded.
func (r *replay) passable(at int64) bool {
	last := at
	for f, ok := r.next(last); ok; f, ok = r.next(last) {
		last = f.end()
		if f.kind == kindCommit && f.number > r.totals.commit+1 {
			return false // a later commit was begun when this one was on disk
		}
	}
	return r.torn(at)
}

// commit reads the frames of one commit, and applies them if it is whole.
func (r *replay) commit(at int64) (end int64, err error) {
	var steps []step
	for {
		f, ok := r.frame(at)
		if !ok {
			return 0, fmt.Errorf("no record can be read at byte %d", at)
		}
		at = f.end()
		if f.kind == kindCommit {
			if f.number != r.totals.commit+1 {
				return 0, fmt.Errorf("commit number %d comes after number %d", f.number, r.totals.commit)
			}
			for i := range steps {
				r.apply(&steps[i])
			}
			return at, r.committed(f)
		}
		s, err := newStep(f)
		if err != nil {
			return 0, fmt.Errorf("the record at byte %d: %w", f.at, err)
		}
		steps = append(steps, s)
	}
}

func newStep(f frame) (s step, err error) {
	s = step{extent: f.extent, kind: f.kind, number: f.number}
	switch f.kind {
	case kindRequest:
		var rec Record
		if rec, err = decodeRequest(f.content); err == nil {
			s.id, err = protocol.ParseRequestID(string(rec.ID))
		}
	case kindOffer:
		if f.size > 0 {
			_, err = decodeOffer(f.content)
		}
	case kindEnd:
		var e endRecord
		if e, err = decodeEnd(f.content); err == nil {
			s.end = endRecord{Order: e.Order, Age: e.Age}
			s.end.Event.State = e.Event.State
		}
	case kindOutput:
		_, err = decodeOutput(f.content)
	case kindDrop:
		s.gone, err = decodeRemoval(f.content)
	}
	return s, err
}

// apply enters a frame into the tables. What is of a request whose own record is
// lost is passed over.
func (r *replay) apply(s *step) {
	e := r.bySeq[s.number]
	switch {
	case s.kind == kindRequest:
		if older := r.index[s.id]; older != nil {
			delete(r.bySeq, older.seq)
		}
		e = &entry{id: s.id, seq: s.number}
		r.index[s.id], r.bySeq[s.number] = e, e
		r.totals.seq = max(r.totals.seq, s.number)
	case s.kind == kindDrop:
		r.drop(e, s.gone)
		return
	case e == nil:
		return
	case s.kind == kindEnd:
		e.ended, e.unknown = true, s.end.Event.State == protocol.StateUnknown
		e.order, e.age = s.end.Order, s.end.Age
		r.totals.order, r.totals.age = max(r.totals.order, e.order), max(r.totals.age, e.age)
	}
	if s.kind.ofRequest() {
		e.parts[s.kind] = s.extent
	}
}

// drop forgets a request; e is nil where a compaction has dropped it before.
func (r *replay) drop(e *entry, gone Removal) {
	if gone.Attempt > 0 {
		r.totals.age = max(r.totals.age, gone.Age)
		r.totals.remember(gone)
	}
	if e != nil {
		delete(r.index, e.id)
		delete(r.bySeq, e.seq)
	}
}

func (r *replay) committed(f frame) error {
	if len(f.content) != commitSize {
		return errMalformed
	}
	t := &r.totals
	t.commit = f.number
	t.age = max(t.age, time.Duration(binary.BigEndian.Uint64(f.content)))
	t.seq = max(t.seq, binary.BigEndian.Uint64(f.content[8:]))
	t.order = max(t.order, binary.BigEndian.Uint64(f.content[16:]))
	return nil
}

// finish adds up what the tables hold.
func (r *replay) finish() {
	t := &r.totals
	var ended []*entry
	t.live, t.endedBytes = 0, 0
	for _, e := range r.index {
		t.live += e.bytes()
		if e.ended {
			t.endedBytes += e.bytes()
			ended = append(ended, e)
		}
	}
	slices.SortFunc(ended, func(a, b *entry) int { return int(min(1, max(-1, int64(a.order-b.order)))) })
	t.ended = make([]protocol.RequestID, len(ended))
	for i, e := range ended {
		t.ended[i] = e.id
	}
}

// salvage reads each sound frame there is, wherever it is, whole commit or not.
func (r *replay) salvage() {
	for at := int64(0); ; {
		f, ok := r.next(at)
		if !ok || f.at > at {
			r.faults++
		}
		if !ok {
			break
		}
		at = f.end()
		switch s, err := newStep(f); {
		case f.kind == kindHeader:
		case f.kind == kindCommit:
			if f.number != r.totals.commit+1 {
				r.faults++
			}
			_ = r.committed(f)
		case err != nil:
			r.faults++
		default:
			r.apply(&s)
		}
		if at >= r.size {
			break
		}
	}
	r.finish()
}
