package main

import (
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

// progressInterval is how often a copy tells on a terminal how far it is.
const progressInterval = 200 * time.Millisecond

// copyProgress shows how much was copied, on one line of a terminal.
type copyProgress struct {
	out   io.Writer // nil: nothing is shown
	bytes atomic.Int64
	last  atomic.Int64 // when it was shown, in nanoseconds
	begun time.Time
}

func newCopyProgress(c *cli, quiet bool) *copyProgress {
	p := &copyProgress{begun: time.Now()}
	if !quiet && isTerminal(c.stderr) {
		p.out = c.stderr
	}
	return p
}

// silent returns one that shows nothing.
func (p *copyProgress) silent() *copyProgress { return &copyProgress{} }

// moved counts what was copied.
func (p *copyProgress) moved(n int) {
	all := p.bytes.Add(int64(n))
	if p.out == nil {
		return
	}
	now := time.Now()
	if last := p.last.Load(); now.UnixNano()-last > int64(progressInterval) && p.last.CompareAndSwap(last, now.UnixNano()) {
		rate := float64(all) / max(now.Sub(p.begun).Seconds(), 0.001)
		fmt.Fprintf(p.out, "\r\x1b[Kcopying: %s, %s/s", protocol.Bytes(all), protocol.Bytes(rate))
	}
}

// through counts what is written to w.
func (p *copyProgress) through(w io.Writer) io.Writer { return countingWriter{w, p} }

type countingWriter struct {
	io.Writer
	progress *copyProgress
}

func (w countingWriter) Write(b []byte) (int, error) {
	n, err := w.Writer.Write(b)
	w.progress.moved(n)
	return n, err
}

// finish clears the line.
func (p *copyProgress) finish() {
	if p.out != nil && p.last.Load() != 0 {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
}

// done says what was copied.
func (p *copyProgress) done(note string) {
	p.finish()
	p.last.Store(0)
	if p.out != nil {
		fmt.Fprintln(p.out, note)
	}
}
