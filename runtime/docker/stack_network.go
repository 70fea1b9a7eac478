package docker

import (
	"context"
	"errors"
	"net/netip"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/volume"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime"
	"github.com/hearth-edge/hearth/runtime/stack"
)

// Networks implements stack.Engine.
func (s *Stacks) Networks(ctx context.Context) ([]stack.Network, error) {
	d := s.driver
	var list []network.Summary
	err := d.within(ctx, askTimeout, "list networks", func(ctx context.Context) (err error) {
		list, err = d.client.Load().NetworkList(ctx, network.ListOptions{})
		return err
	})
	var all []stack.Network
	for i := range list {
		all = append(all, d.stackNetwork(&list[i]))
	}
	return all, err
}

// MakeNetwork implements stack.Engine.
func (s *Stacks) MakeNetwork(ctx context.Context, n stack.Network) error {
	d := s.driver
	return d.within(ctx, changeTimeout, "make the network "+n.Name, func(ctx context.Context) error {
		config := network.IPAMConfig{Subnet: n.Subnets[0].String(), Gateway: n.Gateway.String(), IPRange: prefixText(n.Range)}
		_, err := d.client.Load().NetworkCreate(ctx, n.Name, network.CreateOptions{
			Driver: "bridge", Internal: n.Internal, Labels: d.owned(n.Stack),
			IPAM: &network.IPAM{Driver: "default", Config: []network.IPAMConfig{config}},
		})
		if err == nil || ctx.Err() != nil || disconnected(err) {
			return err
		}
		// The engine knows of addresses that this process does not see.
		return protocol.Errorf(protocol.CodeConflict, "the engine cannot make the network %s: %s", n.Name, message(err))
	})
}

func prefixText(p netip.Prefix) string {
	if !p.IsValid() {
		return ""
	}
	return p.String()
}

// RemoveNetwork implements stack.Engine.
func (s *Stacks) RemoveNetwork(ctx context.Context, name string) error {
	d := s.driver
	err := d.within(ctx, changeTimeout, "remove the network "+name, func(ctx context.Context) error {
		c := d.client.Load()
		n, err := c.NetworkInspect(ctx, name, network.InspectOptions{})
		if err != nil || d.ownerOf(n.Labels) == "" {
			return err
		}
		for container := range n.Containers {
			if err := c.NetworkDisconnect(ctx, n.ID, container, true); err != nil && !cerrdefs.IsNotFound(err) {
				return err
			}
		}
		return c.NetworkRemove(ctx, n.ID)
	})
	if errors.Is(err, runtime.ErrNotFound) {
		return nil
	}
	return err
}

// Volume implements stack.Engine.
func (s *Stacks) Volume(ctx context.Context, name string) (stack.Volume, error) {
	v, err := s.volume(ctx, name)
	return stack.Volume{Name: v.Name, Stack: s.driver.ownerOf(v.Labels), Volume: v.Labels[labelVolume]}, err
}

func (s *Stacks) volume(ctx context.Context, name string) (v volume.Volume, err error) {
	d := s.driver
	err = d.within(ctx, askTimeout, "look at the volume "+name, func(ctx context.Context) (err error) {
		v, err = d.client.Load().VolumeInspect(ctx, name)
		return err
	})
	return v, err
}

// MakeVolume implements stack.Engine.
func (s *Stacks) MakeVolume(ctx context.Context, v stack.Volume) error {
	d := s.driver
	return d.within(ctx, changeTimeout, "make the volume "+v.Name, func(ctx context.Context) error {
		_, err := d.client.Load().VolumeCreate(ctx, volume.CreateOptions{Name: v.Name, Driver: "local", Labels: d.volumeLabels(v)})
		return err
	})
}

// RemoveVolume implements stack.Engine.
func (s *Stacks) RemoveVolume(ctx context.Context, name string) error {
	d := s.driver
	v, err := s.volume(ctx, name)
	if errors.Is(err, runtime.ErrNotFound) || err == nil && d.ownerOf(v.Labels) == "" {
		return nil
	}
	if err != nil {
		return err
	}
	return d.within(ctx, changeTimeout, "remove the volume "+name, func(ctx context.Context) error {
		err := d.client.Load().VolumeRemove(ctx, name, false)
		switch {
		case cerrdefs.IsNotFound(err):
			return nil
		case cerrdefs.IsConflict(err):
			return protocol.Errorf(protocol.CodeConflict, "the volume %s is in use by a container that is not of its stack: %s", name, message(err))
		}
		return err
	})
}
