package runtime

import (
	"context"
	"errors"
	"io"
	"sync/atomic"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

// drainInterval is how long, after the container's end, output may stand still
// before readers and the engine are waited for less.
const drainInterval = 5 * time.Second

// close lets go of a container's streams.
func (s *Stdio) close() {
	if s.Stdin != nil {
		s.Stdin.Close()
	}
	s.Output.Close()
}

// output takes what a container writes to its feed.
type output struct {
	e           *execution
	done        chan struct{} // closed when all is in the feed
	stopWaiting func()        // ends the waiting for readers
	stopReading func()        // ends the waiting for the engine
	attached    atomic.Bool
	breaks      atomic.Int64 // how often the stream broke
	// incomplete says that not all could be read, lossy that the engine has lost
	// some; valid after done.
	incomplete, lossy bool
}

func newOutput(e *execution) *output {
	return &output{e: e, done: make(chan struct{})}
}

// pump reads until the container has ended and all was read, or ctx ends. It
// waits for readers until waiting ends. Where the stream breaks, as when the
// engine restarts, it attaches again and goes on where it was.
func (o *output) pump(ctx, waiting context.Context, stdio *Stdio) {
	defer close(o.done)
	losses := o.e.node.engineLosses()
	for again := stdio == nil; ; again = true {
		if again {
			attached, err := o.attach(ctx)
			if err != nil {
				o.incomplete = true
				return
			}
			stdio = &attached
		}
		o.attached.Store(true)
		err := o.copy(ctx, waiting, stdio.Output, again)
		o.attached.Store(false)
		if errors.Is(err, io.EOF) {
			return
		}
		o.breaks.Add(1)
		if o.e.node.engineBack(ctx) != nil {
			o.incomplete = true
			return
		}
		// What it had not logged when it went is gone, and what the container
		// writes while no engine reads may be.
		o.lossy = o.lossy || o.e.node.engineLosses() > losses
	}
}

// attach connects to the output until that works, the container is gone, or ctx
// ends.
func (o *output) attach(ctx context.Context) (Stdio, error) {
	for {
		stdio, err := o.e.node.cfg.Driver.Attach(ctx, o.e.spec.ID)
		if err == nil || errors.Is(err, ErrNotFound) {
			return stdio, err
		}
		if err := o.e.node.engineBack(ctx); err != nil {
			return Stdio{}, err
		}
	}
}

// copy reads from one stream to its end and closes it. A stream that starts
// from the first byte again is passed over as far as it is known.
func (o *output) copy(ctx, waiting context.Context, r OutputReader, again bool) error {
	unblock := context.AfterFunc(ctx, func() { r.Close() })
	defer func() {
		if unblock() {
			r.Close()
		}
	}()
	var known [protocol.Stderr + 1]overlap
	if again {
		known = overlaps(o.e.feed)
	}
	for {
		c, p, err := r.Next()
		p, lossy := known[c].pass(p)
		o.lossy = o.lossy || lossy
		o.put(waiting, c, p)
		if err != nil {
			return err
		}
	}
}

// put adds p to the feed, waiting for its readers; what they don't read while
// they are waited for is left out, with a mark.
func (o *output) put(waiting context.Context, c protocol.Channel, p []byte) {
	if len(p) == 0 {
		return
	}
	feed := o.e.feed
	before := offset(feed, c)
	if err := feed.Output(waiting, c, p); err != nil {
		feed.Cut(c, before+uint64(len(p))-offset(feed, c))
	}
}

func offset(f *protocol.Feed, c protocol.Channel) uint64 {
	stdout, stderr := f.Offsets()
	if c == protocol.Stderr {
		return stderr
	}
	return stdout
}

// drain waits, after the container's end, until all it wrote is in the feed.
// What a reader does not read is waited for as long as nobody stops the
// execution; once stopped, only as long as something moves. What cannot be read
// from the engine is given up after a few tries.
func (o *output) drain(ctx context.Context, stopped bool) {
	tick := time.NewTicker(drainInterval)
	defer tick.Stop()
	stdout, stderr := o.e.feed.Offsets()
	last, breaks := stdout+stderr, o.breaks.Load()
	for still := 0; ; {
		select {
		case <-o.done:
			return
		case <-ctx.Done():
			return
		case <-o.e.stops:
			stopped, still = true, 0
		case <-tick.C:
			stdout, stderr := o.e.feed.Offsets()
			if moved := stdout+stderr != last; moved {
				last, still, breaks = stdout+stderr, 0, o.breaks.Load()
				continue
			}
			still++
			if stopped {
				o.stopWaiting()
			}
			broken := !o.attached.Load() || o.breaks.Load() > breaks
			if still >= 3 && (stopped || broken) {
				o.stopReading()
			}
		}
	}
}

// closeOnce closes c if it is open; only one goroutine closes it.
func closeOnce(c chan struct{}) {
	if !isClosed(c) {
		close(c)
	}
}
