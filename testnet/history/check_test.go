package history_test

import (
	"bytes"
	"reflect"
	"testing"
	"time"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/testnet/history"
)

const (
	second = time.Second
	left   = "aaaaaaaaaaaaaaaa"
	right  = "bbbbbbbbbbbbbbbb"
)

func wrote(container string, lines int) (text string) {
	for n := range lines {
		text += history.Line(container, n)
	}
	return text
}

func told(at time.Duration, s protocol.State, attempt, code int, node string) history.Told {
	return history.Told{At: at, State: history.State(s), Attempt: attempt, ExitCode: code, Node: node}
}

// once is a history in which a request is run, and ends with 3.
func once() *history.History {
	return &history.History{
		Ended: 100 * second,
		Requests: []*history.Request{{
			ID: "r", Device: "a", Lines: 3, Exit: 3, Asked: second,
			Told: []history.Told{
				told(2*second, protocol.StateAccepted, 0, 0, ""),
				told(3*second, protocol.StateRunning, 1, 0, "left"),
				told(11*second, protocol.StateFailed, 1, 3, "left"),
			},
			Output: []history.Piece{{Text: wrote(left, 1)}, {Offset: 20, Text: wrote(left, 3)[20:]}},
		}},
		Containers: []*history.Container{{
			ID: left, Node: "left", Request: "r", Attempt: 1, Starts: 1,
			Started: 3 * second, Ended: 10 * second, ExitCode: 3, Exited: true,
		}},
	}
}

// retried is one in which the first attempt is lost when its node is cut off: its
// container is killed at the end of its lease.
func retried() *history.History {
	h := once()
	r := h.Requests[0]
	r.Retry = 1
	r.Told = []history.Told{
		told(2*second, protocol.StateAccepted, 0, 0, ""),
		told(3*second, protocol.StateRunning, 1, 0, "left"),
		told(12*second, protocol.StatePlacing, 2, 0, ""),
		told(13*second, protocol.StateRunning, 2, 0, "right"),
		told(21*second, protocol.StateFailed, 2, 3, "right"),
	}
	r.Output = []history.Piece{{Text: wrote(left, 2)[:25]}, {Offset: 25, Text: wrote(right, 3)}}
	h.Containers[0].ExitCode = 137
	h.Containers = append(h.Containers, &history.Container{
		ID: right, Node: "right", Request: "r", Attempt: 2, Starts: 1,
		Started: 13 * second, Ended: 20 * second, ExitCode: 3, Exited: true,
	})
	h.Faults = []*history.Fault{{Kind: history.Isolate, Node: "left", From: 4 * second, Until: 50 * second}}
	return h
}

// Each case breaks just the promise that it names, or none.
var cases = []struct {
	name   string
	from   func() *history.History
	change func(h *history.History, r *history.Request, k *history.Container)
	want   history.Promise
}{
	{"all is well", once, func(*history.History, *history.Request, *history.Container) {}, ""},
	{"a retry", retried, func(*history.History, *history.Request, *history.Container) {}, ""},
	{"never accepted", once, func(h *history.History, r *history.Request, _ *history.Container) {
		r.Told, r.Output, h.Containers = []history.Told{{At: second, Code: "internal", Reason: "EOF"}}, nil, nil
	}, ""},
	{"never accepted, and run", once, func(_ *history.History, r *history.Request, _ *history.Container) {
		r.Told = nil
	}, history.NotForgotten},
	{"not found before it was accepted", once, func(_ *history.History, r *history.Request, _ *history.Container) {
		r.Told = append([]history.Told{{At: second, Code: "not_found"}}, r.Told...)
	}, ""},
	{"not found after", once, func(_ *history.History, r *history.Request, _ *history.Container) {
		r.Told = append(r.Told[:2:2], history.Told{At: 5 * second, Code: "not_found"}, r.Told[2])
	}, history.NotForgotten},
	{"not found after its end", once, func(_ *history.History, r *history.Request, _ *history.Container) {
		r.Told = append(r.Told, history.Told{At: 99 * second, Code: "not_found"})
	}, ""},
	{"no end", once, func(_ *history.History, r *history.Request, _ *history.Container) {
		r.Told = r.Told[:2]
	}, history.Ends},
	{"started twice", once, func(_ *history.History, _ *history.Request, k *history.Container) {
		k.Starts = 2
	}, history.OncePerNode},
	{"two containers of an attempt on a node", retried, func(h *history.History, r *history.Request, _ *history.Container) {
		second := h.Containers[1]
		second.Node, second.Attempt, r.Told = "left", 1, r.Told[:3]
		r.Told = append(r.Told, told(21e9, protocol.StateFailed, 1, 3, "left"))
	}, history.OncePerNode},
	{"elsewhere though it may have run", retried, func(_ *history.History, r *history.Request, _ *history.Container) {
		r.Retry = 0
	}, history.AtMostOnce},
	{"too many attempts", retried, func(h *history.History, _ *history.Request, _ *history.Container) {
		h.Containers = append([]*history.Container{{
			ID: "cccccccccccc", Node: "far", Request: "r", Attempt: 0, Starts: 1, Started: second, Ended: 2 * second, Exited: true,
		}}, h.Containers...)
	}, history.Attempts},
	{"the lease is ignored", retried, func(_ *history.History, _ *history.Request, k *history.Container) {
		k.Ended = 18 * second
	}, history.OneAtATime},
	{"the kill takes a second", retried, func(_ *history.History, _ *history.Request, k *history.Container) {
		k.Ended = 14 * second
	}, ""},
	{"asleep with its container", retried, func(h *history.History, _ *history.Request, k *history.Container) {
		h.Faults[0].Kind, k.Ended = history.Sleep, 51*second
	}, ""},
	{"awake with its container", retried, func(h *history.History, _ *history.Request, k *history.Container) {
		h.Faults[0].Kind, h.Faults[0].Until, k.Ended = history.Sleep, 14*second, 18*second
	}, history.OneAtATime},
	{"another exit code", once, func(_ *history.History, r *history.Request, _ *history.Container) {
		r.Told[2].ExitCode = 4
	}, history.Truth},
	{"success made up", once, func(h *history.History, r *history.Request, _ *history.Container) {
		r.Told[2] = told(11*second, protocol.StateSucceeded, 1, 0, "left")
	}, history.Truth},
	{"the engine does not know", once, func(_ *history.History, r *history.Request, k *history.Container) {
		r.Told[2].ExitCode, k.Exited = 4, false
	}, ""},
	{"an end of what never ran", once, func(h *history.History, r *history.Request, _ *history.Container) {
		h.Containers, r.Output = nil, nil
	}, history.Truth},
	{"refused, and it ran", once, func(_ *history.History, r *history.Request, _ *history.Container) {
		r.Told[2] = told(11*second, protocol.StateRefused, 0, 0, "")
	}, history.Truth},
	{"refused", once, func(h *history.History, r *history.Request, _ *history.Container) {
		r.Told[2], h.Containers, r.Output = told(11*second, protocol.StateRefused, 0, 0, ""), nil, nil
	}, ""},
	{"cancelled by nobody", once, func(_ *history.History, r *history.Request, _ *history.Container) {
		r.Told[2] = told(11*second, protocol.StateCancelled, 1, 0, "left")
	}, history.Truth},
	{"cancelled", once, func(_ *history.History, r *history.Request, _ *history.Container) {
		r.Stopped, r.Told[2] = 9*second, told(11*second, protocol.StateCancelled, 1, 0, "left")
	}, ""},
	{"timed out without a limit", once, func(_ *history.History, r *history.Request, _ *history.Container) {
		r.Told[2] = told(11*second, protocol.StateTimedOut, 1, 0, "left")
	}, history.Truth},
	{"lost, and it runs on", once, func(_ *history.History, r *history.Request, k *history.Container) {
		r.Told[2], k.Ended = told(11*second, protocol.StateLost, 1, 0, "left"), 30*second
	}, history.Truth},
	{"ended before the container", once, func(_ *history.History, _ *history.Request, k *history.Container) {
		k.Ended = 30 * second
	}, history.Truth},
	{"unknown, then the truth", once, func(_ *history.History, r *history.Request, k *history.Container) {
		r.Told = append(r.Told[:2:2], told(6*second, protocol.StateUnknown, 1, 0, "left"), r.Told[2])
	}, ""},
	{"unknown, then a lie", once, func(_ *history.History, r *history.Request, k *history.Container) {
		r.Told = append(r.Told[:2:2], told(6*second, protocol.StateUnknown, 1, 0, "left"), told(11*second, protocol.StateFailed, 1, 4, "left"))
	}, history.Truth},
	{"unknown for ever", once, func(_ *history.History, r *history.Request, _ *history.Container) {
		r.Told[2] = told(11*second, protocol.StateUnknown, 1, 0, "left")
	}, history.Corrected},
	{"the truth, then unknown", once, func(_ *history.History, r *history.Request, _ *history.Container) {
		r.Told = append(r.Told, told(12*second, protocol.StateUnknown, 1, 0, "left"))
	}, history.OneEnd},
	{"the same end twice", once, func(_ *history.History, r *history.Request, _ *history.Container) {
		r.Told = append(r.Told, told(12*second, protocol.StateFailed, 1, 3, "left"))
	}, ""},
	{"two ends", once, func(_ *history.History, r *history.Request, _ *history.Container) {
		r.Told = append(r.Told, told(12*second, protocol.StateLost, 1, 0, "left"))
	}, history.OneEnd},
	{"still running", once, func(h *history.History, r *history.Request, k *history.Container) {
		k.Ended, k.Left, h.Ended = 0, "running", 12*second
	}, history.NoOrphans},
	{"never started, and left", once, func(h *history.History, _ *history.Request, _ *history.Container) {
		h.Containers = append(h.Containers, &history.Container{ID: right, Node: "right", Request: "r", Attempt: 2, Left: "created"})
	}, history.NoOrphans},
	{"kept for who has not read its end", once, func(_ *history.History, _ *history.Request, k *history.Container) {
		k.Left = "exited"
	}, ""},
	{"kept too long", once, func(h *history.History, _ *history.Request, k *history.Container) {
		k.Left, h.Ended = "exited", time.Hour
	}, history.NoOrphans},
	{"a stranger", once, func(h *history.History, _ *history.Request, _ *history.Container) {
		h.Containers = append(h.Containers, &history.Container{ID: right, Node: "right", Request: "other", Attempt: 1})
	}, history.NoOrphans},
	{"a byte is wrong", once, func(_ *history.History, r *history.Request, _ *history.Container) {
		r.Output[1].Text = "x" + r.Output[1].Text[1:]
	}, history.Output},
	{"a line twice", once, func(_ *history.History, r *history.Request, _ *history.Container) {
		r.Output = append(r.Output, history.Piece{Offset: 60, Text: wrote(left, 1)})
	}, history.Output},
	{"a line is missing without a cut", once, func(_ *history.History, r *history.Request, _ *history.Container) {
		r.Output[1].Text = r.Output[1].Text[20:]
	}, history.Output},
	{"the last line is missing", once, func(_ *history.History, r *history.Request, _ *history.Container) {
		r.Output[1].Text = r.Output[1].Text[:20]
	}, history.Output},
	{"cut, and said so", once, func(_ *history.History, r *history.Request, _ *history.Container) {
		r.Output[1] = history.Piece{Offset: 40, Cut: 20, Text: wrote(left, 3)[40:]}
	}, ""},
	{"offsets with a hole", once, func(_ *history.History, r *history.Request, _ *history.Container) {
		r.Output[1] = history.Piece{Offset: 40, Text: wrote(left, 3)[40:]}
	}, history.Output},
	{"of another's container", once, func(_ *history.History, r *history.Request, _ *history.Container) {
		r.Output = []history.Piece{{Text: wrote(right, 3)}}
	}, history.Output},
	{"the first attempt's after the second's", retried, func(_ *history.History, r *history.Request, _ *history.Container) {
		r.Output = []history.Piece{{Text: wrote(right, 3)}, {Offset: 60, Text: wrote(left, 2)}}
	}, history.Output},
	{"some is missing since the engine was killed", once, func(h *history.History, r *history.Request, _ *history.Container) {
		h.Faults = []*history.Fault{{Kind: history.EngineDown, Node: "left", From: 4 * second, Until: 5 * second}}
		r.Output[1].Text = r.Output[1].Text[20:]
	}, ""},
	{"a line twice since the engine was killed", once, func(h *history.History, r *history.Request, _ *history.Container) {
		h.Faults = []*history.Fault{{Kind: history.EngineDown, Node: "left", From: 4 * second, Until: 5 * second}}
		r.Output[1].Text = wrote(left, 1)
	}, history.Output},
}

// TestCheck: each broken promise is found, and where none is, nothing.
func TestCheck(t *testing.T) {
	t.Parallel()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := c.from()
			c.change(h, h.Requests[0], h.Containers[0])
			found := history.Check(h)
			var want []history.Promise
			if c.want != "" {
				want = []history.Promise{c.want}
			}
			var got []history.Promise
			for _, v := range found {
				got = append(got, v.Promise)
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("found %v, want %q", found, want)
			}
		})
	}
}

// TestSaved: a history that was saved and read again is the same.
func TestSaved(t *testing.T) {
	t.Parallel()
	h := retried()
	var file bytes.Buffer
	if err := h.Write(&file); err != nil {
		t.Fatal(err)
	}
	saved := file.String()
	again, err := history.Read(&file)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(h, again) {
		t.Errorf("saved it is %s", saved)
	}
	if _, err := history.Read(bytes.NewBufferString(`{"requests": [{"id": "r", "told": [{"state": "dead"}]}]}`)); err == nil {
		t.Error("a state that there is not was read")
	}
}
