package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/term"

	"github.com/hearth-edge/hearth/protocol"
)

// stopGrace is how long a container has to end after Ctrl-C before it is killed.
const stopGrace = 10 * time.Second

// passedOn are the signals that mean to the container what they mean here.
var passedOn = map[os.Signal]string{
	syscall.SIGHUP: "HUP", syscall.SIGQUIT: "QUIT", syscall.SIGUSR1: "USR1", syscall.SIGUSR2: "USR2",
}

// follower relays a request's session to and from this terminal.
type follower struct {
	cli     *cli
	session protocol.Session
	id      protocol.RequestID
	view    *runView
	// interactive passes the input on; tty does so key by key.
	interactive, tty bool
	// visiting: Ctrl-C leaves the request alone instead of stopping it.
	visiting bool
	// toTheEnd: without it the session may end before the request.
	toTheEnd bool
	// survives: the request goes on when this command is cut off from it.
	survives bool
	// ended: the request's end was told.
	ended bool
	// inside: it is a command in a container.
	inside bool

	restore func()
}

// follow returns when the request has ended, or it was left: with what the
// command ends with.
func (f *follower) follow() error {
	defer f.session.Close()
	f.restore = func() {}
	defer func() { f.restore() }()
	defer f.view.finish()
	// From here on Ctrl-C is about the container instead of this command.
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGWINCH)
	for s := range passedOn {
		if !signal.Ignored(s) { // as nohup does with SIGHUP
			signal.Notify(signals, s)
		}
	}
	defer signal.Stop(signals)
	left, ended := make(chan struct{}), make(chan struct{})
	defer close(ended)
	go f.handleSignals(signals, left, ended)
	if f.interactive {
		go func() { // ends with its input or, blocked on that, with the process
			_, err := io.Copy(f.session, f.cli.stdin)
			if err == nil {
				_ = f.session.CloseWrite()
			}
		}()
	}
	for {
		u, err := f.session.Next()
		if err != nil {
			return f.broken(err, left)
		}
		if f.tty && u.Event != nil && u.Event.State == protocol.StateRunning {
			if err := f.takeTerminal(); err != nil {
				return err
			}
		}
		if u.Event != nil && u.Event.State.Ended() {
			f.restore()
			f.view.lineEnd, f.ended = "\n", true
		}
		if end, err := f.view.show(u); end || err != nil {
			return err
		}
	}
}

// handleSignals does what signals ask for, until ended is closed. It closes left when the
// user wants to go, which ends the session.
func (f *follower) handleSignals(signals <-chan os.Signal, left chan<- struct{}, ended <-chan struct{}) {
	grace, going := stopGrace, false
	for {
		select {
		case s := <-signals:
			name, pass := passedOn[s]
			switch {
			case s == syscall.SIGWINCH:
				f.resize()
			case f.visiting && !going:
				going = true
				close(left)
				_ = f.session.Close()
			case f.visiting: // on the way out
			case pass:
				_ = f.session.Signal(name)
			case f.inside && s == syscall.SIGINT && grace > 0:
				_ = f.session.Signal("INT")
				grace = 0
			default:
				f.view.interrupted.Store(true)
				_ = f.session.Stop(grace)
				grace = 0
			}
		case <-ended:
			return
		}
	}
}

// broken says what it means that the session ended before the request.
func (f *follower) broken(err error, left <-chan struct{}) error {
	f.restore()
	f.view.lineEnd = "\n"
	f.view.progress.clear()
	select {
	case <-left:
		f.view.say("left %s, which goes on: 'hearth attach %s' comes back to it, 'hearth stop %s' ends it", f.id, f.id, f.id)
		return exited(exitInterrupted)
	default:
	}
	if errors.Is(err, io.EOF) && !f.toTheEnd {
		return nil
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	if code := protocol.CodeOf(err); code != protocol.CodeInternal {
		return err // the device said why
	}
	hint := "is 'hearth up' still running? What it started here may go on"
	if f.inside {
		hint = "is 'hearth up' still running? The command in the container is ended"
	}
	if f.survives || f.visiting {
		hint = fmt.Sprintf("is 'hearth up' still running? The request goes on: 'hearth attach %s' comes back to it", f.id)
	}
	return &failure{err: fmt.Errorf("lost the connection to this device: %w", err), hint: hint}
}

// takeTerminal hands each key, Ctrl-C too, to the container, and tells it the
// terminal's size. Until the container runs, Ctrl-C is still this command's.
func (f *follower) takeTerminal() error {
	f.resize()
	in := int(f.cli.stdin.Fd())
	if f.view.lineEnd == "\r\n" || !f.interactive || !term.IsTerminal(in) {
		return nil
	}
	f.view.progress.clear()
	state, err := term.MakeRaw(in)
	if err != nil {
		return fmt.Errorf("prepare the terminal: %w", err)
	}
	f.view.lineEnd = "\r\n"
	f.restore = func() {
		_ = term.Restore(in, state)
		f.restore = func() {}
	}
	return nil
}

// resize tells the container how large the terminal is, if there is one.
func (f *follower) resize() {
	if !f.tty {
		return
	}
	if rows, columns := f.cli.terminalSize(); rows > 0 {
		_ = f.session.Resize(rows, columns)
	}
}

// terminalSize returns how large this command's terminal is, and 0 where it has
// none.
func (c *cli) terminalSize() (rows, columns uint16) {
	for _, file := range []*os.File{c.stdout, c.stdin} {
		if columns, rows, err := term.GetSize(int(file.Fd())); err == nil && 0 < rows && rows <= 0xffff && 0 < columns && columns <= 0xffff {
			return uint16(rows), uint16(columns)
		}
	}
	return 0, 0
}
