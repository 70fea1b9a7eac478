package sched

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

// Config is what an Orchestrator is made of. All fields but Now must be set.
type Config struct {
	// Self and Name are those of this device.
	Self protocol.NodeID
	Name string
	// View is shared with those who fill it.
	View *View
	// Clock is the one that the View uses.
	Clock Clock
	// Now stamps events, for people only; nil leaves them without a time.
	Now func() time.Time
	// Rand is used by the Orchestrator alone.
	Rand *rand.Rand
	// Executor returns the way to a node, this device included. It does not
	// block; an error means that the node cannot be reached.
	Executor func(node protocol.NodeID) (protocol.Executor, error)
	Params   Params
	Log      *slog.Logger
}

// Orchestrator looks after the requests of this device's apps to their ends.
type Orchestrator struct{ cfg Config }

// New returns an Orchestrator that does nothing until Run.
func New(cfg Config) *Orchestrator { return &Orchestrator{cfg: cfg} }

// Run serves Accept until ctx ends, and returns when all requests were let go.
func (o *Orchestrator) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// Accept takes a request and attaches to it.
func (o *Orchestrator) Accept(ctx context.Context, r protocol.Run) (protocol.Session, error) {
	return nil, protocol.Errorf(protocol.CodeLeaving, "not running")
}
