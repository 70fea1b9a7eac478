package device

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

// reachTimeout bounds how long it may take until a container was reached: the
// engine's own limit for a call, and the way there.
const reachTimeout = 75 * time.Second

// containersFor returns the containers that a device reaches through this one: it
// has them where they run here for it, or belong to a request of this device.
func (d *Device) containersFor(from protocol.PeerID) protocol.Containers {
	return reacher{device: d, from: from, own: d.orch}
}

// appContainers returns the containers that the apps of this device reach.
func (d *Device) appContainers() reacher {
	return reacher{device: d, from: d.id, own: d.orch, mesh: d.requests}
}

// reacher finds containers for a device, or for the apps of this one.
type reacher struct {
	device *Device
	from   protocol.PeerID
	// own are the requests of this device. mesh finds those of every device, and
	// is nil for another device, so that no question goes in a circle.
	own  protocol.Requests
	mesh *meshRequests
}

// at returns whom to ask for a target's container, and what it is called there.
// verb is the key of the policy that decides.
func (r reacher) at(ctx context.Context, verb string, t protocol.Target) (protocol.Containers, protocol.Target, error) {
	switch {
	case t.Attempt != 0 && r.mesh != nil:
		return nil, t, protocol.Errorf(protocol.CodeInvalid, "target: only devices name an attempt")
	case t.Request == "" && r.mesh != nil:
		holder, name, err := r.device.stacks.mesh.Holder(ctx, t.Stack)
		if err != nil {
			return nil, t, err
		}
		t.Stack = name
		if holder != r.device.id {
			return r.device.containersAt(holder), t, nil
		}
		here, err := r.here()
		return here, t, err
	case t.Request == "" || t.Attempt != 0:
		here, err := r.here()
		return here, t, err
	}
	var detail protocol.RequestDetail
	var err error
	if r.mesh == nil {
		detail, err = r.own.Inspect(ctx, t.Request)
	} else {
		detail, err = r.mesh.Inspect(ctx, t.Request)
	}
	if err != nil {
		return nil, t, err
	}
	t.Request = detail.ID
	if detail.Orchestrator != r.device.id {
		return r.device.containersAt(detail.Orchestrator), t, nil
	}
	// Another device reaches further through this one, in this one's name: so this
	// device's owner has a say, too.
	if r.from != r.device.id && r.device.runtime != nil {
		if err := r.device.runtime.MayReach(verb, r.from); err != nil {
			return nil, t, err
		}
	}
	last := &detail.Last
	switch {
	case last.State.Ended():
		return nil, t, protocol.Errorf(protocol.CodeConflict, "%s has ended (%s): see 'hearth inspect %s'", t, last.State, t)
	case last.State != protocol.StateRunning:
		return nil, t, protocol.Errorf(protocol.CodeConflict, "%s does not run yet: it is %s", t, last.State)
	}
	t.Attempt = last.Attempt
	if last.Node != r.device.id {
		return r.device.containersAt(last.Node), t, nil
	}
	r.from = r.device.id
	here, err := r.here()
	return here, t, err
}

// here returns the containers of this device.
func (r reacher) here() (protocol.Containers, error) {
	if r.device.runtime == nil {
		return nil, protocol.Errorf(protocol.CodeNotFound, "this device runs no work: %s", r.device.cfg.NoDriver)
	}
	return r.device.runtime.Containers(r.from), nil
}

// containersAt is the way to the containers that another device has.
func (d *Device) containersAt(id protocol.PeerID) protocol.Containers {
	return protocol.NewContainersClient(d.open(id))
}

// Exec implements protocol.Containers.
func (r reacher) Exec(ctx context.Context, e protocol.Exec) (protocol.Session, error) {
	ctx, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	at, target, err := r.at(ctx, "exec", e.Target)
	if err != nil {
		return nil, err
	}
	e.Target = target
	return asDistant(at.Exec(ctx, e))
}

// Dial implements protocol.Containers.
func (r reacher) Dial(ctx context.Context, v protocol.Dial) (protocol.Stream, error) {
	ctx, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	at, target, err := r.at(ctx, "forward", v.Target)
	if err != nil {
		return nil, err
	}
	v.Target = target
	return at.Dial(ctx, v)
}

// Copy implements protocol.Containers.
func (r reacher) Copy(ctx context.Context, c protocol.Copy) (protocol.Session, error) {
	ctx, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	at, target, err := r.at(ctx, "copy", c.Target)
	if err != nil {
		return nil, err
	}
	c.Target = target
	return asDistant(at.Copy(ctx, c))
}

// asDistant returns a session that says what it means when it breaks.
func asDistant(s protocol.Session, err error) (protocol.Session, error) {
	if err != nil {
		return nil, err
	}
	return distant{s}, nil
}

// distant is a session of a container that may be another device's.
type distant struct{ protocol.Session }

// Next implements protocol.Session: where the way to the container is lost, it
// says so.
func (d distant) Next() (protocol.Update, error) {
	u, err := d.Session.Next()
	if _, told := errors.AsType[*protocol.Error](err); err == nil || told || err == io.EOF { //nolint:errorlint // a wrapped one is a failure, not the end
		return u, err
	}
	return u, protocol.Errorf(protocol.CodeNodeLost, "the connection to the container's node was lost")
}
