package protocol

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"

	"google.golang.org/protobuf/proto"

	"github.com/hearth-edge/hearth/protocol/pb"
)

// answer sends the answer to a first frame: err, or Accepted where it is nil. It
// returns what its caller should log: an error that was told without its text,
// or that of the stream.
func (w *wire) answer(err error) error {
	a, whole := answerToPB(err)
	if sendErr := w.send(a, nil, frameTimeout); sendErr != nil {
		_ = w.stream.Reset()
		return errors.Join(err, broken(sendErr))
	}
	if err != nil {
		_ = w.stream.Close()
	}
	if whole {
		return nil
	}
	return err
}

// reject answers a first frame that is not as it should be, and returns why.
func (w *wire) reject(err error) error {
	if _, ok := errors.AsType[*Error](err); !ok {
		_ = w.stream.Reset()
		return broken(err)
	}
	_ = w.answer(err)
	return err
}

// serveSession carries sess over w until it ends, the asker goes away or ctx
// ends, closes both, and returns what should be logged. left is called when the
// asker went away before the end; ctx's end is not that.
func serveSession(ctx context.Context, w *wire, sess Session, left func()) error {
	release := context.AfterFunc(ctx, func() { _ = w.stream.Reset() })
	defer release()
	in := newInput()
	var told atomic.Bool // all that sess says was sent
	var gone error       // why the asker's half ended before that
	var tasks sync.WaitGroup
	tasks.Go(func() {
		err := receiveWishes(w, sess, in)
		in.close()
		if told.Load() {
			return
		}
		gone = err
		if ctx.Err() == nil {
			left()
		}
		_ = sess.Close()
		_ = w.stream.Reset() // unblocks sendUpdates
	})
	tasks.Go(func() { in.deliver(sess, w) })

	over, err := sendUpdates(w, sess)
	told.Store(over)
	_ = w.stream.Close()
	_ = sess.Close()
	tasks.Wait()
	switch {
	case gone == nil:
		return err
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(gone, io.EOF):
		return nil
	}
	return broken(errors.Join(err, gone))
}

// receiveWishes hands on what the asker sends until the stream ends; io.EOF
// where it did so between two frames. A wish that it does not know is none.
func receiveWishes(w *wire, sess Session, in *input) error {
	for {
		m := new(pb.Wish)
		if err := w.receive(m); err != nil {
			return err
		}
		switch v := m.GetWish().(type) {
		case *pb.Wish_Input:
			if v.Input.GetChannel() != pb.Channel_CHANNEL_STDIN {
				return Errorf(CodeInvalid, "input: it is on channel %d", v.Input.GetChannel())
			}
			raw, err := w.receiveRaw(v.Input.GetLength())
			if err != nil {
				return err
			}
			if err := in.put(raw); err != nil {
				return err
			}
		case *pb.Wish_CloseInput:
			in.end()
		case *pb.Wish_Stop:
			grace, err := durationFromPB("grace", v.Stop.GetGrace())
			if err != nil {
				return err
			}
			if err := sess.Stop(grace); err != nil && !errors.Is(err, io.ErrClosedPipe) {
				return err
			}
		}
	}
}

// sendUpdates sends what sess says until it says no more, which is true, or the
// stream fails. The error is that of the stream, or what broke sess and was told
// without its text.
func sendUpdates(w *wire, sess Session) (over bool, err error) {
	for {
		u, err := sess.Next()
		if err == io.EOF { //nolint:errorlint // a wrapped one is a failure, not the end
			return true, nil
		}
		if err != nil {
			e, whole := errorToPB(err)
			_ = w.send(&pb.Update{Update: &pb.Update_Error{Error: e}}, nil, frameTimeout)
			if whole {
				err = nil
			}
			return true, err
		}
		if err := sendUpdate(w, u); err != nil {
			return false, err
		}
	}
}

func sendUpdate(w *wire, u Update) error {
	switch {
	case u.Event != nil:
		return w.send(&pb.Update{Update: &pb.Update_Event{Event: eventToPB(u.Event)}}, nil, 0)
	case u.Output != nil:
		return sendOutput(w, u.Output)
	case u.Decision != nil:
		for _, part := range decisionToPB(u.Decision) {
			if err := w.send(&pb.Update{Update: &pb.Update_Decision{Decision: part}}, nil, 0); err != nil {
				return err
			}
		}
	}
	return nil
}

// sendOutput sends o in pieces. The asker may take its time, hence no deadline.
func sendOutput(w *wire, o *Output) error {
	offset, cut, rest := o.Offset, o.Cut, o.Data
	for first := true; first || len(rest) > 0; first = false {
		piece := rest[:min(len(rest), maxPiece)]
		m := outputToPB(o.Channel, offset, cut, len(piece))
		if err := w.send(m, piece, 0); err != nil {
			return err
		}
		offset, cut, rest = offset+uint64(len(piece)), 0, rest[len(piece):]
	}
	return nil
}

func outputToPB(c Channel, offset, cut uint64, n int) proto.Message {
	return &pb.Update{Update: &pb.Update_Output{Output: &pb.Data{
		Channel: pb.Channel(c), Length: uint32(n), Offset: offset, Cut: cut,
	}}}
}
