package protocol

import (
	"context"

	"google.golang.org/protobuf/proto"

	"github.com/hearth-edge/hearth/protocol/pb"
)

// A RequestsClient is what another device knows of its requests. It implements
// Requests and may be used concurrently: each call opens a stream of its own.
// Besides an *Error, what its methods return says that the device could not be
// reached or the conversation broke.
type RequestsClient struct {
	open  func(context.Context) (Stream, error)
	first func(*pb.Requests) proto.Message // the first frame that asks for it
}

// NewRequestsClient returns the requests of the device that open opens streams
// of ExecuteProtocol to.
func NewRequestsClient(open func(context.Context) (Stream, error)) *RequestsClient {
	return &RequestsClient{open: open, first: func(r *pb.Requests) proto.Message {
		return &pb.ExecuteRequest{Verb: &pb.ExecuteRequest_Requests{Requests: r}}
	}}
}

// Attach implements Requests. ctx bounds the wait for the acceptance only.
func (c *RequestsClient) Attach(ctx context.Context, a Attach) (Session, error) {
	w, _, err := ask(ctx, c.open, c.first(&pb.Requests{Verb: &pb.Requests_Attach{Attach: attachToPB(&a)}}))
	if err != nil {
		return nil, err
	}
	return newRemoteSession(w, a), nil
}

// Stop implements Requests.
func (c *RequestsClient) Stop(ctx context.Context, s Stop) error {
	w, _, err := ask(ctx, c.open, c.first(&pb.Requests{Verb: &pb.Requests_Stop{Stop: stopToPB(&s)}}))
	if err != nil {
		return err
	}
	_ = w.stream.Close() // nothing follows
	return nil
}

// Remove implements Requests.
func (c *RequestsClient) Remove(ctx context.Context, r Remove) error {
	verb := &pb.Remove{Request: string(r.Request), Force: r.Force}
	w, _, err := ask(ctx, c.open, c.first(&pb.Requests{Verb: &pb.Requests_Remove{Remove: verb}}))
	if err != nil {
		return err
	}
	_ = w.stream.Close() // nothing follows
	return nil
}

// List implements Requests.
func (c *RequestsClient) List(ctx context.Context, all bool, yield func(RequestInfo) error) (silent []string, err error) {
	verb := &pb.Requests{Verb: &pb.Requests_List{List: &pb.List{All: all}}}
	err = c.items(ctx, verb, func() {}, func(m *pb.RequestsItem) error {
		if end, ok := m.GetItem().(*pb.RequestsItem_Complete); ok {
			silent = end.Complete.GetSilent()
			return nil
		}
		v, ok := m.GetItem().(*pb.RequestsItem_Info)
		if !ok {
			return nil
		}
		info, err := infoFromPB(v.Info)
		if err != nil {
			return broken(err)
		}
		return yield(info)
	})
	return silent, err
}

// Inspect implements Requests.
func (c *RequestsClient) Inspect(ctx context.Context, id RequestID) (RequestDetail, error) {
	verb := &pb.Requests{Verb: &pb.Requests_Inspect{Inspect: &pb.Inspect{Request: string(id)}}}
	var parts detailParts
	err := c.items(ctx, verb, func() {}, func(m *pb.RequestsItem) error {
		if err := parts.add(m); err != nil {
			return broken(err)
		}
		return nil
	})
	if err != nil {
		return RequestDetail{}, err
	}
	return parts.whole()
}

// Watch implements Requests. When ctx ends, it returns ctx's cause.
func (c *RequestsClient) Watch(ctx context.Context, begun func(), yield func(Event) error) error {
	verb := &pb.Requests{Verb: &pb.Requests_Watch{Watch: &pb.Watch{}}}
	return c.items(ctx, verb, begun, func(m *pb.RequestsItem) error {
		v, ok := m.GetItem().(*pb.RequestsItem_Event)
		if !ok {
			return nil
		}
		e, err := eventFromPB(v.Event)
		if err != nil {
			return broken(err)
		}
		return yield(e)
	})
}

// items asks and calls accepted, and then each for the items that come until they
// are complete, the item that says so included.
func (c *RequestsClient) items(ctx context.Context, verb *pb.Requests, accepted func(), each func(*pb.RequestsItem) error) error {
	return collect(ctx, c.open, c.first(verb), accepted, func(w *wire) (done bool, err error) {
		m := new(pb.RequestsItem)
		if err := w.receive(m); err != nil {
			return false, broken(unexpected(err))
		}
		switch v := m.GetItem().(type) {
		case *pb.RequestsItem_Complete:
			return true, each(m)
		case *pb.RequestsItem_Error:
			return false, errorFromPB(v.Error)
		}
		return false, each(m)
	})
}

// serveRequests answers one verb of Requests, whoever asks; see ServeApp and
// ServeExecute.
func serveRequests(ctx context.Context, w *wire, requests Requests, p *pb.Requests) error {
	switch v := p.GetVerb().(type) {
	case *pb.Requests_Attach:
		return serveAttach(ctx, w, requests.Attach, v.Attach)
	case *pb.Requests_Stop:
		return serveStop(ctx, w, requests, v.Stop)
	case *pb.Requests_List:
		return serveRequestList(ctx, w, requests, v.List.GetAll())
	case *pb.Requests_Inspect:
		return serveInspect(ctx, w, requests, v.Inspect)
	case *pb.Requests_Watch:
		return serveWatch(ctx, w, requests)
	case *pb.Requests_Remove:
		return serveRemove(ctx, w, requests, v.Remove)
	}
	return w.reject(unknownVerb())
}

// serveAttach serves an execution or a request, which attach takes up.
func serveAttach(ctx context.Context, w *wire, attach func(context.Context, Attach) (Session, error), p *pb.Attach) error {
	a, err := attachFromPB(p)
	if err != nil {
		return w.answer(err)
	}
	sess, err := attach(ctx, a)
	if err != nil {
		return w.answer(err)
	}
	return accept(ctx, w, sess, terms{mayEndEarly: a.NoFollow})
}

func serveStop(ctx context.Context, w *wire, requests Requests, p *pb.StopRequest) error {
	s, err := stopFromPB(p)
	if err == nil {
		err = requests.Stop(ctx, s)
	}
	return w.acknowledge(err)
}

func serveRemove(ctx context.Context, w *wire, requests Requests, p *pb.Remove) error {
	id, err := ParseRequestID(p.GetRequest())
	if err == nil {
		err = requests.Remove(ctx, Remove{Request: id, Force: p.GetForce()})
	}
	return w.acknowledge(err)
}

// maxSilent bounds how many devices a list names that did not answer.
const maxSilent = 256

func serveRequestList(ctx context.Context, w *wire, requests Requests, all bool) error {
	list := func(ctx context.Context, send func(proto.Message) error) error {
		silent, err := requests.List(ctx, all, func(i RequestInfo) error {
			return send(&pb.RequestsItem{Item: &pb.RequestsItem_Info{Info: infoToPB(&i)}})
		})
		if err != nil {
			return err
		}
		silent = silent[:min(len(silent), maxSilent)]
		return send(&pb.RequestsItem{Item: &pb.RequestsItem_Complete{Complete: &pb.Complete{Silent: silent}}})
	}
	return serveList(ctx, w, list, lastRequestsItem)
}

// serveWatch accepts when no event can be missed any more.
func serveWatch(ctx context.Context, w *wire, requests Requests) error {
	return serveStream(ctx, w, func(ctx context.Context, accept func(), send func(proto.Message) error) error {
		err := requests.Watch(ctx, accept, func(e Event) error {
			return send(&pb.RequestsItem{Item: &pb.RequestsItem_Event{Event: eventToPB(&e)}})
		})
		if err != nil {
			return err
		}
		return send(&pb.RequestsItem{Item: &pb.RequestsItem_Complete{Complete: &pb.Complete{}}})
	}, lastRequestsItem)
}

func serveInspect(ctx context.Context, w *wire, requests Requests, p *pb.Inspect) error {
	id, err := requestRef(p.GetRequest())
	if err != nil {
		return w.answer(err)
	}
	return serveItems(ctx, w, func(ctx context.Context, send func(*pb.RequestsItem) error) error {
		detail, err := requests.Inspect(ctx, id)
		if err != nil {
			return err
		}
		for _, item := range detailToPB(&detail) {
			if err := send(item); err != nil {
				return err
			}
		}
		return nil
	})
}

// serveItems is serveList for RequestsItems: it sends the last one too.
func serveItems(ctx context.Context, w *wire, list func(ctx context.Context, send func(*pb.RequestsItem) error) error) error {
	whole := func(ctx context.Context, send func(proto.Message) error) error {
		if err := list(ctx, func(item *pb.RequestsItem) error { return send(item) }); err != nil {
			return err
		}
		return send(&pb.RequestsItem{Item: &pb.RequestsItem_Complete{Complete: &pb.Complete{}}})
	}
	return serveList(ctx, w, whole, lastRequestsItem)
}

func lastRequestsItem(e *pb.Error) proto.Message {
	return &pb.RequestsItem{Item: &pb.RequestsItem_Error{Error: e}}
}
