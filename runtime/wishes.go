package runtime

import (
	"context"
	"slices"
	"sync"
)

// wishes holds what a container is to be told once it runs: signals, and the
// size of its terminal. As with a process, a signal that is wished for again
// before it was sent counts once, and of several sizes the last one, so it is
// bounded. The zero value is not ready for use: wake is a channel of one.
type wishes struct {
	wake chan struct{} // holds a token when there is something to tell

	mu      sync.Mutex // guards the rest
	signals []string
	resized bool
	rows    uint16
	columns uint16
}

func (w *wishes) signal(name string) {
	w.mu.Lock()
	if !slices.Contains(w.signals, name) {
		w.signals = append(w.signals, name)
	}
	w.mu.Unlock()
	poke(w.wake)
}

func (w *wishes) resize(rows, columns uint16) {
	w.mu.Lock()
	w.resized, w.rows, w.columns = true, rows, columns
	w.mu.Unlock()
	poke(w.wake)
}

// take returns what is to be told now: a size, if resized, and signals.
func (w *wishes) take() (resized bool, rows, columns uint16, names []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	resized, names = w.resized, w.signals
	w.resized, w.signals = false, nil
	return resized, w.rows, w.columns, names
}

// grant tells the container, which was started, what was wished for. The size
// goes first, so that who asks for it on a signal gets the new one.
func (e *execution) grant(ctx context.Context) {
	resized, rows, columns, names := e.tell.take()
	if resized {
		e.resize(ctx, rows, columns)
	}
	for _, name := range names {
		e.signal(ctx, name)
	}
}
