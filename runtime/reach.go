package runtime

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

// Limits on what reaches into one container at a time; more is CodeOverloaded.
const (
	maxExecs  = 64
	maxCopies = 8
	maxDials  = 512
	// dialTimeout bounds how long a connection to a port of a container may take.
	dialTimeout = 10 * time.Second
)

// reach counts what reaches into one container. The zero value is ready for use.
type reach struct {
	mu                   sync.Mutex // guards the rest
	execs, copies, dials int
}

// take counts one more, until done is called.
func (r *reach) take(count *int, most int, what string) (done func(), err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if *count >= most {
		return nil, protocol.Errorf(protocol.CodeOverloaded, "this container has %d %s already, the most is %d: try again when some have ended", *count, what, most)
	}
	*count++
	return sync.OnceFunc(func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		*count--
	}), nil
}

// Containers returns the containers here as the device named from reaches into
// them.
func (n *Node) Containers(from protocol.PeerID) protocol.Containers {
	return containers{node: n, from: from}
}

// containers are those of a Node as one device meets them.
type containers struct {
	node *Node
	from protocol.PeerID
}

// A reached container is one that runs and may be reached into.
type reached struct {
	name  string // at the engine
	reach *reach
	event func(protocol.State) protocol.Event
}

// MayReach returns nil where the policy lets a device reach into containers here in
// the way of the key: exec, forward or copy.
func (n *Node) MayReach(key string, from protocol.PeerID) error {
	asker := Asker{Node: from, Self: from == n.cfg.Node}
	if asker.Self {
		asker.Name = n.cfg.Name
	} else if n.cfg.NameOf != nil {
		asker.Name = n.cfg.NameOf(from)
	}
	if err := n.cfg.Policy.mayReach(key, asker); err != nil {
		return protocol.Errorf(protocol.CodeOf(err), "%s %v", n.cfg.Name, err)
	}
	return nil
}

// find returns the container that t names. key is the policy's that decides.
func (c containers) find(key string, t protocol.Target) (reached, error) {
	n := c.node
	if err := n.MayReach(key, c.from); err != nil {
		return reached{}, err
	}
	if t.Request == "" && n.cfg.Instance != nil {
		return n.instance(t)
	}
	if t.Request == "" || t.Attempt == 0 {
		return reached{}, protocol.Errorf(protocol.CodeNotFound, "%s has no container of %s", n.cfg.Name, t)
	}
	id := ExecutionID{Orchestrator: c.from, Request: t.Request, Attempt: t.Attempt}
	n.mu.Lock()
	e, down := n.executions[id], n.engine.reason
	n.mu.Unlock()
	switch {
	case e == nil:
		return reached{}, protocol.Errorf(protocol.CodeNotFound, "%s has no container of %s", n.cfg.Name, t)
	case down != "":
		return reached{}, protocol.Errorf(protocol.CodeEngineDown, "%s: %s", n.cfg.Name, down)
	}
	name, state := e.inside()
	switch {
	case state.Ended():
		return reached{}, protocol.Errorf(protocol.CodeConflict, "the container of %s has ended: see 'hearth logs %s'", t, t)
	case name == "":
		return reached{}, protocol.Errorf(protocol.CodeConflict, "the container of %s does not run yet: try again when 'hearth ps' shows it running", t)
	}
	return reached{name: name, reach: &e.reach, event: func(s protocol.State) protocol.Event {
		event := e.event(s)
		event.Container = name
		return event
	}}, nil
}

// instance returns the container of a stack's service.
func (n *Node) instance(t protocol.Target) (reached, error) {
	name, err := n.cfg.Instance(t.Stack, t.Service)
	if err != nil {
		return reached{}, err
	}
	n.mu.Lock()
	r := n.instances[t]
	if r == nil { // bounded by the services of the stacks that were ever here
		r = new(reach)
		n.instances[t] = r
	}
	n.mu.Unlock()
	return reached{name: name, reach: r, event: func(s protocol.State) protocol.Event {
		return protocol.Event{State: s, Node: n.cfg.Node, NodeName: n.cfg.Name, At: time.Now(), Container: name}
	}}, nil
}

// inside returns the container while it runs, and the state as far as it matters
// to those who want to reach into it.
func (e *execution) inside() (name string, state protocol.State) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.runningContainer, e.reachable
}

// reachInto tells what inside returns from now on.
func (e *execution) reachInto(name string, state protocol.State) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.runningContainer, e.reachable = name, state
}

// Exec implements protocol.Containers.
func (c containers) Exec(ctx context.Context, v protocol.Exec) (protocol.Session, error) {
	if err := c.node.cfg.Policy.mayBe(v.User); err != nil {
		return nil, protocol.Errorf(protocol.CodeOf(err), "%s %v", c.node.cfg.Name, err)
	}
	at, err := c.find("exec", v.Target)
	if err != nil {
		return nil, err
	}
	done, err := at.reach.take(&at.reach.execs, maxExecs, "commands")
	if err != nil {
		return nil, err
	}
	call, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	process, err := c.node.cfg.Driver.Exec(call, at.name, Command{
		Args: v.Args, Env: v.Env, WorkDir: v.WorkDir, User: v.User, Stdin: v.Stdin,
		TTY: v.TTY, TTYRows: v.TTYRows, TTYColumns: v.TTYColumns, Detach: v.Detach,
	})
	if err != nil {
		done()
		return nil, c.node.outside("exec", v.Target, err)
	}
	return newExecSession(c.node, process, at.event, v, done), nil
}

// Dial implements protocol.Containers.
func (c containers) Dial(ctx context.Context, d protocol.Dial) (protocol.Stream, error) {
	key := "forward"
	if d.Published {
		// Whoever published it lets the mesh's devices in.
		if key = "allow_from"; c.node.cfg.Publishes == nil {
			return nil, protocol.Errorf(protocol.CodePortClosed, "%s runs no stacks", c.node.cfg.Name)
		}
		service, port, err := c.node.cfg.Publishes(d.Target.Stack, d.Port, d.UDP)
		if err != nil {
			return nil, err
		}
		d.Target.Service, d.Port = service, port
	}
	at, err := c.find(key, d.Target)
	if err != nil {
		return nil, err
	}
	done, err := at.reach.take(&at.reach.dials, maxDials, "connections")
	if err != nil {
		return nil, err
	}
	call, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	s, err := c.node.cfg.Driver.Dial(call, at.name, d.Port, d.UDP)
	if err != nil {
		done()
		return nil, c.node.outside("dial", d.Target, err)
	}
	if d.UDP {
		s = protocol.FrameDatagrams(s)
	}
	return countedStream{s, done}, nil
}

// countedStream gives its place back when it is closed or reset.
type countedStream struct {
	protocol.Stream
	done func()
}

func (s countedStream) Close() error {
	defer s.done()
	return s.Stream.Close()
}

func (s countedStream) Reset() error {
	defer s.done()
	return s.Stream.Reset()
}

// outside turns an error of the driver into one that may be told.
func (n *Node) outside(what string, t protocol.Target, err error) error {
	switch _, public := errors.AsType[*protocol.Error](err); {
	case err == nil, public:
		return err
	case errors.Is(err, ErrNotFound):
		return protocol.Errorf(protocol.CodeConflict, "the container of %s has ended", t)
	case errors.Is(err, context.DeadlineExceeded):
		return protocol.Errorf(protocol.CodeEngineDown, "the container engine of %s did not answer in time", n.cfg.Name)
	}
	return fmt.Errorf("%s %s: %w", what, t, err)
}
