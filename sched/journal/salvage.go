package journal

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"

	"go.etcd.io/bbolt"

	"github.com/hearth-edge/hearth/protocol"
)

// finding is what inspect found out about a file.
type finding struct {
	image
	metas []meta
	// problem is nil for a sound file; faults counts what is wrong.
	problem error
	faults  int
	// foreign: the file is sound, and of another version.
	foreign bool
	inUse   int64 // bytes
}

func (f *finding) wasteful() bool { return f.size >= compactSize && f.inUse < f.size/compactShare }

// inspect reads the whole file. A sound one has two valid roots, as a commit
// that was cut short leaves them; the newest tree is whole, and its state is of
// the same commit; each record in it has the right checksum; and all of them
// together add up to the sum in the state.
func inspect(file io.ReaderAt, size int64) *finding {
	f := &finding{image: image{file, size}}
	if size == 0 {
		return f
	}
	if f.metas = f.image.metas(); len(f.metas) == 0 {
		f.faults, f.problem = 1, errors.New("it is no journal: it has no valid root")
		return f
	}
	newest := f.metas[0]
	t := f.tree(newest, func(string, []byte, []byte) {})
	f.inUse = int64(len(t.seen)) * pageSize
	f.foreign, f.faults = t.foreign, t.faults+t.unreadable
	switch {
	case t.foreign:
		f.problem = errors.New("it was written by another version of hearth")
	case t.first != nil:
		f.problem = t.first
	case t.unreadable > 0:
		f.problem = errors.New("a record has changed since it was written")
	case len(f.metas) < 2:
		f.problem = errors.New("one of its two roots is not valid, which may have been the newest")
	case t.state == nil && newest.freelist == noFreelist || t.state != nil && (t.state.commit != newest.txid || t.state.sum != t.sum):
		f.problem = errors.New("records are missing")
	}
	if f.problem != nil {
		f.faults = max(1, f.faults)
	}
	return f
}

// tree is what walking one tree has shown.
type tree struct {
	*walker
	state      *kept // nil where it cannot be read
	foreign    bool
	unreadable int
	sum        uint64
}

// tree walks a tree, and calls yield with the content of each sound record.
func (im image) tree(m meta, yield func(bucket string, key, content []byte)) *tree {
	t := &tree{}
	t.walker = im.walk(m, func(bucket string, key, value []byte) {
		content, ok := unseal(bucket, key, value)
		switch {
		case ok && bucket == state:
			t.foreign = len(content) > 0 && content[0] != formatVersion
			if k := new(kept); k.decode(content) == nil {
				t.state = k
				yield(bucket, key, content)
			}
		case ok && readable(bucket, content):
			t.sum += checksum(value)
			yield(bucket, key, content)
		default:
			t.unreadable++
		}
	})
	return t
}

// readable reports whether the content can be decoded.
func readable(bucket string, content []byte) bool {
	var err error
	switch bucket {
	case requests:
		var r Record
		if r, err = decodeRequest(content); err == nil {
			_, err = protocol.ParseRequestID(string(r.ID))
		}
	case offers:
		_, err = decodeOffer(content)
	case ends:
		_, err = decodeEnd(content)
	case outputs:
		_, err = decodeOutput(content)
	}
	return err == nil
}

// renew writes what can be read of the file into a new one, puts that into its
// place, and makes it the journal's. A damaged file is kept.
func (j *Journal) renew(path string, old *os.File, found *finding) (err error) {
	fresh := path + ".new"
	if err := os.Remove(fresh); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := tryLock(fresh)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close(), os.Remove(fresh))
		}
	}()
	if err := j.start(fresh, f); err != nil {
		return err
	}
	s := &saver{db: j.db, damaged: found.problem != nil}
	if err := guard(func() error { return s.save(found) }); err != nil {
		return errors.Join(err, guard(j.db.Close))
	}
	report := Report{Compacted: true}
	if s.damaged {
		report = Report{Problem: found.problem.Error(), Faults: found.faults, Saved: s.saved, Doubtful: s.doubtful}
		if report.SetAside, err = setAside(path); err != nil {
			return errors.Join(err, guard(j.db.Close))
		}
	}
	if err := os.Rename(fresh, path); err != nil {
		return errors.Join(err, guard(j.db.Close))
	}
	old.Close()
	j.report = report
	if s.damaged {
		j.log.Warn("the journal was damaged: what can be read of it was saved, requests may be missing; the damaged file is kept",
			"problem", report.Problem, "kept", report.SetAside, "saved", report.Saved, "doubtful", report.Doubtful)
	}
	return syncDir(path)
}

// setAside gives the file a further name, that of a damaged one.
func setAside(path string) (string, error) {
	for n := range maxAside {
		aside := fmt.Sprintf("%s.bad-%d", path, n+1)
		err := os.Link(path, aside)
		if err == nil {
			return aside, nil
		}
		if !errors.Is(err, fs.ErrExist) {
			return "", err
		}
	}
	return "", fmt.Errorf("there are %d damaged journals already: check the disk, and move %s.bad-* away", maxAside, path)
}

// saver writes what walking a file finds into a new one.
type saver struct {
	db      *bbolt.DB
	damaged bool

	pairs []pair // not written yet
	size  int
	err   error

	sum             uint64
	saved, doubtful int
}

type pair struct {
	bucket       string
	key, content []byte
}

// save takes over all that is sound. Of a damaged file it takes the tree before
// the last commit too: bbolt leaves its pages alone until the next one. What the
// tree with the newer state says prevails.
func (s *saver) save(found *finding) error {
	trees := found.metas[:min(1, len(found.metas))]
	switch {
	case found.foreign:
		trees = nil
	case s.damaged:
		trees = found.byState()
	}
	for _, m := range trees {
		found.tree(m, s.take)
		s.flush()
	}
	if s.err != nil {
		return s.err
	}
	return s.db.Update(s.finish)
}

// byState returns the roots in the order of the states in their trees: where the
// disk wrote a root before what is below it, this is an old tree's.
func (f *finding) byState() []meta {
	age := make(map[uint64]uint64)
	for _, m := range f.metas {
		if t := f.tree(m, func(string, []byte, []byte) {}); t.state != nil {
			age[m.txid] = t.state.commit
		}
	}
	metas := slices.Clone(f.metas)
	slices.SortStableFunc(metas, func(a, b meta) int { return cmp.Compare(age[a.txid], age[b.txid]) })
	return metas
}

func (s *saver) take(bucket string, key, content []byte) {
	s.pairs = append(s.pairs, pair{bucket, bytes.Clone(key), bytes.Clone(content)})
	if s.size += len(content); s.size > maxBatchBytes {
		s.flush()
	}
}

func (s *saver) flush() {
	if s.err == nil && len(s.pairs) > 0 {
		s.err = s.db.Update(func(tx *bbolt.Tx) error {
			for _, p := range s.pairs {
				sum := &s.sum
				if p.bucket == state {
					sum = nil
				}
				if err := put(tx, sum, p.bucket, binary.BigEndian.Uint64(p.key), p.content); err != nil {
					return err
				}
			}
			return nil
		})
	}
	s.pairs, s.size = nil, 0
}

// finish makes one whole of the records saved, and writes the state.
func (s *saver) finish(tx *bbolt.Tx) error {
	var k kept
	if raw, err := get(tx, state, 0); err != nil {
		return err
	} else if raw != nil && k.decode(raw) != nil {
		k = kept{}
	}
	if s.damaged {
		if err := s.dropOrphans(tx); err != nil {
			return err
		}
	}
	for _, seq := range keys(tx, requests) {
		r, err := readRecord(tx, seq)
		if err != nil {
			return err
		}
		s.saved++
		k.next = max(k.next, seq)
		if r.End != nil {
			if err := s.ended(tx, seq, &k); err != nil {
				return err
			}
		} else if s.damaged {
			if err := s.doubt(tx, seq); err != nil {
				return err
			}
		}
	}
	k.sum, k.commit = s.sum, uint64(tx.ID())
	return put(tx, nil, state, 0, k.encode(k.base))
}

// ended keeps the state ahead of a request that has ended.
func (s *saver) ended(tx *bbolt.Tx, seq uint64, k *kept) error {
	raw, err := get(tx, ends, seq)
	if err != nil {
		return err
	}
	e, err := decodeEnd(raw)
	k.order, k.base = max(k.order, e.Order), max(k.base, e.Age)
	return err
}

func (s *saver) doubt(tx *bbolt.Tx, seq uint64) error {
	raw, err := get(tx, requests, seq)
	if err != nil {
		return err
	}
	s.doubtful++
	raw = bytes.Clone(raw)
	raw[0] |= flagDoubtful
	return put(tx, &s.sum, requests, seq, raw)
}

// dropOrphans drops what is left of requests whose first record is lost, and
// the older of two records of one ID.
func (s *saver) dropOrphans(tx *bbolt.Tx) error {
	newest := make(map[protocol.RequestID]uint64)
	var drop []uint64
	for _, seq := range keys(tx, requests) {
		r, err := readRecord(tx, seq)
		if err != nil {
			return err
		}
		if older, ok := newest[r.ID]; ok {
			drop = append(drop, older)
		}
		newest[r.ID] = seq
	}
	for _, bucket := range buckets[2:] {
		for _, seq := range keys(tx, bucket) {
			if raw, err := get(tx, requests, seq); err != nil {
				return err
			} else if raw == nil {
				drop = append(drop, seq)
			}
		}
	}
	for _, seq := range drop {
		if err := remove(tx, &s.sum, seq, records...); err != nil {
			return err
		}
	}
	return nil
}

// keys returns those of a bucket, in order.
func keys(tx *bbolt.Tx, bucket string) []uint64 {
	b := tx.Bucket([]byte(bucket))
	if b == nil {
		return nil
	}
	var all []uint64
	c := b.Cursor()
	for key, _ := c.First(); key != nil; key, _ = c.Next() {
		all = append(all, binary.BigEndian.Uint64(key))
	}
	return all
}
