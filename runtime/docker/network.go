package docker

import (
	"context"
	"errors"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/client"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime"
)

const (
	// bridgeName and bridgeDevice are those of the network that "bridge" stands
	// for: a bridge on which containers do not reach each other, since their
	// askers need not trust each other. All devices that use an engine share it.
	bridgeName   = "hearth"
	bridgeDevice = "hearth0"
	// engineBridge stands for the engine's default network, which all containers
	// on it share with those of the node's owner.
	engineBridge = "docker0"
)

// The engine's options of a bridge.
const (
	optionReach  = "com.docker.network.bridge.enable_icc"
	optionDevice = "com.docker.network.bridge.name"
)

const (
	// makeTries is how often the network is looked for while another device may be
	// making it, makePause the time between.
	makeTries = 50
	makePause = 100 * time.Millisecond
)

// bridge is the network that containers are put on by default.
type bridge struct {
	name, device string
	making       chan struct{} // holds a token while somebody makes it
}

func newBridge(name, device string) *bridge {
	return &bridge{name: name, device: device, making: make(chan struct{}, 1)}
}

// ensureNetwork makes the network of the spec where that is Hearth's own and is not
// there, as after "docker network prune".
func (d *Driver) ensureNetwork(ctx context.Context, spec *runtime.Spec) error {
	if networkMode(spec.Network) != bridgeName {
		return nil
	}
	b := d.bridge
	find := func(ctx context.Context) error { return b.find(ctx, d.client.Load()) }
	if err := d.within(ctx, askTimeout, "look at the network "+b.name, find); !errors.Is(err, runtime.ErrNotFound) {
		return err
	}
	select {
	case b.making <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-b.making }()
	return d.within(ctx, changeTimeout, "make the network "+b.name, func(ctx context.Context) error {
		return b.ensure(ctx, d.client.Load())
	})
}

// find returns nil where the network is there. One of that name on which
// containers reach each other is refused.
func (b *bridge) find(ctx context.Context, c *client.Client) error {
	n, err := c.NetworkInspect(ctx, b.name, network.InspectOptions{})
	if err != nil || n.Driver == "bridge" && n.Options[optionReach] == "false" {
		return err
	}
	return protocol.Errorf(protocol.CodeStartFailed,
		"the network %s of the Docker engine is not Hearth's own: containers on it reach each other. Remove it, and Hearth makes its own", b.name)
}

// ensure finds or makes the network. An engine does not keep two devices from
// making networks of one name at once, but refuses a second one with the same
// interface; the other's may not be seen yet then.
func (b *bridge) ensure(ctx context.Context, c *client.Client) error {
	for try := 1; ; try++ {
		err := b.find(ctx, c)
		if !cerrdefs.IsNotFound(err) {
			return err
		}
		// The engine chooses the addresses, from its pools.
		_, err = c.NetworkCreate(ctx, b.name, network.CreateOptions{
			Driver:  "bridge",
			Options: map[string]string{optionReach: "false", optionDevice: b.device},
		})
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil || disconnected(err):
			return err
		case try == makeTries || !cerrdefs.IsConflict(err) && !cerrdefs.IsPermissionDenied(err):
			return protocol.Errorf(protocol.CodeStartFailed,
				"the Docker engine cannot make the network %s, on which containers do not reach each other: %s. The owner of the node can name another one first in networks of its policy", b.name, message(err))
		}
		select {
		case <-time.After(makePause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
