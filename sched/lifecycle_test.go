package sched

import (
	"log/slog"
	"slices"
	"testing"

	"github.com/hearth-edge/hearth/protocol"
)

const lastState = protocol.StateUnknown

// The order of the states before the end is the order in which they come.
func TestTransitions(t *testing.T) {
	for from := protocol.State(0); from <= lastState; from++ {
		for to := protocol.State(0); to <= lastState; to++ {
			want := false
			switch {
			case from == protocol.StateUnknown:
				want = to.Ended() && to != protocol.StateUnknown && to != protocol.StateRefused
			case from.Ended():
			case from == 0:
				want = to == protocol.StateAccepted
			case from == protocol.StateAccepted:
				want = slices.Contains([]protocol.State{protocol.StateAccepted, protocol.StatePlacing, protocol.StateCancelled}, to)
			case from == protocol.StateRunning && to == protocol.StateRefused:
			default:
				want = to >= from
			}
			if got := mayFollow(from, to); got != want {
				t.Errorf("%d after %d: %v, want %v", to, from, got, want)
			}
		}
	}
}

// Whatever an execution tells, in whatever order, each step is one of the state
// machine's, and nothing follows the end.
func TestEveryTransitionFromAnExecution(t *testing.T) {
	for from := protocol.StatePlacing; from <= lastState; from++ {
		for to := protocol.State(0); to <= lastState; to++ {
			params := DefaultParams()
			o := New(Config{
				View: NewView("a", noTime, params), Clock: noTime, Params: params, Log: slog.New(slog.DiscardHandler),
			})
			r := newRequest(o, "r", protocol.Service{}, [32]byte{})
			r.state = from
			ended := r.handleEvent(protocol.Event{State: to, Reason: "news"})
			as := max(to, protocol.StatePlacing)
			history, _ := r.progress.history()
			moved := r.state == as && len(history) == 1
			if mayFollow(from, as) != moved {
				t.Errorf("%d after %d: now in %d", to, from, r.state)
			}
			if ended != (mayFollow(from, as) && as.Ended()) {
				t.Errorf("%d after %d: ended %v", to, from, ended)
			}
		}
	}
}
