package chaos

import "sync"

// running are the containers that were started and have not ended, as far as was
// heard.
type running struct {
	mu      sync.Mutex // guards what follows
	on      map[string]*engine
	starts  map[*engine]int // there were, in all
	changed chan struct{}   // closed and replaced when there is news
}

func newRunning() *running {
	return &running{on: map[string]*engine{}, starts: map[*engine]int{}, changed: make(chan struct{})}
}

// note takes down whether a container runs.
func (r *running) note(id string, e *engine, runs bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if runs && r.on[id] == nil {
		r.starts[e]++
	}
	if delete(r.on, id); runs {
		r.on[id] = e
	}
	close(r.changed)
	r.changed = make(chan struct{})
}

// count returns how many run on the engine, how many were started there in all, and
// what is closed at the next news; no engine is all of them.
func (r *running) count(e *engine) (now, starts int, changed <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, on := range r.on {
		if e == nil || on == e {
			now++
		}
	}
	for on, n := range r.starts {
		if e == nil || on == e {
			starts += n
		}
	}
	return now, starts, r.changed
}

// without returns which run on the engine, and are not among those that it has.
func (r *running) without(e *engine, there map[string]string) (ids []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, on := range r.on {
		if on == e && there[id] == "" {
			ids = append(ids, id)
		}
	}
	return ids
}
