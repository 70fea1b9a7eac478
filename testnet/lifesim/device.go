package lifesim

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/sched"
	"github.com/hearth-edge/hearth/sched/journal"
)

// device is one life of the process that holds the orchestrator.
type device struct {
	w     *world
	orch  *sched.Orchestrator
	view  *sched.View
	ctx   context.Context // of all that this process does
	kill  context.CancelFunc
	ended chan struct{}
}

func (d *device) alive() bool { return d.ctx.Err() == nil }

// powerOn starts the orchestrator on what is on disk.
func (w *world) powerOn() {
	d := &device{w: w, ended: make(chan struct{})}
	d.ctx, d.kill = context.WithCancel(w.ctx)
	d.view = sched.NewView(home, w.now, w.params)
	d.orch = sched.New(sched.Config{
		Self: home, Name: string(home), View: d.view, Clock: w.now,
		Rand: rand.New(rand.NewPCG(w.seed, w.chance("placement").Uint64())),
		Executor: func(id protocol.PeerID) (protocol.Executor, error) {
			if !d.alive() {
				return nil, errors.New("this process is dead")
			}
			return &executor{d: d, link: w.links[id]}, nil
		},
		Journal: &diary{d: d, disk: w.disk}, Params: w.params, Log: slog.New(slog.DiscardHandler),
	})
	go func() {
		defer close(d.ended)
		if err := d.orch.Run(d.ctx); err != nil {
			w.log.fail("the orchestrator ended: %v", err)
		}
	}()
	w.mu.Lock()
	w.orch = d
	w.mu.Unlock()
}

// powerOff ends the orchestrator as kill -9 does: from this moment nothing that
// it does has an effect. It reports false where it was down already.
func (w *world) powerOff() bool {
	w.mu.Lock()
	d := w.orch
	w.orch = nil
	w.mu.Unlock()
	if d == nil {
		return false
	}
	d.kill()
	for _, l := range w.sorted() {
		l.disconnect()
	}
	<-d.ended
	return true
}

// renew is the orchestrator's device, as a node asks it.
func (d *device) renew(ctx context.Context, from protocol.PeerID, r protocol.Renewal) error {
	err := d.orch.Renew(ctx, from, r)
	if d.w.bugs.RenewAnything && protocol.CodeOf(err) == protocol.CodeLeaseExpired {
		return nil
	}
	return err
}

// disk is what survives the process.
type disk struct {
	mu      sync.Mutex // guards all
	order   []protocol.RequestID
	records map[protocol.RequestID]journal.Record
}

func newDisk() *disk { return &disk{records: make(map[protocol.RequestID]journal.Record)} }

// diary is the journal of one life of the process.
type diary struct {
	d    *device
	disk *disk
}

// write changes a record as change says, and returns when that is on disk. A
// process that dies meanwhile may have written it, or not.
func (j *diary) write(id protocol.RequestID, change func(*journal.Record) error) (journal.Record, error) {
	r := j.d.w.chance("write ", id)
	took := between(r, 200*time.Microsecond, 2*time.Millisecond)
	if r.IntN(10) == 0 {
		took = between(r, 10*time.Millisecond, 200*time.Millisecond) // a memory card
	}
	if j.d.w.bugs.SkipSync && r.IntN(2) == 0 {
		return j.writeLater(id, change)
	}
	reached := r.IntN(2) == 0
	if r.IntN(100) == 0 && j.d.w.now() < j.d.w.span {
		j.d.w.running.Go(j.d.w.crashNow) // just where it hurts
	}
	if !pause(j.d.ctx, took) && !reached {
		return journal.Record{}, journal.ErrClosed
	}
	rec, err := j.apply(id, change)
	if j.d.ctx.Err() != nil {
		return journal.Record{}, journal.ErrClosed
	}
	return rec, err
}

func (j *diary) apply(id protocol.RequestID, change func(*journal.Record) error) (journal.Record, error) {
	j.disk.mu.Lock()
	defer j.disk.mu.Unlock()
	rec, known := j.disk.records[id]
	if err := change(&rec); err != nil {
		return rec, err
	}
	if !known {
		j.disk.order = append(j.disk.order, id)
		rec.Sequence = uint64(len(j.disk.order))
	}
	j.disk.records[id] = rec
	return rec, nil
}

// writeLater is the bug that answers before anything is on disk: what is not
// there when the process dies never will be.
func (j *diary) writeLater(id protocol.RequestID, change func(*journal.Record) error) (journal.Record, error) {
	j.disk.mu.Lock()
	rec := j.disk.records[id]
	j.disk.mu.Unlock()
	if err := change(&rec); err != nil {
		return rec, err
	}
	j.d.w.running.Go(func() {
		if pause(j.d.ctx, 15*time.Second) {
			_, _ = j.apply(id, change)
		}
	})
	return rec, nil
}

func (j *diary) Accepted(_ context.Context, r journal.Request) (journal.Record, error) {
	return j.write(r.ID, func(rec *journal.Record) error {
		if rec.ID != "" {
			return journal.ErrExists
		}
		rec.Request, rec.Hash = r, journal.ServiceHash(r.Service)
		return nil
	})
}

func (j *diary) Offered(_ context.Context, id protocol.RequestID, o journal.Offer) error {
	_, err := j.write(id, func(rec *journal.Record) error {
		switch {
		case rec.ID == "" && !j.d.w.bugs.SkipSync:
			return journal.ErrNotFound
		case rec.End != nil:
			return journal.ErrEnded
		}
		rec.Offer = o
		return nil
	})
	return err
}

func (j *diary) Ended(_ context.Context, id protocol.RequestID, end journal.End) error {
	_, err := j.write(id, func(rec *journal.Record) error {
		switch {
		case rec.ID == "" && !j.d.w.bugs.SkipSync:
			return journal.ErrNotFound
		case rec.End != nil && rec.End.Event.State != protocol.StateUnknown:
			return journal.ErrEnded
		}
		rec.End = &end
		return nil
	})
	return err
}

func (j *diary) Removed(_ context.Context, x journal.Removal) error {
	_, err := j.write(x.ID, func(rec *journal.Record) error {
		switch {
		case rec.ID == "":
			return journal.ErrNotFound
		case rec.End == nil:
			return journal.ErrNotEnded
		}
		*rec = journal.Record{}
		return nil
	})
	return err
}

// Removals implements sched.Journal: nobody removes anything here.
func (j *diary) Removals() []journal.Removal { return nil }

func (j *diary) Find(id protocol.RequestID) (journal.Record, error) {
	j.disk.mu.Lock()
	defer j.disk.mu.Unlock()
	if rec, ok := j.disk.records[id]; ok && rec.ID != "" {
		return rec, nil
	}
	return journal.Record{}, journal.ErrNotFound
}

func (j *diary) Output(id protocol.RequestID) ([]protocol.Output, error) {
	rec, err := j.Find(id)
	if err != nil || rec.End == nil {
		return nil, err
	}
	return rec.End.Output, nil
}

func (j *diary) Load(yield func(journal.Record) error) error {
	j.disk.mu.Lock()
	var all []journal.Record
	for _, id := range j.disk.order {
		if rec := j.disk.records[id]; rec.ID != "" {
			all = append(all, rec)
		}
	}
	j.disk.mu.Unlock()
	for _, rec := range all {
		if err := yield(rec); err != nil {
			return err
		}
	}
	return nil
}
