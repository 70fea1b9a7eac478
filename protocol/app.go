package protocol

import (
	"context"

	"google.golang.org/protobuf/proto"

	"github.com/hearth-edge/hearth/protocol/pb"
)

// An AppClient is a device behind AppProtocol, as its apps use it. It implements
// App and may be used concurrently: each call opens a stream of its own.
type AppClient struct {
	RequestsClient
	ContainersClient
	StacksClient
	open  func(context.Context) (Stream, error)
	token string
}

// NewAppClient returns the device that open opens streams to. The token is the
// content of the device's token file.
func NewAppClient(open func(context.Context) (Stream, error), token string) *AppClient {
	first := func(r *pb.Requests) proto.Message {
		return &pb.AppRequest{Token: token, Verb: &pb.AppRequest_Requests{Requests: r}}
	}
	stacks := func(s *pb.Stacks) proto.Message {
		return &pb.AppRequest{Token: token, Verb: &pb.AppRequest_Stacks{Stacks: s}}
	}
	containers := func(v containerVerb) proto.Message {
		r := &pb.AppRequest{Token: token}
		switch {
		case v.exec != nil:
			r.Verb = &pb.AppRequest_Exec{Exec: v.exec}
		case v.dial != nil:
			r.Verb = &pb.AppRequest_Dial{Dial: v.dial}
		case v.copy != nil:
			r.Verb = &pb.AppRequest_Copy{Copy: v.copy}
		}
		return r
	}
	return &AppClient{RequestsClient{open, first}, ContainersClient{open, containers}, StacksClient{open, stacks}, open, token}
}

// Run implements App. ctx bounds the wait for the acceptance only. Unless it is
// detached, the request is cancelled when the last session of it that Run
// returned is closed before its end, or loses its connection.
func (c *AppClient) Run(ctx context.Context, r Run) (Session, error) {
	if err := r.Service.validateWhole(); err != nil {
		return nil, err
	}
	run := runToPB(&r)
	service, err := detach(&run.Service, &run.ServiceLength)
	if err != nil {
		return nil, err
	}
	first := opening{&pb.AppRequest{Token: c.token, Verb: &pb.AppRequest_Run{Run: run}}, service}
	w, _, err := ask(ctx, c.RequestsClient.open, first)
	if err != nil {
		return nil, err
	}
	return newRemoteSession(w, Attach{}), nil
}

// Plan implements App.
func (c *AppClient) Plan(ctx context.Context, s Service) (Decision, error) {
	if err := s.Validate(); err != nil {
		return Decision{}, err
	}
	s = s.WithoutSecrets() // no node needs them for that
	plan := &pb.Plan{Service: serviceToPB(&s)}
	service, err := detach(&plan.Service, &plan.ServiceLength)
	if err != nil {
		return Decision{}, err
	}
	first := opening{&pb.AppRequest{Token: c.token, Verb: &pb.AppRequest_Plan{Plan: plan}}, service}
	var parts detailParts
	err = collect(ctx, c.RequestsClient.open, first, func() {}, func(w *wire) (done bool, err error) {
		m := new(pb.RequestsItem)
		if err := w.receive(m); err != nil {
			return false, broken(unexpected(err))
		}
		switch v := m.GetItem().(type) {
		case *pb.RequestsItem_Complete:
			return true, nil
		case *pb.RequestsItem_Error:
			return false, errorFromPB(v.Error)
		}
		return false, parts.add(m)
	})
	if err != nil {
		return Decision{}, err
	}
	if len(parts.detail.Decisions) != 1 {
		return Decision{}, broken(missing("decision"))
	}
	return parts.detail.Decisions[0], nil
}

// Devices implements App.
func (c *AppClient) Devices(ctx context.Context, watch bool, yield func([]Device) error) error {
	first := &pb.AppRequest{Token: c.token, Verb: &pb.AppRequest_Devices{Devices: &pb.Devices{Watch: watch}}}
	var list []Device
	return collect(ctx, c.RequestsClient.open, first, func() {}, func(w *wire) (done bool, err error) {
		m := new(pb.DevicesItem)
		if err := w.receive(m); err != nil {
			return false, broken(unexpected(err))
		}
		switch v := m.GetItem().(type) {
		case *pb.DevicesItem_Device:
			if len(list) == MaxDevices {
				return false, Errorf(CodeInvalid, "list: more than %d devices", MaxDevices)
			}
			d, err := deviceFromPB(v.Device)
			list = append(list, d)
			return false, err
		case *pb.DevicesItem_Complete:
			whole := list
			list = nil
			return !watch, yield(whole)
		case *pb.DevicesItem_Error:
			return false, errorFromPB(v.Error)
		}
		return false, nil
	})
}

// Diagnose implements App.
func (c *AppClient) Diagnose(ctx context.Context) ([]Check, error) {
	first := &pb.AppRequest{Token: c.token, Verb: &pb.AppRequest_Diagnose{Diagnose: &pb.Diagnose{}}}
	var list []Check
	err := collect(ctx, c.RequestsClient.open, first, func() {}, func(w *wire) (done bool, err error) {
		m := new(pb.ChecksItem)
		if err := w.receive(m); err != nil {
			return false, broken(unexpected(err))
		}
		switch v := m.GetItem().(type) {
		case *pb.ChecksItem_Check:
			if len(list) == maxChecks {
				return false, Errorf(CodeInvalid, "list: more than %d checks", maxChecks)
			}
			list = append(list, checkFromPB(v.Check))
		case *pb.ChecksItem_Complete:
			return true, nil
		case *pb.ChecksItem_Error:
			return false, errorFromPB(v.Error)
		}
		return false, nil
	})
	if err != nil {
		return nil, err
	}
	return list, nil
}

const maxChecks = 1000

// A Guarded is a stream of which few are let in before their apps have shown the token.
type Guarded interface {
	Stream
	// Proved is called when the app has shown it.
	Proved()
}

// ServeApp holds a device's end of one conversation with an app over s, which it
// closes. It asks rights what the app's token may do, tells a Guarded stream that it
// is a known one, and hands what is asked to app, where the right includes it. When the app goes away its session is closed, which may
// cancel the request; see App. When ctx ends, the stream is reset, but sessions of
// Run are left to the device's own end: ServeApp returns when app has ended them.
//
// The error is for the caller's log: what was told to the app without its text,
// what was wrong with its messages or its token, or how the stream broke.
func ServeApp(ctx context.Context, s Stream, rights func(token string) Right, app App) error {
	w := newWire(s)
	request := new(pb.AppRequest)
	if err := w.first(request); err != nil {
		return w.reject(err)
	}
	right := rights(request.GetToken())
	if right == RightNone {
		return w.reject(Errorf(CodeUnauthorized, "the token is not one of this device: read it from the token file in its state folder, or see 'hearth token'"))
	}
	if guarded, ok := s.(Guarded); ok {
		guarded.Proved()
	}
	if err := right.Check(needed(request)); err != nil {
		return w.reject(err)
	}
	switch v := request.GetVerb().(type) {
	case *pb.AppRequest_Run:
		return serveRun(ctx, w, app, v.Run)
	case *pb.AppRequest_Devices:
		return serveDevices(ctx, w, app, v.Devices.GetWatch())
	case *pb.AppRequest_Diagnose:
		return serveDiagnose(ctx, w, app)
	case *pb.AppRequest_Requests:
		return serveRequests(ctx, w, limited(app, right), v.Requests)
	case *pb.AppRequest_Plan:
		return servePlan(ctx, w, app, v.Plan)
	case *pb.AppRequest_Manage:
		return serveManage(ctx, w, app, v.Manage)
	case *pb.AppRequest_Exec:
		return serveExec(ctx, w, app, v.Exec)
	case *pb.AppRequest_Dial:
		return serveDial(ctx, w, app, v.Dial)
	case *pb.AppRequest_Copy:
		return serveCopy(ctx, w, app, v.Copy)
	case *pb.AppRequest_Stacks:
		return serveStacks(ctx, w, app, v.Stacks, "")
	}
	return w.reject(unknownVerb())
}

func serveRun(ctx context.Context, w *wire, app App, p *pb.Run) (err error) {
	if p.Service, err = w.service(p.GetService(), p.GetServiceLength()); err != nil {
		return w.reject(err)
	}
	r, err := runFromPB(p)
	if err != nil {
		return w.answer(err)
	}
	sess, err := app.Run(ctx, r)
	if err != nil {
		return w.answer(err)
	}
	return accept(ctx, w, sess, terms{closingCancels: true})
}

func servePlan(ctx context.Context, w *wire, app App, p *pb.Plan) error {
	in, err := w.service(p.GetService(), p.GetServiceLength())
	if err != nil {
		return w.reject(err)
	}
	service, err := serviceFromPB(in)
	if err != nil {
		return w.answer(err)
	}
	return serveItems(ctx, w, func(ctx context.Context, send func(*pb.RequestsItem) error) error {
		d, err := app.Plan(ctx, service)
		if err != nil {
			return err
		}
		for _, part := range decisionToPB(&d) {
			if err := send(&pb.RequestsItem{Item: &pb.RequestsItem_Decision{Decision: part}}); err != nil {
				return err
			}
		}
		return nil
	})
}

func serveDevices(ctx context.Context, w *wire, app App, watch bool) error {
	list := func(ctx context.Context, send func(proto.Message) error) error {
		return app.Devices(ctx, watch, func(list []Device) error {
			for i := range list[:min(len(list), MaxDevices)] {
				if err := send(&pb.DevicesItem{Item: &pb.DevicesItem_Device{Device: deviceToPB(&list[i])}}); err != nil {
					return err
				}
			}
			return send(&pb.DevicesItem{Item: &pb.DevicesItem_Complete{Complete: &pb.Complete{}}})
		})
	}
	return serveList(ctx, w, list, func(e *pb.Error) proto.Message {
		return &pb.DevicesItem{Item: &pb.DevicesItem_Error{Error: e}}
	})
}

func serveDiagnose(ctx context.Context, w *wire, app App) error {
	list := func(ctx context.Context, send func(proto.Message) error) error {
		checks, err := app.Diagnose(ctx)
		if err != nil {
			return err
		}
		for i := range checks[:min(len(checks), maxChecks)] {
			if err := send(&pb.ChecksItem{Item: &pb.ChecksItem_Check{Check: checkToPB(&checks[i])}}); err != nil {
				return err
			}
		}
		return send(&pb.ChecksItem{Item: &pb.ChecksItem_Complete{Complete: &pb.Complete{}}})
	}
	return serveList(ctx, w, list, func(e *pb.Error) proto.Message {
		return &pb.ChecksItem{Item: &pb.ChecksItem_Error{Error: e}}
	})
}
