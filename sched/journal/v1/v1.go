// Package v1 reads journals in the format before the log: a bbolt file with a
// bucket for each kind of record. It never writes to them. Its types are frozen:
// they say what is in such files, whatever becomes of those of package protocol.
//
// It goes with the release after the one that brought the log.
package v1

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"runtime/debug"
	"slices"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/hearth-edge/hearth/protocol"
)

// A Record is what the file has of a request.
type Record struct {
	ID       protocol.RequestID
	Service  protocol.Service
	Detached bool
	At       time.Time
	Hash     [32]byte
	// InDoubt: something of it may be missing.
	InDoubt bool
	Offer   Offer
	// End is nil while the request has not ended.
	End *End
	// Output is encoded as it is in the log.
	Output []byte
}

// An Offer is the last one; Attempt 0 is none.
type Offer struct {
	Attempt        uint32
	Node           protocol.PeerID
	Name           string
	Started        bool `json:"Begun"`
	Lost           uint32
	Stdout, Stderr uint64
}

// An End is how a request ended, and when: in which order, and at which age of
// the journal.
type End struct {
	Event     protocol.Event
	Attempts  uint32
	History   []protocol.Event
	Decisions []protocol.Decision
	Order     uint64
	Age       time.Duration
}

// lockTimeout is how long another process may have the file.
const lockTimeout = time.Second

// ErrDamaged says that the file as a whole cannot be read.
var ErrDamaged = errors.New("the former journal is damaged")

// Read calls yield with each record of the file, in the order of acceptance.
// damaged counts those that cannot be read, or not as a whole. The error is that
// of yield, of opening the file, or ErrDamaged.
func Read(path string, yield func(Record) error) (damaged int, err error) {
	// A damaged file can make bbolt panic, or read outside of its mapping.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", ErrDamaged, p)
		}
	}()
	if info, err := os.Stat(path); err != nil || info.Size() == 0 {
		return 0, err // one that was never begun holds nothing
	}
	db, err := bbolt.Open(path, 0, &bbolt.Options{ReadOnly: true, Timeout: lockTimeout})
	switch {
	case err == nil:
	case errors.Is(err, bolterrors.ErrTimeout), errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EIO), errors.Is(err, syscall.ENOMEM):
		return 0, fmt.Errorf("open the former journal %s: %w", path, err)
	default:
		return 0, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	defer db.Close()
	err = db.View(func(tx *bbolt.Tx) error {
		accepted := tx.Bucket([]byte("requests"))
		if accepted == nil {
			return nil
		}
		return accepted.ForEach(func(key, _ []byte) error {
			r, whole, ok := read(tx, key)
			if !ok || !whole {
				damaged++
			}
			if !ok {
				return nil
			}
			return yield(r)
		})
	})
	return damaged, err
}

// read returns a request's record; ok is false where the request itself cannot be
// read, whole where something else cannot.
func read(tx *bbolt.Tx, key []byte) (r Record, whole, ok bool) {
	raw, sound := value(tx, "requests", key)
	if !sound || raw == nil || r.decodeRequest(raw) != nil {
		return r, false, false
	}
	whole = true
	for _, part := range []struct {
		bucket string
		decode func([]byte) error
	}{
		{"offers", func(raw []byte) error { return json.Unmarshal(raw, &r.Offer) }},
		{"ends", r.decodeEnd},
		{"outputs", func(raw []byte) error { r.Output = slices.Clone(raw); return nil }},
	} {
		raw, sound := value(tx, part.bucket, key)
		if !sound || raw != nil && part.decode(raw) != nil {
			whole = false
		}
	}
	r.InDoubt = (r.InDoubt || !whole) && r.End == nil
	return r, whole, true
}

// value returns what is in a bucket, and whether its checksum is right. nil is
// nothing.
func value(tx *bbolt.Tx, bucket string, key []byte) ([]byte, bool) {
	b := tx.Bucket([]byte(bucket))
	if b == nil {
		return nil, true
	}
	raw := b.Get(key)
	if raw == nil {
		return nil, true
	}
	const sumSize = 4
	if len(raw) < sumSize {
		return nil, false
	}
	table := crc32.MakeTable(crc32.Castagnoli)
	sum := crc32.Update(crc32.Update(crc32.Checksum([]byte(bucket), table), table, key), table, raw[sumSize:])
	return raw[sumSize:], binary.BigEndian.Uint32(raw) == sum
}

// decodeRequest reads flags, hash and JSON.
func (r *Record) decodeRequest(raw []byte) error {
	if len(raw) < 1+len(r.Hash) {
		return ErrDamaged
	}
	r.InDoubt = raw[0]&1 != 0
	n := 1 + copy(r.Hash[:], raw[1:])
	var was request
	if err := json.Unmarshal(raw[n:], &was); err != nil {
		return err
	}
	if _, err := protocol.ParseRequestID(was.ID); err != nil {
		return err
	}
	r.ID, r.Service, r.Detached, r.At = protocol.RequestID(was.ID), was.Service.now(), was.Detached, was.At
	return nil
}

// decodeEnd reads order, age and JSON.
func (r *Record) decodeEnd(raw []byte) error {
	const head = 16
	if len(raw) < head {
		return ErrDamaged
	}
	var was end
	if err := json.Unmarshal(raw[head:], &was); err != nil {
		return err
	}
	e := &End{
		Event: was.Event.now(), Attempts: was.Attempts,
		Order: binary.BigEndian.Uint64(raw), Age: max(0, time.Duration(binary.BigEndian.Uint64(raw[8:]))),
	}
	for _, event := range was.History {
		e.History = append(e.History, event.now())
	}
	for _, d := range was.Decisions {
		e.Decisions = append(e.Decisions, d.now())
	}
	r.End = e
	return nil
}
