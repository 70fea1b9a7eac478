package device

import (
	"context"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime"
	"github.com/hearth-edge/hearth/runtime/reaper"
)

// renew asks an execution's orchestrator whether it is still wanted.
func (d *Device) renew(ctx context.Context, orchestrator protocol.PeerID, r protocol.Renewal) error {
	if orchestrator == d.id {
		return d.orch.Renew(ctx, d.id, r)
	}
	return protocol.Renew(ctx, d.open(orchestrator), r)
}

// keepLeases returns what holds leases; nil where no container outlives this
// process.
func (d *Device) keepLeases() runtime.Leases {
	if d.cfg.Reaper == nil {
		return nil
	}
	program, args := d.cfg.Reaper(d.cfg.Secret.Fingerprint(), d.id)
	return reaper.Open(d.cfg.StateDir, reaper.Starter(d.cfg.StateDir, program, args), d.log)
}
