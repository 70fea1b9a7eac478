package protocol

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

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

// terms are how a session is served.
type terms struct {
	// mayEndEarly says that the asker knows that the session may end before what
	// it is about has; see Attach.NoFollow.
	mayEndEarly bool
	// closingCancels says that the session is closed only when the asker has left,
	// or after its end. When ctx ends, the device itself ends it.
	closingCancels bool
}

// letGo closes sess, when nothing more of it will be sent.
func (t terms) letGo(ctx context.Context, sess Session) {
	if t.closingCancels && ctx.Err() != nil {
		for _, err := sess.Next(); err == nil; _, err = sess.Next() {
		}
	}
	_ = sess.Close()
}

// accept tells that sess was accepted and carries it; see serveSession.
func accept(ctx context.Context, w *wire, sess Session, t terms) error {
	if err := w.answer(nil); err != nil {
		t.letGo(ctx, sess)
		return err
	}
	return serveSession(ctx, w, sess, t)
}

// serveSession carries sess over w until it ends, the asker goes away or ctx
// ends, closes both, and returns what should be logged.
func serveSession(ctx context.Context, w *wire, sess Session, t terms) error {
	release := context.AfterFunc(ctx, func() { _ = w.stream.Reset() })
	defer release()
	in := newInput()
	var told atomic.Bool    // all that sess says was sent
	var gone, unheard error // why the asker's half ended before that; see receiveWishes
	var tasks sync.WaitGroup
	tasks.Go(func() {
		err := contain(func() (err error) {
			unheard, err = receiveWishes(w, sess, in)
			return err
		})
		in.close()
		if told.Load() {
			return
		}
		gone = err
		if !t.closingCancels || ctx.Err() == nil {
			_ = contain(sess.Close)
		}
		_ = w.stream.Reset() // unblocks sendUpdates
	})
	tasks.Go(func() {
		if contain(func() error { in.deliver(sess, w); return nil }) != nil {
			_ = w.stream.Reset() // ends the receiving
		}
	})

	over, err := sendUpdates(w, sess, t.mayEndEarly)
	told.Store(over)
	_ = w.stream.Close()
	t.letGo(ctx, sess)
	tasks.Wait()
	switch {
	case gone == nil:
		return errors.Join(err, unheard)
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(gone, io.EOF):
		return unheard
	}
	return broken(errors.Join(err, gone, unheard))
}

// receiveWishes hands on what the asker sends until the stream ends, and returns
// why; io.EOF where it did so between two frames. A wish that it does not know is
// none. unheard is the first signal or size that sess did not take: a key that is
// pressed while the node cannot be reached must not end the session.
func receiveWishes(w *wire, sess Session, in *input) (unheard, err error) {
	for {
		m := new(pb.Wish)
		if err := w.receive(m); err != nil {
			return unheard, err
		}
		var lost error
		switch v := m.GetWish().(type) {
		case *pb.Wish_Input:
			err = receiveInput(w, in, v.Input)
		case *pb.Wish_CloseInput:
			in.end()
		case *pb.Wish_Stop:
			var grace time.Duration
			if grace, err = durationFromPB("grace", v.Stop.GetGrace()); err == nil {
				err = unlessOver(sess.Stop(grace))
			}
		case *pb.Wish_Signal:
			if err = checkSignal(v.Signal.GetName()); err == nil {
				lost = unlessOver(sess.Signal(v.Signal.GetName()))
			}
		case *pb.Wish_Resize:
			var rows, columns uint16
			if rows, columns, err = sizeFromPB(v.Resize); err == nil {
				lost = unlessOver(sess.Resize(rows, columns))
			}
		}
		if err != nil {
			return unheard, err
		}
		if unheard == nil {
			unheard = lost
		}
	}
}

// unlessOver passes over what a session says to wishes after its end.
func unlessOver(err error) error {
	if errors.Is(err, io.ErrClosedPipe) {
		return nil
	}
	return err
}

func receiveInput(w *wire, in *input, p *pb.Data) error {
	if p.GetChannel() != pb.Channel_CHANNEL_STDIN {
		return Errorf(CodeInvalid, "input: it is on channel %d", p.GetChannel())
	}
	raw, err := w.receiveRaw(p.GetLength())
	if err != nil {
		return err
	}
	return in.put(raw)
}

// sendUpdates sends what sess says until it says no more, which is true, or the
// stream fails. Where complete is set it says so at the end. The error is that of
// the stream, or what broke sess and was told without its text.
func sendUpdates(w *wire, sess Session, complete bool) (over bool, err error) {
	for {
		u, err := sess.Next()
		if err == io.EOF { //nolint:errorlint // a wrapped one is a failure, not the end
			if complete {
				_ = w.send(&pb.Update{Update: &pb.Update_Complete{Complete: &pb.Complete{}}}, nil, frameTimeout)
			}
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
		m := outputToPB(o.Channel, offset, cut, len(piece), o.At)
		if err := w.send(m, piece, 0); err != nil {
			return err
		}
		offset, cut, rest = offset+uint64(len(piece)), 0, rest[len(piece):]
	}
	return nil
}

func outputToPB(c Channel, offset, cut uint64, n int, at time.Time) proto.Message {
	return &pb.Update{Update: &pb.Update_Output{Output: &pb.Data{
		Channel: pb.Channel(c), Length: uint32(n), Offset: offset, Cut: cut, At: nanoToPB(at),
	}}}
}
