package protocol

import (
	"context"
	"strings"
	"time"
	"unicode"
)

// Stacks is what can be asked of stacks, and done to them. An app asks its
// device, which knows those of the whole mesh; a device asks another one about
// those that it holds, or could hold. A stack is named as ParseStackRef has it.
// Errors are *Error; CodeNodeLost says that the stack's holder is away.
type Stacks interface {
	// PlanStack says what UpStack would do, and does nothing. A stack that no
	// node can run is no error: its plan has no Holder then.
	PlanStack(ctx context.Context, u UpStack) (StackPlan, error)
	// UpStack makes a stack be as u says. It yields the plan, then the version
	// as soon as that is on its holder's disk, then each change of its status,
	// and returns when all of it is up, or with Detach when it is accepted. The
	// holder goes on by itself when ctx ends after the acceptance. CodeNoNode
	// says that no node can run it, CodeConflict that it is being changed by
	// somebody else, CodeStackUnhealthy that it was not up in time: the version
	// before is back then, if there was one.
	UpStack(ctx context.Context, u UpStack, yield func(StackUpdate) error) error
	// ListStacks calls yield with the status of each stack, by name; with Watch
	// again on each change until ctx ends.
	ListStacks(ctx context.Context, l ListStacks, yield func([]StackStatus) error) error
	// ControlStack starts, stops, restarts or ends a stack or some of its
	// services. It returns when that is done.
	ControlStack(ctx context.Context, c ControlStack) error
	// StackLogs calls yield for each line of output, in the order in which they
	// came; with Follow until ctx ends.
	StackLogs(ctx context.Context, l StackLogs, yield func(LogLine) error) error
	// StackHistory calls yield for each version that is kept, the latest first.
	// What the files hold is left out, and the signature with it.
	StackHistory(ctx context.Context, name StackName, yield func(StackRecord) error) error
	// RollbackStack is UpStack with an earlier version of the stack.
	RollbackStack(ctx context.Context, r RollbackStack, yield func(StackUpdate) error) error
}

// UpStack asks for a stack to be as Record.Stack says.
type UpStack struct {
	// Record is all that the holder is to keep. An app sets its Stack alone; the
	// device that it asks sets the rest.
	Record StackRecord
	// New has it started also where the device that holds a stack of this name
	// is away. When that is back, there are two.
	New bool
	// Detach returns when it is accepted.
	Detach bool
	// Timeout is how long it may take to be up; 0 is DefaultUpTimeout.
	Timeout time.Duration
}

// DefaultUpTimeout is how long a stack may take to be up: then the version
// before comes back. MaxUpTimeout is the longest that can be asked for.
const (
	DefaultUpTimeout = 2 * time.Minute
	MaxUpTimeout     = 24 * time.Hour
)

// A StackUpdate is a step of UpStack: one of its fields is set.
type StackUpdate struct {
	Plan *StackPlan
	// Accepted is the version that is on the holder's disk.
	Accepted uint64
	Status   *StackStatus
}

// ListStacks asks for the stacks that there are.
type ListStacks struct {
	// Name is the only one wanted; empty is all.
	Name StackName
	// All wants those too that were taken down, and whose data is kept.
	All   bool
	Watch bool
}

// ControlStack has something done to a stack that there is.
type ControlStack struct {
	Name   StackName
	Action StackAction
	// Services are those meant; none is all of them. StackDown takes none.
	Services []string
	// Data has StackDown remove the volumes, too.
	Data bool
}

// StackAction is what is done to a stack.
type StackAction string

// The actions. What was stopped stays down over restarts of the device.
const (
	StackStart   StackAction = "start"
	StackStop    StackAction = "stop"
	StackRestart StackAction = "restart"
	StackDown    StackAction = "down"
)

// StackLogs asks for the output of a stack's instances.
type StackLogs struct {
	Name StackName
	// Services are those wanted; none is all of them.
	Services []string
	Follow   bool
	// Since leaves out what was written longer ago; 0 is nothing.
	Since time.Duration
	// Tail is how many lines of each service come first at most; 0 is all.
	Tail uint32
}

// RollbackStack asks for an earlier version of a stack.
type RollbackStack struct {
	Name StackName
	// Version that is wanted again; 0 is the one before the current one.
	Version uint64
	Detach  bool
	Timeout time.Duration
}

// A PublishedStack is what a device gossips of a stack that it holds.
type PublishedStack struct {
	Name    StackName
	Version uint64
	// Stopped: its owner stopped it. Down: it was taken down, and its data is
	// kept.
	Stopped, Down bool
	// Ports are those that it publishes, wherever it runs.
	Ports []PublishedPort
}

// A PublishedPort is a port of a stack on the devices.
type PublishedPort struct {
	Port uint16
	UDP  bool
	// HostIP is as StackPort has it.
	HostIP string
}

// ParseStackName checks that s is a stack's name; the error is an *Error with
// CodeInvalid.
func ParseStackName(s string) (StackName, error) {
	if s == "" || len(s) > maxStackName {
		return "", Errorf(CodeInvalid, "a stack's name has 1 to %d characters, %q has %d", maxStackName, shorten(s), len(s))
	}
	for i, c := range []byte(s) {
		lower := 'a' <= c && c <= 'z' || '0' <= c && c <= '9'
		if !lower && (i == 0 || c != '-' && c != '_') {
			return "", Errorf(CodeInvalid, "stack name %q: it consists of a-z, 0-9, '-' and '_', and starts with a letter or a digit", s)
		}
	}
	return StackName(s), nil
}

// ParseStackRef splits what verbs name a stack by: its name, or NAME@DEVICE where
// two devices hold one of that name. device is empty where none is named. The
// error is an *Error with CodeInvalid.
func ParseStackRef(s string) (name StackName, device string, err error) {
	s, device, named := strings.Cut(s, "@")
	if name, err = ParseStackName(s); err != nil {
		return "", "", err
	}
	if named && (device == "" || len(device) > maxPeerID || strings.ContainsFunc(device, unicode.IsControl)) {
		return "", "", Errorf(CodeInvalid, "the device of stack %s@%q: write NAME@DEVICE, with a name that 'hearth nodes' shows", name, shorten(device))
	}
	return name, device, nil
}

// stackRef checks a reference and leaves it whole.
func stackRef(s string) (StackName, error) {
	_, _, err := ParseStackRef(s)
	return StackName(s), err
}
