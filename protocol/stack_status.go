package protocol

import "time"

// A StackRecord is one version of a stack as its holder keeps it.
type StackRecord struct {
	Stack Stack `json:"stack"`
	// Version counts the changes of the stack from 1.
	Version uint64 `json:"version"`
	// Stopped says that its owner stopped it: it stays down over restarts.
	Stopped bool `json:"stopped,omitempty"`
	// Changed is when, on the clock of the device that changed it, for people.
	Changed time.Time `json:"changed"`
	// By is the device that changed it, and signed the record.
	By        PeerID `json:"by"`
	ByName    string `json:"by_name,omitempty"`
	Signature []byte `json:"signature,omitempty"`
	// Salt keeps what secret files hold from being guessed by the signature. Like
	// them it is told to nobody but the holder.
	Salt []byte `json:"salt,omitempty"`
	// Note says why there is this version: "rolled back to version 3: web was
	// not healthy within 1m0s".
	Note string `json:"note,omitempty"`
}

// A StackStatus is what a stack does now.
type StackStatus struct {
	Name    StackName `json:"name"`
	Version uint64    `json:"version"`
	// Holder is the node that keeps the stack up.
	Holder     PeerID `json:"holder"`
	HolderName string `json:"holder_name"`
	// State sums its instances up; Reason says what is wrong, if anything.
	State     StackState       `json:"state"`
	Reason    string           `json:"reason,omitempty"`
	Instances []InstanceStatus `json:"instances"`
	// Unreachable is how long ago the holder was last seen, where it is away:
	// all else is as it was then.
	Unreachable Milliseconds `json:"unreachable_ms,omitempty"`
}

// StackState sums up the instances of a stack.
type StackState string

// The states of a stack.
const (
	StackStarting StackState = "starting"
	StackUp       StackState = "up"       // all run, or have completed; none is unhealthy
	StackDegraded StackState = "degraded" // some do not run, or are unhealthy
	StackStopped  StackState = "stopped"  // as its owner wished
	StackAway     StackState = "away"     // its holder cannot be reached
	StackGone     StackState = "down"     // it was taken down, and its data is kept
)

// An InstanceStatus is what the container of a service does now.
type InstanceStatus struct {
	Service string        `json:"service"`
	State   InstanceState `json:"state"`
	// Health is empty where there is no check, or "starting", "healthy",
	// "unhealthy".
	Health string `json:"health,omitempty"`
	// Reason says for people why it is not running, or not healthy.
	Reason string `json:"reason,omitempty"`
	Image  string `json:"image"`
	// Container is its ID at the engine.
	Container string `json:"container,omitempty"`
	// Since is when State began, on the node's clock, for people.
	Since time.Time `json:"since"`
	// Restarts counts those that the node did since the last change of the stack.
	Restarts uint32 `json:"restarts"`
	// ExitCode is its last one, where Exited.
	ExitCode int  `json:"exit_code"`
	Exited   bool `json:"exited,omitempty"`
	// LastOutput are its last lines, where it failed.
	LastOutput string      `json:"last_output,omitempty"`
	Ports      []StackPort `json:"ports,omitempty"`
}

// InstanceState is where an instance is in its life.
type InstanceState string

// The states of an instance.
const (
	InstanceWaiting   InstanceState = "waiting"   // for a dependency, a device, a volume: Reason says which
	InstancePulling   InstanceState = "pulling"   // its image
	InstanceStarting  InstanceState = "starting"  // started and not yet healthy
	InstanceRunning   InstanceState = "running"   // and healthy, if there is a check
	InstanceUnhealthy InstanceState = "unhealthy" // running, and its check fails
	InstanceBackoff   InstanceState = "backoff"   // ended, and is started again after a while
	InstanceCompleted InstanceState = "completed" // ended with exit code 0, and is not started again
	InstanceFailed    InstanceState = "failed"    // ended otherwise, and is not started again
	InstanceStopped   InstanceState = "stopped"   // as its owner wished
)

// A StackPlan is what `stack up` would do.
type StackPlan struct {
	Name StackName `json:"name"`
	// Version that it would become; 1 for a new stack. Current is the one that it
	// is at, 0 for a new one: the same where there is nothing to change.
	Version uint64 `json:"version"`
	Current uint64 `json:"current"`
	// Holder is the node that would run it, Why says what chose it: "it holds the
	// stack", "the least loaded of 3 nodes". Empty where none can.
	Holder     PeerID `json:"holder,omitempty"`
	HolderName string `json:"holder_name,omitempty"`
	Why        string `json:"why"`
	// Services tells what changes, in the order in which it would be done.
	Services []ServiceChange `json:"services"`
	// Refused are the nodes that cannot run it, with all reasons.
	Refused []NodeRefusal `json:"refused,omitempty"`
	// Warnings stop nothing.
	Warnings []string `json:"warnings,omitempty"`
}

// A ServiceChange is what a plan does to one service.
type ServiceChange struct {
	Service string `json:"service"`
	Action  Action `json:"action"`
	// Why lists the fields that differ: "image", "env".
	Why []string `json:"why,omitempty"`
}

// Action is what is done to a service.
type Action string

// The actions of a plan.
const (
	ActionCreate   Action = "create"
	ActionRecreate Action = "recreate"
	ActionKeep     Action = "keep"
	ActionStart    Action = "start" // it is as it should be, and was stopped
	ActionRemove   Action = "remove"
)

// A NodeRefusal says why a node cannot run a stack.
type NodeRefusal struct {
	Node     PeerID         `json:"node"`
	NodeName string         `json:"node_name"`
	Reasons  []StackRefusal `json:"reasons"`
}

// A StackRefusal is one reason why a node cannot run a stack.
type StackRefusal struct {
	// Service is empty where it is the stack as a whole.
	Service string `json:"service,omitempty"`
	Code    Code   `json:"code"`
	Reason  string `json:"reason"`
	// PolicyLine would allow it, in policy.toml of that node; empty where none
	// does.
	PolicyLine string `json:"policy_line,omitempty"`
}

// A LogLine is a line that an instance wrote.
type LogLine struct {
	Service string  `json:"service"`
	Channel Channel `json:"channel"`
	// At is the engine's clock, for people.
	At   time.Time `json:"at"`
	Text string    `json:"text"`
	// Cut says that the line went on.
	Cut bool `json:"cut,omitempty"`
}
