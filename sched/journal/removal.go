package journal

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

// Removals are remembered for RemovalTTL, which is longer than nodes keep what has
// ended, and no more than MaxRemovals of them.
const (
	RemovalTTL  = 15 * time.Minute
	MaxRemovals = 1024
)

// A Removal is what is remembered of a request that was removed: its node keeps its
// last attempt for a while, and would take an offer of the same ID and attempt for it.
type Removal struct {
	ID      protocol.RequestID
	Attempt uint32
	// Age is the journal's when it was removed; Removals returns how long ago that was.
	Age time.Duration
	// Node is where the attempt may run still; empty where it has surely ended.
	Node protocol.PeerID `json:",omitempty"`
}

// remove is drop for a request that somebody had removed.
func (b *batch) remove(e *entry, x Removal) {
	var content []byte
	if x.Attempt > 0 {
		x.Age = b.totals.age
		content = encodeRemoval(x)
		b.totals.remember(x)
	}
	b.drop(e, content)
}

// remember adds a removal, in place of an earlier one of the same ID.
func (t *totals) remember(x Removal) {
	t.removed = slices.DeleteFunc(slices.Clone(t.removed), func(was Removal) bool { return was.ID == x.ID })
	t.removed = append(t.removed, x)
	t.removed = t.removed[max(0, len(t.removed)-MaxRemovals):]
}

// recent returns the removals that still matter.
func (t *totals) recent() []Removal {
	return slices.DeleteFunc(slices.Clone(t.removed), func(x Removal) bool { return t.age-x.Age > RemovalTTL })
}

func encodeRemoval(x Removal) []byte {
	text, err := json.Marshal(x)
	if err != nil {
		panic("journal: a removal can be encoded: " + err.Error())
	}
	return text
}

// decodeRemoval returns the zero value where nothing is to be remembered.
func decodeRemoval(raw []byte) (x Removal, err error) {
	if len(raw) == 0 {
		return x, nil
	}
	if err = json.Unmarshal(raw, &x); err != nil {
		return x, err
	}
	if x.Attempt == 0 || x.Age < 0 {
		return x, errMalformed
	}
	_, err = protocol.ParseRequestID(string(x.ID))
	return x, err
}
