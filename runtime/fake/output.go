package fake

import (
	"io"
	"sync"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime"
)

const (
	// maxPiece is the most bytes in one piece of output.
	maxPiece = 32 << 10
	// window is how far a script may be ahead of the one who takes its output.
	window = 64 << 10
	// kept is how much of the output can still be had later.
	kept = 1 << 20
)

// output is what a script wrote, as far as it is kept. The reader that was
// there from the start holds the script up; others do not.
type output struct {
	mu     sync.Mutex
	moved  sync.Cond // anything below changed
	pieces []piece
	first  int // the number of pieces[0], counted from the start
	size   int // bytes in pieces
	live   *reader
	lag    int // bytes that live has not taken
	broken bool
	ended  bool
}

type piece struct {
	channel protocol.Channel
	data    []byte
}

func newOutput() *output {
	o := &output{}
	o.moved.L = &o.mu
	return o
}

// write adds data, which then belongs to the output. It blocks while the live
// reader is too far behind; false says that the script is to end.
func (o *output) write(channel protocol.Channel, data []byte) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(data) > 0 {
		for o.live != nil && o.lag >= window && !o.broken {
			o.moved.Wait()
		}
		if o.broken {
			return false
		}
		n := min(len(data), maxPiece)
		o.pieces = append(o.pieces, piece{channel, data[:n]})
		o.size += n
		if o.live != nil {
			o.lag += n
		}
		data = data[n:]
		o.trim()
		o.moved.Broadcast()
	}
	return true
}

// trim drops the oldest pieces that nobody has a right to.
func (o *output) trim() {
	for len(o.pieces) > 0 && o.size-len(o.pieces[0].data) >= kept && (o.live == nil || o.live.next > o.first) {
		o.size -= len(o.pieces[0].data)
		o.pieces[0] = piece{}
		o.pieces = o.pieces[1:]
		o.first++
	}
}

// interrupt makes every later write fail.
func (o *output) interrupt() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.broken = true
	o.moved.Broadcast()
}

// end says that nothing more will be written.
func (o *output) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ended = true
	o.moved.Broadcast()
}

// reader returns a reader from the first piece kept.
func (o *output) reader(live bool) *reader {
	o.mu.Lock()
	defer o.mu.Unlock()
	r := &reader{output: o, next: o.first}
	if live {
		o.live = r
	}
	return r
}

// reader is one pass over an output.
type reader struct {
	output *output
	// Both are guarded by output.mu; next is the number of the next piece.
	next   int
	closed bool
}

var _ runtime.OutputReader = (*reader)(nil)

// Next implements runtime.OutputReader.
func (r *reader) Next() (protocol.Channel, []byte, error) {
	o := r.output
	o.mu.Lock()
	defer o.mu.Unlock()
	for {
		r.next = max(r.next, o.first)
		switch {
		case r.closed:
			return 0, nil, io.ErrClosedPipe
		case r.next < o.first+len(o.pieces):
			p := o.pieces[r.next-o.first]
			r.next++
			if o.live == r {
				o.lag -= len(p.data)
				o.trim()
				o.moved.Broadcast()
			}
			return p.channel, p.data, nil
		case o.ended:
			return 0, nil, io.EOF
		}
		o.moved.Wait()
	}
}

// Close implements runtime.OutputReader.
func (r *reader) Close() error {
	o := r.output
	o.mu.Lock()
	defer o.mu.Unlock()
	r.closed = true
	if o.live == r {
		o.live, o.lag = nil, 0
	}
	o.moved.Broadcast()
	return nil
}
