package main

import (
	"strings"

	"github.com/hearth-edge/hearth/protocol"
)

// moved collects the nodes that did not start a request, as long as all of them
// have the same reason: it is then told once. The zero value is none.
type moved struct {
	nodes []string
	why   string
}

// didNotStart is how a device tells that a request goes to another node.
const didNotStart = " did not start it: "

// add takes in why a request was moved, and reports whether it was a node's reason
// like the others'.
func (m *moved) add(reason string) bool {
	node, why, ok := strings.Cut(reason, didNotStart)
	if !ok || len(m.nodes) > 0 && why != m.why {
		return false
	}
	m.nodes, m.why = append(m.nodes, node), why
	return true
}

// tellMoves says which nodes did not start the request.
func (v *runView) tellMoves() {
	if m := v.moved; len(m.nodes) > 0 {
		v.say("%s%s%s", strings.Join(m.nodes, ", "), didNotStart, m.why)
	}
	v.moved = moved{}
}

// endingAfterMoves is ending, with the nodes that failed for the reason that the
// request ended with.
func (v *runView) endingAfterMoves(e *protocol.Event) error {
	if v.moved.why != e.Reason {
		v.tellMoves()
		return v.ending(e)
	}
	if n := len(v.moved.nodes); n > 0 && e.Code != protocol.CodeNone {
		all := *e
		all.Reason = strings.Join(v.moved.nodes, ", ") + didNotStart + e.Reason
		return v.ending(&all)
	}
	return v.ending(e)
}
