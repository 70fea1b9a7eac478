// Package runtimetest states what every runtime.Driver must do, as tests, and
// makes the images that tests of containers need.
package runtimetest

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime"
)

// patience bounds every single step of a test; only a failing one waits so
// long.
const patience = time.Minute

// Options say how the driver under test is told to do things.
type Options struct {
	// Image is one that is present and has a size, Missing one that is not in
	// its registry. Interrupted is Image with INT as its stop signal.
	Image, Missing, Interrupted string
	// Script makes the arguments for what the tests want to happen.
	Script Script
}

// A Script returns, for each behaviour, the service's arguments that cause it.
type Script struct {
	// Print writes stdout to standard output, then stderr to standard error,
	// and exits with 0.
	Print func(stdout, stderr string) []string
	// Exit exits with code.
	Exit func(code int) []string
	// Bytes writes n bytes to standard output: "0123456789abcde\n" over and
	// over. It exits with 0.
	Bytes func(n int) []string
	// Echo copies standard input to standard output, and exits with 0 when it
	// ends.
	Echo func() []string
	// Sleep writes "ready\n" and sleeps for d. It dies of TERM and INT.
	Sleep func(d time.Duration) []string
	// Stubborn is Sleep, ignoring TERM.
	Stubborn func(d time.Duration) []string
	// Tell writes "ready\n", then the name of each signal that comes, a line
	// each, and after a new size of its terminal that size: "24 80\n". It dies
	// of TERM.
	Tell func() []string
	// Describe writes what the container has, as it sees it, a line each: "hostname
	// NAME"; "root rw" or "root ro"; "shm KIB"; of the file system in memory at
	// tmpfs "tmpfs KIB MODE exec", or noexec; "size ROWS COLUMNS" of its terminal.
	Describe func(tmpfs string) []string
	// Serve listens on a TCP port at all addresses, writes "ready\n", and sends
	// back what comes on each connection.
	Serve func(port uint16) []string
	// OutOfMemory takes more memory than it may.
	OutOfMemory func() []string
	// Unstartable names a command that the image does not have (127) or that
	// cannot be executed (126).
	Unstartable func(code int) []string
	// Shell runs a shell script. It is nil for a driver whose containers are no
	// processes of a kernel, which then confines nothing.
	Shell func(script string) []string
}

// BusyboxScript is the Script for images made by BusyboxImage.
func BusyboxScript() Script {
	sh := func(script string, args ...string) []string {
		return append([]string{"sh", "-c", script, "sh"}, args...)
	}
	return Script{
		Print: func(stdout, stderr string) []string {
			return sh(`printf %s "$1"; printf %s "$2" >&2`, stdout, stderr)
		},
		Exit:  func(code int) []string { return sh("exit $1", itoa(code)) },
		Bytes: func(n int) []string { return sh("yes 0123456789abcde | head -c $1", itoa(n)) },
		Echo:  func() []string { return []string{"cat"} },
		Sleep: func(d time.Duration) []string {
			return sh("echo ready; exec sleep $1", seconds(d))
		},
		Stubborn: func(d time.Duration) []string {
			return sh("trap '' TERM; echo ready; exec sleep $1", seconds(d))
		},
		Tell: func() []string {
			return sh(`for s in HUP INT QUIT USR1 USR2 ALRM; do trap "echo $s" $s; done
trap 'echo WINCH; stty size 2>/dev/null' WINCH
echo ready; sleep 600 & while :; do wait $!; done`)
		},
		Describe: func(tmpfs string) []string {
			return sh(`echo hostname $(hostname)
if touch /written 2>/dev/null; then echo root rw; else echo root ro; fi
echo shm $(df -k /dev/shm | awk 'END { print $2 }')
if grep -q " $1 .*noexec" /proc/mounts; then exec=noexec; else exec=exec; fi
echo tmpfs $(df -k "$1" | awk 'END { print $2 }') $(stat -c %a "$1") $exec
# An engine may be able to tell the size only after the start.
for i in $(seq 200); do [ -n "$(stty size 2>/dev/null)" ] && break; sleep 0.05; done
echo size $(stty size)`, tmpfs)
		},
		Serve: func(port uint16) []string {
			return sh(`nc -ll -p "$1" -e cat & until netstat -tln | grep -q ":$1 "; do sleep 0.05; done; echo ready; wait`, itoa(int(port)))
		},
		OutOfMemory: func() []string { return []string{"tail", "/dev/zero"} },
		Unstartable: func(code int) []string {
			if code == 126 {
				return []string{"/bin"}
			}
			return []string{"no-such-command"}
		},
		Shell: func(script string) []string { return sh(script) },
	}
}

// Conformance tests a driver. newDriver is called once for each subtest; its
// drivers may be of one engine, mesh and node.
func Conformance(t *testing.T, newDriver func(t *testing.T) runtime.Driver, o Options) {
	cases := []testCase{
		{"Info", testInfo},
		{"Inspect", testInspect},
		{"Life", testLife},
		{"ExitCode", testExitCode},
		{"OutputPerChannel", testOutputPerChannel},
		{"OutputIntact", testOutputIntact},
		{"Input", testInput},
		{"NoInput", testNoInput},
		{"Signals", testSignals},
		{"SignalsArrive", testSignalsArrive},
		{"KillStopped", testKillStopped},
		{"Terminal", testTerminal},
		{"TerminalInput", testTerminalInput},
		{"Resize", testResize},
		{"Description", testDescription},
		{"ResizeNothing", testResizeNothing},
		{"WaitEndsWithContext", testWaitEndsWithContext},
		{"EndedContext", testEndedContext},
		{"CreateTwice", testCreateTwice},
		{"ShortLived", testShortLived},
		{"Remove", testRemove},
		{"RemoveEndsWait", testRemoveEndsWait},
		{"NotFound", testNotFound},
		{"Recover", testRecover},
		{"Attach", testAttach},
		{"ImageMissing", testImageMissing},
		{"Unstartable", testUnstartable},
		{"Backpressure", testBackpressure},
		{"CloseUnblocksNext", testCloseUnblocksNext},
		{"Many", testMany},
		{"Watch", testWatch},
		{"StopSignal", testStopSignal},
		{"OutOfMemory", testOutOfMemory},
	}
	cases = append(cases, accesses...)
	if o.Script.Shell != nil {
		cases = append(cases, confinement...)
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			d := newDriver(t)
			t.Cleanup(func() {
				if err := d.Close(); err != nil {
					t.Errorf("Close: %v", err)
				}
			})
			c.test(t, suite{driver: d, options: o, script: o.Script, prefix: strings.ToLower(rand.Text()[:8])})
		})
	}
}

// testCase is one part of the suite.
type testCase struct {
	name string
	test func(*testing.T, suite)
}

// suite is what one test works with.
type suite struct {
	driver  runtime.Driver
	options Options
	script  Script
	// prefix makes the requests of one test differ from others'.
	prefix string
}

// spec describes an execution with small limits.
func (s suite) spec(name string, args []string) runtime.Spec {
	return runtime.Spec{
		ID:      runtime.ExecutionID{Orchestrator: "orchestrator", Request: protocol.RequestID(s.prefix + "." + name), Attempt: 1},
		Image:   s.options.Image,
		Args:    args,
		CPUs:    1,
		Memory:  64 << 20,
		Pids:    64,
		Network: "none",
	}
}

// context returns one that ends if the test takes too long, or ended.
func (s suite) context(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// create creates an execution that is removed when the test ends.
func (s suite) create(t *testing.T, spec runtime.Spec) runtime.Stdio {
	t.Helper()
	container, stdio, err := s.driver.Create(s.context(t), spec)
	if err != nil {
		t.Fatalf("Create: %v", err)
	}
	s.removeLater(t, spec.ID)
	t.Cleanup(func() { stdio.Output.Close() })
	if container == "" {
		t.Error("Create returned no container ID")
	}
	return stdio
}

func (s suite) removeLater(t *testing.T, id runtime.ExecutionID) {
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := s.driver.Remove(ctx, id); err != nil {
			t.Errorf("Remove: %v", err)
		}
	})
}

// start creates and starts an execution.
func (s suite) start(t *testing.T, spec runtime.Spec) runtime.Stdio {
	t.Helper()
	stdio := s.create(t, spec)
	if err := s.driver.Start(s.context(t), spec.ID); err != nil {
		t.Fatalf("Start: %v", err)
	}
	return stdio
}

// wait waits for the end and checks the exit code.
func (s suite) wait(t *testing.T, id runtime.ExecutionID, code int) runtime.Exit {
	t.Helper()
	exit, err := s.driver.Wait(s.context(t), id)
	if err != nil {
		t.Fatalf("Wait: %v", err)
	}
	if exit.Code != code {
		t.Errorf("exit code %d, want %d", exit.Code, code)
	}
	return exit
}

// find returns what Recover says of an execution; ok is false where nothing.
func (s suite) find(t *testing.T, id runtime.ExecutionID) (found runtime.Recovered, ok bool) {
	t.Helper()
	all, err := s.driver.Recover(s.context(t))
	if err != nil {
		t.Fatalf("Recover: %v", err)
	}
	for _, r := range all {
		if r.ID == id {
			return r, true
		}
	}
	return runtime.Recovered{}, false
}

// readAll reads an output to its end.
func readAll(t *testing.T, out runtime.OutputReader) (stdout, stderr string) {
	t.Helper()
	defer time.AfterFunc(patience, func() { out.Close() }).Stop()
	var text [protocol.Stderr + 1]strings.Builder
	for {
		channel, data, err := out.Next()
		if errors.Is(err, io.EOF) {
			return text[protocol.Stdout].String(), text[protocol.Stderr].String()
		}
		if err != nil {
			t.Fatalf("Next: %v", err)
		}
		if channel != protocol.Stdout && channel != protocol.Stderr {
			t.Fatalf("Next: output on channel %d", channel)
		}
		text[channel].Write(data)
	}
}

// readUntil reads until standard output holds what is wanted, and no further.
func readUntil(t *testing.T, out runtime.OutputReader, want string) {
	t.Helper()
	defer time.AfterFunc(patience, func() { out.Close() }).Stop()
	var text strings.Builder
	for !strings.Contains(text.String(), want) {
		channel, data, err := out.Next()
		if err != nil {
			t.Fatalf("Next: %v after %q, want %q", err, text.String(), want)
		}
		if channel == protocol.Stdout {
			text.Write(data)
		}
	}
}
