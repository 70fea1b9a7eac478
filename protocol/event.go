package protocol

import (
	"fmt"
	"time"
)

// State is where a request is in its life; sched's DESIGN.md draws the machine.
type State uint8

// The states in the order in which a request goes through them.
const (
	StateAccepted State = iota + 1
	StatePlacing
	StatePulling
	StateStarting
	StateRunning
	// StateSucceeded and the rest are ends.
	StateSucceeded
	StateFailed
	StateRefused
	StateCancelled
	StateTimedOut
	StateLost
	StateUnknown
)

var stateNames = [...]string{
	StateAccepted: "accepted", StatePlacing: "placing", StatePulling: "pulling", StateStarting: "starting",
	StateRunning: "running", StateSucceeded: "succeeded", StateFailed: "failed", StateRefused: "refused",
	StateCancelled: "cancelled", StateTimedOut: "timed_out", StateLost: "lost", StateUnknown: "unknown",
}

// String returns the state's stable name, as users and JSON read it.
func (s State) String() string {
	if int(s) < len(stateNames) && stateNames[s] != "" {
		return stateNames[s]
	}
	return fmt.Sprintf("state_%d", uint8(s))
}

// Ended reports whether s is an end. StateUnknown is one that may still be
// corrected when the node that knows comes back.
func (s State) Ended() bool { return s >= StateSucceeded }

// An Event is one step in a request's life, or progress within a state.
type Event struct {
	Request RequestID
	Attempt uint32
	State   State
	// Node is where it happened or whom it is about; empty before placement.
	Node     PeerID
	NodeName string
	// At is the time on the clock of the device that saw it, for people only:
	// nothing is decided by it.
	At time.Time
	// Code and Reason say why, where there is something to say.
	Code   Code
	Reason string
	// ExitCode is the container's own where Exited is set, however it was ended: by
	// itself, by a stop, or by a time limit. It is also set with StateSucceeded, and
	// with StateFailed where Code is CodeNone.
	ExitCode int
	Exited   bool
	// QueuePlace is how many executions are before this one on the node; 0
	// where it is not queued.
	QueuePlace uint32
	// Progress of a pull, with StatePulling.
	Progress *Progress
	// Container is its ID at the engine, from StateStarting on.
	Container string
}

// HasExitCode reports whether ExitCode is the container's own. Older nodes say so
// by state and code alone.
func (e *Event) HasExitCode() bool {
	return e.Exited || e.State == StateSucceeded || e.State == StateFailed && e.Code == CodeNone
}

// Progress of an image's pull.
type Progress struct {
	// Current and Total in bytes; Total grows as layers become known.
	Current, Total Bytes
	// Layers done and in all.
	LayersDone, Layers uint32
}

// Channel tells the raw byte streams of an execution apart.
type Channel uint8

// The standard streams; input and output never share a channel.
const (
	Stdin Channel = iota
	Stdout
	Stderr
)

// Output is a piece of what a container wrote.
type Output struct {
	Channel Channel
	// Offset counts the bytes of this channel that came before this piece.
	Offset uint64
	// Cut is how many bytes of this channel directly before Offset were
	// dropped, because nobody read them in time.
	Cut uint64
	// Data is valid until the next call to the reader it came from.
	Data []byte
	// At is when Data came, on the clock of the device that keeps it, for people
	// only; zero where that is not known.
	At time.Time
}

// An Update is what an execution or an attached request says next: exactly one
// field is set.
type Update struct {
	Event    *Event
	Output   *Output
	Decision *Decision
}

// A Decision explains a placement.
type Decision struct {
	// Level is the water level: nodes whose estimate is below it had a chance.
	Level time.Duration
	// Places is how many places below the level were wanted.
	Places float64
	// Candidates holds the devices known, best first, those left out last; of
	// many not all. Unnamed is how many more there are.
	Candidates []Candidate
	Unnamed    int
}

// A Candidate is one device in a Decision.
type Candidate struct {
	Node PeerID
	Name string
	Self bool
	// Score as in Status; journals call it Rating.
	Score float64 `json:"Rating"`
	// Estimate is the time to the end of the execution there: its parts are
	// Work (on an idle node, load's factor applied), Network and Cold.
	Estimate, Work, Network, Cold time.Duration
	// Guess says that the estimate rests on defaults: the service was not seen
	// yet, or nobody knows how large its image is.
	Guess bool
	// Chance of being drawn, 0 to 1.
	Chance float64
	// Chosen marks the node that the offer went to.
	Chosen bool
	// Code and Excluded say why it was left out; empty for those ranked.
	Code     Code
	Excluded string
}
