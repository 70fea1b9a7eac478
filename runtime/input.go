package runtime

import (
	"bytes"
	"context"
	"io"
	"sync"
)

// maxInput is how much input is passed on at a time.
const maxInput = 32 << 10

// input takes what sessions write to a container's standard input, one piece
// at a time, so that they wait while the container does not read.
type input struct {
	pieces chan []byte
	eof    chan struct{} // closed: no more input is wanted from sessions
	over   chan struct{} // closed: nobody takes pieces any more

	eofOnce, overOnce sync.Once
}

func newInput(wanted bool) *input {
	i := &input{
		pieces: make(chan []byte),
		eof:    make(chan struct{}),
		over:   make(chan struct{}),
	}
	if !wanted {
		i.close()
	}
	return i
}

// write hands p over, piece by piece, until the container takes no more input
// or gone is closed.
func (i *input) write(p []byte, gone <-chan struct{}) (int, error) {
	n := 0
	for n < len(p) {
		select {
		case <-i.eof:
			return n, io.ErrClosedPipe
		case <-i.over:
			return n, io.ErrClosedPipe
		default:
		}
		piece := bytes.Clone(p[n:min(n+maxInput, len(p))])
		select {
		case i.pieces <- piece:
			n += len(piece)
		case <-i.over:
			return n, io.ErrClosedPipe
		case <-gone:
			return n, io.ErrClosedPipe
		}
	}
	return n, nil
}

// end ends the input once what was written is through.
func (i *input) end() { i.eofOnce.Do(func() { close(i.eof) }) }

// close refuses further input.
func (i *input) close() { i.overOnce.Do(func() { close(i.over) }) }

// pump passes the pieces on to w and closes it at their end, or when ctx ends:
// a write to a container that does not read ends with it.
func (i *input) pump(ctx context.Context, w io.WriteCloser) {
	var once sync.Once
	closeInput := func() { once.Do(func() { w.Close() }) }
	defer closeInput()
	defer i.close()
	defer context.AfterFunc(ctx, closeInput)()
	for {
		select {
		case p := <-i.pieces:
			if _, err := w.Write(p); err != nil {
				return
			}
		case <-i.eof:
			return
		case <-ctx.Done():
			return
		}
	}
}
