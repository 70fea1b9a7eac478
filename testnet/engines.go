package testnet

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// An Engine is a Docker engine of one host alone, so that it can fail alone.
// Its containers, images, network and mounts are apart from those of the
// machine's engine, and all are gone at the end of the test, however that ends.
// Its methods fail the test when something does not work; they may be called
// from the test's goroutine only.
//
// It runs in PID and mount namespaces of its own: their first process takes
// everything with it.
type Engine struct {
	// Socket is the path of its unix socket.
	Socket string

	t      testing.TB
	dir    string
	o      EngineOptions
	holder *exec.Cmd     // unshare, whose child is the first process
	first  int           // that child
	enter  *exec.Cmd     // nsenter, whose child is dockerd
	daemon int           // that child
	ended  chan struct{} // closed when it has ended
	log    *os.File      // a file, since containers' processes keep it open after the engine's end
}

// EngineOptions say how an engine is started.
type EngineOptions struct {
	// Command makes its processes, in a network namespace of the engine's own:
	// the engine makes a bridge and packet filters there.
	Command func(ctx context.Context, name string, args ...string) *exec.Cmd
	// LiveRestore lets containers go on while the engine is down. Without it, as
	// is Docker's default, Stop ends them, and so does Restart after Kill.
	LiveRestore bool
}

// StartEngine starts an engine without images and waits until it answers, which
// takes less than a second. A node runs its work there if Options.Engine says so.
func StartEngine(t testing.TB, o EngineOptions) *Engine {
	t.Helper()
	e := &Engine{t: t, dir: ownedDir(t, "engine"), o: o}
	e.Socket = filepath.Join(e.dir, "docker.sock")
	var err error
	if e.log, err = os.Create(filepath.Join(e.dir, "log")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.log.Close() })
	// The machine's own configuration is not this engine's.
	if err := os.WriteFile(filepath.Join(e.dir, "daemon.json"), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	e.hold()
	e.Restart()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log of the engine in %s:\n%s", e.dir, e.Log())
		}
	})
	return e
}

// hold makes the engine's namespaces.
func (e *Engine) hold() {
	e.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	e.holder = e.command(ctx, "unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--", FaultTool(e.t), "init")
	e.holder.Stdout = nil
	out, err := e.holder.StdoutPipe()
	if err == nil {
		err = e.holder.Start()
	}
	if err != nil {
		e.t.Fatalf("make the engine's namespaces (as root only): %v", err)
	}
	e.t.Cleanup(func() {
		// The first process, and not the holder: then the holder ends when all
		// that was in the namespaces has.
		if e.first != 0 {
			_ = syscall.Kill(e.first, syscall.SIGKILL)
			_ = e.holder.Process.Signal(syscall.SIGCONT)
		} else {
			cancel()
		}
		_ = e.holder.Wait()
		cancel()
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "READY\n" {
		e.t.Fatalf("make the engine's namespaces: %v: %q %s", err, line, e.Log())
	}
	e.first = e.childOf(e.holder.Process.Pid)
}

// command makes a process of the engine; it dies with the test process.
func (e *Engine) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := e.o.Command(ctx, name, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Stdout, cmd.Stderr = e.log, e.log
	return cmd
}

func (e *Engine) childOf(pid int) int {
	e.t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	child, _ := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil || child == 0 {
		e.t.Fatalf("find the child of process %d: %v %q", pid, err, data)
	}
	return child
}

// Restart starts an engine that was killed or stopped again, and waits until it
// answers.
func (e *Engine) Restart() {
	e.t.Helper()
	pidfile := filepath.Join(e.dir, "pid")
	_ = os.Remove(pidfile) // what a killed one left could name another process by now
	socket, ready := notifySocket(e.t)
	args := []string{
		"--target", strconv.Itoa(e.first), "--mount", "--pid", "--",
		"dockerd", "--data-root", filepath.Join(e.dir, "data"), "--exec-root", filepath.Join(e.dir, "exec"),
		"--pidfile", pidfile, "--host", "unix://" + e.Socket, "--config-file", filepath.Join(e.dir, "daemon.json"),
		"--cgroup-parent", "/" + filepath.Base(e.dir), "--exec-opt", "native.cgroupdriver=cgroupfs",
	}
	if e.o.LiveRestore {
		args = append(args, "--live-restore")
	}
	e.enter = e.command(context.Background(), "nsenter", args...)
	e.enter.Env = append(e.enter.Environ(), "NOTIFY_SOCKET="+socket)
	if err := e.enter.Start(); err != nil {
		e.t.Fatalf("start an engine: %v", err)
	}
	cmd, ended := e.enter, make(chan struct{})
	e.ended = ended
	go func() { // ends with the process
		_ = cmd.Wait()
		close(ended)
	}()
	e.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
	})
	select {
	case <-ready:
	case <-ended:
		e.t.Fatalf("the engine ended instead of getting ready:\n%s", e.Log())
	case <-time.After(waitTimeout):
		e.t.Fatalf("the engine does not answer after %v:\n%s", waitTimeout, e.Log())
	}
	e.daemon = e.childOf(cmd.Process.Pid)
}

// Log returns what the engine has logged so far.
func (e *Engine) Log() string {
	data, err := os.ReadFile(e.log.Name())
	if err != nil {
		return err.Error()
	}
	return string(data)
}

// Kill ends the engine as a crash would: containers go on without it.
func (e *Engine) Kill() { e.t.Helper(); e.end(syscall.SIGKILL) }

// Stop ends the engine in order, as an upgrade does.
func (e *Engine) Stop() { e.t.Helper(); e.end(syscall.SIGTERM) }

func (e *Engine) end(s syscall.Signal) {
	e.t.Helper()
	if err := syscall.Kill(e.daemon, s); err != nil {
		e.t.Fatalf("end the engine: %v", err)
	}
	e.Answer() // one that hangs cannot end in order
	select {
	case <-e.ended:
	case <-time.After(waitTimeout):
		e.t.Fatalf("the engine has not ended after %v", waitTimeout)
	}
}

// Hang makes the engine take calls and answer none. Containers go on.
func (e *Engine) Hang() {
	e.t.Helper()
	if err := syscall.Kill(e.daemon, syscall.SIGSTOP); err != nil {
		e.t.Fatalf("hang the engine: %v", err)
	}
	for deadline := time.Now().Add(waitTimeout); runs(e.daemon); {
		if time.Now().After(deadline) {
			e.t.Fatal("the engine does not hang")
		}
	}
}

// Answer ends Hang.
func (e *Engine) Answer() {
	_ = syscall.Kill(e.daemon, syscall.SIGCONT)
	_ = e.enter.Process.Signal(syscall.SIGCONT) // nsenter stops itself along with its child
}

// roots are the processes that all others of the engine and of its containers
// come from.
func (e *Engine) roots() []int { return []int{e.holder.Process.Pid, e.enter.Process.Pid} }

// Load gives the engine images of the machine's engine, such as Image(t).
func (e *Engine) Load(images ...string) {
	e.t.Helper()
	save := exec.Command("docker", append([]string{"save"}, images...)...)
	load := exec.Command("docker", "-H", "unix://"+e.Socket, "load")
	out, err := save.StdoutPipe()
	if err != nil {
		e.t.Fatal(err)
	}
	load.Stdin = out
	if err := save.Start(); err != nil {
		e.t.Fatalf("docker save: %v", err)
	}
	text, err := load.CombinedOutput()
	_, _ = io.Copy(io.Discard, out) // what a failed load has left
	if err := errors.Join(err, save.Wait()); err != nil {
		e.t.Fatalf("load %v: %v: %s", images, err, text)
	}
}

// Docker runs the docker command against the engine and returns what it prints.
// It works while the engine answers only.
func (e *Engine) Docker(args ...string) string {
	e.t.Helper()
	return Docker(e.t, append([]string{"-H", "unix://" + e.Socket}, args...)...)
}

// Witness begins to listen to this engine, as NewWitness does to the machine's.
// It hears nothing more once the engine has ended: after Restart another is needed.
func (e *Engine) Witness(secret string) *Witness {
	e.t.Helper()
	return newWitness(e.t, secret, "-H", "unix://"+e.Socket)
}

// An EngineContainer is a container as the engine tells of it.
type EngineContainer struct {
	Container
	Labels map[string]string
	// State in the engine's words: created, running, exited…
	State string
	// PID of its first process, on this machine; 0 unless it runs.
	PID int
	// ExitCode once it has exited.
	ExitCode int
	// Started and Finished are zero where that has not happened. The engine's
	// clock is the machine's.
	Started, Finished time.Time
}

// Containers lists the containers, ended ones too, that bear every one of the
// labels ("NAME" or "NAME=value").
func (e *Engine) Containers(labels ...string) []EngineContainer {
	e.t.Helper()
	args := []string{"ps", "-aq", "--no-trunc"}
	for _, l := range labels {
		args = append(args, "--filter", "label="+l)
	}
	var found []EngineContainer
	for _, id := range strings.Fields(e.Docker(args...)) {
		out, err := docker("-H", "unix://"+e.Socket, "inspect", "--type", "container", id)
		if err != nil {
			if strings.Contains(err.Error(), "No such container") {
				continue // removed since
			}
			e.t.Fatal(err)
		}
		found = append(found, e.parse(out))
	}
	return found
}

func (e *Engine) parse(inspected string) EngineContainer {
	e.t.Helper()
	var list []struct {
		ID    string `json:"Id"`
		State struct {
			Status                string
			ExitCode              int
			StartedAt, FinishedAt time.Time
		}
		Config struct{ Labels map[string]string }
	}
	if err := json.Unmarshal([]byte(inspected), &list); err != nil || len(list) != 1 {
		e.t.Fatalf("docker inspect: %v: %s", err, inspected)
	}
	c := list[0]
	return EngineContainer{
		Container: Container{ID: c.ID, Node: c.Config.Labels[LabelNode], Request: c.Config.Labels[LabelRequest]},
		Labels:    c.Config.Labels, State: c.State.Status, PID: hostPID(c.ID), ExitCode: c.State.ExitCode,
		Started: c.State.StartedAt, Finished: c.State.FinishedAt,
	}
}

// hostPID finds the first process of a container: the engine knows it by its
// number in the engine's PID namespace only.
func hostPID(container string) int {
	paths, _ := filepath.Glob("/proc/[0-9]*/cgroup")
	for _, path := range paths {
		groups, err := os.ReadFile(path) // an error is that it has ended
		if err != nil || !strings.Contains(string(groups), container) {
			continue
		}
		status, _ := os.ReadFile(filepath.Join(filepath.Dir(path), "status"))
		for line := range strings.Lines(string(status)) {
			numbers := strings.Fields(strings.TrimPrefix(line, "NSpid:"))
			if strings.HasPrefix(line, "NSpid:") && len(numbers) > 1 && numbers[len(numbers)-1] == "1" {
				pid, _ := strconv.Atoi(numbers[0])
				return pid
			}
		}
	}
	return 0
}
