package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/hearth-edge/hearth/protocol"
)

// Whoever waits sees that it is run again, and where.
func TestAttemptsAreShown(t *testing.T) {
	path := filepath.Join(t.TempDir(), "stderr")
	out, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	v := newRunView(&cli{stdout: out, stderr: out}, false, false)
	for _, e := range []protocol.Event{
		{State: protocol.StateAccepted},
		{State: protocol.StatePlacing, Attempt: 1},
		{State: protocol.StatePlacing, Attempt: 1, NodeName: "attic", Reason: "attic takes it"},
		{State: protocol.StateRunning, Attempt: 1, NodeName: "attic"},
		{State: protocol.StateRunning, Attempt: 1, NodeName: "attic", Reason: "attic does not answer; waiting up to 8s"},
		{State: protocol.StatePlacing, Attempt: 2, Reason: "retry 1 of 3: attic went away"},
		{State: protocol.StateRunning, Attempt: 2, NodeName: "attic"},
		{State: protocol.StateSucceeded, Attempt: 2, NodeName: "attic"},
	} {
		if _, err := v.show(protocol.Update{Event: &e}); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := `hearth: running on attic
hearth: attic does not answer; waiting up to 8s
hearth: retry 1 of 3: attic went away
hearth: running on attic
`
	if string(got) != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestNodesThatFailAlikeShareALine: a reason is told once, with all whose it is.
func TestNodesThatFailAlikeShareALine(t *testing.T) {
	placing := func(attempt uint32, reason string) protocol.Event {
		return protocol.Event{State: protocol.StatePlacing, Attempt: attempt, Reason: reason}
	}
	ended := protocol.Event{State: protocol.StateFailed, Code: protocol.CodePullFailed, Attempt: 3, NodeName: "c", Reason: "no such image"}
	for name, c := range map[string]struct {
		events    []protocol.Event
		said, err string
	}{
		"all alike": {[]protocol.Event{placing(1, ""), placing(2, "a did not start it: no such image"), placing(3, "b did not start it: no such image"), ended},
			"", "a, b did not start it: no such image"},
		"one runs": {[]protocol.Event{placing(1, ""), placing(2, "a did not start it: no such image"), placing(3, "b did not start it: no such image"),
			{State: protocol.StateRunning, Attempt: 3, NodeName: "c"}, {State: protocol.StateSucceeded, Attempt: 3}},
			"hearth: a, b did not start it: no such image\nhearth: running on c\n", ""},
		"not alike": {[]protocol.Event{placing(1, ""), placing(2, "a did not start it: disk full"), placing(3, "b did not start it: no such image"), ended},
			"hearth: a did not start it: disk full\n", "b did not start it: no such image"},
		"a retry between": {[]protocol.Event{placing(1, ""), placing(2, "a did not start it: disk full"), placing(3, "retry 1 of 3: b went away"), ended},
			"hearth: a did not start it: disk full\nhearth: retry 1 of 3: b went away\n", "no such image"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "stderr")
			out, err := os.Create(path)
			if err != nil {
				t.Fatal(err)
			}
			defer out.Close()
			v, last := newRunView(&cli{stdout: out, stderr: out}, false, false), ""
			for _, e := range c.events {
				if _, err := v.show(protocol.Update{Event: &e}); err != nil {
					last = err.Error()
				}
			}
			said, err := os.ReadFile(path)
			if err != nil || string(said) != c.said || last != c.err {
				t.Errorf("said %q, ends with %q (%v), want %q, %q", said, last, err, c.said, c.err)
			}
		})
	}
}
