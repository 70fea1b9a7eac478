package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"github.com/hearth-edge/hearth/protocol"
)

const (
	// A file is written anew when it is larger than compactShare times what is
	// live in it, and compactSize more: so each live byte is written at most
	// twice on the average, and a small file never.
	compactShare = 3
	compactSize  = 4 << 20
	// compactBatch is how many bytes are collected for one write.
	compactBatch = 1 << 20
)

// compactIfWasteful writes the file anew where most of it is no more in use. The
// commits that come meanwhile wait for it. If it fails the file goes on growing.
func (j *Journal) compactIfWasteful() {
	if j.end < max(j.tooBig, compactShare*j.totals.live+compactSize) {
		return
	}
	before := j.end
	if err := j.compact(nil); err != nil {
		j.tooBig = 2 * before
		j.log.Warn("the journal was not made smaller", "bytes", before, "err", err)
		return
	}
	j.tooBig, j.report.Compacted = 0, true
	j.log.Debug("the journal was made smaller", "bytes", j.end, "before", before)
}

// compact writes what is live into a new file, and puts that into the old one's
// place. edit, where it is not nil, may change a part on the way.
func (j *Journal) compact(edit func(e *entry, k kind, content []byte) []byte) (err error) {
	fresh := j.path + ".new"
	if err := os.Remove(fresh); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := tryLock(fresh)
	if err != nil {
		return err
	}
	c := &copier{from: j.file, to: &logFile{File: f}, edit: edit, totals: j.totals, index: make(map[protocol.RequestID]*entry)}
	if err = c.copy(j.index); err == nil {
		err = os.Rename(fresh, j.path)
	}
	if err != nil {
		return errors.Join(err, f.Close(), os.Remove(fresh))
	}
	old := j.file
	j.mu.Lock()
	j.file, j.index = c.to, c.index
	j.mu.Unlock()
	j.totals, j.end, j.failing = c.totals, c.end, false
	old.users.Wait()
	if err := old.Close(); err != nil {
		j.log.Debug("the file that was replaced was not closed", "err", err)
	}
	j.dirUnsynced = true
	if err := j.syncName(); err != nil { // the next write tries it again
		j.log.Warn("the name of the journal's new file is not on disk yet", "err", err)
	}
	return nil
}

// syncName makes the name of the journal's file last, where it has a new one. Until
// then a power cut may bring the old file back, without what was written since.
func (j *Journal) syncName() error {
	if !j.dirUnsynced {
		return nil
	}
	if err := j.syncDir(j.path); err != nil {
		return err
	}
	j.dirUnsynced = false
	return nil
}

// A copier writes entries into a new file.
type copier struct {
	from, to *logFile
	edit     func(e *entry, k kind, content []byte) []byte
	totals   totals
	index    map[protocol.RequestID]*entry
	frames   []byte
	end      int64
}

func (c *copier) copy(entries map[protocol.RequestID]*entry) error {
	c.totals.commit, c.totals.live, c.totals.endedBytes = 0, 0, 0
	c.frames, _ = appendFrame(nil, 0, kindHeader, formatVersion, nil)
	ordered := make([]*entry, 0, len(entries))
	for _, e := range entries {
		ordered = append(ordered, e)
	}
	slices.SortFunc(ordered, bySeq)
	for _, e := range ordered {
		if err := c.take(e); err != nil {
			return err
		}
		if len(c.frames) > compactBatch {
			if err := c.flush(); err != nil {
				return err
			}
		}
	}
	c.totals.removed = c.totals.recent()
	for _, x := range c.totals.removed {
		c.frames, _ = appendFrame(c.frames, c.end, kindDrop, 0, encodeRemoval(x))
	}
	if err := c.flush(); err != nil {
		return err
	}
	return c.to.sync()
}

func (c *copier) take(e *entry) error {
	next := *e
	next.parts = [parts]extent{}
	for k, x := range e.parts {
		if x == (extent{}) {
			continue
		}
		content, err := c.from.read(x, kind(k), e.seq)
		if err != nil {
			return err
		}
		if c.edit != nil {
			content = c.edit(e, kind(k), content)
		}
		c.frames, next.parts[k] = appendFrame(c.frames, c.end, kind(k), e.seq, content)
	}
	c.index[e.id] = &next
	c.totals.live += next.bytes()
	if e.ended {
		c.totals.endedBytes += next.bytes()
	}
	return nil
}

// flush writes what was collected as one commit.
func (c *copier) flush() error {
	c.totals.commit++
	c.frames = c.totals.commitFrame(c.frames, c.end)
	_, err := c.to.WriteAt(c.frames, c.end)
	c.end += int64(len(c.frames))
	c.frames = c.frames[:0]
	return err
}

// salvage takes over what can be read of a damaged file, and keeps that file
// under another name.
func (j *Journal) salvage(damaged *replay, problem error) error {
	r := newReplay(damaged.scanner)
	if !errors.Is(problem, errForeign) {
		r.salvage()
	}
	j.adopt(r)
	aside, err := setAside(j.path, ".bad")
	if err != nil {
		return err
	}
	inDoubt := 0
	err = j.compact(func(e *entry, k kind, content []byte) []byte {
		if k == kindRequest && !e.ended {
			inDoubt++
			content[0] |= flagInDoubt
		}
		return content
	})
	if err != nil {
		return errors.Join(err, os.Remove(aside))
	}
	j.report = Report{SetAside: aside, Problem: problem.Error(), Faults: max(1, r.faults), Saved: len(j.index), InDoubt: inDoubt}
	j.log.Warn("the journal was damaged: what can be read of it was saved, requests may be missing; the damaged file is kept",
		"problem", problem, "kept", aside, "saved", len(j.index), "in_doubt", inDoubt)
	return j.convert()
}

// setAside gives the file a further name, which is not in use: with the ending and
// a number.
func setAside(path, ending string) (string, error) {
	for n := range maxAside {
		aside := fmt.Sprintf("%s%s-%d", path, ending, n+1)
		err := os.Link(path, aside)
		if err == nil {
			return aside, nil
		}
		if !errors.Is(err, fs.ErrExist) {
			return "", err
		}
	}
	return "", fmt.Errorf("there are %d former journals already: check the disk, and move %s%s-* away", maxAside, path, ending)
}
