// Package protocoltest has what tests of conversations need.
package protocoltest

import (
	"errors"
	"io"
	"os"
	"sync"
	"time"
)

// pipeBuffer is how much each direction of a Pipe holds.
const pipeBuffer = 64 << 10

var errReset = errors.New("stream reset")

// Pipe returns the two ends of a stream in memory that behaves like one of
// libp2p: each direction buffers 64 KiB, then Write blocks; half-close, reset and
// deadlines work; what arrives at an end after its Close is thrown away.
func Pipe() (a, b *End) {
	ab, ba := newHalfPipe(), newHalfPipe()
	return &End{in: ba, out: ab}, &End{in: ab, out: ba}
}

// halfPipe is one direction of a pipe.
type halfPipe struct {
	mu      sync.Mutex
	buf     []byte
	from    int // buf[from:] is to be read
	eof     bool
	ignored bool // the reading end was closed
	reset   bool
	read    deadline
	write   deadline
	changed chan struct{} // closed at each change, then replaced
}

func newHalfPipe() *halfPipe { return &halfPipe{changed: make(chan struct{})} }

// change makes a change and wakes all who wait for one.
func (h *halfPipe) change(f func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f()
	h.wake()
}

func (h *halfPipe) wake() {
	close(h.changed)
	h.changed = make(chan struct{})
}

// wait gives up the mutex until something changes.
func (h *halfPipe) wait() {
	changed := h.changed
	h.mu.Unlock()
	<-changed
	h.mu.Lock()
}

func (h *halfPipe) Read(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		switch {
		case h.reset:
			return 0, errReset
		case h.ignored:
			return 0, io.ErrClosedPipe
		case h.read.expired:
			return 0, os.ErrDeadlineExceeded
		case h.from < len(h.buf):
			n := copy(p, h.buf[h.from:])
			if h.from += n; h.from == len(h.buf) {
				h.buf, h.from = h.buf[:0], 0
			}
			h.wake()
			return n, nil
		case h.eof:
			return 0, io.EOF
		case len(p) == 0:
			return 0, nil
		}
		h.wait()
	}
}

func (h *halfPipe) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	written := 0
	for {
		switch {
		case h.reset:
			return written, errReset
		case h.eof:
			return written, io.ErrClosedPipe
		case h.write.expired:
			return written, os.ErrDeadlineExceeded
		case h.ignored:
			return written + len(p), nil
		}
		n := min(len(p), pipeBuffer-(len(h.buf)-h.from))
		if n > 0 {
			if h.from > 0 && len(h.buf)+n > pipeBuffer {
				h.buf = h.buf[:copy(h.buf, h.buf[h.from:])]
				h.from = 0
			}
			h.buf = append(h.buf, p[:n]...)
			p, written = p[n:], written+n
			h.wake()
		}
		if len(p) == 0 {
			return written, nil
		}
		h.wait()
	}
}

// deadline is a moment after which an operation fails. Its half's mutex guards it.
type deadline struct {
	expired bool
	timer   *time.Timer
	set     int // counts settings, so that an old timer does nothing
}

func (h *halfPipe) setDeadline(d *deadline, t time.Time) {
	h.change(func() {
		if d.timer != nil {
			d.timer.Stop()
			d.timer = nil
		}
		d.set++
		set := d.set
		left := time.Until(t)
		d.expired = !t.IsZero() && left <= 0
		if t.IsZero() || d.expired {
			return
		}
		d.timer = time.AfterFunc(left, func() {
			h.change(func() { d.expired = d.expired || d.set == set })
		})
	})
}

// An End is one end of a Pipe. It is a protocol.Stream.
type End struct{ in, out *halfPipe }

// Read implements io.Reader.
func (e *End) Read(p []byte) (int, error) { return e.in.Read(p) }

// Write implements io.Writer.
func (e *End) Write(p []byte) (int, error) { return e.out.Write(p) }

// CloseWrite ends this direction; the other goes on.
func (e *End) CloseWrite() error {
	e.out.change(func() { e.out.eof = true })
	return nil
}

// Close ends this direction, and throws away what arrives.
func (e *End) Close() error {
	e.in.change(func() { e.in.ignored, e.in.buf, e.in.from = true, nil, 0 })
	return e.CloseWrite()
}

// Reset breaks both directions.
func (e *End) Reset() error {
	for _, h := range []*halfPipe{e.in, e.out} {
		h.change(func() { h.reset = true })
	}
	return nil
}

// SetDeadline sets both deadlines.
func (e *End) SetDeadline(t time.Time) error {
	_ = e.SetReadDeadline(t)
	return e.SetWriteDeadline(t)
}

// SetReadDeadline lets reads fail from t on.
func (e *End) SetReadDeadline(t time.Time) error {
	e.in.setDeadline(&e.in.read, t)
	return nil
}

// SetWriteDeadline lets writes fail from t on.
func (e *End) SetWriteDeadline(t time.Time) error {
	e.out.setDeadline(&e.out.write, t)
	return nil
}
