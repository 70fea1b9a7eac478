package protocol

import (
	"context"
	"errors"

	"google.golang.org/protobuf/proto"

	"github.com/hearth-edge/hearth/protocol/pb"
)

// collect asks first, calls accepted when that is, and receive for each frame
// until it is done, fails, or ctx ends.
func collect(
	ctx context.Context, open func(context.Context) (Stream, error),
	first proto.Message, accepted func(), receive func(*wire) (done bool, err error),
) error {
	w, _, err := ask(ctx, open, first)
	if err != nil {
		return err
	}
	defer w.stream.Close()
	release := context.AfterFunc(ctx, func() { _ = w.stream.Reset() })
	defer release()
	accepted()
	for {
		done, err := receive(w)
		if ctx.Err() != nil && err != nil {
			return context.Cause(ctx)
		}
		if done || err != nil {
			return err
		}
	}
}

// serveList accepts, runs list until it returns or the app goes away, and tells
// its error in the last frame.
func serveList(
	ctx context.Context, w *wire,
	list func(ctx context.Context, send func(proto.Message) error) error,
	last func(*pb.Error) proto.Message,
) error {
	return serveStream(ctx, w, func(ctx context.Context, accept func(), send func(proto.Message) error) error {
		accept()
		return list(ctx, send)
	}, last)
}

// serveStream is serveList for a stream that is accepted when it calls accept, which
// it does before it sends anything. Where it fails before that, that is the answer.
func serveStream(
	ctx context.Context, w *wire,
	stream func(ctx context.Context, accept func(), send func(proto.Message) error) error,
	last func(*pb.Error) proto.Message,
) error {
	listing, cancel := context.WithCancel(ctx)
	release := context.AfterFunc(listing, func() { _ = w.stream.Reset() })
	watched := make(chan struct{})
	go func() { // ends with the stream
		defer close(watched)
		_, _ = w.in.Peek(1) // the app sends no more: its end is that it went
		cancel()
	}()
	accepted := false
	accept := func() {
		accepted = true
		if w.answer(nil) != nil {
			cancel() // the app went
		}
	}
	err := stream(listing, accept, func(m proto.Message) error {
		if err := listing.Err(); err != nil {
			return err // a list that ended with its context is not whole
		}
		err := w.send(m, nil, 0)
		if _, malformed := errors.AsType[*Error](err); err != nil && !malformed {
			cancel() // the stream takes no more: the app went
		}
		return err
	})
	left := listing.Err() != nil
	release() // from here on the stream is closed in order
	whole := true
	switch {
	case left:
	case !accepted:
		var a *pb.Answer
		a, whole = answerToPB(err)
		_ = w.send(a, nil, frameTimeout)
	case err != nil:
		var e *pb.Error
		e, whole = errorToPB(err)
		_ = w.send(last(e), nil, frameTimeout)
	}
	_ = w.stream.Close()
	<-watched
	switch {
	case ctx.Err() != nil && left:
		return ctx.Err()
	case whole:
		return nil
	}
	return err
}
