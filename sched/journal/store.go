package journal

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"time"

	"go.etcd.io/bbolt"

	"github.com/hearth-edge/hearth/protocol"
)

// The buckets. The key is a request's sequence number, 8 bytes, big-endian; in
// state it is 0. A value is a checksum, 4 bytes, and the content.
const (
	state    = "state"
	requests = "requests"
	offers   = "offers"
	ends     = "ends"
	outputs  = "outputs"
)

var buckets = []string{state, requests, offers, ends, outputs}

// records are those that hold what there is of a request.
var records = buckets[1:]

// formatVersion changes when older programs would misread the file.
const formatVersion = 1

const sumSize = 4

// seal puts the checksum before the content.
func seal(bucket string, key, content []byte) []byte {
	raw := make([]byte, sumSize, sumSize+len(content))
	binary.BigEndian.PutUint32(raw, sum(bucket, key, content))
	return append(raw, content...)
}

// unseal returns the content, and whether its checksum is right.
func unseal(bucket string, key, raw []byte) ([]byte, bool) {
	if len(key) != 8 || len(raw) < sumSize {
		return nil, false
	}
	content := raw[sumSize:]
	return content, binary.BigEndian.Uint32(raw) == sum(bucket, key, content)
}

func sum(bucket string, key, content []byte) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli)
	return crc32.Update(crc32.Update(crc32.Checksum([]byte(bucket), table), table, key), table, content)
}

func keyOf(seq uint64) []byte { return binary.BigEndian.AppendUint64(nil, seq) }

// get returns a content, valid during the transaction; nil where there is none.
func get(tx *bbolt.Tx, bucket string, seq uint64) ([]byte, error) {
	b := tx.Bucket([]byte(bucket))
	if b == nil {
		return nil, nil // of a new file, before its first commit
	}
	key := keyOf(seq)
	raw := b.Get(key)
	if raw == nil {
		return nil, nil
	}
	content, ok := unseal(bucket, key, raw)
	if !ok {
		return nil, fmt.Errorf("%w: %s of request number %d: wrong checksum", errDamaged, bucket, seq)
	}
	return content, nil
}

// put writes a content, and keeps sum the sum of the checksums of all records;
// nil leaves it out, as for the state, which holds the sum.
func put(tx *bbolt.Tx, sum *uint64, bucket string, seq uint64, content []byte) error {
	b, err := tx.CreateBucketIfNotExists([]byte(bucket))
	if err != nil {
		return err
	}
	key := keyOf(seq)
	sealed := seal(bucket, key, content)
	if sum != nil {
		*sum += checksum(sealed) - checksum(b.Get(key))
	}
	return b.Put(key, sealed)
}

// checksum returns that of a sealed content; 0 for nil.
func checksum(sealed []byte) uint64 {
	if len(sealed) < sumSize {
		return 0
	}
	return uint64(binary.BigEndian.Uint32(sealed))
}

// remove deletes what there is of a request in some buckets.
func remove(tx *bbolt.Tx, sum *uint64, seq uint64, from ...string) error {
	key := keyOf(seq)
	for _, name := range from {
		if b := tx.Bucket([]byte(name)); b != nil {
			*sum -= checksum(b.Get(key))
			if err := b.Delete(key); err != nil {
				return err
			}
		}
	}
	return nil
}

// readRecord returns a request's record, or ErrNotFound.
func readRecord(tx *bbolt.Tx, seq uint64) (Record, error) {
	raw, err := get(tx, requests, seq)
	if err != nil {
		return Record{}, err
	}
	if raw == nil {
		return Record{}, ErrNotFound
	}
	r, err := decodeRequest(raw)
	if err != nil {
		return Record{}, err
	}
	r.Sequence = seq
	if raw, err = get(tx, offers, seq); err != nil {
		return Record{}, err
	}
	if raw != nil {
		if r.Offer, err = decodeOffer(raw); err != nil {
			return Record{}, err
		}
	}
	if raw, err = get(tx, ends, seq); err != nil || raw == nil {
		return r, err
	}
	e, err := decodeEnd(raw)
	r.End, r.Doubtful = &e.End, false
	return r, err
}

// entry is what is held in memory of a request. All but id and seq, which stay
// the same, belong to the writer.
type entry struct {
	id  protocol.RequestID
	seq uint64

	ended, unknown bool
	order          uint64
	age            time.Duration // of the journal, when it ended
	bytes          int64         // on disk, more or less
}

// kept is what the writer knows of all requests.
type kept struct {
	next, order uint64 // the last ones used
	// commit is bbolt's number of the last transaction.
	commit uint64
	// sum of the checksums of all records on disk, so that none can go missing
	// without being missed.
	sum uint64
	// age is base plus what the clock has moved since start.
	base, start time.Duration
	ended       []*entry // the oldest end first
	bytes       int64    // of those
	// undo holds what a failed commit may have left on disk.
	undo map[protocol.RequestID]uint64
}

// stateSize is that of version, age, sequence, order, commit and sum.
const stateSize = 1 + 5*8

func (k *kept) encode(age time.Duration) []byte {
	raw := append(make([]byte, 0, stateSize), formatVersion)
	for _, v := range []uint64{uint64(age), k.next, k.order, k.commit, k.sum} {
		raw = binary.BigEndian.AppendUint64(raw, v)
	}
	return raw
}

func (k *kept) decode(raw []byte) error {
	if len(raw) != stateSize || raw[0] != formatVersion {
		return errMalformed
	}
	k.base = max(0, time.Duration(binary.BigEndian.Uint64(raw[1:])))
	k.next = binary.BigEndian.Uint64(raw[9:])
	k.order = binary.BigEndian.Uint64(raw[17:])
	k.commit = binary.BigEndian.Uint64(raw[25:])
	k.sum = binary.BigEndian.Uint64(raw[33:])
	return nil
}

// batch is a commit in the making. It changes the writer's tables as it goes;
// was and saved are to take that back.
type batch struct {
	j   *Journal
	tx  *bbolt.Tx
	age time.Duration
	// fresh are the requests accepted here, dropped those that retention drops.
	fresh   map[protocol.RequestID]*entry
	dropped []*entry
	changed bool

	was   kept
	saved []savedEntry
}

type savedEntry struct {
	e   *entry
	was entry
}

func (b *batch) find(id protocol.RequestID) *entry {
	if e := b.fresh[id]; e != nil {
		return e
	}
	return b.j.entryOf(id)
}

func (b *batch) read(seq uint64) (Record, error) { return readRecord(b.tx, seq) }

func (b *batch) put(bucket string, seq uint64, content []byte) error {
	b.changed = true
	return put(b.tx, &b.j.kept.sum, bucket, seq, content)
}

func (b *batch) remove(bucket string, seq uint64) error {
	b.changed = true
	return remove(b.tx, &b.j.kept.sum, seq, bucket)
}

func (b *batch) accept(id protocol.RequestID, raw []byte, o Offer) (uint64, error) {
	b.j.kept.next++
	e := &entry{id: id, seq: b.j.kept.next, bytes: int64(len(raw))}
	b.fresh[id] = e
	if err := b.put(requests, e.seq, raw); err != nil || o.Attempt == 0 {
		return e.seq, err
	}
	text, err := encodeOffer(o)
	if err != nil {
		return 0, err
	}
	return e.seq, b.put(offers, e.seq, text)
}

// end writes the end of a request, or corrects it: then its place in the order
// of ends stays.
func (b *batch) end(e *entry, raw, output []byte, unknown bool) error {
	k := &b.j.kept
	b.saved = append(b.saved, savedEntry{e, *e})
	if e.ended {
		k.bytes -= e.bytes
	} else {
		k.order++
		e.ended, e.order, e.age = true, k.order, b.age
		k.ended = append(k.ended, e)
	}
	e.unknown = unknown
	e.bytes += int64(len(raw) + len(output))
	k.bytes += e.bytes
	stampEnd(raw, e.order, e.age)
	if err := b.put(ends, e.seq, raw); err != nil || len(output) == 0 {
		return err // a correction that knows no output leaves what was there
	}
	return b.put(outputs, e.seq, output)
}

// undo takes back what a failed commit left.
func (b *batch) undo() error {
	for _, seq := range b.j.kept.undo {
		b.changed = true
		if err := remove(b.tx, &b.j.kept.sum, seq, records...); err != nil {
			return err
		}
	}
	return nil
}

// purge drops ended requests that are too many, too large or too old.
func (b *batch) purge() error {
	k, o := &b.j.kept, &b.j.opts
	for len(k.ended) > 0 {
		e := k.ended[0]
		if len(k.ended) <= o.KeepEnded && k.bytes <= int64(o.KeepBytes) && b.age-e.age < o.KeepEndedFor {
			break
		}
		if err := remove(b.tx, &k.sum, e.seq, records...); err != nil {
			return err
		}
		k.bytes -= e.bytes
		k.ended = k.ended[1:]
		b.dropped = append(b.dropped, e)
	}
	return nil
}

// takeBack leaves the writer's tables as they were before.
func (b *batch) takeBack() {
	b.j.kept = b.was
	for _, s := range slices.Backward(b.saved) {
		*s.e = s.was
	}
}

// load fills the tables from the file.
func (j *Journal) load(tx *bbolt.Tx) error {
	raw, err := get(tx, state, 0)
	if err != nil || raw == nil {
		return err
	}
	k := &j.kept
	if err := k.decode(raw); err != nil {
		return err
	}
	for _, seq := range keys(tx, requests) {
		e, err := loadEntry(tx, seq)
		if err != nil {
			return err
		}
		j.index[e.id] = e
		k.next = max(k.next, seq)
		if e.ended {
			k.order, k.base = max(k.order, e.order), max(k.base, e.age)
			k.ended = append(k.ended, e)
			k.bytes += e.bytes
		}
	}
	slices.SortFunc(k.ended, func(a, b *entry) int { return cmp.Compare(a.order, b.order) })
	return nil
}

func loadEntry(tx *bbolt.Tx, seq uint64) (*entry, error) {
	e := &entry{seq: seq}
	for _, name := range []string{requests, ends, outputs} {
		raw, err := get(tx, name, seq)
		if err != nil {
			return nil, err
		}
		e.bytes += int64(len(raw))
		switch {
		case raw == nil:
		case name == requests:
			r, err := decodeRequest(raw)
			if err != nil {
				return nil, err
			}
			e.id = r.ID
		case name == ends:
			end, err := decodeEnd(raw)
			if err != nil {
				return nil, err
			}
			e.ended, e.unknown = true, end.Event.State == protocol.StateUnknown
			e.order, e.age = end.Order, end.Age
		}
	}
	return e, nil
}

// errUnchanged ends a transaction in which there was nothing to write.
var errUnchanged = errors.New("nothing to write")
