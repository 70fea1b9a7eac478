package protocol

import (
	"context"

	"google.golang.org/protobuf/proto"

	"github.com/hearth-edge/hearth/protocol/pb"
)

// containerVerb is one of Containers; the others are nil.
type containerVerb struct {
	exec *pb.Exec
	dial *pb.Dial
	copy *pb.Copy
}

// A ContainersClient is another device's way into its containers. It implements
// Containers and may be used concurrently: each call opens a stream of its own.
type ContainersClient struct {
	open  func(context.Context) (Stream, error)
	first func(containerVerb) proto.Message // the first frame that asks for it
}

// NewContainersClient returns the containers of the device that open opens
// streams of ExecuteProtocol to.
func NewContainersClient(open func(context.Context) (Stream, error)) *ContainersClient {
	return &ContainersClient{open: open, first: func(v containerVerb) proto.Message {
		r := new(pb.ExecuteRequest)
		switch {
		case v.exec != nil:
			r.Verb = &pb.ExecuteRequest_Exec{Exec: v.exec}
		case v.dial != nil:
			r.Verb = &pb.ExecuteRequest_Dial{Dial: v.dial}
		case v.copy != nil:
			r.Verb = &pb.ExecuteRequest_Copy{Copy: v.copy}
		}
		return r
	}}
}

// Exec implements Containers.
func (c *ContainersClient) Exec(ctx context.Context, e Exec) (Session, error) {
	if err := e.Validate(); err != nil {
		return nil, err
	}
	w, err := c.ask(ctx, containerVerb{exec: execToPB(&e)})
	if err != nil {
		return nil, err
	}
	return newRemoteSession(w, Attach{NoFollow: e.Detach}), nil
}

// Copy implements Containers.
func (c *ContainersClient) Copy(ctx context.Context, v Copy) (Session, error) {
	if err := v.Validate(); err != nil {
		return nil, err
	}
	w, err := c.ask(ctx, containerVerb{copy: copyToPB(&v)})
	if err != nil {
		return nil, err
	}
	return newRemoteSession(w, Attach{}), nil
}

// Dial implements Containers.
func (c *ContainersClient) Dial(ctx context.Context, d Dial) (Stream, error) {
	if err := d.Validate(); err != nil {
		return nil, err
	}
	w, err := c.ask(ctx, containerVerb{dial: dialToPB(&d)})
	if err != nil {
		return nil, err
	}
	return rawStream{w.stream, w}, nil
}

// ask asks for v. A device that cannot be reached is an *Error with CodeNodeLost.
func (c *ContainersClient) ask(ctx context.Context, v containerVerb) (*wire, error) {
	w, opened, err := ask(ctx, c.open, c.first(v))
	if err != nil && !opened && ctx.Err() == nil && CodeOf(err) == CodeInternal {
		return nil, Errorf(CodeNodeLost, "the device cannot be reached: %s", clip(err.Error(), maxReason/2))
	}
	return w, err
}

// rawStream is a stream of frames that goes on as raw bytes.
type rawStream struct {
	Stream
	w *wire
}

// Read returns first what came with the last frame.
func (s rawStream) Read(p []byte) (int, error) {
	if s.w.in.Buffered() > 0 {
		return s.w.in.Read(p)
	}
	return s.Stream.Read(p)
}

func serveExec(ctx context.Context, w *wire, c Containers, p *pb.Exec) error {
	e, err := execFromPB(p)
	if err != nil {
		return w.answer(err)
	}
	sess, err := c.Exec(ctx, e)
	if err != nil {
		return w.answer(err)
	}
	return accept(ctx, w, sess, terms{mayEndEarly: e.Detach})
}

func serveCopy(ctx context.Context, w *wire, c Containers, p *pb.Copy) error {
	v, err := copyFromPB(p)
	if err != nil {
		return w.answer(err)
	}
	sess, err := c.Copy(ctx, v)
	if err != nil {
		return w.answer(err)
	}
	return accept(ctx, w, sess, terms{})
}

func serveDial(ctx context.Context, w *wire, c Containers, p *pb.Dial) error {
	d, err := dialFromPB(p)
	if err != nil {
		return w.answer(err)
	}
	conn, err := c.Dial(ctx, d)
	if err != nil {
		return w.answer(err)
	}
	if err := w.answer(nil); err != nil {
		_ = conn.Reset()
		return err
	}
	return Join(ctx, rawStream{w.stream, w}, conn)
}
