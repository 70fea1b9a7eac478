package protocol

import (
	"sync"

	"github.com/hearth-edge/hearth/protocol/pb"
)

// inputWindow is how much input the asker may send ahead of what the container
// has read. The receiver always has room for it, so it never stops reading the
// stream: that is why input that nobody reads does not delay a Stop behind it.
const inputWindow = 256 << 10

// input holds what has come for a container and was not written to it yet. One
// goroutine puts, another one runs deliver.
type input struct {
	wake chan struct{} // holds a token when something below has changed

	mu     sync.Mutex // guards the rest
	buf    []byte
	unpaid int  // bytes received for which no new credit was given
	ended  bool // no more will be put
	closed bool // the session is over, or the container reads no more
}

func newInput() *input { return &input{wake: make(chan struct{}, 1)} }

// put adds a copy of p; it fails where the asker had no credit for it.
func (in *input) put(p []byte) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.unpaid += len(p); in.unpaid > inputWindow {
		return Errorf(CodeInvalid, "input: more than the credit given")
	}
	if !in.ended && !in.closed {
		in.buf = append(in.buf, p...)
	}
	token(in.wake)
	return nil
}

// end says that all input was put.
func (in *input) end() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.ended = true
	token(in.wake)
}

// close throws away what is left and ends deliver.
func (in *input) close() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.closed = true
	in.buf = nil
	token(in.wake)
}

// take blocks until there is input and returns all of it, or nothing after the
// end. It returns false once the input is closed.
func (in *input) take() ([]byte, bool) {
	for {
		in.mu.Lock()
		p, ended, closed := in.buf, in.ended, in.closed
		in.buf = nil
		in.mu.Unlock()
		if closed {
			return nil, false
		}
		if len(p) > 0 || ended {
			return p, true
		}
		<-in.wake
	}
}

// pay returns how much credit to give for owed bytes written: none until it
// is worth a message.
func (in *input) pay(owed int) int {
	if owed < inputWindow/2 {
		return 0
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	in.unpaid -= owed
	return owed
}

// deliver writes the input to sess as it comes, and gives credit for it on w,
// until the input ends, is closed, or is not read any more.
func (in *input) deliver(sess Session, w *wire) {
	owed := 0
	for {
		p, ok := in.take()
		if !ok {
			return
		}
		if len(p) == 0 {
			_ = sess.CloseWrite()
			return
		}
		for len(p) > 0 {
			n, err := sess.Write(p[:min(len(p), maxPiece)])
			if err != nil {
				in.close()
				_ = w.send(&pb.Update{Update: &pb.Update_InputClosed{InputClosed: &pb.InputClosed{}}}, nil, 0)
				return
			}
			p, owed = p[n:], owed+n
			if credit := in.pay(owed); credit > 0 {
				owed = 0
				// A stream that takes no more ends in the receiving goroutine.
				_ = w.send(&pb.Update{Update: &pb.Update_Credit{Credit: &pb.Credit{Bytes: uint32(credit)}}}, nil, 0)
			}
		}
	}
}
