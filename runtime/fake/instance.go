package fake

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime"
	"github.com/hearth-edge/hearth/runtime/stack"
)

// maxLines is how many lines are kept of an instance.
const maxLines = 1000

// instance is a container of a stack, which runs its script again each time that it
// is started. The engine's mutex guards what follows spec.
type instance struct {
	engine     *Engine
	owner      owner
	id         string
	imageID    string
	stopSignal string
	spec       stack.Spec

	state             stack.ContainerState
	run               *container // the script that runs or has ended
	starts            int
	code              int
	oom               bool
	started, finished time.Time
	health            string
	lines             []protocol.LogLine
	partial           string
	dropped           int // lines that are not kept any more
}

// describe tells of it; the engine's mutex is held.
func (i *instance) describe() stack.Container {
	c := stack.Container{
		ID: i.id, Stack: i.spec.Stack, Service: i.spec.Service.Name, Hash: i.spec.Hash, ImageID: i.imageID,
		State: i.state, Health: i.health, ExitCode: i.code, OOMKilled: i.oom, Started: i.started, Finished: i.finished, Hosts: i.spec.Hosts,
		Joined: strings.TrimPrefix(i.spec.Mode, "container:"),
	}
	if c.State == stack.Absent {
		c.State = stack.Created
	}
	if c.Joined == i.spec.Mode {
		c.Joined = ""
	}
	if h := i.spec.Service.Health; h != nil {
		c.HealthInterval = h.Interval.Duration()
	}
	return c
}

// start runs the script. One that runs already goes on.
func (i *instance) start() error {
	e := i.engine
	e.mu.Lock()
	defer e.mu.Unlock()
	if i.state == stack.Running {
		return nil
	}
	command := i.spec.Service.Command
	if len(command) > 0 && strings.HasPrefix(command[0], "unstartable=") {
		return protocol.Errorf(protocol.CodeStartFailed, "the command could not be run: its script says so")
	}
	i.starts++
	run := newContainer(i.id, runtime.Spec{Args: command}, e.cfg.Speed, i.stopSignal)
	if err := run.begin(); err != nil {
		return err
	}
	i.run, i.state, i.started, i.code, i.health = run, stack.Running, time.Now(), 0, ""
	e.scripts.Go(run.run)
	read := make(chan struct{})
	out := run.output.reader(true)
	e.scripts.Go(func() { i.read(out); close(read) })
	e.scripts.Go(func() { <-run.ended; <-read; i.end(run) })
	if h := i.spec.Service.Health; h != nil && len(h.Test) == 2 {
		i.health = "starting"
		e.scripts.Go(func() { i.check(run, h) })
	}
	e.tell(i, stack.EventChanged)
	return nil
}

// end takes in that a script has ended.
func (i *instance) end(run *container) {
	i.engine.mu.Lock()
	defer i.engine.mu.Unlock()
	i.state, i.code, i.oom, i.finished, i.health = stack.Exited, run.exit.Code, run.exit.OOMKilled, time.Now(), ""
	i.engine.tell(i, stack.EventChanged)
}

// check is the health check: it passes after one interval, or fails after as many
// as it has retries.
func (i *instance) check(run *container, h *protocol.HealthCheck) {
	rounds, result := time.Duration(1), "healthy"
	if h.Test[1] != "true" {
		rounds, result = time.Duration(max(h.Retries, 1)), "unhealthy"
	}
	timer := time.NewTimer(rounds * h.Interval.Duration())
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-run.ended:
		return
	}
	i.engine.mu.Lock()
	defer i.engine.mu.Unlock()
	if i.run == run && i.state == stack.Running {
		i.health = result
		i.engine.tell(i, stack.EventChanged)
	}
}

// signal sends a signal, and returns the script that it was sent to; nil where none
// runs.
func (i *instance) signal(name string) *container {
	i.engine.mu.Lock()
	run, runs := i.run, i.state == stack.Running
	i.engine.mu.Unlock()
	if !runs {
		return nil
	}
	run.signal(name)
	return run
}

// awaitEnd blocks until the instance has ended, as everybody sees it.
func (i *instance) awaitEnd(ctx context.Context) error {
	for {
		i.engine.mu.Lock()
		runs, news := i.state == stack.Running, i.engine.changed
		i.engine.mu.Unlock()
		if !runs {
			return nil
		}
		select {
		case <-news:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// read keeps what the script writes, by lines.
func (i *instance) read(out *reader) {
	for {
		channel, data, err := out.Next()
		i.engine.mu.Lock()
		if err != nil {
			if i.partial != "" {
				i.line(protocol.Stdout, i.partial)
				i.partial = ""
			}
			i.engine.mu.Unlock()
			return
		}
		i.partial += string(data)
		for {
			text, rest, whole := strings.Cut(i.partial, "\n")
			if !whole {
				break
			}
			i.line(channel, text)
			i.partial = rest
		}
		i.engine.announce()
		i.engine.mu.Unlock()
	}
}

// line keeps a line; the engine's mutex is held.
func (i *instance) line(channel protocol.Channel, text string) {
	i.lines = append(i.lines, protocol.LogLine{Service: i.spec.Service.Name, Channel: channel, At: time.Now(), Text: text})
	if over := len(i.lines) - maxLines; over > 0 {
		i.lines = slices.Delete(i.lines, 0, over)
		i.dropped += over
	}
}

func (i *instance) logs(ctx context.Context, o stack.LogOptions, yield func(protocol.LogLine) error) error {
	next := 0 // counted from the first line of all
	for first := true; ; first = false {
		i.engine.mu.Lock()
		if first && o.Tail > 0 {
			next = i.dropped + max(0, len(i.lines)-o.Tail)
		}
		next = max(next, i.dropped)
		fresh := slices.Clone(i.lines[next-i.dropped:])
		next += len(fresh)
		runs, news := i.state == stack.Running, i.engine.changed
		i.engine.mu.Unlock()
		for _, l := range fresh {
			if l.At.Before(o.Since) {
				continue
			}
			if err := yield(l); err != nil {
				return err
			}
		}
		if !o.Follow || !runs {
			return nil
		}
		select {
		case <-news:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
