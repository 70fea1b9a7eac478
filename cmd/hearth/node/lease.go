package node

import (
	"context"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime"
	"github.com/hearth-edge/hearth/runtime/guard"
)

// renew asks an execution's orchestrator whether it is still wanted.
func (n *Node) renew(ctx context.Context, orchestrator protocol.PeerID, r protocol.Renewal) error {
	if orchestrator == n.id {
		return n.orch.Renew(ctx, n.id, r)
	}
	return protocol.Renew(ctx, n.open(orchestrator), r)
}

// keepLeases returns what holds leases; nil where no container outlives this
// process.
func (n *Node) keepLeases() runtime.Leases {
	if n.cfg.Guard == nil {
		return nil
	}
	program, args := n.cfg.Guard(n.cfg.Secret.Fingerprint(), n.id)
	return guard.NewKeeper(n.cfg.StateDir, guard.Starter(n.cfg.StateDir, program, args), n.log)
}
