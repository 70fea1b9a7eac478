package runtime

import (
	"context"
	"slices"
	"sync"
)

// pendingControl holds what a container is to be told once it runs: signals, and the
// size of its terminal. As with a process, a signal that is wished for again
// before it was sent counts once, and of several sizes the last one, so it is
// bounded. The zero value is not ready for use: wake is a channel of one.
type pendingControl struct {
	notify chan struct{} // filled when there is something to send

	mu      sync.Mutex // guards the rest
	signals []string
	resized bool
	rows    uint16
	columns uint16
}

func (p *pendingControl) signal(name string) {
	p.mu.Lock()
	if !slices.Contains(p.signals, name) {
		p.signals = append(p.signals, name)
	}
	p.mu.Unlock()
	notify(p.notify)
}

func (p *pendingControl) resize(rows, columns uint16) {
	p.mu.Lock()
	p.resized, p.rows, p.columns = true, rows, columns
	p.mu.Unlock()
	notify(p.notify)
}

// take returns what is to be told now: a size, if resized, and signals.
func (p *pendingControl) take() (resized bool, rows, columns uint16, names []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	resized, names = p.resized, p.signals
	p.resized, p.signals = false, nil
	return resized, p.rows, p.columns, names
}

// sendControl tells the container, which was started, what was wished for. The size
// goes first, so that who asks for it on a signal gets the new one.
func (e *execution) sendControl(ctx context.Context) {
	resized, rows, columns, names := e.control.take()
	if resized {
		e.resize(ctx, rows, columns)
	}
	for _, name := range names {
		e.signal(ctx, name)
	}
}
