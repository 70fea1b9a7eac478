package runtime

import "time"

// maxDenied is how many denied attempts are remembered, for KeepEnded.
const maxDenied = 4096

// denials are the attempts that the node has said it does not have: their offers
// may still be under way, and whoever asked offers them elsewhere now. The Node's
// mutex guards it; the zero value is ready.
type denials struct {
	at    map[ExecutionID]time.Time
	order []ExecutionID // the oldest first
}

func (d *denials) add(id ExecutionID, now time.Time) {
	if d.at == nil {
		d.at = make(map[ExecutionID]time.Time)
	}
	if _, known := d.at[id]; !known {
		d.order = append(d.order, id)
	}
	d.at[id] = now
	for len(d.order) > maxDenied || now.Sub(d.at[d.order[0]]) > KeepEnded {
		delete(d.at, d.order[0])
		d.order = d.order[1:]
	}
}

// has reports whether the attempt was denied lately.
func (d *denials) has(id ExecutionID, now time.Time) bool {
	at, known := d.at[id]
	return known && now.Sub(at) <= KeepEnded
}
