package sched

import (
	"errors"
	"io"
	"sync"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

// control is how askers steer a request: their input and their wish that it
// stop, passed on to whichever session the request has just now. Methods may be
// called concurrently.
type control struct {
	mu      sync.Mutex       // guards all that follows; never held across I/O
	session protocol.Session // of the execution; nil while there is none
	news    chan struct{}    // closed when session or over changes
	over    bool             // the request has ended

	stopping chan struct{} // closed at the first stop
	stopped  bool
	grace    time.Duration

	sent       bool // some input was handed to an execution
	inputEnded bool
	inputLost  bool // the connection broke with input on its way
}

func newControl() *control {
	return &control{news: make(chan struct{}), stopping: make(chan struct{})}
}

// attach makes s the session that input and stops go to, and passes on what was
// wished before it was there. The end of input is not repeated after a break
// with input on its way: the container would take a part for the whole.
func (c *control) attach(s protocol.Session) error {
	c.mu.Lock()
	c.session = s
	c.tell()
	endInput := c.inputEnded && !c.sent
	stop, grace := c.stopped, c.grace
	c.mu.Unlock()
	if endInput {
		if err := s.CloseWrite(); err != nil {
			return err
		}
	}
	if stop {
		return s.Stop(grace)
	}
	return nil
}

// detach tells that the session broke. Input that was on its way may not have
// arrived, so none may follow it: the container would get a stream with a hole.
func (c *control) detach() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.session = nil
	c.inputLost = c.inputLost || c.sent && !c.inputEnded
}

// end tells that the request has ended.
func (c *control) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.session, c.over = nil, true
	c.tell()
}

func (c *control) tell() {
	close(c.news)
	c.news = make(chan struct{})
}

// stop asks the execution to end; before there is one the request's own
// goroutine sees it.
func (c *control) stop(grace time.Duration) error {
	c.mu.Lock()
	if c.over {
		c.mu.Unlock()
		return nil
	}
	if !c.stopped {
		c.stopped = true
		close(c.stopping)
	}
	c.grace = max(grace, 0)
	s := c.session
	c.mu.Unlock()
	if s == nil {
		return nil
	}
	return s.Stop(grace)
}

// stopGrace returns the grace period of the last stop.
func (c *control) stopGrace() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.grace
}

// write passes input on, and waits while there is no execution to take it,
// until quit is closed.
func (c *control) write(p []byte, quit <-chan struct{}) (int, error) {
	for {
		c.mu.Lock()
		s, news := c.session, c.news
		over := c.over || c.inputEnded
		lost := c.inputLost
		c.sent = c.sent || s != nil && len(p) > 0
		c.mu.Unlock()
		switch {
		case over:
			return 0, io.ErrClosedPipe
		case lost:
			return 0, errInputLost()
		case s != nil:
			n, err := s.Write(p)
			if err != nil && !errors.Is(err, io.ErrClosedPipe) {
				err = errInputLost()
			}
			return n, err
		}
		select {
		case <-news:
		case <-quit:
			return 0, io.ErrClosedPipe
		}
	}
}

func errInputLost() error {
	return protocol.Errorf(protocol.CodeNodeLost,
		"the connection to the node broke while it was sent input: the rest is not passed on")
}

// closeWrite ends the input.
func (c *control) closeWrite() error {
	c.mu.Lock()
	if c.over || c.inputEnded {
		c.mu.Unlock()
		return nil
	}
	c.inputEnded = true
	s := c.session
	c.mu.Unlock()
	if s == nil {
		return nil // attach passes it on
	}
	return s.CloseWrite()
}

// signal passes a signal on.
func (c *control) signal(name string) error {
	c.mu.Lock()
	s := c.session
	c.mu.Unlock()
	if s == nil {
		return nil
	}
	return s.Signal(name)
}

// resize passes the terminal's size on.
func (c *control) resize(rows, columns uint16) error {
	c.mu.Lock()
	s := c.session
	c.mu.Unlock()
	if s == nil {
		return nil
	}
	return s.Resize(rows, columns)
}
