// Package runtime runs executions on this device: it admits them, applies the
// owner's policy to them, drives a container engine through a Driver, and
// keeps what they wrote and how they ended for whoever asks. It knows nothing
// of peers and never decides where a request runs.
//
//	Offer -> admission (slots, memory, queue) -> policy -> Driver -> Feed -> Session
package runtime

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

// Config is what a Node is made of. Node, Name, Driver, CPUs, Memory and Log
// are required; nil functions are left out.
type Config struct {
	Node protocol.NodeID
	Name string
	// Driver runs the containers. The Node does not close it.
	Driver Driver
	// CPUs and Memory are what the device lends.
	CPUs   protocol.Cores
	Memory protocol.Bytes
	Policy Policy
	// Check says whether the service's constraints fit this node now: nil, or
	// a *protocol.Refusal.
	Check func(protocol.Service) error
	// Estimate is how long the service would take here from now to its end,
	// with running and queued executions before it and slots of its size. It
	// must be quick, and must not call the Node. Without it nothing is queued
	// but what is forced.
	Estimate func(s protocol.Service, running, queued, slots int) time.Duration
	// Changed is called after the load, the readiness or the images changed.
	Changed func()
	// Finished is called once for each execution that was offered to this
	// process, with its last event and how long its container ran: 0 where it
	// never started.
	Finished func(s protocol.Service, end protocol.Event, ran time.Duration)
	Log      *slog.Logger
}

// State is what a Node tells of itself.
type State struct {
	// Ready says whether it runs work now; Reason says why not.
	Ready  bool
	Reason string
	// Info is what the engine last told.
	Info Info
	// Load counts executions; its Slots are those of the default size.
	Load protocol.Load
	// CPUFree and MemoryFree are lent and not taken.
	CPUFree    protocol.Cores
	MemoryFree protocol.Bytes
	// Images holds the hashes of the references present.
	Images []uint32
}

// A Node runs executions on this device. Its methods may be called
// concurrently.
type Node struct {
	cfg Config
}

// New makes a Node; it starts nothing.
func New(cfg Config) (*Node, error) {
	if cfg.Driver == nil {
		return nil, errors.New("a node needs a driver")
	}
	return &Node{cfg: cfg}, nil
}

// Run takes up what the engine already runs, then runs what is offered, until
// ctx ends. Containers go on after it; the next process adopts them.
func (n *Node) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// For returns the node as the device named orchestrator meets it.
func (n *Node) For(orchestrator protocol.NodeID) protocol.Executor { return n }

// Offer implements protocol.Executor for this device's own requests.
func (n *Node) Offer(ctx context.Context, o protocol.Offer) (protocol.Session, error) {
	return nil, &protocol.Refusal{Code: protocol.CodeEngineDown, Reason: "not started"}
}

// Attach implements protocol.Executor.
func (n *Node) Attach(ctx context.Context, a protocol.Attach) (protocol.Session, error) {
	return nil, protocol.Errorf(protocol.CodeNotFound, "no such execution")
}

// State returns a snapshot.
func (n *Node) State() State { return State{} }
