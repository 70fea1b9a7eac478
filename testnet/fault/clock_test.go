package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// clockProgram prints its wall clock, and how long it has run, for each line of
// its input.
const clockProgram = `package main

import (
	"bufio"
	"fmt"
	"os"
	"time"
)

func main() {
	start := time.Now()
	for in := bufio.NewScanner(os.Stdin); ; in.Scan() {
		fmt.Println(time.Now().UnixNano(), time.Since(start).Nanoseconds())
	}
}
`

// A clock is a running clockProgram.
type clock struct {
	t   *testing.T
	cmd *exec.Cmd
	in  *os.File
	out *bufio.Reader
}

func buildClock(t *testing.T, flags ...string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte(clockProgram), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", append(append([]string{"build", "-o", "clock"}, flags...), "main.go")...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return filepath.Join(dir, "clock")
}

func startClock(t *testing.T, path string, env ...string) *clock {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path)
	cmd.Env, cmd.Stdin = append(os.Environ(), env...), r
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r.Close()
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait(); w.Close() })
	return &clock{t: t, cmd: cmd, in: w, out: bufio.NewReader(out)}
}

// read returns how far the wall clock is ahead of this process's, and how long
// the program has run by its monotonic one.
func (c *clock) read() (ahead, ran time.Duration) {
	c.t.Helper()
	line, err := c.out.ReadString('\n')
	if err != nil {
		c.t.Fatal(err)
	}
	var wall int64
	if _, err := fmt.Sscan(line, &wall, &ran); err != nil {
		c.t.Fatalf("%v: %q", err, line)
	}
	return time.Until(time.Unix(0, wall)), ran
}

func (c *clock) ask() (ahead, ran time.Duration) {
	c.t.Helper()
	if _, err := c.in.WriteString("\n"); err != nil {
		c.t.Fatal(err)
	}
	return c.read()
}

// near allows for the time that asking takes on a busy machine.
func near(t *testing.T, what string, got, want time.Duration) {
	t.Helper()
	if got < want-20*time.Second || got > want+20*time.Second {
		t.Errorf("%s is %v, want about %v", what, got, want)
	}
}

// TestClock: a program built with the overlay has right clocks until they are set,
// at its start or while it runs, and each is set alone.
func TestClock(t *testing.T) {
	t.Parallel()
	overlay, err := writeOverlay(filepath.Join(t.TempDir(), "new"))
	if err != nil {
		t.Fatal(err)
	}
	path := buildClock(t, "-overlay", overlay)

	c := startClock(t, path)
	ahead, _ := c.read()
	near(t, "the wall clock's lead", ahead, 0)
	set := func(which string, d time.Duration) {
		t.Helper()
		if err := setClock(c.cmd.Process.Pid, which, d); err != nil {
			t.Fatal(err)
		}
	}
	for _, lead := range []time.Duration{time.Hour, -time.Hour - 1, 24 * 365 * time.Hour, -300 * time.Millisecond, 0} {
		set("wall", lead)
		ahead, ran := c.ask()
		near(t, "the wall clock's lead", ahead, lead)
		near(t, "what it ran", ran, 0)
	}

	// Asleep from a moment on: not a nanosecond of it passes for the program.
	_, before := c.ask()
	if err := c.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	set("asleep", -10*time.Minute)
	_ = c.cmd.Process.Signal(syscall.SIGCONT)
	ahead, after := c.ask()
	near(t, "the wall clock's lead", ahead, 0)
	near(t, "what it ran meanwhile", after-before, 10*time.Minute)
	set("asleep", 0)
	_, after = c.ask()
	near(t, "what it ran in all", after, before)

	c = startClock(t, path, "TESTNET_WALL=-5400000000001")
	ahead, _ = c.read()
	near(t, "the wall clock's lead from its start", ahead, -90*time.Minute)
}

// TestClockRefused: what has no clocks to set is said.
func TestClockRefused(t *testing.T) {
	t.Parallel()
	c := startClock(t, buildClock(t))
	c.read()
	for _, try := range []struct {
		args []string
		want string
	}{
		{[]string{"clock", fmt.Sprint(c.cmd.Process.Pid), "wall", "1h"}, "not built with the overlay"},
		{[]string{"clock", "999999999", "wall", "1h"}, "no such file"},
		{[]string{"clock", fmt.Sprint(c.cmd.Process.Pid), "sun", "1h"}, "wrong arguments"},
		{[]string{"clock", "me", "wall", "1h"}, "wrong arguments"},
		{[]string{"clock", "1", "wall", "soon"}, "invalid duration"},
		{[]string{"link"}, "wrong arguments"},
		{[]string{"link", "eth0", "--loss", "30"}, "--loss from 0 to 1"},
		{[]string{"link", "eth0", "--jitter", "1s"}, "--delay >= --jitter"},
		{[]string{"init"}, "first process"},
		{[]string{"melt"}, "wrong arguments"},
		{nil, "wrong arguments"},
	} {
		if err := run(try.args); err == nil || !strings.Contains(err.Error(), try.want) {
			t.Errorf("%q: %v, want %q", try.args, err, try.want)
		}
	}
}
