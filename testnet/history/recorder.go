package history

import (
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

// A Recorder takes a History down while it happens. Its methods may be called
// concurrently.
type Recorder struct {
	began time.Time

	mu         sync.Mutex // guards all that follows
	history    History
	requests   map[string]*Request
	containers map[string]*Container
}

// NewRecorder begins a history.
func NewRecorder(seed uint64) *Recorder {
	return &Recorder{
		began: time.Now(), history: History{Seed: seed},
		requests: map[string]*Request{}, containers: map[string]*Container{},
	}
}

// now is never 0.
func (r *Recorder) now() time.Duration { return max(time.Since(r.began), 1) }

// at turns a time on the wall clock into one of the history: only a clock that is
// set between then and now makes it wrong.
func (r *Recorder) at(wall time.Time) time.Duration {
	now := time.Now()
	return max(now.Sub(r.began)-now.Round(0).Sub(wall), 1)
}

// Ask takes down that a request is about to be asked for.
func (r *Recorder) Ask(q Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	q.Asked = r.now()
	r.requests[q.ID] = &q
	r.history.Requests = append(r.history.Requests, &q)
}

// Event takes down an answer.
func (r *Recorder) Event(id string, e *protocol.Event) {
	if e.Progress != nil {
		return
	}
	t := Told{
		State: State(e.State), Reason: e.Reason, Attempt: int(e.Attempt),
		Node: string(e.Node), ExitCode: e.ExitCode, Container: e.Container,
	}
	if e.Code != protocol.CodeNone {
		t.Code = e.Code.String()
	}
	r.told(id, t)
}

// Error takes down an answer that is an error, or that there was none.
func (r *Recorder) Error(id string, err error) {
	r.told(id, Told{Code: protocol.CodeOf(err).String(), Reason: err.Error()})
}

func (r *Recorder) told(id string, t Told) {
	r.mu.Lock()
	defer r.mu.Unlock()
	t.At = r.now()
	r.requests[id].Told = append(r.requests[id].Told, t)
}

// Output takes down a piece of the standard output.
func (r *Recorder) Output(id string, o *protocol.Output) {
	if o.Channel != protocol.Stdout {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.requests[id].Output = append(r.requests[id].Output, Piece{o.Offset, o.Cut, string(o.Data)})
}

// Wanted takes down that somebody wants the request to end, and is about to say so.
func (r *Recorder) Wanted(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if q := r.requests[id]; q.Stopped == 0 {
		q.Stopped = r.now()
	}
}

// Engine takes down what an engine tells of a container: change gets what is
// known of it so far, and a function that turns the engine's times into the
// history's.
func (r *Recorder) Engine(id string, change func(k *Container, at func(time.Time) time.Duration)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	k := r.containers[id]
	if k == nil {
		k = &Container{ID: id}
		r.containers[id] = k
		r.history.Containers = append(r.history.Containers, k)
	}
	change(k, r.at)
}

// Fault takes down that a fault begins; over that it has ended.
func (r *Recorder) Fault(kind Kind, node, name string) (over func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f := &Fault{Kind: kind, Node: node, Name: name, From: r.now()}
	r.history.Faults = append(r.history.Faults, f)
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		f.Until = r.now()
	}
}

// History returns a copy of what there is by now.
func (r *Recorder) History() *History {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.history.Ended = r.now()
	data, err := json.Marshal(&r.history)
	h := new(History)
	if err == nil {
		err = json.Unmarshal(data, h)
	}
	if err != nil {
		panic(fmt.Sprintf("a history cannot be copied: %v", err))
	}
	return h
}
