package sched

import (
	"errors"
	"io"
	"sync"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

// maxSignals is how many signals wait for an execution.
const maxSignals = 16

// control is how askers steer a request: their input and their wishes, passed on
// to whichever session the request has just now. Methods may be called
// concurrently.
type control struct {
	mu      sync.Mutex       // guards all that follows; never held across I/O
	session protocol.Session // of the execution; nil while there is none
	changed chan struct{}    // closed when session or over changes
	ended   bool             // the request has ended
	final   bool             // and nothing can be wished any more

	stopping chan struct{} // closed at the first stop
	stopped  bool
	signalTo string // end it with, if not by Session.Stop
	// signalled: a stop by a signal was passed on, so that the end is the asker's
	// will, though its node takes it for the container's own.
	signalled bool
	grace     time.Duration

	signals       []string // that wait for an execution
	rows, columns uint16   // of the terminal; 0 where nobody told
	running       bool     // the execution was seen running

	sent       bool // some input was handed to an execution
	inputEnded bool
	inputLost  bool // the connection broke with input on its way
}

func newControl() *control {
	return &control{changed: make(chan struct{}), stopping: make(chan struct{})}
}

// attach makes s the session that input and wishes go to, and passes on what was
// wished before it was there. The end of input is not repeated after a break
// with input on its way: the container would take a part for the whole.
func (c *control) attach(s protocol.Session) error {
	c.mu.Lock()
	c.session = s
	c.notifyChanged()
	endInput := c.inputEnded && !c.sent
	signals := c.signals
	c.signals = nil
	stop, signalTo, grace := c.stopped, c.signalTo, c.grace
	rows, columns := c.rows, c.columns
	resize := c.running && rows > 0
	c.mu.Unlock()
	if endInput {
		if err := s.CloseWrite(); err != nil {
			return err
		}
	}
	if resize {
		if err := s.Resize(rows, columns); err != nil {
			return err
		}
	}
	for _, name := range signals {
		if err := s.Signal(name); err != nil {
			return err
		}
	}
	if stop {
		return c.sendStop(s, signalTo, grace)
	}
	return nil
}

func (c *control) sendStop(s protocol.Session, signal string, grace time.Duration) error {
	if signal == "" {
		return s.Stop(grace)
	}
	c.mu.Lock()
	c.signalled = true
	c.mu.Unlock()
	return s.Signal(signal)
}

// stoppedBySignal reports whether the execution was told to end by a signal.
func (c *control) stoppedBySignal() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.signalled
}

// detach tells that the session broke. Input that was on its way may not have
// arrived, so none may follow it: the container would get a stream with a hole.
func (c *control) detach() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.session = nil
	c.inputLost = c.inputLost || c.sent && !c.inputEnded
}

// end ends the control. Unless final, a stop still reaches an execution found
// later.
func (c *control) end(final bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.session, c.ended, c.final = nil, true, final
	c.notifyChanged()
}

// attemptOver tells that the execution is over, and another one may follow.
func (c *control) attemptOver() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.session, c.running = nil, false
}

func (c *control) notifyChanged() {
	close(c.changed)
	c.changed = make(chan struct{})
}

// stop asks the execution to end: by signal, or as Session.Stop does where that
// is empty. Before there is one the request's own goroutine sees it.
func (c *control) stop(signal string, grace time.Duration) error {
	c.mu.Lock()
	if c.final {
		c.mu.Unlock()
		return nil
	}
	if !c.stopped {
		c.stopped = true
		close(c.stopping)
	}
	c.signalTo, c.grace = signal, max(grace, 0)
	s := c.session
	c.mu.Unlock()
	if s == nil {
		return nil
	}
	return c.sendStop(s, signal, grace)
}

// kill follows a stop by a signal of its own when its grace period is over.
func (c *control) kill() error {
	c.mu.Lock()
	s, due := c.session, c.signalTo != ""
	if due {
		c.signalTo, c.grace = "", 0
	}
	c.mu.Unlock()
	if s == nil || !due {
		return nil
	}
	return s.Stop(0)
}

// stopGrace returns the grace period of the last stop.
func (c *control) stopGrace() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.grace
}

// write passes input on. It blocks until an execution runs or quit is closed:
// before that the request may be placed elsewhere, and the input would be lost.
func (c *control) write(p []byte, quit <-chan struct{}) (int, error) {
	for {
		c.mu.Lock()
		s, news := c.session, c.changed
		over := c.ended || c.inputEnded
		lost := c.inputLost
		if !c.running {
			s = nil
		}
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
	if c.ended || c.inputEnded {
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

// signal passes a signal on, as soon as there is an execution.
func (c *control) signal(name string) error {
	c.mu.Lock()
	s, wait := c.session, c.session == nil && !c.final
	full := len(c.signals) >= maxSignals
	if wait && !full {
		c.signals = append(c.signals, name)
	}
	c.mu.Unlock()
	switch {
	case s != nil:
		return s.Signal(name)
	case wait && full:
		return protocol.Errorf(protocol.CodeOverloaded,
			"%d signals wait for the container already: send more when it runs", maxSignals)
	}
	return nil
}

// resize remembers the terminal's size, and passes it on to what runs: the last
// one counts.
func (c *control) resize(rows, columns uint16) error {
	c.mu.Lock()
	c.rows, c.columns = rows, columns
	s, running := c.session, c.running
	c.mu.Unlock()
	if s == nil || !running {
		return nil
	}
	return s.Resize(rows, columns)
}

// started tells that the execution runs.
func (c *control) started() error {
	c.mu.Lock()
	c.running = true
	s, rows, columns := c.session, c.rows, c.columns
	c.notifyChanged()
	c.mu.Unlock()
	if s == nil || rows == 0 {
		return nil
	}
	return s.Resize(rows, columns)
}
