package journal

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"syscall"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

// Bounds on one commit.
const (
	maxBatch      = 1024
	maxBatchBytes = 4 << 20
)

// errDamaged: the file is not what was written.
var errDamaged = errors.New("the journal is damaged")

// call is one record on its way to disk. apply runs in the writer, and adds to
// its batch; verdict is what the caller did wrong, err fails the commit.
type call struct {
	apply  func(*batch) (verdict, err error)
	size   int
	linger bool          // see End.Linger
	err    error         // the answer, before done is closed
	done   chan struct{} // closed when it is answered

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
	if !c.linger {
		j.notifyWriter()
	}
	if !j.writing {
		j.writing = true
		j.writers.Go(j.serve)
	}
	return nil
}

// notifyWriter ends the linger of the writer. It is called with mu held.
func (j *Journal) notifyWriter() {
	select {
	case j.notify <- struct{}{}:
	default:
	}
}

// linger waits for the first call without linger where there is none, but not for
// long.
func (j *Journal) linger() {
	if !j.mayLinger() {
		return
	}
	timer := time.NewTimer(j.opts.MaxLinger)
	defer timer.Stop()
	select {
	case <-j.notify:
	case <-timer.C:
	}
}

// mayLinger reports whether there are calls, and all have linger.
func (j *Journal) mayLinger() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	select {
	case <-j.notify: // of those who wait now, or are served
	default:
	}
	return !j.closed && len(j.waiting) > 0 && !slices.ContainsFunc(j.waiting, func(c *call) bool { return !c.linger })
}

// usable is called with mu held.
func (j *Journal) usable() error {
	if j.closed {
		return ErrClosed
	}
	return j.broken
}

// serve commits until nobody waits.
func (j *Journal) serve() {
	for {
		j.linger()
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

// commit writes what the calls want, with one sync. It leaves each call's
// verdict in its err, which counts only if the commit succeeded; else all get
// the commit's.
func (j *Journal) commit(calls []*call) error {
	j.mu.Lock()
	broken := j.broken
	j.mu.Unlock()
	if broken != nil {
		return broken
	}
	b := &batch{j: j, totals: j.totals, changed: make(map[protocol.RequestID]*entry)}
	b.totals.age = j.opened + j.opts.Clock() - j.start
	err := b.fill(calls)
	if err == nil && (len(b.frames) > 0 || len(calls) == 0) {
		b.purge()
		b.totals.commit++
		b.frames = b.totals.commitFrame(b.frames, j.end)
		err = j.write(b.frames)
	}
	if err != nil {
		for _, c := range calls {
			c.err = nil
		}
		return j.failed(err)
	}
	if len(b.frames) > 0 {
		j.apply(b)
		j.compactIfWasteful()
	}
	return nil
}

func (b *batch) fill(calls []*call) error {
	for _, c := range calls {
		verdict, err := c.apply(b)
		if err != nil {
			return err
		}
		c.err = verdict
	}
	return nil
}

// write appends to the file. What a write that failed may have left behind the
// end is taken off before the next one: at once, if that is possible.
func (j *Journal) write(frames []byte) error {
	if j.failing {
		if err := j.file.cut(j.end); err != nil {
			return err
		}
	}
	if err := j.syncName(); err != nil {
		return err
	}
	if err := j.file.append(frames, j.end); err != nil {
		return errors.Join(err, j.file.cut(j.end))
	}
	if j.failing {
		j.failing = false
		j.log.Info("the journal can be written again")
	}
	return nil
}

// failed returns what to tell the callers of a commit that failed.
func (j *Journal) failed(err error) error {
	if errors.Is(err, errDamaged) {
		return j.setBroken(err)
	}
	if !j.failing {
		j.failing = true
		j.log.Error("the journal cannot be written", "err", err)
	}
	return toCaller(err)
}

// setBroken ends the use of a file that has changed since it was written.
func (j *Journal) setBroken(err error) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.broken == nil {
		j.broken = protocol.Errorf(protocol.CodeInternal,
			"the journal of this device is damaged: restart hearth, which saves what can be read")
		j.log.Error("the journal is damaged: restart hearth, which saves what can be read", "err", err)
	}
	return j.broken
}

// saveAge writes how long the journal was open, where that matters.
func (j *Journal) saveAge() {
	if len(j.totals.ended) == 0 && !j.failing {
		return
	}
	if err := j.commit(nil); err != nil {
		j.log.Debug("the journal's age was not saved", "err", err)
	}
}

// lookup returns a request's entry, and the file that it is in: the caller must
// call done on its users.
func (j *Journal) lookup(id protocol.RequestID) (*entry, *logFile, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.usable(); err != nil {
		return nil, nil, err
	}
	e := j.index[id]
	if e == nil {
		return nil, nil, ErrNotFound
	}
	j.file.users.Add(1)
	return e, j.file, nil
}

// record reads a request's record.
func (j *Journal) record(id protocol.RequestID) (Record, error) {
	e, file, err := j.lookup(id)
	if err != nil {
		return Record{}, err
	}
	defer file.users.Done()
	r, err := readRecord(e, func(x extent, k kind) ([]byte, error) { return file.read(x, k, e.seq) })
	if err == nil && e.parts[kindSealed].size > 0 {
		var sealed []byte
		if sealed, err = file.read(e.parts[kindSealed], kindSealed, e.seq); err == nil {
			j.unseal(&r, sealed)
		}
	}
	return r, j.readError(err)
}

// readError passes an error of a read on; one that tells of damage ends the use
// of the file.
func (j *Journal) readError(err error) error {
	if errors.Is(err, errDamaged) {
		return j.setBroken(err)
	}
	return err
}

func (j *Journal) entryOf(id protocol.RequestID) *entry {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.index[id]
}

// all returns the IDs of all requests, in the order of acceptance.
func (j *Journal) all() []protocol.RequestID {
	j.mu.Lock()
	defer j.mu.Unlock()
	entries := slices.SortedFunc(maps.Values(j.index), bySeq)
	ids := make([]protocol.RequestID, len(entries))
	for i, e := range entries {
		ids[i] = e.id
	}
	return ids
}

func bySeq(a, b *entry) int { return cmp.Compare(a.seq, b.seq) }

// toCaller returns err as it may cross the wire.
func toCaller(err error) error {
	if isFull(err) {
		return protocol.Errorf(protocol.CodeDiskFull,
			"the disk with the state folder of this device has no room for the journal: free some, then ask again")
	}
	return protocol.Errorf(protocol.CodeInternal, "the journal of this device cannot be written: its log says why")
}

// isFull reports whether err means that the file cannot grow.
func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EFBIG)
}
