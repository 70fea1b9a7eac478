package protocol

import (
	"context"
	"errors"
	"io"
	"sync"
)

const (
	// smallCopy is what each direction of a joined connection costs while it is
	// quiet.
	smallCopy = 2 << 10
	// largeCopy is the buffer of a direction that is busy.
	largeCopy = 64 << 10
)

// largeCopies are the buffers of busy directions.
var largeCopies = sync.Pool{New: func() any { return new([largeCopy]byte) }}

// Join copies what comes from a to b, and the other way, until both have ended;
// it closes both. The end of one direction is passed on and leaves the other as
// it is. Where a direction fails, or ctx ends, both streams are reset. The error
// is why, and nil where both ended in order.
func Join(ctx context.Context, a, b Stream) error {
	reset := sync.OnceFunc(func() {
		_ = a.Reset()
		_ = b.Reset()
	})
	release := context.AfterFunc(ctx, reset)
	defer release()
	carry := func(to, from Stream) error {
		err := contain(func() error { return pump(to, from) })
		if err == nil {
			err = to.CloseWrite()
		}
		if err != nil {
			reset()
		}
		return err
	}
	var back error
	var tasks sync.WaitGroup
	tasks.Go(func() { back = carry(a, b) })
	err := carry(b, a)
	tasks.Wait()
	if err = errors.Join(err, back); err == nil {
		err = errors.Join(a.Close(), b.Close())
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// pump copies until from ends. A quiet direction holds a small buffer only, so
// that a thousand idle connections cost little.
func pump(to io.Writer, from io.Reader) error {
	small := make([]byte, smallCopy)
	buf := small
	var large *[largeCopy]byte
	defer func() {
		if large != nil {
			largeCopies.Put(large)
		}
	}()
	for {
		n, err := from.Read(buf)
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		switch {
		case large == nil && n == len(buf):
			large, _ = largeCopies.Get().(*[largeCopy]byte)
			buf = large[:]
		case large != nil && n <= smallCopy:
			largeCopies.Put(large)
			large, buf = nil, small
		}
	}
}
