package history

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

// A History is one run of a mesh. All times are since it began, on one monotonic
// clock; 0 is never.
type History struct {
	// Seed of the faults, for people.
	Seed uint64 `json:"seed,omitempty"`
	// Ended is when the recording ended: by then all faults were over, and the
	// engines had been asked what was left.
	Ended      time.Duration `json:"ended"`
	Requests   []*Request    `json:"requests"`
	Containers []*Container  `json:"containers"`
	Faults     []*Fault      `json:"faults"`
}

// A Request is what an app asked for, and what it was told.
type Request struct {
	ID string `json:"id"`
	// Device is the name of the one that was asked.
	Device   string `json:"device"`
	Retry    int    `json:"retry,omitempty"`
	Detached bool   `json:"detached,omitempty"`
	// Lines (see Line) is how many the container is to write, and Exit what it is
	// to end with then.
	Lines int           `json:"lines"`
	Exit  int           `json:"exit"`
	Asked time.Duration `json:"asked"`
	// Stopped is when somebody wanted it to end.
	Stopped time.Duration `json:"stopped,omitempty"`
	Told    []Told        `json:"told"`
	Output  []Piece       `json:"output,omitempty"`
}

// Told is one answer, of whatever conversation.
type Told struct {
	At time.Duration `json:"at"`
	// State is empty where the answer is an error.
	State     State  `json:"state,omitempty"`
	Code      string `json:"code,omitempty"`
	Reason    string `json:"reason,omitempty"`
	Attempt   int    `json:"attempt,omitempty"`
	Node      string `json:"node,omitempty"`
	ExitCode  int    `json:"exit_code,omitempty"`
	Container string `json:"container,omitempty"`
}

// A Piece of the standard output, as protocol.Output.
type Piece struct {
	Offset uint64 `json:"offset"`
	Cut    uint64 `json:"cut,omitempty"`
	Text   string `json:"text"`
}

// A Container is one that an engine told of.
type Container struct {
	ID      string `json:"id"`
	Node    string `json:"node"`
	Request string `json:"request"`
	Attempt int    `json:"attempt"`
	// Starts is how often it was started: 0 or 1, if all is well.
	Starts  int           `json:"starts"`
	Started time.Duration `json:"started,omitempty"`
	Ended   time.Duration `json:"ended,omitempty"`
	// ExitCode means nothing unless Exited: an engine that was killed may not know.
	ExitCode int  `json:"exit_code"`
	Exited   bool `json:"exited"`
	// Left is its state in the engine's words when all was over; empty where it
	// was removed.
	Left string `json:"left,omitempty"`
}

// A Fault was in effect at a node from From until Until, until the recording's
// end if that is 0. One without duration, as a kill, has both the same.
type Fault struct {
	Kind  Kind          `json:"kind"`
	Node  string        `json:"node,omitempty"` // its ID; empty is the network
	Name  string        `json:"name,omitempty"`
	From  time.Duration `json:"from"`
	Until time.Duration `json:"until,omitempty"`
}

// Kind is what went wrong.
type Kind string

// The faults.
const (
	Kill       Kind = "kill"        // the process, by SIGKILL, until it is started again
	Stop       Kind = "stop"        // in order, until it is started again
	Freeze     Kind = "freeze"      // the process stands still
	Sleep      Kind = "sleep"       // the device does, its containers too
	Partition  Kind = "partition"   // of the network
	Isolate    Kind = "isolate"     // of one host
	Lossy      Kind = "lossy"       // link
	Slow       Kind = "slow"        // link
	Skew       Kind = "skew"        // a wrong wall clock
	FillDisk   Kind = "fill-disk"   // of the state folder
	EngineHang Kind = "engine-hang" // takes calls and answers none
	EngineDown Kind = "engine-down" // killed, until it is started again
)

// State is protocol.State with a text for people.
type State protocol.State

var stateNames = []string{"", "accepted", "placing", "pulling", "starting", "running",
	"succeeded", "failed", "refused", "cancelled", "timed_out", "lost", "unknown"}

func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return fmt.Sprintf("state %d", uint8(s))
}

// MarshalText implements encoding.TextMarshaler.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *State) UnmarshalText(text []byte) error {
	i := slices.Index(stateNames, string(text))
	if i < 0 {
		return fmt.Errorf("no such state: %q", text)
	}
	*s = State(i)
	return nil
}

// Line is what a container (workload's lines) writes as its number-th line, from
// 0: its host name, which is the beginning of its ID, and the number.
func Line(container string, number int) string {
	return fmt.Sprintf("%.12s %06d\n", container, number)
}

// Write writes h as JSON.
func (h *History) Write(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", " ")
	return e.Encode(h)
}

// Read reads what Write wrote.
func Read(r io.Reader) (*History, error) {
	h := new(History)
	d := json.NewDecoder(r)
	d.DisallowUnknownFields()
	if err := d.Decode(h); err != nil {
		return nil, fmt.Errorf("read a history: %w", err)
	}
	return h, nil
}
