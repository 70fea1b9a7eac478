package api

import (
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

// Event is one event in `hearth events --json` and in `inspect --json`; the
// keys are stable.
type Event struct {
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

// NewEvent returns the object of e.
func NewEvent(e *protocol.Event) Event {
	out := Event{
		Request: e.Request, Attempt: e.Attempt, State: e.State.String(), Reason: e.Reason, Node: e.Node,
		NodeName: e.NodeName, Container: e.Container, QueuePlace: e.QueuePlace, At: given(e.At),
	}
	if e.Code != protocol.CodeNone {
		out.Code = e.Code.String()
	}
	if e.HasExitCode() {
		out.ExitCode = &e.ExitCode
	}
	return out
}

// Request is one request in `hearth ps --json`; the keys are stable.
type Request struct {
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

// NewRequest returns the object of r, as its device told it last.
func NewRequest(r *protocol.RequestInfo) Request {
	last := NewEvent(&r.Last)
	return Request{
		ID: r.ID, Image: r.Image, Args: listed(r.Args), Tags: r.Tags, Detached: r.Detached, State: last.State, Code: last.Code,
		Reason: last.Reason, ExitCode: last.ExitCode, Attempt: last.Attempt, Node: last.Node, NodeName: last.NodeName,
		From: r.Orchestrator, FromName: r.OrchestratorName, Container: last.Container, QueuePlace: last.QueuePlace,
		Accepted: given(r.Accepted), Started: given(r.Started), Ended: given(r.Ended),
	}
}

// RequestDetail is `hearth inspect --json`; the keys are stable.
type RequestDetail struct {
	Request
	Service   Service    `json:"service"`
	Events    []Event    `json:"events"`
	Decisions []Decision `json:"decisions"`
}

// NewRequestDetail returns the object of all that is known of a request.
func NewRequestDetail(d *protocol.RequestDetail) RequestDetail {
	out := RequestDetail{
		Request: NewRequest(&d.RequestInfo), Service: NewService(&d.Service),
		Events: []Event{}, Decisions: NewDecisions(d.Decisions),
	}
	for i := range d.Events {
		out.Events = append(out.Events, NewEvent(&d.Events[i]))
	}
	return out
}
