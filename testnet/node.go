package testnet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// waitTimeout bounds every wait of a test for something that is not itself timed:
// long enough for a loaded machine, short enough for a hanging test to tell.
const waitTimeout = 60 * time.Second

// Options say how a node is started.
type Options struct {
	// Name of the device.
	Name string
	// Secret is the path of the secret's file; empty leaves it to Args or the
	// state folder.
	Secret string
	// State is the state folder; empty makes one that is removed at the end.
	State string
	// Disk gives the state folder a file system of its own of so many bytes, for
	// FillDisk; 0 leaves it on the machine's. A few MiB are enough.
	Disk int64
	// Engine is the node's own; nil leaves it the machine's.
	Engine *Engine
	// Clock makes Skew and Sleep possible: the node runs ClockBinary(t).
	Clock bool
	// Binary is what to run instead of Binary(t), an emulator in front.
	Binary []string
	// Args are further arguments of `hearth up`.
	Args []string
	// Env is added to the environment, "NAME=value" each.
	Env []string
	// Command makes the process; nil is exec.CommandContext. A network
	// namespace has its own.
	Command func(ctx context.Context, name string, args ...string) *exec.Cmd
}

// A Node is one `hearth up` process. Its methods fail the test when something
// does not work; they may be called from the test's goroutine only, except for
// Exec.
type Node struct {
	Name  string
	State string

	t       testing.TB
	options Options // with nothing left to its default
	cmd     *exec.Cmd
	log     logBuffer
	ready   <-chan struct{} // closed when the process says READY=1
	exited  chan struct{}   // closed when it has ended

	skew   time.Duration // its wall clock is ahead by that
	slept  time.Duration // how long it has been asleep in all
	asleep time.Time     // since when it is; zero while awake
}

// Start starts a node and waits until it says that it is ready. It is killed at
// the end of the test, and its log printed if the test failed.
func Start(t testing.TB, o Options) *Node {
	t.Helper()
	n := Launch(t, o)
	n.awaitReady()
	return n
}

// Launch is Start without the wait, for nodes that are not to come up at once,
// or at all.
func Launch(t testing.TB, o Options) *Node {
	t.Helper()
	if o.State == "" {
		o.State = stateFolder(t, o.Disk)
	}
	if o.Binary == nil {
		o.Binary = []string{Binary(t)}
		if o.Clock {
			o.Binary[0] = ClockBinary(t)
		}
	}
	if o.Command == nil {
		o.Command = exec.CommandContext
	}
	n := &Node{Name: o.Name, State: o.State, t: t, options: o, exited: make(chan struct{})}
	n.log.changed = make(chan struct{})
	n.start()
	return n
}

// Restart starts the process again on the same state folder, after it ended,
// with the same options, and waits until it is ready; args, if there are any,
// replace Args and Secret, which the state folder knows.
func (n *Node) Restart(args ...string) *Node {
	n.t.Helper()
	r := n.Relaunch(args...)
	r.awaitReady()
	return r
}

// Relaunch is Restart without the wait.
func (n *Node) Relaunch(args ...string) *Node {
	n.t.Helper()
	o := n.options
	if len(args) > 0 {
		o.Args, o.Secret = args, ""
	}
	r := &Node{Name: n.Name, State: n.State, t: n.t, options: o, exited: make(chan struct{}), skew: n.skew}
	r.log.changed = make(chan struct{})
	r.start()
	return r
}

func (n *Node) start() {
	t, o := n.t, n.options
	t.Helper()
	args := []string{"up", "--state", n.State, "--name", n.Name}
	if o.Secret != "" {
		args = append(args, "--secret-file", o.Secret)
	}
	socket, ready := notifySocket(t)
	ctx, cancel := context.WithCancel(context.Background())
	n.cmd, n.ready = n.prepare(ctx, append(args, o.Args...)), ready
	n.cmd.Env = append(append(n.cmd.Environ(), o.Env...), "NOTIFY_SOCKET="+socket)
	if o.Engine != nil {
		n.cmd.Env = append(n.cmd.Env, "DOCKER_HOST=unix://"+o.Engine.Socket)
	}
	if n.skew != 0 {
		n.cmd.Env = append(n.cmd.Env, fmt.Sprintf("TESTNET_WALL=%d", n.skew))
	}
	logged := n.collect()
	if err := n.cmd.Start(); err != nil {
		t.Fatalf("start node %s: %v", n.Name, err)
	}
	n.cmd.Stdout.(*os.File).Close()
	go func() { // ends with the process
		_ = n.cmd.Wait()
		select {
		case <-logged:
		case <-time.After(100 * time.Millisecond): // its guard goes on, and logs
		}
		close(n.exited)
	}()
	t.Cleanup(func() {
		cancel()
		_ = n.cmd.Process.Signal(syscall.SIGCONT)
		<-n.exited
		if t.Failed() {
			t.Logf("log of node %s:\n%s", n.Name, n.log.String())
		}
	})
}

// collect has the process log into n.log, through a pipe of our own: that of
// exec.Cmd would wait for the reaper, which outlives the process. The channel is
// closed when nobody logs any more.
func (n *Node) collect() <-chan struct{} {
	n.t.Helper()
	read, write, err := os.Pipe()
	if err != nil {
		n.t.Fatal(err)
	}
	n.cmd.Stdout, n.cmd.Stderr = write, write
	done := make(chan struct{})
	go func() { // ends with the last process that has the pipe
		defer close(done)
		_, _ = io.Copy(&n.log, read)
		read.Close()
	}()
	return done
}

func (n *Node) awaitReady() {
	n.t.Helper()
	select {
	case <-n.ready:
	case <-n.exited:
		n.t.Fatalf("node %s ended instead of getting ready (its log is below)", n.Name)
	case <-time.After(waitTimeout):
		n.t.Fatalf("node %s is not ready after %v (its log is below)", n.Name, waitTimeout)
	}
}

// notifySocket makes a socket for sd_notify; the channel is closed when somebody
// says READY=1 there.
func notifySocket(t testing.TB) (string, <-chan struct{}) {
	t.Helper()
	path := filepath.Join(ShortTempDir(t), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	ready := make(chan struct{})
	go func() { // ends with conn
		buf := make([]byte, 4096)
		for {
			k, err := conn.Read(buf)
			if err != nil {
				return
			}
			if bytes.Contains(buf[:k], []byte("READY=1")) {
				close(ready)
				return
			}
		}
	}()
	return path, ready
}

// prepare makes a process of the node's binary where the node runs. It dies
// with the test process, however that ends.
func (n *Node) prepare(ctx context.Context, args []string) *exec.Cmd {
	full := append(append([]string{}, n.options.Binary...), args...)
	cmd := n.options.Command(ctx, full[0], full[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// A Result is how a verb ended.
type Result struct {
	Stdout, Stderr string
	Code           int
}

// Hearth runs a verb against the node, as a user of the device would.
func (n *Node) Hearth(args ...string) Result {
	n.t.Helper()
	r, err := n.Exec(context.Background(), nil, args...)
	if err != nil {
		n.t.Fatalf("hearth %s on %s: %v\n%s", strings.Join(args, " "), n.Name, err, r.Stderr)
	}
	return r
}

// Exec is Hearth with a context and an input, for other goroutines: it returns
// an error where the verb could not be run or outlived ctx or all patience.
func (n *Node) Exec(ctx context.Context, stdin []byte, args ...string) (Result, error) {
	ctx, cancel := context.WithTimeout(ctx, waitTimeout)
	defer cancel()
	var stdout, stderr bytes.Buffer
	cmd := n.prepare(ctx, args)
	cmd.Env = append(cmd.Environ(), "HEARTH_STATE="+n.State)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(stdin), &stdout, &stderr
	err := cmd.Run()
	r := Result{Stdout: stdout.String(), Stderr: stderr.String(), Code: cmd.ProcessState.ExitCode()}
	if _, ended := errors.AsType[*exec.ExitError](err); ended && ctx.Err() == nil && r.Code >= 0 {
		err = nil
	}
	return r, err
}

// Kill ends the process as a power cut would.
func (n *Node) Kill() {
	n.t.Helper()
	n.signal(syscall.SIGKILL)
	<-n.exited
}

// Stop asks the process to leave, waits for its end, and returns its exit code.
func (n *Node) Stop() int {
	n.t.Helper()
	n.signal(syscall.SIGTERM)
	return n.WaitExit()
}

// WaitExit waits for the process to end by itself and returns its exit code.
func (n *Node) WaitExit() int {
	n.t.Helper()
	select {
	case <-n.exited:
	case <-time.After(waitTimeout):
		n.t.Fatalf("node %s has not ended after %v", n.Name, waitTimeout)
	}
	return n.cmd.ProcessState.ExitCode()
}

func (n *Node) signal(s syscall.Signal) {
	n.t.Helper()
	if err := n.cmd.Process.Signal(s); err != nil {
		n.t.Fatalf("signal node %s: %v", n.Name, err)
	}
}

// PID of the process.
func (n *Node) PID() int { return n.cmd.Process.Pid }

// Log returns what the process has logged so far.
func (n *Node) Log() string { return n.log.String() }

// AwaitLog waits until the log contains text.
func (n *Node) AwaitLog(text string) {
	n.t.Helper()
	deadline := time.After(waitTimeout)
	for {
		got, changed := n.log.snapshot()
		if strings.Contains(got, text) {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			n.t.Fatalf("the log of node %s does not contain %q after %v", n.Name, text, waitTimeout)
		}
	}
}

// ShortTempDir is t.TempDir with a path that leaves room for the name of a unix
// socket, which may have 107 characters in all.
func ShortTempDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "hearth-") //nolint:usetesting // t.TempDir's paths grow with the test's name
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// logBuffer collects a process's output and tells of each addition.
type logBuffer struct {
	mu      sync.Mutex // owns what follows
	text    bytes.Buffer
	changed chan struct{} // closed and replaced at each addition
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	close(b.changed)
	b.changed = make(chan struct{})
	return b.text.Write(p)
}

func (b *logBuffer) snapshot() (string, <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String(), b.changed
}

func (b *logBuffer) String() string {
	text, _ := b.snapshot()
	return text
}
