package sched

import (
	"context"
	"crypto/sha256"
	"slices"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

// table holds the requests under way, those that ended lately, and those whose
// end is unknown still. Run's goroutine owns it; it does no I/O.
type table struct {
	o     *Orchestrator
	known map[protocol.RequestID]*request
	// ended holds those of them that have ended, the oldest first.
	ended  []endedRequest
	expiry *time.Timer // of the oldest
	// unknown holds those that a node is asked about when it comes back, the
	// oldest first. They are found by their ID when they are known no more.
	unknown []*correction
	// removed are the requests that were removed lately, the oldest first.
	removed []removal
	// cleaning counts those that are being dropped at their nodes.
	cleaning int
	// bytes is what the services of known take.
	bytes int
	// sequence numbers requests where no journal does.
	sequence uint64
	// launch starts a goroutine that Run waits for; leaving tells whether Run
	// is about to end.
	launch  func(func(context.Context))
	leaving func() bool
}

type endedRequest struct {
	*request
	at time.Duration
}

func newTable(o *Orchestrator) *table {
	t := &table{o: o, known: make(map[protocol.RequestID]*request), expiry: time.NewTimer(0)}
	t.expiry.Stop()
	return t
}

// find returns the request with exactly this ID; nil where it is not in memory.
func (t *table) find(id protocol.RequestID) *request {
	if r := t.known[id]; r != nil && r.rejection() == nil {
		return r
	}
	for _, c := range t.unknown {
		if c.request.id == id {
			return c.request
		}
	}
	return nil
}

// all calls f with every request in memory, each once.
func (t *table) all(f func(*request)) {
	for _, r := range t.known {
		f(r)
	}
	for _, c := range t.unknown {
		if t.known[c.request.id] != c.request {
			f(c.request)
		}
	}
}

// namedBy returns those that text may mean, apart from a whole ID: by their names
// or the beginnings of their IDs.
func (t *table) namedBy(text protocol.RequestID) []*request {
	var found []*request
	t.all(func(r *request) {
		info, _, _ := r.progress.summary()
		if named, _ := info.NamedBy(text); named && r.rejection() == nil {
			found = append(found, r)
		}
	})
	return found
}

// holder returns the request that has the name and has not ended; nil is none.
func (t *table) holder(name string) *request {
	if name == "" {
		return nil
	}
	for _, r := range t.known {
		if r.service.Tags[protocol.TagName] != name || r.rejection() != nil {
			continue
		}
		if info, _, _ := r.progress.summary(); !info.Last.State.Ended() {
			return r
		}
	}
	return nil
}

// admit returns the request that run speaks of, and whether it is a new one,
// with a session on it. With an error the request is the one in the way, if any.
func (t *table) admit(run *protocol.Run, hash [sha256.Size]byte) (r *request, s *session, err error) {
	if r = t.find(run.ID); r == nil {
		if other := t.holder(run.Service.Tags[protocol.TagName]); other != nil {
			return other, nil, protocol.Errorf(protocol.CodeConflict,
				"the name %s is in use by the request %s, which has not ended: choose another --name, or stop that one", run.Service.Tags[protocol.TagName], other.id)
		}
		if err := t.room(run.Service.EncodedSize()); err != nil {
			return nil, nil, err
		}
		r = newRequest(t.o, run.ID, run.Service, hash)
		r.attemptsBefore = t.attemptsBefore(run.ID)
		t.sequence++
		r.progress.setSequence(t.sequence)
		r.progress.info.Detached = run.Detach
		t.add(r)
		s = newSession(r, sessionOptions{input: true, owner: true})
		t.look(r, r.start)
	} else if r.hash != hash || !r.secrets.same(run.Service.Secrets) {
		return r, nil, protocol.Errorf(protocol.CodeConflict,
			"the request ID %s is in use for a different service: choose another one, or none", run.ID)
	} else {
		s = newSession(r, sessionOptions{owner: true})
	}
	r.acceptSessions++
	if run.Detach {
		r.detached = true
		r.progress.detach()
	}
	return r, s, nil
}

// look starts the goroutine that looks after r, which begins with how.
func (t *table) look(r *request, how func(context.Context) protocol.Session) {
	o := t.o
	t.launch(func(ctx context.Context) {
		r.run(ctx, how)
		forgotten := r.removesItself() && o.removeRecord(ctx, r) == nil
		_ = o.do(ctx, func(t *table) { // nobody cares when leaving
			if forgotten {
				t.forget(r)
				return
			}
			t.retire(r)
		})
	})
}

// add enters a request; drop takes it out.
func (t *table) add(r *request) {
	t.known[r.id] = r
	t.bytes += r.size
}

func (t *table) drop(r *request) {
	delete(t.known, r.id)
	t.bytes -= r.size
}

// room refuses what is too much. For a large service, requests that have ended
// make room first.
func (t *table) room(size int) error {
	most := t.o.cfg.Params.MaxServiceBytes
	for t.bytes+size > most && len(t.ended) > 0 {
		t.dropOldest()
	}
	if t.bytes+size > most {
		return protocol.Errorf(protocol.CodeOverloaded,
			"the services of the requests under way on this device take %d bytes, which is near the most, %d: try again when some have ended", t.bytes, most)
	}
	if most := t.o.cfg.Params.MaxRequests; len(t.known)-len(t.ended) >= most {
		return protocol.Errorf(protocol.CodeOverloaded,
			"%d requests are under way on this device, which is the most: try again when some have ended", most)
	}
	return nil
}

// release records that a session of Run on r was closed, and reports whether to
// cancel r: nobody is left. An ended request is not cancelled, since an unknown
// end may be that of a running execution.
func (t *table) release(r *request) bool {
	r.acceptSessions--
	info, _, _ := r.progress.summary()
	return r.acceptSessions == 0 && !r.detached && !info.Last.State.Ended() && !t.leaving()
}

// retire keeps a request that has ended for a while; one that was never
// accepted is dropped.
func (t *table) retire(r *request) {
	if r.rejection() != nil {
		if t.known[r.id] == r {
			t.drop(r)
		}
		return
	}
	if r.removed {
		return
	}
	t.ended = append(t.ended, endedRequest{r, t.o.cfg.Clock()})
	t.scheduleCorrection(r)
	t.expire()
}

// dropOldest drops the request that ended first.
func (t *table) dropOldest() {
	t.drop(t.ended[0].request)
	t.ended = slices.Delete(t.ended, 0, 1)
}

// expire drops those that are too many or too old.
func (t *table) expire() {
	now, p := t.o.cfg.Clock(), &t.o.cfg.Params
	for len(t.ended) > 0 && (len(t.ended) > p.MaxEnded || now-t.ended[0].at >= p.EndedTTL) {
		t.dropOldest()
	}
	if len(t.ended) > 0 {
		t.expiry.Reset(t.ended[0].at + p.EndedTTL - now)
	}
}
