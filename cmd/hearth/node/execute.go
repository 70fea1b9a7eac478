package node

import (
	"context"

	"github.com/hearth-edge/hearth/protocol"
)

// executor is the orchestrator's way to a node: a direct call for this device,
// a stream for any other.
func (n *Node) executor(id protocol.PeerID) (protocol.Executor, error) {
	if id == n.id {
		return n.executorHere(n.id), nil
	}
	return protocol.NewExecuteClient(n.open(id)), nil
}

// requestsAt is the way to the requests that another device looks after.
func (n *Node) requestsAt(id protocol.PeerID) protocol.Requests {
	return protocol.NewRequestsClient(n.open(id))
}

func (n *Node) open(id protocol.PeerID) func(context.Context) (protocol.Stream, error) {
	return func(ctx context.Context) (protocol.Stream, error) {
		return n.mesh.Open(ctx, id, protocol.ExecuteProtocol)
	}
}

// serveExecute answers another device: its orchestrator, and its apps where they
// ask about the requests of this one, which are all that it tells.
func (n *Node) serveExecute(ctx context.Context, from protocol.PeerID, s protocol.Stream) {
	if err := protocol.ServeExecute(ctx, s, n.executorHere(from), n.orch, from); err != nil {
		n.log.Debug("execute stream ended", "peer", from, "err", err)
	}
}

func (n *Node) executorHere(from protocol.PeerID) protocol.Executor {
	if n.runtime == nil {
		return noRuntime(n.cfg.NoDriver)
	}
	return n.runtime.For(from)
}

// noRuntime is the executor of a device that runs no work; it says why.
type noRuntime string

func (r noRuntime) Offer(context.Context, protocol.Offer) (protocol.Session, error) {
	return nil, &protocol.Refusal{Code: protocol.CodeEngineDown, Reason: "this device runs no work: " + string(r)}
}

func (r noRuntime) Attach(context.Context, protocol.Attach) (protocol.Session, error) {
	return nil, protocol.Errorf(protocol.CodeNotFound, "this device runs no work")
}
