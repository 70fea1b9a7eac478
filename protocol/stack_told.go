package protocol

import (
	"encoding/json"
	"strings"
	"unicode"
	"unicode/utf8"
)

// What other devices tell of stacks is for people and programs that look at it.
// A field that is not known here is passed over, and text is cut to its bound.

// Bounds on what is told of a stack.
const (
	maxTold       = 10_000 // entries of a list
	maxLastOutput = 8 << 10
)

func decodePlan(raw []byte) (StackPlan, error) {
	var p StackPlan
	if err := json.Unmarshal(raw, &p); err != nil {
		return StackPlan{}, Errorf(CodeInvalid, "plan: it is malformed")
	}
	for _, refusal := range p.Refused {
		if len(refusal.Reasons) > maxTold {
			return StackPlan{}, Errorf(CodeInvalid, "plan: more than %d reasons", maxTold)
		}
		for i := range refusal.Reasons {
			if !refusal.Reasons[i].Code.known() {
				refusal.Reasons[i].Code = CodeInternal
			}
		}
	}
	if n := max(len(p.Services), len(p.Refused), len(p.Warnings)); n > maxTold {
		return StackPlan{}, Errorf(CodeInvalid, "plan: %d entries, the most is %d", n, maxTold)
	}
	if p.Holder != "" {
		if _, err := ParsePeerID(string(p.Holder)); err != nil {
			return StackPlan{}, err
		}
	}
	_, err := ParseStackName(string(p.Name))
	return p, err
}

func decodeStatus(raw []byte) (StackStatus, error) {
	var s StackStatus
	if err := json.Unmarshal(raw, &s); err != nil {
		return StackStatus{}, Errorf(CodeInvalid, "status: it is malformed")
	}
	if n := len(s.Instances); n > MaxStackServices {
		return StackStatus{}, Errorf(CodeInvalid, "status: %d instances, the most is %d", n, MaxStackServices)
	}
	for i := range s.Instances {
		n := &s.Instances[i]
		n.Reason, n.LastOutput = clip(n.Reason, maxReason), clip(n.LastOutput, maxLastOutput)
	}
	s.Reason = clip(s.Reason, maxReason)
	if s.Holder != "" {
		if _, err := ParsePeerID(string(s.Holder)); err != nil {
			return StackStatus{}, err
		}
	}
	_, err := ParseStackName(string(s.Name))
	return s, err
}

func decodeLine(raw []byte) (LogLine, error) {
	var l LogLine
	if err := json.Unmarshal(raw, &l); err != nil {
		return LogLine{}, Errorf(CodeInvalid, "line: it is malformed")
	}
	if l.Channel != Stdout && l.Channel != Stderr || !utf8.ValidString(l.Service) || len(l.Service) > maxPart || strings.ContainsFunc(l.Service, unicode.IsControl) {
		return LogLine{}, Errorf(CodeInvalid, "line: it is malformed")
	}
	return clippedLine(l), nil
}
