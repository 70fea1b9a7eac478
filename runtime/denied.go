package runtime

import (
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

// maxDenied is how many denied attempts are remembered, each for EndedTTL. Of
// more, the orchestrator with the most of them loses its oldest: one that asks
// for many makes the node forget none of another's.
const maxDenied = 4096

// denials are the attempts that the node has said it does not have: their offers
// may still be under way, and whoever asked offers them elsewhere now. The Node's
// mutex guards it; the zero value is ready.
type denials struct {
	at    map[ExecutionID]time.Time
	order map[protocol.PeerID][]ExecutionID // by orchestrator, the oldest first
}

func (d *denials) add(id ExecutionID, now time.Time) {
	if d.at == nil {
		d.at = make(map[ExecutionID]time.Time)
		d.order = make(map[protocol.PeerID][]ExecutionID)
	}
	if _, known := d.at[id]; !known {
		d.order[id.Orchestrator] = append(d.order[id.Orchestrator], id)
	}
	d.at[id] = now
	for orchestrator, order := range d.order {
		for len(order) > 0 && now.Sub(d.at[order[0]]) > EndedTTL {
			order = d.forgetOldest(orchestrator)
		}
	}
	for len(d.at) > maxDenied {
		most := id.Orchestrator
		for orchestrator, order := range d.order {
			if len(order) > len(d.order[most]) {
				most = orchestrator
			}
		}
		d.forgetOldest(most)
	}
}

// forgetOldest forgets one of the orchestrator's, and returns those left.
func (d *denials) forgetOldest(orchestrator protocol.PeerID) []ExecutionID {
	order := d.order[orchestrator]
	delete(d.at, order[0])
	if order = order[1:]; len(order) == 0 {
		delete(d.order, orchestrator)
		return nil
	}
	d.order[orchestrator] = order
	return order
}

// has reports whether the attempt was denied lately.
func (d *denials) has(id ExecutionID, now time.Time) bool {
	at, known := d.at[id]
	return known && now.Sub(at) <= EndedTTL
}
