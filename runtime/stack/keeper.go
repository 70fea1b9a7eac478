package stack

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime"
)

// Config is what a Keeper is made of; all of it is required.
type Config struct {
	// Node is this device's ID, Name its name.
	Node protocol.PeerID
	Name string
	// Engine is that of the driver: *docker.Driver has it as Stacks.
	Engine Engine
	Policy runtime.Policy
	// Here tells what the policy has to know of this machine now: *runtime.Node's.
	Here func() runtime.Here
	// Reserve sets aside what all stacks together reserve: *runtime.Node's.
	Reserve func(protocol.Cores, protocol.Bytes)
	// Dir keeps which volumes and addresses stacks have; it is made if need be.
	Dir string
	Log *slog.Logger
}

// A Keeper keeps the instances of this node's stacks up. Its methods may be
// called concurrently, before Run, too. Errors are *protocol.Errors, but for ctx's.
type Keeper struct {
	cfg Config
}

// New makes a Keeper and reads what is kept in its folder. It starts nothing.
func New(cfg Config) (*Keeper, error) { return &Keeper{cfg: cfg}, nil }

// Run follows the engine and keeps all applied stacks up until ctx ends. The
// containers go on after it. A Keeper runs once.
func (k *Keeper) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// Check returns all reasons why this node cannot run the stack as it is now; none
// where it can. It changes nothing and asks no registry. What the stack of that
// name has here already does not stand in its way. The error is for an engine
// that does not answer.
func (k *Keeper) Check(ctx context.Context, s protocol.Stack) ([]protocol.StackRefusal, error) {
	return nil, errors.ErrUnsupported
}

// Apply makes a record the one that is kept up; the same or an older version
// changes nothing. It returns at once: Watch tells what comes of it. What Check
// would refuse is not refused here, its services wait and say why.
func (k *Keeper) Apply(ctx context.Context, r protocol.StackRecord) error {
	return errors.ErrUnsupported
}

// Remove stops a stack and removes its containers and networks, with data its
// volumes, too. It returns when that is done; where ctx ends before, it is done all the
// same, also by the next process. A stack that is not here is no error.
func (k *Keeper) Remove(ctx context.Context, name protocol.StackName, data bool) error {
	return errors.ErrUnsupported
}

// Restart stops and starts services; none names all. CodeNotFound where the stack
// or a service is not here. It returns when they have stopped.
func (k *Keeper) Restart(ctx context.Context, name protocol.StackName, services []string) error {
	return errors.ErrUnsupported
}

// Stop stops services until Start; that outlives restarts of the device, and ends
// with the next version of the stack.
func (k *Keeper) Stop(ctx context.Context, name protocol.StackName, services []string) error {
	return errors.ErrUnsupported
}

// Start starts services that were stopped, or gave up.
func (k *Keeper) Start(ctx context.Context, name protocol.StackName, services []string) error {
	return errors.ErrUnsupported
}

// Status tells of all stacks, by name.
func (k *Keeper) Status() []protocol.StackStatus { return nil }

// Watch yields the status of a stack, then again at each change, until yield fails,
// ctx ends, or the stack is removed: then it returns nil.
func (k *Keeper) Watch(ctx context.Context, name protocol.StackName, yield func(protocol.StackStatus) error) error {
	return errors.ErrUnsupported
}

// LogQuery says which lines of a stack are meant.
type LogQuery struct {
	Services []string      // none names all
	Since    time.Duration // ago; 0 is all
	Tail     int           // of each service; 0 is all
	// Follow goes on with what is written, over restarts of the instances.
	Follow bool
}

// Logs yields lines of the services, in the order of their times as far as they
// were written before, then as they come.
func (k *Keeper) Logs(ctx context.Context, name protocol.StackName, q LogQuery, yield func(protocol.LogLine) error) error {
	return errors.ErrUnsupported
}

// Container returns the ID of the running container of a service. CodeNotFound where the
// stack or the service is not here, CodeConflict where it does not run.
func (k *Keeper) Container(name protocol.StackName, service string) (string, error) {
	return "", errors.ErrUnsupported
}
