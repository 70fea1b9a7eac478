package fake

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime"
)

// Exit codes, as a container's init process gives them.
const (
	exitUnknownStep = 127
	exitKill        = 137
)

// deadly returns the exit code of what a signal ends; ok is false for those
// that end nothing.
func deadly(signal string) (code int, ok bool) {
	switch signal {
	case "HUP":
		return 129, true
	case "INT":
		return 130, true
	case "QUIT":
		return 131, true
	case "KILL":
		return exitKill, true
	case "USR1":
		return 138, true
	case "USR2":
		return 140, true
	case "ALRM":
		return 142, true
	case "TERM":
		return 143, true
	}
	return 0, false
}

// echoBuffer is small, so that a thousand that wait for input cost little.
const echoBuffer = 4 << 10

// maxCaught is how many things the step "tell" may be behind.
const maxCaught = 64

// phase is where a container is in its life.
type phase uint8

const (
	phaseCreated phase = iota
	phaseRunning
	phaseEnded
)

// container is one script and what it has come to.
type container struct {
	name   string
	spec   runtime.Spec
	speed  float64
	output *output
	// stopSignal is the image's.
	stopSignal string

	stdin       *io.PipeReader
	stdinWriter *io.PipeWriter

	killed  chan struct{} // closed when the script is to end
	removed chan struct{}
	ended   chan struct{} // closed when exit is set
	exit    runtime.Exit
	// unstartable is why its command could not be run; set with exit.
	unstartable error

	caught chan string // what the step "tell" has to write
	ports  ports
	files  files

	mu         sync.Mutex // guards the rest
	phase      phase
	started    time.Time
	ignoreTerm bool
	telling    bool
	gone       bool // removed is closed
	// rows and columns of its terminal; 0 while it was not told.
	rows, columns uint16
	written       protocol.Bytes // to the engine's disk
	// death is the code to end with when killed; 0 while it is not. lost is
	// runtime.Exit's.
	death int
	lost  protocol.Code
}

func newContainer(name string, spec runtime.Spec, speed float64, stopSignal string) *container {
	c := &container{
		name:       name,
		spec:       spec,
		speed:      speed,
		stopSignal: stopSignal,
		output:     newOutput(),
		killed:     make(chan struct{}),
		removed:    make(chan struct{}),
		ended:      make(chan struct{}),
		caught:     make(chan string, maxCaught),
	}
	c.stdin, c.stdinWriter = io.Pipe()
	if !spec.Stdin {
		c.stdinWriter.Close()
	}
	return c
}

// begin makes a created container a running one.
func (c *container) begin() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.phase != phaseCreated {
		return errors.New("start container: it was started before")
	}
	c.phase = phaseRunning
	c.started = time.Now()
	c.rows, c.columns = c.spec.TTYRows, c.spec.TTYColumns
	// A signal that comes before the first step is caught, too.
	c.telling = len(c.spec.Args) > 0 && c.spec.Args[0] == "tell"
	return nil
}

// run does the script; it ends with it, or soon after a signal that kills.
func (c *container) run() {
	code, oom := c.script()
	c.stdin.Close()

	c.mu.Lock()
	if c.death != 0 {
		code = c.death
	}
	c.phase = phaseEnded
	c.exit = runtime.Exit{Code: code, OOMKilled: oom, Lost: c.lost, Ran: time.Since(c.started)}
	c.mu.Unlock()

	c.output.end()
	close(c.ended)
}

// neverRuns reports whether the script's command cannot be run.
func (c *container) neverRuns() bool {
	return len(c.spec.Args) > 0 && strings.HasPrefix(c.spec.Args[0], "unstartable=")
}

// script does the steps in order.
func (c *container) script() (code int, oom bool) {
	for _, arg := range c.spec.Args {
		select {
		case <-c.killed:
			return exitKill, false
		default:
		}
		step, value, _ := strings.Cut(arg, "=")
		err := error(nil)
		switch step {
		case "out":
			c.output.write(protocol.Stdout, []byte(value))
		case "secret":
			for _, s := range c.spec.Secrets {
				if s.Name == value {
					c.output.write(protocol.Stdout, s.Data)
				}
			}
		case "err":
			c.output.write(c.stderr(), []byte(value))
		case "bytes":
			err = c.pattern(value)
		case "disk":
			err = c.write(value)
		case "echo":
			c.echo()
		case "sleep":
			err = c.sleep(value, 1)
		case "burn":
			err = c.sleep(value, c.speed)
		case "ignore-term":
			c.mu.Lock()
			c.ignoreTerm = true
			c.mu.Unlock()
		case "tell":
			c.tell()
		case "serve":
			err = c.serve(value)
		case "describe":
			c.describe(value)
		case "oom":
			return exitKill, true
		case "oom-child":
			oom = true
		case "unstartable":
			if code, err = strconv.Atoi(value); err == nil {
				c.unstartable = protocol.Errorf(protocol.CodeStartFailed, "the command could not be run: its script says so")
				return code, oom
			}
		case "exit":
			if code, err = strconv.Atoi(value); err == nil {
				return code, oom
			}
		default:
			err = errors.New("no such step")
		}
		if err != nil {
			c.output.write(c.stderr(), fmt.Appendf(nil, "fake: %q: %v\n", arg, err))
			return exitUnknownStep, false
		}
	}
	return 0, oom
}

// serve listens on a port from here on.
func (c *container) serve(text string) error {
	port, err := strconv.ParseUint(text, 10, 16)
	c.ports.listen(uint16(port))
	return err
}

// stderr is the channel of diagnostics: a terminal is but one.
func (c *container) stderr() protocol.Channel {
	if c.spec.TTY {
		return protocol.Stdout
	}
	return protocol.Stderr
}

// tell writes what comes, a line each, until the script is to end.
func (c *container) tell() {
	c.mu.Lock()
	c.telling = true
	c.mu.Unlock()
	c.output.write(protocol.Stdout, []byte("ready\n"))
	for {
		select {
		case line := <-c.caught:
			c.output.write(protocol.Stdout, []byte(line+"\n"))
		case <-c.killed:
			return
		}
	}
}

// describe writes what the container has, as seen from inside.
func (c *container) describe(tmpfs string) {
	root := "rw"
	if c.spec.ReadOnlyRoot {
		root = "ro"
	}
	text := fmt.Sprintf("hostname %s\nroot %s\nshm %d\n", c.spec.Hostname, root, c.spec.ShmSize>>10)
	for _, t := range c.spec.Tmpfs {
		exec := "noexec"
		if t.Exec {
			exec = "exec"
		}
		if t.Target == tmpfs {
			text += fmt.Sprintf("tmpfs %d %o %s\n", t.Size>>10, t.Mode, exec)
		}
	}
	c.mu.Lock()
	text += fmt.Sprintf("size %s\n", c.size())
	c.mu.Unlock()
	c.output.write(protocol.Stdout, []byte(text))
}

// catch has the step "tell" write a line; of too many some are lost, as
// signals are. The caller holds mu.
func (c *container) catch(line string) {
	select {
	case c.caught <- line:
	default:
	}
}

// size of the terminal for people; the caller holds mu.
func (c *container) size() string { return fmt.Sprintf("%d %d", c.rows, c.columns) }

// sleep waits for the duration in text, divided by speed.
func (c *container) sleep(text string, speed float64) error {
	d, err := time.ParseDuration(text)
	if err != nil {
		return err
	}
	timer := time.NewTimer(time.Duration(float64(d) / speed))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-c.killed:
	}
	return nil
}

// pattern writes as many bytes of Pattern as text says.
func (c *container) pattern(text string) error {
	left, err := strconv.ParseUint(text, 10, 63)
	if err != nil {
		return err
	}
	block := bytes.Repeat([]byte(Pattern), maxPiece/len(Pattern))
	for left > 0 {
		n := min(left, uint64(len(block)))
		if !c.output.write(protocol.Stdout, block[:n]) {
			return nil
		}
		left -= n
	}
	return nil
}

// write takes so many bytes of the engine's disk.
func (c *container) write(text string) error {
	size, err := strconv.ParseUint(text, 10, 63)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.written += protocol.Bytes(size)
	return err
}

// echo copies the input to the output.
func (c *container) echo() {
	for buf := make([]byte, echoBuffer); ; {
		n, err := c.stdin.Read(buf)
		if n > 0 && !c.output.write(protocol.Stdout, bytes.Clone(buf[:n])) {
			return
		}
		if err != nil {
			return
		}
	}
}

// signal does what the signal of that name does.
func (c *container) signal(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.signalLocked(name)
}

// lose kills it as an engine does that goes down.
func (c *container) lose() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.phase == phaseRunning && c.death == 0 {
		c.lost = protocol.CodeEngineDown
	}
	c.signalLocked("KILL")
}

// signalLocked is signal where c.mu is held.
func (c *container) signalLocked(name string) {
	if c.phase != phaseRunning || c.death != 0 {
		return
	}
	code, ends := deadly(name)
	switch {
	case c.ignoreTerm && (name == "TERM" || name == "INT"):
		return
	case c.telling && name != "TERM" && name != "KILL":
		c.catch(name)
		return
	case !ends:
		return
	}
	c.death = code
	close(c.killed)
	c.stdin.Close()
	c.output.interrupt()
}

// resize tells the container's terminal, if it has one, its size.
func (c *container) resize(rows, columns uint16) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.phase == phaseRunning && c.spec.TTY {
		c.rows, c.columns = rows, columns
		if c.telling {
			c.catch(c.size())
		}
	}
}

// remove ends everything about the container.
func (c *container) remove() {
	c.signal("KILL")
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone {
		return
	}
	c.gone = true
	close(c.removed)
	if c.phase == phaseCreated {
		c.stdin.Close()
		c.output.end()
	}
}

// recovered describes the container to one who finds it.
func (c *container) recovered() runtime.Recovered {
	c.mu.Lock()
	defer c.mu.Unlock()
	var ran time.Duration
	switch {
	case c.spec.Timeout == 0:
	case c.phase == phaseRunning:
		ran = time.Since(c.started)
	case c.phase != phaseCreated:
		ran = c.exit.Ran
	}
	return runtime.Recovered{
		ID:        c.spec.ID,
		Container: c.name,
		Running:   c.phase == phaseRunning,
		Started:   c.phase != phaseCreated,
		CPUs:      c.spec.CPUs,
		Memory:    c.spec.Memory,
		Timeout:   c.spec.Timeout,
		Lease:     c.spec.Lease,
		Ran:       ran,
	}
}
