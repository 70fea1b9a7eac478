package inproc_test

import (
	"bytes"
	"errors"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/testnet/inproc"
)

// TestRequestsFromEveryNode: in a mesh of whole nodes, each can ask each.
func TestRequestsFromEveryNode(t *testing.T) {
	t.Parallel()
	m := inproc.Start(t, 3, inproc.Options{})
	for _, asker := range m.Nodes {
		for _, target := range m.Nodes {
			s, err := asker.App.Run(t.Context(), protocol.Run{Service: protocol.Service{
				Image: inproc.Image, Args: []string{"out=hello", "exit=3"}, Constraints: protocol.Constraints{Node: target.Name},
			}})
			if err != nil {
				t.Fatal(err)
			}
			out, last := follow(t, s)
			if out != "hello" || last.State != protocol.StateFailed || last.ExitCode != 3 || last.Node != target.ID() {
				t.Errorf("%s on %s: output %q, end %+v", asker.Name, target.Name, out, last)
			}
		}
	}
}

// TestHundredCallsOfOneID: an app that asks again, or a hundred that ask at once,
// get one container and the same answer.
func TestHundredCallsOfOneID(t *testing.T) {
	t.Parallel()
	m := inproc.Start(t, 2, inproc.Options{})
	const calls = 100
	type answer struct {
		container, output string
		state             protocol.State
		code              int
	}
	answers := make(chan answer, calls)
	var all sync.WaitGroup
	for range calls {
		all.Go(func() {
			s, err := m.Nodes[0].App.Run(t.Context(), protocol.Run{ID: "the-one", Service: protocol.Service{
				Image: inproc.Image, Args: []string{"sleep=300ms", "out=hello", "exit=3"},
			}})
			if err != nil {
				t.Error(err)
				return
			}
			out, last := follow(t, s)
			answers <- answer{last.Container, out, last.State, last.ExitCode}
		})
	}
	all.Wait()
	close(answers)
	first := <-answers
	if first.container == "" || first.output != "hello" || first.state != protocol.StateFailed || first.code != 3 {
		t.Errorf("the answer is %+v", first)
	}
	for a := range answers {
		if a != first {
			t.Errorf("answers differ: %+v and %+v", first, a)
		}
	}
}

// TestNothingIsLeftOnTheEngine: once an end was read by who asked, its container
// is removed, on this device and on another.
func TestNothingIsLeftOnTheEngine(t *testing.T) {
	t.Parallel()
	m := inproc.Start(t, 2, inproc.Options{})
	for _, target := range m.Nodes {
		s, err := m.Nodes[0].App.Run(t.Context(), protocol.Run{Service: protocol.Service{
			Image: inproc.Image, Args: []string{"out=hello"}, Constraints: protocol.Constraints{Node: target.Name},
		}})
		if err != nil {
			t.Fatal(err)
		}
		follow(t, s)
		driver := target.Engine.Driver(string(m.Secret.Fingerprint()), target.ID())
		deadline, tick := time.After(20*time.Second), time.NewTicker(5*time.Millisecond)
		defer tick.Stop()
		for left := 1; left > 0; {
			select {
			case <-tick.C:
			case <-deadline:
				t.Fatalf("%d containers are left on %s", left, target.Name)
			}
			found, err := driver.Recover(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			left = len(found)
		}
	}
}

// TestLeaving: a node that stops is gone from the others' lists.
func TestLeaving(t *testing.T) {
	t.Parallel()
	m := inproc.Start(t, 3, inproc.Options{})
	m.Nodes[2].Stop()
	m.Nodes = m.Nodes[:2]
	m.WaitNodes(t, 2)
}

// follow reads a session to its end.
func follow(t *testing.T, s protocol.Session) (stdout string, last protocol.Event) {
	t.Helper()
	defer s.Close()
	var out bytes.Buffer
	for {
		u, err := s.Next()
		if errors.Is(err, io.EOF) {
			return out.String(), last
		}
		if err != nil {
			t.Error(err)
			return out.String(), last
		}
		if u.Event != nil {
			last = *u.Event
		}
		if u.Output != nil && u.Output.Channel == protocol.Stdout {
			out.Write(u.Output.Data)
		}
	}
}
