package testnet

import (
	"context"
	"os/exec"
	"testing"
)

// An Engine is a Docker engine of one host alone, so that it can fail alone.
// Its containers, images, network and mounts are apart from those of the
// machine's engine, and all are gone at the end of the test, however that ends.
// Its methods fail the test when something does not work; they may be called
// from the test's goroutine only.
type Engine struct {
	// Socket is the path of its unix socket.
	Socket string

	t testing.TB
}

// EngineOptions say how an engine is started.
type EngineOptions struct {
	// Command makes its processes; nil leaves them in the machine's network,
	// whose docker0 they would take: a network namespace has its own.
	Command func(ctx context.Context, name string, args ...string) *exec.Cmd
	// LiveRestore lets containers go on while the engine is down. Without it, as
	// is Docker's default, Stop ends them, and so does Restart after Kill.
	LiveRestore bool
}

// StartEngine starts an engine with no images and waits until it answers, which
// takes less than a second. A node runs its work there if Options.Engine says so.
func StartEngine(t testing.TB, _ EngineOptions) *Engine {
	t.Helper()
	return &Engine{t: t}
}

// Load gives the engine images of the machine's engine, such as Image(t).
func (e *Engine) Load(images ...string) { e.t.Fatal(images) }

// Kill ends the engine as a crash would: containers go on without it.
func (e *Engine) Kill() { e.t.Fatal() }

// Stop ends the engine in order, as an upgrade does.
func (e *Engine) Stop() { e.t.Fatal() }

// Restart starts an engine that was killed or stopped again, and waits until it
// answers.
func (e *Engine) Restart() { e.t.Fatal() }

// Hang makes the engine take calls and answer none; Answer ends that.
func (e *Engine) Hang() { e.t.Fatal() }

// Answer ends Hang.
func (e *Engine) Answer() { e.t.Fatal() }

// Docker runs the docker command against the engine and returns what it prints.
// It works while the engine answers only.
func (e *Engine) Docker(args ...string) string { e.t.Fatal(args); return "" }

// An EngineContainer is a container as the engine tells of it.
type EngineContainer struct {
	Container
	// State in the engine's words: created, running, exited…
	State string
	// PID of its first process; 0 unless it runs.
	PID int
	// ExitCode once it has exited.
	ExitCode int
}

// Containers lists the containers, ended ones too, that bear every one of the
// labels ("NAME" or "NAME=value").
func (e *Engine) Containers(labels ...string) []EngineContainer { e.t.Fatal(labels); return nil }

// Witness begins to listen to this engine, as NewWitness does to the machine's.
// It ends with the engine's process: after Restart another is needed.
func (e *Engine) Witness(secret string) *Witness { e.t.Fatal(secret); return nil }
