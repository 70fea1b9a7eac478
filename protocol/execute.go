package protocol

import (
	"context"
	"errors"

	"github.com/hearth-edge/hearth/protocol/pb"
)

// An ExecuteClient is a node behind ExecuteProtocol. It implements Executor and
// may be used concurrently: each call opens a stream of its own, which the
// session returned holds until it is closed.
type ExecuteClient struct {
	open func(context.Context) (Stream, error)
}

// NewExecuteClient returns the node that open opens streams to.
func NewExecuteClient(open func(context.Context) (Stream, error)) *ExecuteClient {
	return &ExecuteClient{open: open}
}

// Offer implements Executor. Where no stream could be opened nothing was sent,
// so the node surely does not run it: that is a *Refusal with CodeNodeLost. An
// invalid offer is not sent; it is an *Error with CodeInvalid.
func (c *ExecuteClient) Offer(ctx context.Context, o Offer) (Session, error) {
	if err := o.Service.validateWhole(); err != nil {
		return nil, err
	}
	p := offerToPB(&o)
	service, err := detach(&p.Service, &p.ServiceLength)
	if err != nil {
		return nil, err
	}
	first := opening{&pb.ExecuteRequest{Verb: &pb.ExecuteRequest_Offer{Offer: p}}, service}
	w, opened, err := ask(ctx, c.open, first)
	if err != nil && !opened {
		return nil, &Refusal{Code: CodeNodeLost, Reason: clip("the node cannot be reached: "+err.Error(), maxReason)}
	}
	if err != nil {
		return nil, err
	}
	return newRemoteSession(w, Attach{}), nil
}

// Attach implements Executor.
func (c *ExecuteClient) Attach(ctx context.Context, a Attach) (Session, error) {
	first := &pb.ExecuteRequest{Verb: &pb.ExecuteRequest_Attach{Attach: attachToPB(&a)}}
	w, _, err := ask(ctx, c.open, first)
	if err != nil {
		return nil, err
	}
	return newRemoteSession(w, a), nil
}

// Renew asks the orchestrator that open opens streams to whether an execution
// is still wanted; nil says that it is. An *Error with CodeLeaseExpired says that
// it is to be stopped; any other error says nothing.
func Renew(ctx context.Context, open func(context.Context) (Stream, error), r Renewal) error {
	w, _, err := ask(ctx, open, &pb.ExecuteRequest{Verb: &pb.ExecuteRequest_Renew{Renew: renewToPB(&r)}})
	if err != nil {
		return err
	}
	_ = w.stream.Close() // nothing follows
	return nil
}

// ServeExecute holds a device's end of one conversation with another device of
// the mesh over s, which it closes. It hands an orchestrator's offer to node, says
// that it came from the peer named, and carries the session until it ends, the
// orchestrator goes away or ctx ends. The latter two let go of the session; only
// the orchestrator's Stop stops an execution. What is asked of requests, and for
// renewals of leases, goes to orchestrator: whoever holds the connection has proved
// to be a member, and every member may; stacks are changed and read by those that
// member admits. What reaches into containers goes to
// containers, which must know the peer.
//
// The error is for the caller's log: what was told to the asker without its text,
// what was wrong with its messages, or how the stream broke.
func ServeExecute(ctx context.Context, s Stream, node Executor, member Member, containers Containers, from PeerID) error {
	w := newWire(s)
	request := new(pb.ExecuteRequest)
	if err := w.first(request); err != nil {
		return w.reject(err)
	}
	switch v := request.GetVerb().(type) {
	case *pb.ExecuteRequest_Offer:
		sess, err := w.offer(ctx, node, from, v.Offer)
		if broken, ok := errors.AsType[streamError](err); ok {
			return w.reject(broken.error)
		}
		if err != nil {
			return w.answer(err)
		}
		return accept(ctx, w, sess, terms{})
	case *pb.ExecuteRequest_Attach:
		return serveAttach(ctx, w, node.Attach, v.Attach)
	case *pb.ExecuteRequest_Requests:
		return serveRequests(ctx, w, member, v.Requests)
	case *pb.ExecuteRequest_Renew:
		return serveRenew(ctx, w, member, from, v.Renew)
	case *pb.ExecuteRequest_Exec:
		return serveExec(ctx, w, containers, v.Exec)
	case *pb.ExecuteRequest_Dial:
		return serveDial(ctx, w, containers, v.Dial)
	case *pb.ExecuteRequest_Copy:
		return serveCopy(ctx, w, containers, v.Copy)
	case *pb.ExecuteRequest_Stacks:
		return serveStacks(ctx, w, admittedStacks{member, from}, v.Stacks, from)
	}
	return w.reject(unknownVerb())
}

// offer hands a decoded offer to node. One that is invalid is refused, so that
// the orchestrator knows that it does not run.
func (w *wire) offer(ctx context.Context, node Executor, from PeerID, p *pb.Offer) (Session, error) {
	service, err := w.service(p.GetService(), p.GetServiceLength())
	if _, told := errors.AsType[*Error](err); err != nil && !told {
		return nil, streamError{err}
	}
	var o Offer
	if err == nil {
		p.Service = service
		o, err = offerFromPB(p)
	}
	if err != nil {
		return nil, &Refusal{Code: CodeOf(err), Reason: err.Error()}
	}
	o.Orchestrator = from
	return node.Offer(ctx, o)
}

func serveRenew(ctx context.Context, w *wire, orchestrator Orchestrator, from PeerID, p *pb.Renew) error {
	r, err := renewFromPB(p)
	if err == nil {
		err = orchestrator.Renew(ctx, from, r)
	}
	logged := w.answer(err)
	_ = w.stream.Close()
	return logged
}

// streamError says that the stream broke before all that was asked had come.
type streamError struct{ error }

// unknownVerb is the answer to an asker that is newer than this device.
func unknownVerb() *Error {
	return Errorf(CodeInvalid, "this device does not know what is asked of it: its hearth may be older than the asker's")
}
