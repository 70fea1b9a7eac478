package sched

import (
	"io"
	"sync"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

// session is a request as one asker sees it: a protocol.Session. Input comes
// from the asker who made the request alone; that of those who attached to it
// later, with the same ID, is not taken.
type session struct {
	*protocol.FeedReader
	request *request
	first   bool

	closing sync.Once
	closed  chan struct{} // ends a Write that waits
}

func newSession(r *request, first bool) *session {
	return &session{
		FeedReader: r.feed.Reader(0, 0),
		request:    r,
		first:      first,
		closed:     make(chan struct{}),
	}
}

// Write gives the container input. It waits until there is a container.
func (s *session) Write(p []byte) (int, error) {
	if !s.first {
		return 0, io.ErrClosedPipe
	}
	return s.request.control.write(p, s.closed)
}

// CloseWrite ends the input.
func (s *session) CloseWrite() error {
	if !s.first {
		return nil
	}
	return s.request.control.closeWrite()
}

// Stop asks the request to end. While it is being placed it is cancelled at
// once; else the execution is told.
func (s *session) Stop(grace time.Duration) error { return s.request.control.stop(grace) }

// Signal sends the container a signal.
func (s *session) Signal(name string) error { return s.request.control.signal(name) }

// Resize tells the container's terminal its size.
func (s *session) Resize(rows, columns uint16) error {
	return s.request.control.resize(rows, columns)
}

// Close lets go; the request goes on.
func (s *session) Close() error {
	s.closing.Do(func() { close(s.closed) })
	return s.FeedReader.Close()
}
