package sched

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

func TestLostAnswer(t *testing.T) {
	t.Run("the node has it", func(t *testing.T) {
		inMesh(t, abc, func(t *testing.T, m *mesh) {
			m.nodes["c"].mute = true
			app := m.run(protocol.Run{})
			e := m.nodes["c"].only(t)
			e.say(protocol.StateRunning)
			e.exit(0)
			if end := app.end(); end.State != protocol.StateSucceeded || end.Attempt != 1 {
				t.Errorf("end: %+v", end)
			}
			if n := len(m.nodes["a"].offers) + len(m.nodes["b"].offers); n != 0 {
				t.Errorf("it was offered elsewhere %d times", n)
			}
		})
	})
	t.Run("the node never got it", func(t *testing.T) {
		inMesh(t, abc, func(t *testing.T, m *mesh) {
			m.nodes["c"].deaf = true
			app := m.run(protocol.Run{})
			e := m.nodes["b"].only(t)
			e.exit(0)
			if end := app.end(); end.State != protocol.StateSucceeded || end.Attempt != 2 || end.Node != "b" {
				t.Errorf("end: %+v", end)
			}
		})
	})
	t.Run("the node does not come back", func(t *testing.T) {
		inMesh(t, abc, func(t *testing.T, m *mesh) {
			start := time.Now()
			m.nodes["c"].deaf, m.nodes["c"].gone = true, true
			app := m.run(protocol.Run{})
			app.wants(protocol.StatePlacing, protocol.CodeNodeLost, "c does not answer; waiting up to 30s")
			app.end()
			app.wants(protocol.StateUnknown, protocol.CodeNodeLost,
				"c did not answer the offer: it was not heard of for 30s; whether it runs there is not known")
			if d := time.Since(start); d != 30*time.Second {
				t.Errorf("told after %v", d)
			}
			if n := len(m.nodes["a"].offers) + len(m.nodes["b"].offers); n != 0 {
				t.Errorf("it was offered elsewhere %d times", n)
			}
			if n := len(m.nodes["c"].attaches); n > 20 {
				t.Errorf("%d tries in 30 s", n)
			}
		})
	})
}

func TestBrokenSessionIsTakenUpAgain(t *testing.T) {
	inMesh(t, abc, func(t *testing.T, m *mesh) {
		app := m.run(protocol.Run{})
		node := m.nodes["c"]
		e := node.only(t)
		e.say(protocol.StateRunning)
		e.write(t, "one ")
		node.set(func() { node.gone = true })
		m.view.Left("c")
		e.breakOff()
		app.wants(protocol.StateRunning, protocol.CodeNodeLost, "c does not answer; waiting up to 30s")
		e.write(t, "two ")
		time.Sleep(20 * time.Second)
		node.set(func() { node.gone = false })
		m.view.Joined("c", "c", "addr")
		app.wants(protocol.StateRunning, protocol.CodeNone, "c answers again")
		e.write(t, "three")
		e.exit(0)
		if end := app.end(); end.State != protocol.StateSucceeded {
			t.Errorf("end: %+v", end)
		}
		if got := string(app.stdout); got != "one two three" || app.cut != 0 {
			t.Errorf("output %q, %d cut", got, app.cut)
		}
	})
}

func TestLostNode(t *testing.T) {
	for _, c := range []struct {
		name   string
		lose   func(*mesh, *testNode)
		after  time.Duration
		state  protocol.State
		reason string
	}{
		{"goes away", func(m *mesh, n *testNode) { m.view.Left("c") }, 30 * time.Second, protocol.StateUnknown,
			"c went away while it had this; whether it ran is not known"},
		{"does not answer", func(m *mesh, n *testNode) { n.gone = true }, 30 * time.Second, protocol.StateUnknown,
			"c went away while it had this; whether it ran is not known"},
		{"forgets", func(m *mesh, n *testNode) { n.amnesia = true }, 0, protocol.StateLost,
			"c knows nothing of it any more; whether it finished is not known"},
	} {
		t.Run(c.name, func(t *testing.T) {
			inMesh(t, abc, func(t *testing.T, m *mesh) {
				app := m.run(protocol.Run{})
				e := m.nodes["c"].only(t)
				e.say(protocol.StateRunning)
				start := time.Now()
				m.nodes["c"].set(func() { c.lose(m, m.nodes["c"]) })
				e.breakOff()
				app.end()
				app.wants(c.state, protocol.CodeNodeLost, c.reason)
				if d := time.Since(start); d != c.after {
					t.Errorf("told after %v, want %v", d, c.after)
				}
			})
		})
	}
}

// A node that takes each attach and breaks it at once must not keep us spinning.
func TestFlickeringSessionIsPaced(t *testing.T) {
	inMesh(t, abc, func(t *testing.T, m *mesh) {
		m.run(protocol.Run{})
		node := m.nodes["c"]
		e := node.only(t)
		for range 50 {
			e.breakOff()
			time.Sleep(100 * time.Millisecond)
		}
		if n := len(node.attaches); n > 15 {
			t.Errorf("%d attaches in 5 s", n)
		}
	})
}

func TestStop(t *testing.T) {
	t.Run("while offered", func(t *testing.T) {
		inMesh(t, abc, func(t *testing.T, m *mesh) {
			m.nodes["c"].deaf, m.nodes["c"].gone = true, true
			app := m.run(protocol.Run{})
			app.last()
			if err := app.Stop(time.Second); err != nil {
				t.Fatal(err)
			}
			time.Sleep(3 * time.Second)
			m.nodes["c"].set(func() { m.nodes["c"].gone = false })
			app.end()
			app.wants(protocol.StateCancelled, protocol.CodeCancelled, "cancelled before it was placed")
		})
	})
	t.Run("wished before there was an execution", func(t *testing.T) {
		inMesh(t, abc, func(t *testing.T, m *mesh) {
			m.nodes["c"].mute, m.nodes["c"].gone = true, true
			app := m.run(protocol.Run{})
			app.last()
			_ = app.Stop(time.Second)
			m.nodes["c"].set(func() { m.nodes["c"].gone = false })
			time.Sleep(5 * time.Second)
			e := m.nodes["c"].only(t)
			if !slices.Equal(e.stops, []time.Duration{time.Second}) {
				t.Errorf("stops: %v", e.stops)
			}
		})
	})
	t.Run("while it runs", func(t *testing.T) {
		inMesh(t, abc, func(t *testing.T, m *mesh) {
			app := m.run(protocol.Run{})
			e := m.nodes["c"].only(t)
			e.say(protocol.StateRunning)
			_ = app.Stop(7 * time.Second)
			_ = app.Stop(0) // impatient
			if !slices.Equal(e.stops, []time.Duration{7 * time.Second, 0}) {
				t.Errorf("stops: %v", e.stops)
			}
			e.feed.Event(protocol.Event{State: protocol.StateCancelled, Code: protocol.CodeCancelled})
			if end := app.end(); end.State != protocol.StateCancelled {
				t.Errorf("end: %+v", end)
			}
			if err := app.Stop(0); err != nil {
				t.Errorf("after the end: %v", err)
			}
		})
	})
	t.Run("and it does not end", func(t *testing.T) {
		inMesh(t, abc, func(t *testing.T, m *mesh) {
			app := m.run(protocol.Run{})
			m.nodes["c"].only(t).say(protocol.StateRunning)
			start := time.Now()
			_ = app.Stop(7 * time.Second)
			app.end()
			app.wants(protocol.StateUnknown, protocol.CodeTimeout,
				"it did not end in time after it was asked to stop: how it ends on c is not known")
			if d := time.Since(start); d != 17*time.Second {
				t.Errorf("told after %v", d)
			}
		})
	})
}

func TestInput(t *testing.T) {
	inMesh(t, abc, func(t *testing.T, m *mesh) {
		node := m.nodes["c"]
		node.mute, node.gone = true, true
		app := m.run(protocol.Run{ID: "r", Service: protocol.Service{Stdin: true}})
		wrote := make(chan error)
		go func() {
			_, err := io.WriteString(app, "early ")
			wrote <- err
		}()
		app.last()
		node.set(func() { node.gone = false })
		node.only(t).say(protocol.StateRunning)
		if err := <-wrote; err != nil {
			t.Fatal(err)
		}
		other := m.run(protocol.Run{ID: "r", Service: protocol.Service{Stdin: true}})
		if _, err := io.WriteString(other, "not mine"); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("a second asker's input: %v", err)
		}
		_ = other.CloseWrite()
		_, _ = io.WriteString(app, "late")
		_ = app.CloseWrite()
		e := node.only(t)
		if e.input.String() != "early late" || e.inputEnded != 1 {
			t.Errorf("input %q, ended %d times", e.input.String(), e.inputEnded)
		}
		e.exit(0)
		app.end()
		if _, err := io.WriteString(app, "too late"); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("after the end: %v", err)
		}
	})
}

// What an attempt that has not started was sent would be missing in the next one.
func TestInputGoesToWhatRuns(t *testing.T) {
	inMesh(t, abc, func(t *testing.T, m *mesh) {
		app := m.run(protocol.Run{ID: "r", Service: protocol.Service{Stdin: true}})
		wrote := make(chan error)
		go func() {
			_, err := io.WriteString(app, "all of it")
			wrote <- err
		}()
		first, _ := m.attempt(1)
		time.Sleep(time.Second)
		first.giveBack()
		second, _ := m.attempt(2)
		second.say(protocol.StateRunning)
		if err := <-wrote; err != nil {
			t.Fatal(err)
		}
		_ = app.CloseWrite()
		synctest.Wait()
		if first.input.Len() != 0 || second.input.String() != "all of it" || second.inputEnded != 1 {
			t.Errorf("the first got %q, the second %q, ended %d times", first.input.String(), second.input.String(), second.inputEnded)
		}
	})
}

func TestInputEndedEarly(t *testing.T) {
	inMesh(t, abc, func(t *testing.T, m *mesh) {
		node := m.nodes["c"]
		node.mute, node.gone = true, true
		app := m.run(protocol.Run{Service: protocol.Service{Stdin: true}})
		app.last()
		_ = app.CloseWrite()
		node.set(func() { node.gone = false })
		time.Sleep(5 * time.Second)
		if e := node.only(t); e.inputEnded != 1 {
			t.Errorf("the input's end came %d times", e.inputEnded)
		}
	})
}

// What was on its way when the connection broke may be missing: the container
// must not get what comes after it.
func TestInputIsNotContinuedAfterBreak(t *testing.T) {
	inMesh(t, abc, func(t *testing.T, m *mesh) {
		app := m.run(protocol.Run{Service: protocol.Service{Stdin: true}})
		e := m.nodes["c"].only(t)
		e.say(protocol.StateRunning)
		_, _ = io.WriteString(app, "part one")
		e.breakOff()
		synctest.Wait()
		if _, err := io.WriteString(app, "part two"); protocol.CodeOf(err) != protocol.CodeNodeLost {
			t.Errorf("input after the break: %v", err)
		}
		if e.input.String() != "part one" {
			t.Errorf("input %q", e.input.String())
		}
	})
}

func TestWaitingWriteEndsWithItsSession(t *testing.T) {
	inMesh(t, abc, func(t *testing.T, m *mesh) {
		m.nodes["c"].deaf, m.nodes["c"].gone = true, true
		app := m.run(protocol.Run{Service: protocol.Service{Stdin: true}})
		wrote := make(chan error)
		go func() {
			_, err := io.WriteString(app, "x")
			wrote <- err
		}()
		app.last()
		_ = app.Close()
		if err := <-wrote; !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("%v", err)
		}
		<-app.done
	})
}

// Whatever a node sends, no byte is passed on twice and what is missing is told.
func TestOutputOffsets(t *testing.T) {
	feed := protocol.NewFeed(1 << 10)
	for _, o := range []protocol.Output{
		{Channel: protocol.Stdout, Offset: 0, Data: []byte("abcd")},
		{Channel: protocol.Stdout, Offset: 2, Data: []byte("cdef")},
		{Channel: protocol.Stdout, Offset: 0, Data: []byte("abc")},
		{Channel: protocol.Stdout, Offset: 10, Data: []byte("kl")},
		{Channel: protocol.Stderr, Offset: 0, Data: []byte("!")},
		{Channel: protocol.Stdin, Offset: 0, Data: []byte("?")},
		{Channel: 77, Offset: 0, Data: []byte("?")},
	} {
		if err := passOn(t.Context(), feed, &o); err != nil {
			t.Fatal(err)
		}
	}
	feed.End()
	var got bytes.Buffer
	reader := feed.Reader(0, 0)
	for u, err := reader.Next(); err == nil; u, err = reader.Next() {
		fmt.Fprintf(&got, "%d@%d-%d:%s ", u.Output.Channel, u.Output.Offset, u.Output.Cut, u.Output.Data)
	}
	if want := "1@0-0:abcdef 1@10-4:kl 2@0-0:!"; strings.TrimSpace(got.String()) != want {
		t.Errorf("got %s, want %s", got.String(), want)
	}
}
