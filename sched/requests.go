package sched

import (
	"context"

	"github.com/hearth-edge/hearth/protocol"
)

var _ protocol.Requests = (*Orchestrator)(nil)

// Attach takes part in a request, as protocol.Requests says.
func (o *Orchestrator) Attach(ctx context.Context, a protocol.Attach) (protocol.Session, error) {
	return nil, protocol.Errorf(protocol.CodeNotFound, "no request %s", a.Request)
}

// Stop asks a request to end.
func (o *Orchestrator) Stop(ctx context.Context, s protocol.Stop) error {
	return protocol.Errorf(protocol.CodeNotFound, "no request %s", s.Request)
}

// List tells of each request.
func (o *Orchestrator) List(ctx context.Context, all bool, yield func(protocol.RequestInfo) error) error {
	return nil
}

// Inspect tells all that is known of one request.
func (o *Orchestrator) Inspect(ctx context.Context, id protocol.RequestID) (protocol.RequestDetail, error) {
	return protocol.RequestDetail{}, protocol.Errorf(protocol.CodeNotFound, "no request %s", id)
}

// Watch tells of every event from now on.
func (o *Orchestrator) Watch(ctx context.Context, yield func(protocol.Event) error) error {
	<-ctx.Done()
	return nil
}
