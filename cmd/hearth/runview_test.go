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
