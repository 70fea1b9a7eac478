package runtime

import (
	"errors"
	"io"
	"sync"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

// session is one look at an execution.
type session struct {
	e      *execution
	reader *protocol.FeedReader
	gone   chan struct{} // closed by Close
	once   sync.Once
	// noOutput leaves the output out; forget has the execution dropped at its end.
	noOutput, forget bool
	// endTold says that Next has told the end; it belongs to Next.
	endTold bool
}

var _ protocol.Session = (*session)(nil)

// session opens a session as a asks for it.
func (e *execution) session(a protocol.Attach) *session {
	s := &session{e: e, gone: make(chan struct{}), noOutput: a.NoOutput, forget: a.Forget}
	if a.NoFollow {
		s.reader = e.feed.ReaderOfNow(a.Stdout, a.Stderr)
	} else {
		s.reader = e.feed.Reader(a.Stdout, a.Stderr)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.abandoned {
		s.reader.Close()
	} else {
		e.sessions[s] = struct{}{}
	}
	return s
}

// Next implements protocol.Session. After the end of Run it fails: the
// execution may go on. Whoever gets io.EOF after the end has taken it over: from
// then on it survives no crash of this process.
func (s *session) Next() (protocol.Update, error) {
	u, err := s.reader.Next()
	for s.noOutput && err == nil && u.Output != nil {
		u, err = s.reader.Next()
	}
	s.endTold = s.endTold || u.Event != nil && u.Event.State.Ended()
	switch {
	case errors.Is(err, io.EOF) && s.endTold:
		s.e.mu.Lock()
		closeOnce(s.e.endRead)
		s.e.mu.Unlock()
		if s.forget {
			s.e.node.drop(s.e)
		}
	case errors.Is(err, io.ErrClosedPipe):
		s.e.mu.Lock()
		defer s.e.mu.Unlock()
		if s.e.abandoned {
			return u, protocol.Errorf(protocol.CodeLeaving, "the node shuts down; the execution goes on there")
		}
	}
	return u, err
}

// Write implements protocol.Session.
func (s *session) Write(p []byte) (int, error) { return s.e.input.write(p, s.gone) }

// CloseWrite implements protocol.Session.
func (s *session) CloseWrite() error {
	s.e.input.end()
	return nil
}

// Stop implements protocol.Session. Of several stops the shortest grace counts;
// after the end it does nothing.
func (s *session) Stop(grace time.Duration) error {
	s.e.stop(max(grace, 0))
	return nil
}

// Signal implements protocol.Session. What protocol.ParseSignal does not know
// is a *protocol.Error with CodeInvalid.
func (s *session) Signal(name string) error {
	name, err := protocol.ParseSignal(name)
	if err != nil {
		return err
	}
	s.e.control.signal(name)
	return nil
}

// Resize implements protocol.Session. A size without rows or columns is that
// of no terminal, and changes nothing.
func (s *session) Resize(rows, columns uint16) error {
	if rows > 0 && columns > 0 {
		s.e.control.resize(rows, columns)
	}
	return nil
}

// Close implements protocol.Session.
func (s *session) Close() error {
	s.once.Do(func() {
		close(s.gone)
		s.e.mu.Lock()
		delete(s.e.sessions, s)
		s.e.mu.Unlock()
		s.reader.Close()
	})
	return nil
}

// stop asks the execution to end. One that is queued ends here and now.
func (e *execution) stop(grace time.Duration) {
	n := e.node
	n.mu.Lock()
	queued := n.ledger.leave(e)
	if queued {
		n.pump()
	}
	n.mu.Unlock()
	if queued {
		e.publishEnd(e.failure(errStopped), 0)
		e.feed.End()
		n.changed()
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	closeOnce(e.stopped)
	select {
	case <-e.stops:
	default:
	}
	e.stops <- grace
}

func (e *execution) isStopped() bool { return isClosed(e.stopped) }

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// abandon breaks all sessions: this process does not learn the end any more.
func (e *execution) abandon() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.abandoned = true
	for s := range e.sessions {
		s.reader.Close()
	}
	clear(e.sessions)
	e.input.close()
}
