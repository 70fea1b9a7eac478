package journal

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/hearth-edge/hearth/protocol"
)

// Bounds on one commit.
const (
	maxBatch      = 1024
	maxBatchBytes = 4 << 20
)

// errDamaged: the file is not what was written, or bbolt failed on it.
var errDamaged = errors.New("the journal is damaged")

// call is one record on its way to disk. apply runs in the writer's
// transaction; verdict is what the caller did wrong, err fails the commit.
type call struct {
	apply   func(*batch) (verdict, err error)
	size    int
	patient bool          // it waits for company: see End.Unhurried
	err     error         // the answer, before done is closed
	done    chan struct{} // closed when it is answered

	taken, gone bool // guarded by Journal.mu: by the writer; the caller left
}

// submit commits what apply writes, together with others, and returns its
// verdict or why there was no commit.
func (j *Journal) submit(ctx context.Context, c *call, apply func(*batch) (verdict, err error)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	c.apply, c.done = apply, make(chan struct{})
	if err := j.enqueue(c); err != nil {
		return err
	}
	select {
	case <-c.done:
		return c.err
	case <-ctx.Done():
	}
	j.mu.Lock()
	c.gone = !c.taken
	j.mu.Unlock()
	if c.gone {
		return ctx.Err()
	}
	<-c.done
	return c.err
}

func (j *Journal) enqueue(c *call) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.usable(); err != nil {
		return err
	}
	j.waiting = append(j.waiting, c)
	if !c.patient {
		j.hasten()
	}
	if !j.writing {
		j.writing = true
		j.writers.Go(j.write)
	}
	return nil
}

// hasten has the writer wait for no company. It is called with mu held.
func (j *Journal) hasten() {
	select {
	case j.hurry <- struct{}{}:
	default:
	}
}

// awaitCompany waits for the first who is in a hurry where nobody is, but not for
// long.
func (j *Journal) awaitCompany() {
	if !j.patient() {
		return
	}
	timer := time.NewTimer(j.opts.Patience)
	defer timer.Stop()
	select {
	case <-j.hurry:
	case <-timer.C:
	}
}

// patient reports whether there are calls, and none is in a hurry.
func (j *Journal) patient() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	select {
	case <-j.hurry: // of those who wait now, or are served
	default:
	}
	return !j.closed && len(j.waiting) > 0 && !slices.ContainsFunc(j.waiting, func(c *call) bool { return !c.patient })
}

// usable is called with mu held.
func (j *Journal) usable() error {
	if j.closed {
		return ErrClosed
	}
	return j.broken
}

// write commits until nobody waits.
func (j *Journal) write() {
	for {
		j.awaitCompany()
		calls := j.take()
		if calls == nil {
			return
		}
		err := j.commit(calls)
		for _, c := range calls {
			if c.err == nil {
				c.err = err
			}
			close(c.done)
		}
	}
}

// take returns the calls for the next commit; nil ends the writer.
func (j *Journal) take() []*call {
	j.mu.Lock()
	defer j.mu.Unlock()
	var calls []*call
	size, n := 0, 0
	for _, c := range j.waiting {
		if len(calls) == maxBatch || len(calls) > 0 && size+c.size > maxBatchBytes {
			break
		}
		n++
		if !c.gone {
			c.taken = true
			size += c.size
			calls = append(calls, c)
		}
	}
	j.waiting = slices.Delete(j.waiting, 0, n)
	if len(calls) == 0 {
		j.waiting, j.writing = nil, false
		return nil
	}
	return calls
}

// commit writes what the calls want in one transaction. It leaves each call's
// verdict in its err, which counts only if the commit succeeded; else all get
// the commit's.
func (j *Journal) commit(calls []*call) error {
	j.mu.Lock()
	broken := j.broken
	j.mu.Unlock()
	if broken != nil {
		return broken
	}
	k := &j.kept
	b := &batch{
		j: j, age: k.base + j.opts.Clock() - k.start, was: *k,
		fresh: make(map[protocol.RequestID]*entry),
	}
	err := guard(func() error {
		return j.db.Update(func(tx *bbolt.Tx) error { return b.fill(tx, calls) })
	})
	switch {
	case err == nil:
		j.settle(b)
	case errors.Is(err, errUnchanged):
		b.takeBack()
		return nil
	default:
		for _, c := range calls {
			c.err = nil
		}
		err = j.failed(b, err)
	}
	return err
}

// fill does all writing of a transaction. With no calls it only brings the file
// up to date.
func (b *batch) fill(tx *bbolt.Tx, calls []*call) error {
	b.tx = tx
	if err := b.undo(); err != nil {
		return err
	}
	for _, c := range calls {
		verdict, err := c.apply(b)
		if err != nil {
			return err
		}
		c.err = verdict
	}
	if !b.changed && len(calls) > 0 {
		return errUnchanged
	}
	if err := b.purge(); err != nil {
		return err
	}
	b.j.kept.commit = uint64(tx.ID())
	return put(tx, nil, state, 0, b.j.kept.encode(b.age))
}

// settle makes a commit known that is on disk.
func (j *Journal) settle(b *batch) {
	clear(j.kept.undo)
	if j.failing {
		j.failing = false
		j.log.Info("the journal can be written again")
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	maps.Copy(j.index, b.fresh)
	for _, e := range b.dropped {
		if j.index[e.id] == e {
			delete(j.index, e.id)
		}
	}
}

// failed takes a commit back, and returns what to tell the callers.
func (j *Journal) failed(b *batch, err error) error {
	mark := j.kept
	b.takeBack()
	if errors.Is(err, errDamaged) {
		return j.breakDown(err)
	}
	if mark.commit != j.kept.commit && j.onDisk(mark.commit) {
		// Only the last sync failed: readers of the file see the commit. The
		// numbers are used, and the callers told otherwise.
		j.kept.next, j.kept.order, j.kept.commit, j.kept.sum = mark.next, mark.order, mark.commit, mark.sum
		for id, e := range b.fresh {
			j.kept.undo[id] = e.seq
		}
	}
	if !j.failing {
		j.failing = true
		j.log.Error("the journal cannot be written", "err", err)
	}
	return toCaller(err)
}

// onDisk reports whether the file shows the commit with this number.
func (j *Journal) onDisk(commit uint64) bool {
	var k kept
	err := j.view(func(tx *bbolt.Tx) error {
		raw, err := get(tx, state, 0)
		if err != nil || raw == nil {
			return err
		}
		return k.decode(raw)
	})
	return err == nil && k.commit == commit
}

// breakDown ends the use of a file that bbolt failed on.
func (j *Journal) breakDown(err error) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.broken == nil {
		j.broken = protocol.Errorf(protocol.CodeInternal,
			"the journal of this device is damaged: restart hearth, which saves what can be read")
		j.log.Error("the journal is damaged: restart hearth, which saves what can be read", "err", err)
	}
	return j.broken
}

// saveAge writes how long the journal was open, where that matters, and takes
// back what is to be taken back.
func (j *Journal) saveAge() {
	if len(j.kept.ended) == 0 && len(j.kept.undo) == 0 {
		return
	}
	if err := j.commit(nil); err != nil {
		j.log.Debug("the journal's age was not saved", "err", err)
	}
}

// view runs a read transaction.
func (j *Journal) view(f func(*bbolt.Tx) error) error {
	err := guard(func() error { return j.db.View(f) })
	switch {
	case errors.Is(err, bolterrors.ErrDatabaseNotOpen):
		return ErrClosed
	case errors.Is(err, errDamaged):
		return j.breakDown(err)
	}
	return err
}

func (j *Journal) lookup(id protocol.RequestID) (uint64, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.usable(); err != nil {
		return 0, err
	}
	if e := j.index[id]; e != nil {
		return e.seq, nil
	}
	return 0, ErrNotFound
}

func (j *Journal) entryOf(id protocol.RequestID) *entry {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.index[id]
}

// sequences returns the numbers of all requests, in order.
func (j *Journal) sequences() []uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	all := make([]uint64, 0, len(j.index))
	for _, e := range j.index {
		all = append(all, e.seq)
	}
	slices.Sort(all)
	return all
}

// guard turns a panic of f into errDamaged, and so a fault in the file's mapping:
// a page of it may turn out unreadable at any time.
func guard(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", errDamaged, p)
		}
	}()
	return f()
}

// toCaller returns err as it may cross the wire.
func toCaller(err error) error {
	if isFull(err) {
		return protocol.Errorf(protocol.CodeDiskFull,
			"the disk with the state folder of this device has no room for the journal: free some, then ask again")
	}
	return protocol.Errorf(protocol.CodeInternal, "the journal of this device cannot be written: its log says why")
}

// isFull reports whether err means that the file cannot grow. bbolt hands on
// some of the system's errors as text only.
func isFull(err error) bool {
	for _, full := range []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG} {
		if errors.Is(err, full) || strings.Contains(err.Error(), full.Error()) {
			return true
		}
	}
	return false
}
