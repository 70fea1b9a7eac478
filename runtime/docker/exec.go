package docker

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime"
)

const (
	// execDetachKeys are what detachKeys are, for a command: these travel as JSON,
	// so they can be no bytes that no text holds. The engine holds back a key that
	// may begin them, until the next one. So they begin with one that is hardly
	// ever typed, Ctrl-^.
	execDetachKeys = "\x1e,\x1e,\x1e,\x1e,\x1e,\x1e,\x1e,\x1e"
	// ociFailure and noUser are how the text begins by which the engine says, in
	// place of the command's output, that the command could not be run.
	ociFailure = "OCI runtime exec failed: "
	noUser     = "unable to find user "
	// maxFailure bounds that text.
	maxFailure = 4 << 10
	// The engine tells nobody when a command ends; it is asked, after execPause
	// and then less and less often.
	execPause, execPauseMax = 2 * time.Millisecond, time.Second
	// endedTimeout is how long after a command that was killed the engine may
	// need to see that its container ended.
	endedTimeout = 500 * time.Millisecond
)

// process is a command in a container.
type process struct {
	driver    *Driver
	id        string // of the exec
	container string
	user      string // empty: the container's
	stdio     runtime.Stdio
	// failure is why it could not be run; it belongs to who reads the output, and
	// then to Wait.
	failure string
}

// Exec implements runtime.Access.
func (d *Driver) Exec(ctx context.Context, target string, c runtime.Command) (runtime.Process, error) {
	opts := container.ExecOptions{
		User: c.User, Tty: c.TTY, Env: c.Env, WorkingDir: c.WorkDir, Cmd: c.Args, DetachKeys: execDetachKeys,
		AttachStdin: c.Stdin, AttachStdout: !c.Detach, AttachStderr: !c.Detach,
	}
	var size *[2]uint
	if c.TTY && c.TTYRows > 0 && c.TTYColumns > 0 {
		size = &[2]uint{uint(c.TTYRows), uint(c.TTYColumns)}
	}
	var made container.ExecCreateResponse
	err := d.within(ctx, askTimeout, "make a command", func(ctx context.Context) (err error) {
		made, err = d.client.Load().ContainerExecCreate(ctx, target, opts)
		return explainExec(err)
	})
	if err != nil {
		return nil, err
	}
	p := &process{driver: d, id: made.ID, container: target, user: c.User}
	start := container.ExecStartOptions{Detach: c.Detach, Tty: c.TTY, ConsoleSize: size}
	if err := d.startExec(ctx, p, c, start); err != nil {
		return nil, err
	}
	if size != nil {
		d.sizeExec(ctx, p, c)
	}
	return p, nil
}

// startExec starts the command and connects its streams.
func (d *Driver) startExec(ctx context.Context, p *process, c runtime.Command, opts container.ExecStartOptions) error {
	if c.Detach {
		return d.within(ctx, changeTimeout, "start a command", func(ctx context.Context) error {
			return explainExec(d.client.Load().ContainerExecStart(ctx, p.id, opts))
		})
	}
	if e, err := d.describe(ctx); err != nil {
		return err
	} else if !e.sizesTerminals {
		opts.ConsoleSize = nil
	}
	body, err := json.Marshal(opts)
	if err != nil {
		return err
	}
	var conn net.Conn
	var in io.Reader
	err = d.within(ctx, changeTimeout, "start a command", func(ctx context.Context) (err error) {
		conn, in, err = d.upgrade(ctx, "/exec/"+p.id+"/start", body)
		return explainExec(err)
	})
	if err != nil {
		return err
	}
	out := newReader(in, conn, &d.buffers)
	out.raw = c.TTY
	output := &commandOutput{reader: out}
	output.failed = func() bool {
		exit, err := p.Wait(context.WithoutCancel(ctx))
		if err == nil && neverStarted(exit.Code) {
			p.failure = message(errors.New(string(output.held)))
		}
		return p.failure != ""
	}
	p.stdio.Output = output
	switch {
	case c.Stdin && c.TTY:
		p.stdio.Stdin = &terminalInput{conn: conn}
	case c.Stdin:
		p.stdio.Stdin = input{conn}
	}
	return nil
}

// sizeExec tells the size of the terminal of what was started just now, for
// engines that do not take it with the start; the runtime may need a moment.
func (d *Driver) sizeExec(ctx context.Context, p *process, c runtime.Command) {
	if e := d.engine.Load(); e != nil && e.sizesTerminals {
		return
	}
	for pause := resizePause; pause < resizePause<<maxResizes; pause *= 2 {
		if err := p.Resize(ctx, c.TTYRows, c.TTYColumns); err == nil || ctx.Err() != nil {
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

// explainExec tells what only a call about a command can fail of.
func explainExec(err error) error {
	var status int
	if e, ok := errors.AsType[*statusError](err); ok {
		status = e.status
		var body struct{ Message string }
		if json.Unmarshal(e.body, &body) == nil && body.Message != "" {
			err = errors.New(body.Message)
		}
	}
	switch {
	case err == nil:
		return nil
	case cerrdefs.IsNotFound(err), status == http.StatusNotFound:
		return runtime.ErrNotFound
	case (cerrdefs.IsConflict(err) || status == http.StatusConflict) && strings.Contains(err.Error(), "is paused"):
		return protocol.Errorf(protocol.CodeConflict, "the container is stopped by a STOP signal: send it CONT first")
	case cerrdefs.IsConflict(err), status == http.StatusConflict:
		return protocol.Errorf(protocol.CodeConflict, "the container does not run any more")
	case cerrdefs.IsInvalidArgument(err), status == http.StatusBadRequest,
		strings.Contains(err.Error(), ociFailure), strings.Contains(err.Error(), noUser):
		return commandFailure(message(err))
	}
	return err
}

// commandFailure is why a command could not be run.
func commandFailure(text string) *protocol.Error {
	text = strings.TrimSuffix(text, ": unknown")
	for _, noise := range []string{ociFailure, "exec failed: ", "unable to start container process: "} {
		text = strings.TrimPrefix(text, noise)
	}
	return protocol.Errorf(protocol.CodeStartFailed, "the command could not be run: %s", text)
}

// neverStarted reports whether a command that could not be run ends with the code.
func neverStarted(code int) bool { return code == exitNotFound || code == exitNotExecutable }

// mayBegin reports whether text begins with what is given, as far as it goes.
func mayBegin(text []byte, with string) bool {
	n := min(len(text), len(with))
	return string(text[:n]) == with[:n]
}

// Stdio implements runtime.Process.
func (p *process) Stdio() runtime.Stdio { return p.stdio }

// Wait implements runtime.Process.
func (p *process) Wait(ctx context.Context) (runtime.ProcessExit, error) {
	for pause := execPause; ; pause = min(2*pause, execPauseMax) {
		told, err := p.inspect(ctx)
		switch {
		case err != nil:
			return runtime.ProcessExit{}, err
		case !told.Running:
			exit := runtime.ProcessExit{Code: told.ExitCode}
			if p.failure != "" && neverStarted(exit.Code) {
				exit.Code = exitNotExecutable
				if strings.Contains(p.failure, "executable file not found") || strings.Contains(p.failure, "stat ") && strings.Contains(p.failure, "no such file") {
					exit.Code = exitNotFound // older engines tell 126 of both
				}
				return exit, commandFailure(p.failure)
			}
			exit.ContainerEnded = exit.Code == exitKilled && p.driver.ended(ctx, p.container)
			return exit, nil
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return runtime.ProcessExit{}, ctx.Err()
		}
	}
}

func (p *process) inspect(ctx context.Context) (told container.ExecInspect, err error) {
	err = p.driver.within(ctx, askTimeout, "ask for the end of a command", func(ctx context.Context) error {
		told, err = p.driver.client.Load().ContainerExecInspect(ctx, p.id)
		return err
	})
	return told, err
}

// ended reports whether a container has ended, or does so in a moment.
func (d *Driver) ended(ctx context.Context, target string) bool {
	ctx, cancel := context.WithTimeout(ctx, endedTimeout)
	defer cancel()
	done, failed := d.client.Load().ContainerWait(ctx, target, container.WaitConditionNotRunning)
	select {
	case <-done:
		return true
	case err := <-failed:
		return cerrdefs.IsNotFound(err)
	}
}

// Resize implements runtime.Process.
func (p *process) Resize(ctx context.Context, rows, columns uint16) error {
	return p.driver.within(ctx, askTimeout, "resize terminal", func(ctx context.Context) error {
		return p.driver.client.Load().ContainerExecResize(ctx, p.id, container.ResizeOptions{Height: uint(rows), Width: uint(columns)})
	})
}

// commandOutput is a command's output without what the engine writes there when
// it cannot run the command: that is held back until something follows it, or the
// end, which tells it.
type commandOutput struct {
	*reader
	// failed says whether the command could not be run, once its output has ended.
	failed  func() bool
	held    []byte
	channel protocol.Channel // of held
	passing bool             // nothing is held back any more
}

// Next implements runtime.OutputReader.
func (o *commandOutput) Next() (protocol.Channel, []byte, error) {
	for !o.passing {
		channel, data, err := o.reader.Next()
		if err == nil {
			o.channel, o.held = channel, append(o.held, data...)
			o.passing = len(o.held) > maxFailure || !mayBegin(o.held, ociFailure) && !mayBegin(o.held, noUser)
			continue
		}
		o.passing = true
		if len(o.held) == 0 || o.failed() {
			return 0, nil, err
		}
	}
	if held := o.held; len(held) > 0 {
		o.held = nil
		return o.channel, held, nil
	}
	return o.reader.Next()
}
