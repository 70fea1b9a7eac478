package device

import (
	"context"

	"github.com/hearth-edge/hearth/protocol"
)

// executor is the orchestrator's way to a node: a direct call for this device,
// a stream for any other.
func (d *Device) executor(id protocol.PeerID) (protocol.Executor, error) {
	if id == d.id {
		return d.executorHere(d.id), nil
	}
	return protocol.NewExecuteClient(d.open(id)), nil
}

// requestsAt is the way to the requests that another device looks after.
func (d *Device) requestsAt(id protocol.PeerID) protocol.Requests {
	return protocol.NewRequestsClient(d.open(id))
}

func (d *Device) open(id protocol.PeerID) func(context.Context) (protocol.Stream, error) {
	return func(ctx context.Context) (protocol.Stream, error) {
		return d.mesh.Open(ctx, id, protocol.ExecuteProtocol)
	}
}

// serveExecute answers another device: its orchestrator, and its apps where they
// ask about the requests of this one, which are all that it tells.
func (d *Device) serveExecute(ctx context.Context, from protocol.PeerID, s protocol.Stream) {
	if err := protocol.ServeExecute(ctx, s, d.executorHere(from), member{d.orch, d.stacks.holder}, d.containersFor(from), from); err != nil {
		d.log.Debug("execute stream ended", "peer", from, "err", err)
	}
}

func (d *Device) executorHere(from protocol.PeerID) protocol.Executor {
	if d.runtime == nil {
		return noRuntime(d.cfg.NoDriver)
	}
	return d.runtime.For(from)
}

// noRuntime is the executor of a device that runs no work; it says why.
type noRuntime string

func (r noRuntime) Offer(context.Context, protocol.Offer) (protocol.Session, error) {
	return nil, &protocol.Refusal{Code: protocol.CodeEngineDown, Reason: "this device runs no work: " + string(r)}
}

func (r noRuntime) Attach(context.Context, protocol.Attach) (protocol.Session, error) {
	return nil, protocol.Errorf(protocol.CodeNotFound, "this device runs no work")
}
