package sched

import (
	"slices"

	"github.com/hearth-edge/hearth/protocol"
)

// next returns the states that may follow s within one attempt: the state
// machine of DESIGN.md. It leaves out the step back to placing of another
// attempt. The zero State is before the beginning. Steps may be skipped, since
// an orchestrator may lose the connection meanwhile.
func next(s protocol.State) []protocol.State {
	ends := []protocol.State{
		protocol.StateSucceeded, protocol.StateFailed, protocol.StateRefused, protocol.StateCancelled,
		protocol.StateTimedOut, protocol.StateLost, protocol.StateUnknown,
	}
	switch s {
	case 0:
		return []protocol.State{protocol.StateAccepted}
	case protocol.StateAccepted:
		return []protocol.State{protocol.StatePlacing, protocol.StateCancelled}
	case protocol.StatePlacing:
		return append(ends, protocol.StatePulling, protocol.StateStarting, protocol.StateRunning)
	case protocol.StatePulling:
		return append(ends, protocol.StateStarting, protocol.StateRunning)
	case protocol.StateStarting:
		return append(ends, protocol.StateRunning)
	case protocol.StateRunning:
		// What has run cannot be refused any more.
		return slices.DeleteFunc(ends, func(end protocol.State) bool { return end == protocol.StateRefused })
	case protocol.StateUnknown:
		// The one end that is corrected, by the node that knows.
		return []protocol.State{
			protocol.StateSucceeded, protocol.StateFailed, protocol.StateCancelled,
			protocol.StateTimedOut, protocol.StateLost,
		}
	}
	return nil // any other end
}

// mayFollow reports whether a request in state from may report state to. Within
// a state there may be any number of events; an end is told once, but for unknown,
// which may be followed by the true one.
func mayFollow(from, to protocol.State) bool {
	return from == to && !from.Ended() && from != 0 || slices.Contains(next(from), to)
}
