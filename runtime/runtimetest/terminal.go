package runtimetest

import (
	"errors"
	"strings"
	"testing"

	"github.com/hearth-edge/hearth/runtime"
)

func testSignalsArrive(t *testing.T, s suite) {
	spec := s.spec("tell", s.script.Tell())
	stdio := s.start(t, spec)
	readUntil(t, stdio.Output, "ready\n")
	signal := func(name string) {
		t.Helper()
		if err := s.driver.Signal(s.context(t), spec.ID, name); err != nil {
			t.Fatalf("Signal %s: %v", name, err)
		}
	}
	for _, name := range []string{"HUP", "INT", "QUIT", "USR1", "USR2", "ALRM", "WINCH", "INT"} {
		signal(name)
		readUntil(t, stdio.Output, name+"\n")
	}
	for range 2 {
		signal("STOP")
		signal("STOP")
		signal("CONT")
		signal("CONT")
	}
	signal("USR1")
	readUntil(t, stdio.Output, "USR1\n")
	signal("TERM")
	s.wait(t, spec.ID, 143)
	for _, name := range []string{"KILL", "TERM", "STOP", "CONT", "WINCH"} {
		signal(name) // nobody is there any more
	}
}

// testKillStopped: what was stopped can be killed, and counts as running.
func testKillStopped(t *testing.T, s suite) {
	spec := s.spec("stopped", s.script.Sleep(long))
	readUntil(t, s.start(t, spec).Output, "ready\n")
	if err := s.driver.Signal(s.context(t), spec.ID, "STOP"); err != nil {
		t.Fatal(err)
	}
	if found, ok := s.find(t, spec.ID); !ok || !found.Running {
		t.Errorf("after STOP: found %t, %+v", ok, found)
	}
	if err := s.driver.Signal(s.context(t), spec.ID, "KILL"); err != nil {
		t.Fatal(err)
	}
	s.wait(t, spec.ID, 137)
}

// testTerminal: all output comes on one channel; only line ends may differ,
// since that is what a terminal does.
func testTerminal(t *testing.T, s suite) {
	const size = 1 << 20
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"both": {s.script.Print("out\n", "err\n"), "out\nerr\n"},
		"much": {s.script.Bytes(size), strings.Repeat("0123456789abcde\n", size/16)},
	} {
		spec := s.spec(name, c.args)
		spec.TTY = true
		live := s.start(t, spec)
		stdout, stderr := readAll(t, live.Output)
		if strings.ReplaceAll(stdout, "\r\n", "\n") != c.want || stderr != "" {
			t.Errorf("%s: %d bytes and %q", name, len(stdout), stderr)
		}
		s.wait(t, spec.ID, 0)
		kept, err := s.driver.Attach(s.context(t), spec.ID)
		if err != nil {
			t.Fatal(err)
		}
		if again, _ := readAll(t, kept.Output); again != stdout {
			t.Errorf("%s: %d of %d bytes were kept", name, len(again), len(stdout))
		}
		kept.Output.Close()
	}
}

// testTerminalInput: a terminal takes all that is typed, and its input ends
// also where a line does not.
func testTerminalInput(t *testing.T, s suite) {
	for _, last := range []string{"last\n", "last"} {
		spec := s.spec(strings.TrimSpace(last)+itoa(len(last)), s.script.Echo())
		spec.Stdin, spec.TTY = true, true
		stdio := s.start(t, spec)
		// Ctrl-P and Ctrl-Q mean something to some engines.
		for _, typed := range []string{"first\n", "\x10", "\x11", "\n", last} {
			if _, err := stdio.Stdin.Write([]byte(typed)); err != nil {
				t.Fatal(err)
			}
		}
		if err := stdio.Stdin.Close(); err != nil {
			t.Fatal(err)
		}
		stdout, _ := readAll(t, stdio.Output)
		for _, want := range []string{"first", "last"} {
			if !strings.Contains(stdout, want) {
				t.Errorf("%q is not in %q", want, stdout)
			}
		}
		s.wait(t, spec.ID, 0)
	}
}

func testResize(t *testing.T, s suite) {
	spec := s.spec("resize", s.script.Tell())
	spec.TTY = true
	stdio := s.create(t, spec)
	if err := s.driver.Resize(s.context(t), spec.ID, 1, 2); err != nil {
		t.Errorf("before the start: %v", err)
	}
	if err := s.driver.Start(s.context(t), spec.ID); err != nil {
		t.Fatal(err)
	}
	readUntil(t, stdio.Output, "ready")
	for _, size := range [][2]uint16{{40, 100}, {132, 43}} {
		if err := s.driver.Resize(s.context(t), spec.ID, size[0], size[1]); err != nil {
			t.Fatal(err)
		}
		readUntil(t, stdio.Output, itoa(int(size[0]))+" "+itoa(int(size[1])))
	}
	if err := s.driver.Signal(s.context(t), spec.ID, "TERM"); err != nil {
		t.Fatal(err)
	}
	s.wait(t, spec.ID, 143)
	if err := s.driver.Resize(s.context(t), spec.ID, 1, 2); err != nil {
		t.Errorf("after the end: %v", err)
	}
}

func testResizeNothing(t *testing.T, s suite) {
	spec := s.spec("no-terminal", s.script.Sleep(long))
	readUntil(t, s.start(t, spec).Output, "ready\n")
	if err := s.driver.Resize(s.context(t), spec.ID, 40, 100); err != nil {
		t.Errorf("without a terminal: %v", err)
	}
	nobody := s.spec("nobody", nil).ID
	if err := s.driver.Resize(s.context(t), nobody, 40, 100); !errors.Is(err, runtime.ErrNotFound) {
		t.Errorf("where there is nothing: %v", err)
	}
}
