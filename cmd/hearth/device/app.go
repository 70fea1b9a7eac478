package device

import (
	"context"
	"time"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/sched/stack"
)

// watchBackoff is the least time between two lists of `nodes --watch`.
const watchBackoff = 20 * time.Millisecond

// serveApp answers an app of this device.
func (d *Device) serveApp(ctx context.Context, s protocol.Stream) {
	if err := protocol.ServeApp(ctx, s, d.tokens.Right, d.appServer()); err != nil {
		d.log.Debug("app stream ended", "err", err)
	}
}

func (d *Device) appServer() appServer {
	return appServer{d.requests, d.appContainers(), d.stacks.mesh, d}
}

// appServer is the device as its apps see it: protocol.App.
type appServer struct {
	*meshRequests
	reacher
	*stack.Mesh
	d *Device
}

func (a appServer) Run(ctx context.Context, r protocol.Run) (protocol.Session, error) {
	return a.d.orch.Accept(ctx, r)
}

func (a appServer) Plan(ctx context.Context, s protocol.Service) (protocol.Decision, error) {
	return a.d.orch.Plan(ctx, &s), nil
}

func (a appServer) Devices(ctx context.Context, watch bool, yield func([]protocol.Device) error) error {
	return a.eachChange(ctx, watch, func() error { return yield(a.d.devices()) })
}

// eachChange calls tell, and with watch again on each change of the view until
// ctx ends.
func (a appServer) eachChange(ctx context.Context, watch bool, tell func() error) error {
	for {
		changed := a.d.view.Changed()
		if err := tell(); err != nil || !watch {
			return err
		}
		// After a quiet time a change is told at once; a burst is one list.
		select {
		case <-time.After(watchBackoff):
		case <-ctx.Done():
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil
		}
	}
}

func (a appServer) Diagnose(ctx context.Context) ([]protocol.Check, error) {
	return a.d.diagnose(ctx), nil
}
