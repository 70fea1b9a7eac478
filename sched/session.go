package sched

import (
	"errors"
	"io"
	"math"
	"sync"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

// session is a request as one asker sees it: a protocol.Session. Input comes
// from the asker who made the request alone; to all others Write returns
// io.ErrClosedPipe, as if the input had ended.
type session struct {
	*protocol.FeedReader
	request       *request
	opts          sessionOptions
	ended         bool             // Next has told the end
	pendingOutput *protocol.Output // of what Next told a part of

	closing sync.Once
	closed  chan struct{} // ends a Write that waits
}

type sessionOptions struct {
	// input: what is written goes to the container.
	input bool
	// owner: the request is cancelled without a session of this kind.
	owner bool
	// attach says what is wanted of the output.
	attach protocol.Attach
}

func newSession(r *request, opts sessionOptions) *session {
	stdout, stderr := opts.attach.Stdout, opts.attach.Stderr
	feed := r.progress.currentFeed()
	if opts.attach.Since > 0 {
		var from position
		feed, from = r.progress.outputSince(r.o.cfg.Clock() - opts.attach.Since)
		stdout, stderr = max(stdout, from.stdout), max(stderr, from.stderr)
	}
	if opts.attach.NoOutput {
		stdout, stderr = math.MaxUint64, math.MaxUint64
	}
	s := &session{request: r, opts: opts, closed: make(chan struct{})}
	if opts.attach.NoFollow {
		s.FeedReader = feed.ReaderOfNow(stdout, stderr)
	} else {
		s.FeedReader = feed.Reader(stdout, stderr)
	}
	return s
}

// Next returns what comes next. When this device shuts down before the request
// has ended, the error says that it goes on.
func (s *session) Next() (protocol.Update, error) {
	if s.pendingOutput != nil {
		out := s.pendingOutput
		out, s.pendingOutput = s.request.progress.splitByTime(out)
		return protocol.Update{Output: out}, nil
	}
	u, err := s.FeedReader.Next()
	switch {
	case u.Output != nil:
		u.Output, s.pendingOutput = s.request.progress.splitByTime(u.Output)
	case u.Event != nil:
		s.ended = u.Event.State.Ended()
	case errors.Is(err, io.EOF) && !s.ended && !s.opts.attach.NoFollow:
		return u, errLeaves()
	}
	return u, err
}

// Write gives the container input. It waits until there is a container.
func (s *session) Write(p []byte) (int, error) {
	if !s.opts.input {
		return 0, io.ErrClosedPipe
	}
	return s.request.control.write(p, s.closed)
}

// CloseWrite ends the input.
func (s *session) CloseWrite() error {
	if !s.opts.input {
		return nil
	}
	return s.request.control.closeWrite()
}

// Stop asks the request to end. While it is being placed it is cancelled at
// once; else the execution is told.
func (s *session) Stop(grace time.Duration) error { return s.request.control.stop("", grace) }

// Signal sends the container a signal, as soon as there is one.
func (s *session) Signal(name string) error { return s.request.control.signal(name) }

// Resize tells the container's terminal its size, as soon as there is one.
func (s *session) Resize(rows, columns uint16) error {
	return s.request.control.resize(rows, columns)
}

// Close lets go. The request goes on, unless this was the last session of Run
// on one that is not detached: that is cancelled.
func (s *session) Close() error {
	s.closing.Do(func() {
		close(s.closed)
		_ = s.FeedReader.Close()
		if s.opts.owner {
			s.request.o.abandon(s.request)
		}
	})
	return nil
}
