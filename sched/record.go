package sched

import (
	"context"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/sched/journal"
)

// A Journal keeps what must survive this process; *journal.Journal is one, and
// says what is promised. Calls block until what they write is on disk.
type Journal interface {
	// Accepted returns the record; with journal.ErrExists the one there was.
	Accepted(ctx context.Context, r journal.Request) (journal.Record, error)
	// Offered is called before the offer is sent.
	Offered(ctx context.Context, id protocol.RequestID, o journal.Offer) error
	// Ended replaces an end as protocol.StateUnknown, and no other.
	Ended(ctx context.Context, id protocol.RequestID, end journal.End) error
	Find(id protocol.RequestID) (journal.Record, error)
	Output(id protocol.RequestID) ([]protocol.Output, error)
	Load(yield func(journal.Record) error) error
}
