package journal

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"slices"

	"github.com/hearth-edge/hearth/protocol"
	v1 "github.com/hearth-edge/hearth/sched/journal/v1"
)

// convert takes over the journal of the former format, where there is one: all of
// it in one commit, so that a start that is cut short does it again. The former file
// then gets another name, so that an older program does not run again what it says.
//
// Where this journal holds requests already, an older program ran meanwhile: what
// only its file knows is added, and what has no end there is in doubt.
func (j *Journal) convert() error {
	path := j.opts.Former
	if _, err := os.Stat(path); path == "" || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := j.takeOver(path); err != nil {
		return err
	}
	aside, err := setAside(path, ".converted")
	if err != nil {
		return err
	}
	if err := os.Remove(path); err != nil {
		return err
	}
	j.log.Debug("the former journal is kept", "path", aside)
	return syncDir(path)
}

func (j *Journal) takeOver(path string) error {
	merge := j.totals.seq > 0
	before := len(j.index)
	b := &batch{j: j, totals: j.totals, changed: make(map[protocol.RequestID]*entry)}
	damaged, err := b.former(path, merge)
	switch {
	case errors.Is(err, v1.ErrDamaged):
		j.report.Problem, j.report.Faults = err.Error(), 1
		j.log.Warn("the former journal cannot be read: what it says of requests is lost", "path", path, "err", err)
	case err != nil:
		return err
	}
	b.totals.commit++
	b.frames = b.totals.commitFrame(b.frames, j.end)
	if err := j.write(b.frames); err != nil {
		return err
	}
	j.apply(b)
	j.opened = j.totals.age
	switch added := len(j.index) - before; {
	case !merge:
		j.log.Info("the journal of the former version was taken over", "requests", added, "damaged", damaged)
	case added > 0 || damaged > 0:
		j.log.Warn("an older version of hearth ran here meanwhile: its requests were added to the journal, those without an end are not run again",
			"requests", added, "damaged", damaged)
	}
	return nil
}

// former adds what the former journal holds to a batch, and returns how many of
// its records are damaged. With merge it leaves out requests that are known, and
// what it adds ended just now: the ages of two journals cannot be compared.
func (b *batch) former(path string, merge bool) (damaged int, err error) {
	var ended []v1.Record
	damaged, err = v1.Read(path, func(was v1.Record) error {
		if merge {
			if b.find(was.ID) != nil {
				return nil
			}
			was.InDoubt = was.End == nil
			if was.End != nil {
				was.End.Age = b.totals.age
			}
		}
		if was.End != nil {
			ended = append(ended, was)
		}
		return b.formerRequest(&was)
	})
	slices.SortFunc(ended, func(a, b v1.Record) int { return cmp.Compare(a.End.Order, b.End.Order) })
	for i := range ended {
		if endErr := b.formerEnd(&ended[i]); endErr != nil {
			return damaged, endErr
		}
	}
	return damaged, err
}

func (b *batch) formerRequest(was *v1.Record) error {
	r := Record{Request: Request{ID: was.ID, Service: was.Service, Detached: was.Detached, At: was.At}, Hash: was.Hash}
	raw, err := encodeRequest(&r)
	if err != nil {
		return err
	}
	if was.InDoubt {
		raw[0] |= flagInDoubt
	}
	_, err = b.accept(was.ID, raw, nil, Offer(was.Offer))
	return err
}

func (b *batch) formerEnd(was *v1.Record) error {
	e := was.End
	raw, err := encodeEnd(&End{Event: e.Event, Attempts: e.Attempts, History: e.History, Decisions: e.Decisions}, len(e.History))
	if err != nil {
		return err
	}
	b.totals.age = max(b.totals.age, e.Age)
	b.endAt(b.find(was.ID), raw, was.Output, e.Event.State == protocol.StateUnknown, e.Age)
	return nil
}
