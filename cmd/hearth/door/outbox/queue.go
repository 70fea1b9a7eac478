package outbox

import (
	"slices"
	"sync"
)

// A message is what a target gets: by a broker under a topic, by a webhook alone.
type message struct {
	topic    string
	payload  []byte
	retained bool
	// latest messages stand for those before them under the same topic.
	latest bool
}

// queue holds what a target has not taken yet. Its methods may be used concurrently.
type queue struct {
	notify chan struct{} // holds one when there is something

	mu      sync.Mutex // guards what follows
	list    []message
	kept    map[string]message // the last one of each topic that is retained
	dropped int
	failure string // why the last try failed; empty where it did not
}

func newQueue() *queue {
	return &queue{notify: make(chan struct{}, 1), kept: map[string]message{}}
}

// put adds a message, in the place of an older one where it stands for it.
func (q *queue) put(m message) {
	q.mu.Lock()
	if m.retained {
		q.kept[m.topic] = m
	}
	i := -1
	if m.latest {
		i = slices.IndexFunc(q.list, func(o message) bool { return o.topic == m.topic })
	}
	switch {
	case i >= 0:
		q.list[i] = m
	case len(q.list) >= maxQueue:
		q.list = append(slices.Delete(q.list, 0, 1), m)
		q.dropped++
	default:
		q.list = append(q.list, m)
	}
	q.mu.Unlock()
	q.wake()
}

func (q *queue) wake() {
	select {
	case q.notify <- struct{}{}:
	default:
	}
}

// take removes the oldest message.
func (q *queue) take() (m message, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.list) == 0 {
		return m, false
	}
	m, q.list = q.list[0], q.list[1:]
	return m, true
}

// back returns a message that was not taken, unless a newer one stands for it.
func (q *queue) back(m message) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if m.latest && slices.ContainsFunc(q.list, func(o message) bool { return o.topic == m.topic }) {
		return
	}
	q.list = slices.Insert(q.list, 0, m)
}

// restore queues what a broker is to keep that is not queued: it may have lost it, and
// has published the will.
func (q *queue) restore() {
	q.mu.Lock()
	var kept []message
	for _, m := range q.kept {
		kept = append(kept, m)
	}
	q.mu.Unlock()
	for _, m := range kept {
		q.put(m)
	}
}

func (q *queue) drop() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.dropped++
}

func (q *queue) failed(why string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.failure = why
}
