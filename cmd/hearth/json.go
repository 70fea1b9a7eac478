package main

import (
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

// eventJSON is one event in `hearth events --json` and in `inspect --json`; the
// keys are stable.
type eventJSON struct {
	Request    protocol.RequestID `json:"request"`
	Attempt    uint32             `json:"attempt,omitempty"`
	State      string             `json:"state"`
	Code       string             `json:"code,omitempty"`
	Reason     string             `json:"reason,omitempty"`
	ExitCode   *int               `json:"exit_code,omitempty"`
	Node       protocol.PeerID    `json:"node,omitempty"`
	NodeName   string             `json:"node_name,omitempty"`
	Container  string             `json:"container,omitempty"`
	QueuePlace uint32             `json:"queue_place,omitempty"`
	At         *time.Time         `json:"at,omitempty"`
}

func toEventJSON(e *protocol.Event) eventJSON {
	out := eventJSON{
		Request: e.Request, Attempt: e.Attempt, State: e.State.String(), Reason: e.Reason, Node: e.Node,
		NodeName: e.NodeName, Container: e.Container, QueuePlace: e.QueuePlace, At: given(e.At),
	}
	if e.Code != protocol.CodeNone {
		out.Code = e.Code.String()
	}
	if hasExited(e) {
		out.ExitCode = &e.ExitCode
	}
	return out
}

// hasExited reports whether the event's exit code is the container's own. Older
// nodes say so by state and code alone.
func hasExited(e *protocol.Event) bool {
	return e.Exited || e.State == protocol.StateSucceeded || e.State == protocol.StateFailed && e.Code == protocol.CodeNone
}

// requestJSON is one request in `hearth ps --json`; the keys are stable.
type requestJSON struct {
	ID         protocol.RequestID `json:"id"`
	Image      string             `json:"image"`
	Args       []string           `json:"args"`
	Tags       map[string]string  `json:"tags,omitempty"`
	Detached   bool               `json:"detached"`
	State      string             `json:"state"`
	Code       string             `json:"code,omitempty"`
	Reason     string             `json:"reason,omitempty"`
	ExitCode   *int               `json:"exit_code,omitempty"`
	Attempt    uint32             `json:"attempt,omitempty"`
	Node       protocol.PeerID    `json:"node,omitempty"`
	NodeName   string             `json:"node_name,omitempty"`
	From       protocol.PeerID    `json:"from"`
	FromName   string             `json:"from_name"`
	Container  string             `json:"container,omitempty"`
	QueuePlace uint32             `json:"queue_place,omitempty"`
	Accepted   *time.Time         `json:"accepted,omitempty"`
	Started    *time.Time         `json:"started,omitempty"`
	Ended      *time.Time         `json:"ended,omitempty"`
}

func toRequestJSON(r *protocol.RequestInfo) requestJSON {
	last := toEventJSON(&r.Last)
	return requestJSON{
		ID: r.ID, Image: r.Image, Args: listed(r.Args), Tags: r.Tags, Detached: r.Detached, State: last.State, Code: last.Code,
		Reason: last.Reason, ExitCode: last.ExitCode, Attempt: last.Attempt, Node: last.Node, NodeName: last.NodeName,
		From: r.Orchestrator, FromName: r.OrchestratorName, Container: last.Container, QueuePlace: last.QueuePlace,
		Accepted: given(r.Accepted), Started: given(r.Started), Ended: given(r.Ended),
	}
}

// serviceJSON is what was asked for, in `hearth inspect --json`; the keys are
// stable.
type serviceJSON struct {
	Image       string            `json:"image"`
	Args        []string          `json:"args"`
	Entrypoint  string            `json:"entrypoint,omitempty"`
	Env         []string          `json:"env"`
	WorkDir     string            `json:"workdir,omitempty"`
	User        string            `json:"user,omitempty"`
	CPUs        protocol.Cores    `json:"cpus,omitempty"`
	Memory      protocol.Bytes    `json:"memory,omitempty"`
	Accelerator string            `json:"accelerator,omitempty"`
	Stdin       bool              `json:"stdin"`
	TTY         bool              `json:"tty"`
	TimeoutMS   int64             `json:"timeout_ms,omitempty"`
	Node        string            `json:"node,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"`
	NotHere     bool              `json:"not_here"`
	Network     string            `json:"network,omitempty"`
	Mounts      []mountJSON       `json:"mounts"`
	Devices     []string          `json:"devices"`
	// Capabilities are those asked for beyond the node's default.
	Capabilities []string `json:"capabilities"`
	Retry        uint32   `json:"retry"`
	// NoEntrypoint: the image's is left out.
	NoEntrypoint bool           `json:"no_entrypoint"`
	Pull         string         `json:"pull,omitempty"`
	Hostname     string         `json:"hostname,omitempty"`
	ReadOnlyRoot bool           `json:"read_only"`
	Tmpfs        []tmpfsJSON    `json:"tmpfs"`
	ShmSize      protocol.Bytes `json:"shm_size,omitempty"`
	TTYRows      uint16         `json:"tty_rows,omitempty"`
	TTYColumns   uint16         `json:"tty_columns,omitempty"`
	// Tags are those of the request; of secrets nobody is told what they hold.
	Tags    map[string]string `json:"tags,omitempty"`
	Secrets []secretJSON      `json:"secrets"`
}

type mountJSON struct {
	Source   string `json:"source"`
	Target   string `json:"target"`
	Writable bool   `json:"writable"`
}

type tmpfsJSON struct {
	Target string         `json:"target"`
	Size   protocol.Bytes `json:"size,omitempty"`
	Mode   uint32         `json:"mode,omitempty"`
	Exec   bool           `json:"exec"`
}

func toServiceJSON(s *protocol.Service) serviceJSON {
	mounts := make([]mountJSON, 0, len(s.Mounts))
	for _, m := range s.Mounts {
		mounts = append(mounts, mountJSON(m))
	}
	tmpfs := make([]tmpfsJSON, 0, len(s.Tmpfs))
	for _, t := range s.Tmpfs {
		tmpfs = append(tmpfs, tmpfsJSON(t))
	}
	return serviceJSON{
		Image: s.Image, Args: listed(s.Args), Entrypoint: s.Entrypoint, Env: listed(s.Env), WorkDir: s.WorkDir, User: s.User,
		CPUs: s.CPUs, Memory: s.Memory, Accelerator: s.Accelerator, Stdin: s.Stdin, TTY: s.TTY, TimeoutMS: s.Timeout.Milliseconds(),
		Node: s.Constraints.Node, Labels: s.Constraints.Labels, NotHere: s.Constraints.NotHere,
		Network: s.Network, Mounts: mounts, Devices: listed(s.Devices), Capabilities: listed(s.Capabilities), Retry: s.Retry,
		NoEntrypoint: s.NoEntrypoint, Pull: string(s.Pull), Hostname: s.Hostname, ReadOnlyRoot: s.ReadOnlyRoot,
		Tmpfs: tmpfs, ShmSize: s.ShmSize, TTYRows: s.TTYRows, TTYColumns: s.TTYColumns,
		Tags: s.Tags, Secrets: toSecretsJSON(s.Secrets),
	}
}

// decisionJSON is one placement in `hearth explain --json`; the keys are stable.
type decisionJSON struct {
	LevelMS    float64         `json:"level_ms"`
	Places     float64         `json:"places"`
	Candidates []candidateJSON `json:"candidates"`
	Unnamed    int             `json:"unnamed,omitempty"`
}

type candidateJSON struct {
	Node       protocol.PeerID `json:"node"`
	Name       string          `json:"name"`
	Self       bool            `json:"self"`
	Score      float64         `json:"score"`
	EstimateMS float64         `json:"estimate_ms"`
	WorkMS     float64         `json:"work_ms"`
	NetworkMS  float64         `json:"network_ms"`
	ColdMS     float64         `json:"cold_ms"`
	Chance     float64         `json:"chance"`
	Chosen     bool            `json:"chosen"`
	Guess      bool            `json:"guess"`
	Code       string          `json:"code,omitempty"`
	Excluded   string          `json:"excluded,omitempty"`
}

func toDecisionsJSON(ds []protocol.Decision) []decisionJSON {
	out := make([]decisionJSON, 0, len(ds))
	for _, d := range ds {
		j := decisionJSON{LevelMS: milliseconds(d.Level), Places: d.Places, Candidates: []candidateJSON{}, Unnamed: d.Unnamed}
		for _, c := range d.Candidates {
			k := candidateJSON{
				Node: c.Node, Name: c.Name, Self: c.Self, Score: c.Score, EstimateMS: milliseconds(c.Estimate), WorkMS: milliseconds(c.Work),
				NetworkMS: milliseconds(c.Network), ColdMS: milliseconds(c.Cold), Chance: c.Chance, Chosen: c.Chosen, Excluded: c.Excluded, Guess: c.Guess,
			}
			if c.Code != protocol.CodeNone {
				k.Code = c.Code.String()
			}
			j.Candidates = append(j.Candidates, k)
		}
		out = append(out, j)
	}
	return out
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// listed makes a list that JSON shows as one even where it is empty.
func listed(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}

// given leaves out a time that is not known.
func given(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
