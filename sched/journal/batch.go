package journal

import (
	"encoding/binary"
	"slices"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

// An entry is what is held in memory of a request. It never changes: who writes
// puts another one in its place.
type entry struct {
	id    protocol.RequestID
	seq   uint64
	parts [parts]extent

	ended, unknown bool
	order          uint64
	age            time.Duration // of the journal, when it ended
}

// bytes is what the request takes on disk.
func (e *entry) bytes() int64 {
	var n int64
	for _, x := range e.parts {
		n += x.bytes()
	}
	return n
}

// totals are what the writer knows of all requests.
type totals struct {
	seq, order, commit uint64 // the last ones used
	// age is how old the journal is; see doc.go.
	age time.Duration
	// ended are the requests that have ended, the oldest end first.
	ended      []protocol.RequestID
	endedBytes int64
	live       int64 // bytes of all requests
	// removed are those that were removed lately, the oldest first.
	removed []Removal
}

const commitSize = 3 * 8

// commitFrame appends the frame that makes what came before it count.
func (t *totals) commitFrame(b []byte, base int64) []byte {
	content := binary.BigEndian.AppendUint64(make([]byte, 0, commitSize), uint64(t.age))
	content = binary.BigEndian.AppendUint64(content, t.seq)
	content = binary.BigEndian.AppendUint64(content, t.order)
	b, _ = appendFrame(b, base, kindCommit, t.commit, content)
	return b
}

// A batch is a commit in the making. It changes nothing of the journal until it
// is on disk.
type batch struct {
	j      *Journal
	totals totals
	// changed are the entries that become the journal's; nil is one dropped.
	changed map[protocol.RequestID]*entry
	frames  []byte
}

func (b *batch) find(id protocol.RequestID) *entry {
	if e, ok := b.changed[id]; ok {
		return e
	}
	return b.j.entryOf(id)
}

// put appends a frame of a request, and replaces the entry.
func (b *batch) put(e *entry, k kind, content []byte) *entry {
	next := *e
	b.totals.live -= e.parts[k].bytes()
	b.frames, next.parts[k] = appendFrame(b.frames, b.j.end, k, e.seq, content)
	b.totals.live += next.parts[k].bytes()
	b.changed[e.id] = &next
	return &next
}

// read returns a request's record; what this batch wrote is not on disk yet.
func (b *batch) read(e *entry) (Record, error) {
	return readRecord(e, func(x extent, k kind) ([]byte, error) {
		if x.at >= b.j.end {
			f, _ := parseFrame(x.at, b.frames[x.at-b.j.end:][:x.bytes()])
			return f.content, nil
		}
		return b.j.file.read(x, k, e.seq)
	})
}

func (b *batch) accept(id protocol.RequestID, raw, sealed []byte, o Offer) (uint64, error) {
	b.totals.seq++
	e := b.put(&entry{id: id, seq: b.totals.seq}, kindRequest, raw)
	if len(sealed) > 0 {
		e = b.put(e, kindSealed, sealed)
	}
	if o.Attempt == 0 {
		return e.seq, nil
	}
	text, err := encodeOffer(o)
	if err != nil {
		return 0, err
	}
	b.put(e, kindOffer, text)
	return e.seq, nil
}

// end writes the end of a request, or corrects it: then its place in the order
// of ends stays.
func (b *batch) end(e *entry, raw, output []byte, unknown bool) {
	b.endAt(e, raw, output, unknown, b.totals.age)
}

func (b *batch) endAt(e *entry, raw, output []byte, unknown bool, age time.Duration) {
	t, ended := &b.totals, *e
	if e.ended {
		t.endedBytes -= e.bytes()
	} else {
		t.order++
		ended.ended, ended.order, ended.age = true, t.order, age
		t.ended = append(t.ended, e.id)
	}
	ended.unknown = unknown
	stampEnd(raw, ended.order, ended.age)
	e = b.put(&ended, kindEnd, raw)
	if e.parts[kindSealed].size > 0 {
		e = b.put(e, kindSealed, nil)
	}
	if len(output) > 0 { // a correction that knows no output leaves what was there
		e = b.put(e, kindOutput, output)
	}
	t.endedBytes += e.bytes()
}

// drop forgets a request, but for what content says.
func (b *batch) drop(e *entry, content []byte) {
	t := &b.totals
	b.frames, _ = appendFrame(b.frames, b.j.end, kindDrop, e.seq, content)
	b.changed[e.id] = nil
	t.live -= e.bytes()
	if !e.ended {
		return
	}
	t.endedBytes -= e.bytes()
	if t.ended[0] == e.id {
		t.ended = t.ended[1:]
		return
	}
	t.ended = slices.DeleteFunc(slices.Clone(t.ended), func(id protocol.RequestID) bool { return id == e.id })
}

// purge drops ended requests that are too many, too large or too old.
func (b *batch) purge() {
	t, o := &b.totals, &b.j.opts
	for len(t.ended) > 0 {
		e := b.find(t.ended[0])
		if len(t.ended) <= o.MaxEnded && t.endedBytes <= int64(o.MaxBytes) && t.age-e.age < o.EndedTTL {
			return
		}
		b.drop(e, nil)
	}
}

// apply makes a batch the journal's that is on disk.
func (j *Journal) apply(b *batch) {
	j.end += int64(len(b.frames))
	j.totals = b.totals
	j.mu.Lock()
	defer j.mu.Unlock()
	for id, e := range b.changed {
		if e == nil {
			delete(j.index, id)
			continue
		}
		j.index[id] = e
	}
}
