package runtime

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

// hangupGrace is how long a command has to end whose session was closed.
const hangupGrace = 5 * time.Second

// execSession is a command in a container as a protocol.Session. It keeps nothing:
// whoever reads it slowly slows the command down.
type execSession struct {
	node    *Node
	process Process
	stdio   Stdio
	event   func(protocol.State) protocol.Event
	args    protocol.Exec
	release func()
	// gone ends when the session is closed.
	gone  context.Context
	leave context.CancelFunc

	// These belong to Next.
	step   execStep
	offset [protocol.Stderr + 1]uint64

	mu    sync.Mutex  // guards the rest
	over  bool        // the command has ended, or goes on without the session
	grace *time.Timer // kills what was told to stop; nil where nothing was
}

// execStep is what Next tells next.
type execStep uint8

const (
	execStarted execStep = iota
	execOutput
	execEnded
)

// newExecSession takes over the process; release is called when it has ended or
// the session was closed.
func newExecSession(n *Node, p Process, event func(protocol.State) protocol.Event, v protocol.Exec, release func()) *execSession {
	s := &execSession{node: n, process: p, stdio: p.Stdio(), event: event, args: v, release: release}
	s.gone, s.leave = context.WithCancel(context.Background())
	return s
}

// Next implements protocol.Session.
func (s *execSession) Next() (protocol.Update, error) {
	switch s.step {
	case execStarted:
		s.step = execOutput
		if s.args.Detach {
			s.step = execEnded
			s.finish()
		}
		event := s.event(protocol.StateRunning)
		return protocol.Update{Event: &event}, nil
	case execOutput:
		channel, data, err := s.stdio.Output.Next()
		if err == nil {
			at := s.offset[channel]
			s.offset[channel] += uint64(len(data))
			return protocol.Update{Output: &protocol.Output{Channel: channel, Offset: at, Data: bytes.Clone(data), At: time.Now()}}, nil
		}
		end := s.ending(err)
		if s.gone.Err() != nil {
			return protocol.Update{}, io.ErrClosedPipe
		}
		s.step = execEnded
		s.finish()
		return protocol.Update{Event: &end}, nil
	}
	return protocol.Update{}, io.EOF
}

// ending makes the last event; read is how the output ended.
func (s *execSession) ending(read error) protocol.Event {
	exit, err := s.process.Wait(s.gone)
	if err == nil && !errors.Is(read, io.EOF) {
		err = read
	}
	event := s.event(protocol.StateSucceeded)
	event.ExitCode, event.Exited = exit.Code, true
	switch {
	case protocol.CodeOf(err) == protocol.CodeStartFailed:
		event.State, event.Code, event.Reason = protocol.StateFailed, protocol.CodeStartFailed, publicText(err)
	case err != nil:
		err = s.node.outside("exec", s.args.Target, err)
		if protocol.CodeOf(err) == protocol.CodeInternal && s.gone.Err() == nil {
			s.node.cfg.Log.Warn("a command in a container was lost", "target", s.args.Target.String(), "err", err)
		}
		event.State, event.Code, event.Reason = protocol.StateLost, protocol.CodeOf(err), publicText(err)
		event.ExitCode, event.Exited = 0, false
	case exit.ContainerEnded:
		event.State, event.Reason = protocol.StateFailed, "the container ended"
	case exit.Code != 0:
		event.State = protocol.StateFailed
	}
	return event
}

// finish lets go of the command, which has ended or goes on by itself.
func (s *execSession) finish() {
	s.mu.Lock()
	s.over = true
	if s.grace != nil {
		s.grace.Stop()
	}
	s.mu.Unlock()
	s.release()
	if s.stdio.Output != nil {
		_ = s.stdio.Output.Close()
	}
}

// Write implements protocol.Session.
func (s *execSession) Write(p []byte) (int, error) {
	if s.stdio.Stdin == nil {
		return 0, io.ErrClosedPipe
	}
	n, err := s.stdio.Stdin.Write(p)
	if err != nil {
		err = io.ErrClosedPipe
	}
	return n, err
}

// CloseWrite implements protocol.Session.
func (s *execSession) CloseWrite() error {
	if s.stdio.Stdin == nil {
		return nil
	}
	return s.stdio.Stdin.Close()
}

// Stop implements protocol.Session.
func (s *execSession) Stop(grace time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return nil
	}
	first := s.grace == nil
	if !first {
		s.grace.Stop()
	}
	s.grace = time.AfterFunc(grace, func() { _ = s.send("KILL") })
	if first && grace > 0 {
		go func() { _ = s.send("TERM") }() // ends in time
	}
	return nil
}

// Signal implements protocol.Session. It waits for the engine.
func (s *execSession) Signal(name string) error {
	name, err := protocol.ParseSignal(name)
	if err != nil {
		return err
	}
	return s.send(name)
}

func (s *execSession) send(signal string) error {
	s.mu.Lock()
	over := s.over
	s.mu.Unlock()
	if over {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeoutGrace)
	defer cancel()
	err := s.process.Signal(ctx, signal)
	if err != nil {
		s.node.cfg.Log.Debug("signal not sent to a command", "target", s.args.Target.String(), "signal", signal, "err", err)
	}
	return err
}

// Resize implements protocol.Session.
func (s *execSession) Resize(rows, columns uint16) error {
	s.mu.Lock()
	over := s.over
	s.mu.Unlock()
	if over || !s.args.TTY || rows == 0 || columns == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeoutGrace)
	defer cancel()
	return s.process.Resize(ctx, rows, columns)
}

// Close implements protocol.Session: a command that has not ended is told that
// nobody is there any more, and killed where it does not end by that.
func (s *execSession) Close() error {
	s.mu.Lock()
	over := s.over || s.gone.Err() != nil
	s.leave()
	s.mu.Unlock()
	if over {
		return nil
	}
	signal := "TERM"
	if s.args.TTY {
		signal = "HUP"
	}
	_ = s.send(signal)
	_ = s.stdio.Output.Close()
	go s.reap() // ends in time
	return nil
}

// reap sees to it that a command ends that was told to.
func (s *execSession) reap() {
	defer s.finish()
	ctx, cancel := context.WithTimeout(context.Background(), hangupGrace)
	defer cancel()
	if _, err := s.process.Wait(ctx); err != nil && ctx.Err() != nil {
		_ = s.send("KILL")
	}
}
