package protocol

import (
	"context"

	"google.golang.org/protobuf/proto"

	"github.com/hearth-edge/hearth/protocol/pb"
)

// Drain implements Manager.
func (c *AppClient) Drain(ctx context.Context, off bool) error {
	return c.manage(ctx, &pb.Manage{Verb: &pb.Manage_Drain{Drain: &pb.Drain{Off: off}}})
}

// Down implements Manager.
func (c *AppClient) Down(ctx context.Context) error {
	return c.manage(ctx, &pb.Manage{Verb: &pb.Manage_Down{Down: &pb.Down{}}})
}

// Forget implements Manager.
func (c *AppClient) Forget(ctx context.Context, name string) error {
	return c.manage(ctx, &pb.Manage{Verb: &pb.Manage_Forget{Forget: &pb.Forget{Name: name}}})
}

// manage asks for what is done once it is accepted.
func (c *AppClient) manage(ctx context.Context, verb *pb.Manage) error {
	w, _, err := ask(ctx, c.RequestsClient.open, c.manageRequest(verb))
	if err != nil {
		return err
	}
	_ = w.stream.Close() // nothing follows
	return nil
}

func (c *AppClient) manageRequest(verb *pb.Manage) *pb.AppRequest {
	return &pb.AppRequest{Token: c.token, Verb: &pb.AppRequest_Manage{Manage: verb}}
}

// Status implements Manager.
func (c *AppClient) Status(ctx context.Context, watch bool, yield func(DeviceInfo) error) error {
	first := c.manageRequest(&pb.Manage{Verb: &pb.Manage_Status{Status: &pb.Status{Watch: watch}}})
	return collect(ctx, c.RequestsClient.open, first, func() {}, func(w *wire) (done bool, err error) {
		m := new(pb.StatusItem)
		if err := w.receive(m); err != nil {
			return false, broken(unexpected(err))
		}
		switch v := m.GetItem().(type) {
		case *pb.StatusItem_Info:
			info, err := deviceInfoFromPB(v.Info)
			if err != nil {
				return false, broken(err)
			}
			return false, yield(info)
		case *pb.StatusItem_Complete:
			return true, nil
		case *pb.StatusItem_Error:
			return false, errorFromPB(v.Error)
		}
		return false, nil
	})
}

// serveManage answers one verb of Manager.
func serveManage(ctx context.Context, w *wire, m Manager, p *pb.Manage) error {
	switch v := p.GetVerb().(type) {
	case *pb.Manage_Drain:
		return w.acknowledge(m.Drain(ctx, v.Drain.GetOff()))
	case *pb.Manage_Down:
		return w.acknowledge(m.Down(ctx))
	case *pb.Manage_Forget:
		name := v.Forget.GetName()
		if err := checkText("name", name, maxName); err != nil {
			return w.reject(err)
		}
		return w.acknowledge(m.Forget(ctx, name))
	case *pb.Manage_Status:
		return serveStatus(ctx, w, m, v.Status.GetWatch())
	}
	return w.reject(unknownVerb())
}

// acknowledge answers what is done once it is accepted, and ends the conversation.
func (w *wire) acknowledge(err error) error {
	logged := w.answer(err)
	_ = w.stream.Close()
	return logged
}

func serveStatus(ctx context.Context, w *wire, m Manager, watch bool) error {
	list := func(ctx context.Context, send func(proto.Message) error) error {
		err := m.Status(ctx, watch, func(info DeviceInfo) error {
			return send(&pb.StatusItem{Item: &pb.StatusItem_Info{Info: deviceInfoToPB(&info)}})
		})
		if err != nil {
			return err
		}
		return send(&pb.StatusItem{Item: &pb.StatusItem_Complete{Complete: &pb.Complete{}}})
	}
	return serveList(ctx, w, list, func(e *pb.Error) proto.Message {
		return &pb.StatusItem{Item: &pb.StatusItem_Error{Error: e}}
	})
}

func deviceInfoToPB(d *DeviceInfo) *pb.DeviceInfo {
	return &pb.DeviceInfo{
		Node: string(d.ID), Name: clip(d.Name, maxName), Fingerprint: clip(d.Fingerprint, maxName),
		Version: clip(d.Version, maxName), Uptime: durationToPB(d.Uptime),
		Peers:  uint32(min(max(d.Peers, 0), MaxDevices)),
		Engine: clip(d.Engine, maxReason), NoEngine: clip(d.NoEngine, maxReason),
		Running: min(d.Running, maxCount), Queued: min(d.Queued, maxCount), Draining: d.Draining,
	}
}

func deviceInfoFromPB(p *pb.DeviceInfo) (DeviceInfo, error) {
	d := DeviceInfo{
		Name: clip(p.GetName(), maxName), Fingerprint: clip(p.GetFingerprint(), maxName),
		Version: clip(p.GetVersion(), maxName), Peers: int(min(p.GetPeers(), MaxDevices)),
		Engine: clip(p.GetEngine(), maxReason), NoEngine: clip(p.GetNoEngine(), maxReason),
		Running: min(p.GetRunning(), maxCount), Queued: min(p.GetQueued(), maxCount), Draining: p.GetDraining(),
	}
	var err error
	if d.ID, err = ParsePeerID(p.GetNode()); err != nil {
		return DeviceInfo{}, err
	}
	if d.Uptime, err = durationFromPB("uptime", p.GetUptime()); err != nil {
		return DeviceInfo{}, err
	}
	return d, nil
}
