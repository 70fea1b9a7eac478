package protocol

import (
	"io"
	"sync"
)

// Bounds on what a queue holds.
const (
	maxQueued      = 1024 // updates
	maxQueuedBytes = 256 << 10
)

// queue holds the updates that a session has received and nobody has asked for
// yet. One goroutine puts and one takes.
type queue struct {
	room, more chan struct{} // hold a token when there may be room, or updates

	mu      sync.Mutex // guards the rest
	updates []Update
	bytes   int   // of the output in updates
	ended   error // what take returns when updates are used up
	closed  bool
}

func newQueue() *queue {
	return &queue{room: make(chan struct{}, 1), more: make(chan struct{}, 1)}
}

func token(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// put adds u. It blocks while the queue is full, and returns io.ErrClosedPipe
// once it is closed.
func (q *queue) put(u Update) error {
	n := 0
	if u.Output != nil {
		n = len(u.Output.Data)
	}
	for {
		q.mu.Lock()
		closed := q.closed
		full := len(q.updates) >= maxQueued || q.bytes > 0 && q.bytes+n > maxQueuedBytes
		if !closed && !full {
			q.updates = append(q.updates, u)
			q.bytes += n
		}
		q.mu.Unlock()
		if closed {
			return io.ErrClosedPipe
		}
		if !full {
			token(q.more)
			return nil
		}
		<-q.room
	}
}

// end makes take return err after the updates that there are. It reports
// whether the queue was open still.
func (q *queue) end(err error) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.ended = err
	token(q.more)
	return !q.closed
}

// take returns the next update. It blocks until there is one, and returns
// io.ErrClosedPipe once the queue is closed.
func (q *queue) take() (Update, error) {
	for {
		u, ok, err := q.poll()
		if ok || err != nil {
			return u, err
		}
		<-q.more
	}
}

func (q *queue) poll() (u Update, ok bool, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.closed:
		return Update{}, false, io.ErrClosedPipe
	case len(q.updates) == 0:
		return Update{}, false, q.ended
	}
	u = q.updates[0]
	q.updates[0] = Update{}
	q.updates = q.updates[1:]
	if u.Output != nil {
		q.bytes -= len(u.Output.Data)
	}
	token(q.room)
	return u, true, nil
}

// close throws away what is left, and unblocks put and take.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed, q.updates = true, nil
	token(q.room)
	token(q.more)
}
