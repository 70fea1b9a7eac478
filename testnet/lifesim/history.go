package lifesim

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

// history is what really happened, and what was told.
type history struct {
	w *world

	mu       sync.Mutex // guards all that follows
	lines    []string   // the trace
	failures []string
	requests map[protocol.RequestID]*record
	order    []protocol.RequestID
}

// record is what is known of one request.
type record struct {
	run     protocol.Run
	stopped bool
	ends    []told
	runs    []*run
}

// told is an end that somebody was told.
type told struct {
	at    time.Duration
	event protocol.Event
}

// run is a container.
type run struct {
	node       protocol.PeerID
	attempt    uint32
	begin, end time.Duration
	over       bool
	code       int
}

func newHistory(w *world) *history {
	return &history{w: w, requests: make(map[protocol.RequestID]*record)}
}

func (h *history) say(format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.line(format, args...)
}

// line is called with mu held.
func (h *history) line(format string, args ...any) {
	h.lines = append(h.lines, fmt.Sprintf("%12.6f  ", h.w.now().Seconds())+fmt.Sprintf(format, args...))
}

// fail takes note of a broken promise.
func (h *history) fail(format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.broken(format, args...)
}

// broken is called with mu held.
func (h *history) broken(format string, args ...any) {
	h.failures = append(h.failures, fmt.Sprintf(format, args...))
	h.line("BROKEN: "+format, args...)
}

func (h *history) record(id protocol.RequestID) *record {
	r := h.requests[id]
	if r == nil {
		r = &record{}
		h.requests[id] = r
		h.order = append(h.order, id)
	}
	return r
}

func (h *history) accept(r protocol.Run) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.record(r.ID).run = r
	h.line("%s is accepted, retry %d", r.ID, r.Service.Retry)
}

// accepted returns the IDs of all that were accepted, in their order.
func (h *history) accepted() []protocol.RequestID {
	h.mu.Lock()
	defer h.mu.Unlock()
	var ids []protocol.RequestID
	for _, id := range h.order {
		if h.requests[id].run.ID != "" {
			ids = append(ids, id)
		}
	}
	return ids
}

func (h *history) stop(id protocol.RequestID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.record(id).stopped = true
	h.line("%s is to be stopped", id)
}

func (h *history) told(id protocol.RequestID, e protocol.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	r := h.record(id)
	r.ends = append(r.ends, told{h.w.now(), e})
}

func (h *history) begin(node protocol.PeerID, k key) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.line("%s starts %v", node, k)
	r := h.record(k.id)
	for _, other := range r.runs {
		if other.node == node && other.attempt == k.attempt {
			h.broken("%v was started twice on %s", k, node)
		}
	}
	mine := &run{node: node, attempt: k.attempt, begin: h.w.now()}
	r.runs = append(r.runs, mine)
	h.alone(k, r, mine)
}

// alone checks that no other container of the request runs; mu is held. One on a
// device that sleeps does not.
func (h *history) alone(k key, r *record, mine *run) {
	for _, other := range r.runs {
		if other != mine && !other.over && h.w.links[other.node].node.asleep() == nil {
			h.broken("%v runs on %s while attempt %d runs on %s", k, mine.node, other.attempt, other.node)
		}
	}
}

// goesOn says that a container's device has woken up.
func (h *history) goesOn(node protocol.PeerID, k key) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.line("%v on %s goes on", k, node)
	r := h.record(k.id)
	for _, run := range r.runs {
		if run.node == node && run.attempt == k.attempt && !run.over {
			h.alone(k, r, run)
		}
	}
}

func (h *history) exit(node protocol.PeerID, k key, code int, at time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.line("%v on %s ends with %d", k, node, code)
	for _, r := range h.record(k.id).runs {
		if r.node == node && r.attempt == k.attempt && !r.over {
			r.over, r.end, r.code = true, at, code
		}
	}
}

// check returns the promises that were broken.
func (h *history) check() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, id := range h.order {
		h.checkRuns(id, h.requests[id])
		h.checkEnds(id, h.requests[id])
	}
	return slices.Clone(h.failures)
}

func (h *history) checkRuns(id protocol.RequestID, r *record) {
	if most := int(r.run.Service.Retry) + 1; len(r.runs) > most {
		h.broken("%s has run %d times, allowed are %d", id, len(r.runs), most)
	}
	for _, run := range r.runs {
		if !run.over {
			h.broken("%s runs on %s still", id, run.node)
		}
	}
}

func (h *history) checkEnds(id protocol.RequestID, r *record) {
	var last *protocol.Event
	for _, t := range r.ends {
		e := t.event
		if e.State == protocol.StateUnknown {
			continue
		}
		if last != nil && (last.State != e.State || last.ExitCode != e.ExitCode || last.Attempt != e.Attempt) {
			h.broken("%s was told two ends: %s and %s", id, text(last), text(&e))
		}
		last = &e
		h.checkTruth(id, r, t)
	}
}

// checkTruth compares an end that was told with what happened.
func (h *history) checkTruth(id protocol.RequestID, r *record, t told) {
	e := t.event
	var of *run
	for _, run := range r.runs {
		if run.attempt == e.Attempt && run.node == e.Node {
			of = run
		}
		if run.begin > t.at || !run.over || run.end > t.at {
			h.broken("%s ran on %s when its end had been told: %s", id, run.node, text(&e))
		}
	}
	switch {
	case e.State == protocol.StateSucceeded || e.State == protocol.StateFailed && e.Code == protocol.CodeNone:
		if of == nil || of.code != e.ExitCode {
			h.broken("%s was told %s, which is not so: %+v", id, text(&e), of)
		}
	case e.State == protocol.StateCancelled && !r.stopped:
		h.broken("%s was told %s, and nobody wanted that", id, text(&e))
	case e.State == protocol.StateRefused && len(r.runs) > 0:
		h.broken("%s was told %s, and has run", id, text(&e))
	}
}

func text(e *protocol.Event) string {
	return fmt.Sprintf("state %d, exit code %d, %v, attempt %d on %s, %q", e.State, e.ExitCode, e.Code, e.Attempt, e.Node, e.Reason)
}
