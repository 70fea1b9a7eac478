package fake

import (
	"context"
	"io"
	"net"
	"sync"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/protocol/protocoltest"
	"github.com/hearth-edge/hearth/runtime"
)

// running returns the container of that name, which runs.
func (d *Driver) running(ctx context.Context, name string) (*container, error) {
	if err := d.ask(ctx); err != nil {
		return nil, err
	}
	d.engine.mu.Lock()
	defer d.engine.mu.Unlock()
	for k, c := range d.engine.containers {
		if c.name != name || k.mesh != d.mesh || k.node != d.node {
			continue
		}
		if !c.runs() {
			return nil, protocol.Errorf(protocol.CodeConflict, "the container does not run")
		}
		return c, nil
	}
	return nil, runtime.ErrNotFound
}

func (c *container) runs() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.phase == phaseRunning && c.death == 0
}

// Exec implements runtime.Access: a command is one more script.
func (d *Driver) Exec(ctx context.Context, name string, v runtime.Command) (runtime.Process, error) {
	parent, err := d.running(ctx, name)
	if err != nil {
		return nil, err
	}
	spec := parent.spec
	spec.Args, spec.Stdin, spec.TTY, spec.TTYRows, spec.TTYColumns = v.Args, v.Stdin, v.TTY, v.TTYRows, v.TTYColumns
	c := newContainer(name, spec, d.engine.cfg.Speed, "")
	p := &process{container: c, parent: parent}
	if !v.Detach {
		p.stdio.Output = c.output.reader(true)
	}
	if v.Stdin {
		p.stdio.Stdin = c.stdinWriter
	}
	if err := c.begin(); err != nil {
		return nil, err
	}
	d.engine.commands.Add(1)
	d.engine.scripts.Go(func() {
		defer d.engine.commands.Done()
		c.run()
	})
	d.engine.scripts.Go(func() {
		select {
		case <-parent.killed:
			c.signal("KILL")
		case <-parent.ended:
			c.signal("KILL")
		case <-c.ended:
		}
	})
	return p, nil
}

// process is a command in a container.
type process struct {
	container, parent *container
	stdio             runtime.Stdio
}

// Stdio implements runtime.Process.
func (p *process) Stdio() runtime.Stdio { return p.stdio }

// Wait implements runtime.Process.
func (p *process) Wait(ctx context.Context) (runtime.ProcessExit, error) {
	select {
	case <-p.container.ended:
	case <-ctx.Done():
		return runtime.ProcessExit{}, ctx.Err()
	}
	exit := runtime.ProcessExit{Code: p.container.exit.Code}
	exit.ContainerEnded = exit.Code == exitKill && !p.parent.runs()
	return exit, p.container.unstartable
}

// Signal implements runtime.Process.
func (p *process) Signal(_ context.Context, signal string) error {
	p.container.signal(signal)
	return nil
}

// Resize implements runtime.Process.
func (p *process) Resize(_ context.Context, rows, columns uint16) error {
	p.container.resize(rows, columns)
	return nil
}

// ports are those that a container listens on.
type ports struct {
	mu   sync.Mutex // guards open
	open map[uint16]bool
}

func (p *ports) listen(port uint16) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open == nil {
		p.open = make(map[uint16]bool)
	}
	p.open[port] = true
}

func (p *ports) listens(port uint16) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.open[port]
}

// Dial implements runtime.Access: what listens sends back what comes.
func (d *Driver) Dial(ctx context.Context, name string, port uint16, udp bool) (protocol.Stream, error) {
	c, err := d.running(ctx, name)
	if err != nil {
		return nil, err
	}
	if !c.ports.listens(port) {
		return nil, protocol.Errorf(protocol.CodePortClosed, "nothing in the container listens on port %d", port)
	}
	if udp {
		near, far := net.Pipe() // which keeps the bounds of what is written
		d.engine.scripts.Go(func() { c.answer(protocol.NetStream(far)) })
		return protocol.NetStream(near), nil
	}
	near, far := protocoltest.Pipe()
	d.engine.scripts.Go(func() { c.answer(far) })
	return near, nil
}

// answer sends back what comes until that ends, or the container does.
func (c *container) answer(s protocol.Stream) {
	over := make(chan struct{})
	defer close(over)
	go func() {
		select {
		case <-c.killed:
			_ = s.Reset()
		case <-c.ended:
			_ = s.Reset()
		case <-over:
		}
	}()
	buf := make([]byte, maxPiece)
	for {
		n, err := s.Read(buf)
		if n > 0 {
			if _, err := s.Write(buf[:n]); err != nil {
				_ = s.Reset()
				return
			}
		}
		if err == io.EOF { //nolint:errorlint // a stream's end is not wrapped
			_ = s.Close()
			return
		}
		if err != nil {
			_ = s.Reset()
			return
		}
	}
}
