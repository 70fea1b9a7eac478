// Package fake is a driver without an engine: containers are scripts of a few
// words that run in this process. It is real code that passes the conformance
// suite; meshes of many nodes are tested, shown and measured with it. It uses
// nothing but timers and locks, so it runs under testing/synctest.
//
// The script is the service's arguments, one step each, done in order:
//
//	out=TEXT       write TEXT to standard output
//	err=TEXT       write TEXT to standard error
//	bytes=N        write N bytes to standard output: Pattern, over and over
//	disk=N         take N bytes of the engine's disk
//	echo           copy standard input to standard output until it ends
//	sleep=D        do nothing for the duration D ("200ms")
//	burn=D         work for D on a core of the reference device: takes D/Speed
//	secret=NAME    write what the secret of that name holds
//	ignore-term    from here on, TERM and INT have no effect
//	tell           write "ready", then the name of each signal that comes and
//	               each new size of the terminal ("24 80"), a line each; TERM
//	               and KILL end it
//	describe=PATH  write what the container has, a line each: its hostname, root
//	               (rw or ro), shm and its KiB, tmpfs at PATH with its KiB, mode
//	               and exec or noexec, and the terminal's size
//	serve=PORT     listen on PORT from here on, and send back what comes
//	oom            be killed for want of memory
//	oom-child      have a process of its own killed for it, and go on
//	exit=N         end with exit code N
//	unstartable=N  as the first step: its command cannot be run, with exit code N
//
// A script that runs to its end exits with 0, one that a signal ends with 128
// and the signal's number: HUP, INT, QUIT, KILL, USR1, USR2, ALRM or TERM. Other
// signals have no effect by themselves. A step that is none of these ends with
// 127. The script of a service with a terminal writes all to standard output,
// unchanged.
package fake

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime"
)

// Pattern is what the step bytes=N repeats.
const Pattern = "0123456789abcde\n"

// Image is an image that the engine can have.
type Image struct {
	// Absent images are not there until somebody pulls them, which takes Pull
	// and reports progress over Size bytes.
	Absent bool
	Pull   time.Duration
	Size   protocol.Bytes
	// Arch and OS that it is made for; empty fits every machine.
	Arch, OS string
	// StopSignal is the one that containers of it are stopped with; TERM where it
	// is empty.
	StopSignal string
	// Volumes are the paths that it declares to hold data.
	Volumes []string
	// ID of an image that no registry has; empty is one that a registry has.
	ID protocol.ImageID
	// Fail is the error that a pull of it ends with; nil is none.
	Fail error
}

// Config describes a machine and its engine. The zero value is one without
// images.
type Config struct {
	// Arch and OS of the machine; "amd64" and "linux" where they are empty.
	Arch, OS string
	// Speed of one core relative to the reference device; 0 is 1.
	Speed float64
	// Images by their reference, exactly as services write it.
	Images map[string]Image
	// NoLimits are those that the engine cannot keep.
	NoLimits []string
	// NoImageIDs has the engine not tell images' IDs.
	NoImageIDs bool
	// OnStart, where it is set, is called before each container starts. It
	// must be quick and must not call the engine.
	OnStart func(runtime.Spec)
}

// Engine is what a real driver's engine is: it has images and containers, and
// outlives the drivers that connect to it. Its methods may be called
// concurrently.
type Engine struct {
	cfg     Config
	scripts sync.WaitGroup
	// commands are those of the scripts that Exec runs.
	commands sync.WaitGroup

	mu         sync.Mutex // guards the rest
	images     map[string]*imageState
	containers map[key]*container
	stacks     stacks
	created    uint64
	state      engineState
	changed    chan struct{} // closed and replaced when state changed
}

// engineState is what watchers look at.
type engineState struct {
	down bool
	// starts counts the engine's starts, images the changes of the images.
	starts, images uint64
}

// key names a container: what mesh and node a driver is of, and the attempt.
type key struct {
	mesh string
	node protocol.PeerID
	id   runtime.ExecutionID
}

type imageState struct {
	Image
	// ready is when the pull under way ends; zero where there is none.
	ready time.Time
}

// NewEngine makes an engine that is up.
func NewEngine(cfg Config) *Engine {
	if cfg.Arch == "" {
		cfg.Arch = "amd64"
	}
	if cfg.OS == "" {
		cfg.OS = "linux"
	}
	if cfg.Speed == 0 {
		cfg.Speed = 1
	}
	e := &Engine{
		cfg:        cfg,
		images:     make(map[string]*imageState),
		containers: make(map[key]*container),
		stacks:     newStacks(),
		changed:    make(chan struct{}),
	}
	for ref, image := range cfg.Images {
		e.images[ref] = &imageState{Image: image}
	}
	return e
}

// SetDown makes the engine stop answering, or answer again. Its containers go
// on meanwhile.
func (e *Engine) SetDown(down bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.state.down = down
	e.announce()
}

// Restart kills what runs, as a real engine does that is stopped and started.
func (e *Engine) Restart() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, c := range e.containers {
		c.lose()
	}
	for _, i := range e.stacks.instances {
		if i.run != nil {
			i.run.lose()
		}
	}
	e.state.starts++
	e.announce()
}

// Close kills what runs and blocks until no goroutine of the engine is left.
// Nothing may be started during or after it.
func (e *Engine) Close() {
	e.Restart()
	e.scripts.Wait()
}

// WaitCommands blocks until all commands have ended that Exec ran. None may be
// run meanwhile.
func (e *Engine) WaitCommands() { e.commands.Wait() }

// start runs a created container.
func (e *Engine) start(c *container) error {
	if err := c.begin(); err != nil {
		return err
	}
	if e.cfg.OnStart != nil && !c.neverRuns() {
		e.cfg.OnStart(c.spec)
	}
	e.scripts.Go(c.run)
	return nil
}

// AddImage makes an image known, or replaces it.
func (e *Engine) AddImage(ref string, image Image) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.images[ref] = &imageState{Image: image}
	e.state.images++
	e.announce()
}

// RemoveImage makes an image unknown.
func (e *Engine) RemoveImage(ref string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.images, ref)
	e.state.images++
	e.announce()
}

// announce wakes watchers; the caller holds mu.
func (e *Engine) announce() {
	close(e.changed)
	e.changed = make(chan struct{})
}

// look returns the engine's state and a channel that is closed after it.
func (e *Engine) look() (engineState, <-chan struct{}) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.state, e.changed
}

// present tells the images that are there.
func (e *Engine) present(info *runtime.Info) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, ref := range slices.Sorted(maps.Keys(e.images)) {
		if image := e.images[ref]; !image.Absent {
			info.Images, info.Sizes = append(info.Images, ref), append(info.Sizes, image.Size)
			info.Published = append(info.Published, image.ID == "")
		}
	}
}

// image returns what is known of an image.
func (e *Engine) image(ref string) (Image, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if image := e.images[ref]; image != nil {
		return image.Image, true
	}
	return Image{}, false
}

// Written returns how much of the engine's disk its containers have taken.
func (e *Engine) Written() (all protocol.Bytes) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, c := range e.containers {
		c.mu.Lock()
		all += c.written
		c.mu.Unlock()
	}
	return all
}

// available blocks while the engine is down.
func (e *Engine) available(ctx context.Context) error {
	for {
		state, changed := e.look()
		if !state.down {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
