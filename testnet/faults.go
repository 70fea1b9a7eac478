package testnet

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	goruntime "runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Freeze stops the process where it is while its clocks go on: a machine that
// is too busy, or a virtual one that was paused. Thaw ends it.
func (n *Node) Freeze() {
	n.t.Helper()
	n.stopAll(n.PID())
}

// Thaw lets a frozen process go on.
func (n *Node) Thaw() { n.t.Helper(); n.signal(syscall.SIGCONT) }

// Sleep suspends the device: the process, its own engine and the containers
// there (Options.Engine) stop, and until Wake the process's monotonic clock
// stands still, as a suspended computer's does, while the wall clock goes on.
// The kernel does not sleep: it still answers for open connections, unless the
// host is cut off too. It needs Options.Clock.
func (n *Node) Sleep() {
	n.t.Helper()
	n.needsClock("Sleep")
	roots := []int{n.PID()}
	if n.options.Engine != nil {
		roots = append(roots, n.options.Engine.roots()...)
	}
	n.stopAll(roots...)
	n.asleep = time.Now()
}

// Wake ends Sleep.
func (n *Node) Wake() {
	n.t.Helper()
	if n.asleep.IsZero() {
		n.t.Fatalf("node %s is not asleep", n.Name)
	}
	n.slept += time.Since(n.asleep)
	n.asleep = time.Time{}
	n.setClock("asleep", n.slept)
	if n.options.Engine != nil {
		signalAll(syscall.SIGCONT, n.options.Engine.roots()...)
	}
	n.Thaw()
}

// Skew sets the process's wall clock to offset from the machine's; 0 is right
// again. The monotonic clock goes on. It holds for restarts too. It needs
// Options.Clock.
func (n *Node) Skew(offset time.Duration) {
	n.t.Helper()
	n.needsClock("Skew")
	n.skew = offset
	select {
	case <-n.exited: // the next one has it from its start
	default:
		n.setClock("wall", offset)
	}
}

func (n *Node) needsClock(what string) {
	n.t.Helper()
	if !n.options.Clock {
		n.t.Fatalf("%s of node %s: start it with Options.Clock", what, n.Name)
	}
}

func (n *Node) setClock(which string, offset time.Duration) {
	n.t.Helper()
	cmd := exec.Command(FaultTool(n.t), "clock", strconv.Itoa(n.PID()), which, offset.String())
	if out, err := cmd.CombinedOutput(); err != nil {
		n.t.Fatalf("set a clock of node %s: %v: %s", n.Name, err, out)
	}
}

// stopAll stops the processes and all that come from them, and returns when
// each of their threads stands still.
func (n *Node) stopAll(roots ...int) {
	n.t.Helper()
	deadline := time.Now().Add(waitTimeout)
	for running := true; running; running = signalAll(syscall.SIGSTOP, roots...) {
		if time.Now().After(deadline) {
			n.t.Fatalf("the processes %v of node %s do not stop", roots, n.Name)
		}
		goruntime.Gosched()
	}
}

// signalAll signals processes and all that come from them, and tells whether any
// of their threads was running.
func signalAll(s syscall.Signal, roots ...int) bool {
	children := map[int][]int{}
	paths, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range paths {
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if _, parent, err := processStat(path); err == nil {
			children[parent] = append(children[parent], pid)
		}
	}
	running := false
	for queue := roots; len(queue) > 0; queue = queue[1:] {
		pid := queue[0]
		queue = append(queue, children[pid]...)
		running = running || runs(pid)
		_ = syscall.Kill(pid, s) // it may have ended
	}
	return running
}

// runs tells whether a thread of the process is neither stopped nor dead. A
// process that was sent SIGSTOP still runs for a while.
func runs(pid int) bool {
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	for _, path := range threads {
		if state, _, err := processStat(path); err == nil && !strings.Contains("TtZX", state) {
			return true
		}
	}
	return false
}

// processStat reads the state and the parent of a process or thread.
func processStat(path string) (state string, parent int, err error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return "", 0, err
	}
	// The name, in brackets, may contain anything.
	words := strings.Fields(string(data[strings.LastIndexByte(string(data), ')')+1:]))
	if len(words) < 2 {
		return "", 0, fmt.Errorf("%s is too short", path)
	}
	parent, err = strconv.Atoi(words[1])
	return words[0], parent, err
}

// FaultTool returns the path of the program of testnet/fault.
func FaultTool(t testing.TB) string {
	t.Helper()
	return built(t, "fault", "./testnet/fault", goruntime.GOARCH)
}

// ClockBinary returns the path of a hearth that differs from Binary in Go's
// package runtime alone: its clocks can be set from outside (see Node.Skew).
func ClockBinary(t testing.TB) string {
	t.Helper()
	overlay, err := exec.Command(FaultTool(t), "overlay", filepath.Join(Root(t), ".cache", "test", "clock")).Output()
	if e, failed := errors.AsType[*exec.ExitError](err); failed {
		t.Fatalf("change Go's clocks: %v: %s", err, e.Stderr)
	}
	path, err := build("hearth-clock", "./cmd/hearth", goruntime.GOARCH,
		"-overlay", strings.TrimSpace(string(overlay)), "-ldflags=-w")
	if err != nil {
		t.Fatalf("build hearth with clocks that can be set: %v", err)
	}
	return path
}
