package sched

import (
	"context"
	"sync"

	"github.com/hearth-edge/hearth/protocol"
)

// watchers are those who want to see every event of every request. Each has a
// buffer; one whose buffer is full is ended, as nobody waits for it and nothing
// may be left out in silence.
type watchers struct {
	mu     sync.Mutex // guards all that follows
	all    map[*watcher]struct{}
	closed bool
}

// watcher is one of them. Events come on its channel, which is closed when no
// more follow; err, set before, says why.
type watcher struct {
	events chan protocol.Event
	err    error
}

func (w *watchers) add(buffer int) *watcher {
	one := &watcher{events: make(chan protocol.Event, buffer)}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		one.end(errLeaves())
		return one
	}
	if w.all == nil {
		w.all = make(map[*watcher]struct{})
	}
	w.all[one] = struct{}{}
	return one
}

func (w *watchers) remove(one *watcher) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.all, one)
}

// tell never blocks.
func (w *watchers) tell(e protocol.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for one := range w.all {
		select {
		case one.events <- e:
		default:
			delete(w.all, one)
			one.end(protocol.Errorf(protocol.CodeOverloaded,
				"more than %d events were not read in time: watch again, and read faster", cap(one.events)))
		}
	}
}

// end ends all, those to come too.
func (w *watchers) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	for one := range w.all {
		one.end(errLeaves())
	}
	clear(w.all)
}

func (w *watcher) end(err error) {
	w.err = err
	close(w.events)
}

// Watch implements protocol.Requests. Up to Params.MaxWatchQueue events wait for
// a yield that takes its time.
func (o *Orchestrator) Watch(ctx context.Context, begun func(), yield func(protocol.Event) error) error {
	one := o.watchers.add(o.cfg.Params.MaxWatchQueue)
	defer o.watchers.remove(one)
	begun()
	for {
		select {
		case e, ok := <-one.events:
			if !ok {
				return one.err
			}
			if err := yield(e); err != nil {
				return err
			}
		case <-ctx.Done():
			return nil
		}
	}
}
