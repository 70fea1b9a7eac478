package api

import (
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

// StackPlan is what `hearth stack up` does or would do; the keys are stable.
type StackPlan struct {
	Name       protocol.StackName       `json:"name"`
	Version    uint64                   `json:"version"`
	Current    uint64                   `json:"current"`
	Holder     protocol.PeerID          `json:"holder,omitempty"`
	HolderName string                   `json:"holder_name,omitempty"`
	Why        string                   `json:"why"`
	Services   []protocol.ServiceChange `json:"services"`
	Refused    []NodeRefusal            `json:"refused"`
	Warnings   []string                 `json:"warnings"`
}

// NodeRefusal says why a node cannot run a stack.
type NodeRefusal struct {
	Node     protocol.PeerID `json:"node"`
	NodeName string          `json:"node_name"`
	Reasons  []StackRefusal  `json:"reasons"`
}

// StackRefusal is one reason; policy_line would allow it on that node.
type StackRefusal struct {
	Service    string `json:"service,omitempty"`
	Code       string `json:"code"`
	Reason     string `json:"reason"`
	PolicyLine string `json:"policy_line,omitempty"`
}

// NewStackPlan returns the object of p.
func NewStackPlan(p *protocol.StackPlan) StackPlan {
	out := StackPlan{
		Name: p.Name, Version: p.Version, Current: p.Current, Holder: p.Holder, HolderName: p.HolderName, Why: p.Why,
		Services: p.Services, Refused: []NodeRefusal{}, Warnings: listed(p.Warnings),
	}
	if out.Services == nil {
		out.Services = []protocol.ServiceChange{}
	}
	for _, r := range p.Refused {
		node := NodeRefusal{Node: r.Node, NodeName: r.NodeName, Reasons: []StackRefusal{}}
		for _, why := range r.Reasons {
			node.Reasons = append(node.Reasons, StackRefusal{Service: why.Service, Code: why.Code.String(), Reason: why.Reason, PolicyLine: why.PolicyLine})
		}
		out.Refused = append(out.Refused, node)
	}
	return out
}

// StackStatus is what a stack does now, in `hearth stack ps --json`.
type StackStatus = protocol.StackStatus

// StackRecord is a version of a stack, in `hearth stack history --json` and
// `hearth stack inspect`. What its files hold is never in it.
type StackRecord = protocol.StackRecord

// StackUpdate is a step of `hearth stack up --json`: one of its keys is there.
type StackUpdate struct {
	Plan     *StackPlan   `json:"plan,omitempty"`
	Accepted uint64       `json:"accepted,omitempty"`
	Status   *StackStatus `json:"status,omitempty"`
}

// NewStackUpdate returns the object of u.
func NewStackUpdate(u *protocol.StackUpdate) StackUpdate {
	out := StackUpdate{Accepted: u.Accepted, Status: u.Status}
	if u.Plan != nil {
		plan := NewStackPlan(u.Plan)
		out.Plan = &plan
	}
	return out
}

// LogLine is a line that an instance wrote, in `hearth stack logs --json`.
type LogLine struct {
	Service string     `json:"service"`
	Stream  string     `json:"stream"` // "stdout" or "stderr"
	At      *time.Time `json:"at,omitempty"`
	Text    string     `json:"text"`
	Cut     bool       `json:"cut,omitempty"`
}

// NewLogLine returns the object of l.
func NewLogLine(l *protocol.LogLine) LogLine {
	stream := "stdout"
	if l.Channel == protocol.Stderr {
		stream = "stderr"
	}
	return LogLine{Service: l.Service, Stream: stream, At: given(l.At), Text: l.Text, Cut: l.Cut}
}
