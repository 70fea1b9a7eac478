package docker

import (
	"context"
	"errors"
	"path"
	"strings"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/network"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime/stack"
)

// Create implements stack.Engine.
func (s *Stacks) Create(ctx context.Context, spec stack.Spec) (string, error) {
	d := s.driver
	found, present, err := d.checkLocal(ctx, spec.Image)
	if err != nil {
		return "", err
	}
	if !present {
		return "", errImageAbsent(spec.Image)
	}
	keepEntrypoint(&spec.Service, &found)
	if err := s.makeFolders(ctx, &spec); err != nil {
		return "", err
	}
	places, err := s.places(ctx, &spec)
	if err != nil {
		return "", err
	}
	if err := s.makeMemory(&spec); err != nil {
		return "", err
	}
	id, err := s.make(ctx, &spec, found.ID, places)
	if err != nil {
		return "", err
	}
	err = s.complete(ctx, &spec, id)
	if err != nil {
		d.discard(ctx, id)
		return "", err
	}
	return id, nil
}

// keepEntrypoint lets an empty command be one: to the engine it is the image's
// unless the entrypoint is named, too.
func keepEntrypoint(svc *protocol.StackService, found *image.InspectResponse) {
	if svc.Command != nil && len(svc.Command) == 0 && svc.Entrypoint == nil && found.Config != nil {
		svc.Entrypoint = found.Config.Entrypoint
	}
}

// make makes the container on its main network.
func (s *Stacks) make(ctx context.Context, spec *stack.Spec, imageID string, places map[string]string) (id string, err error) {
	d := s.driver
	mounts := append(ownMounts(spec.Mounts, places), s.memoryMounts(spec)...)
	config, host := stackConfig(spec, d.stackLabels(spec, imageID), mounts)
	if e := d.engine.Load(); e != nil {
		leaveOut(host, e.noLimits)
	}
	var on *network.NetworkingConfig
	if len(spec.Networks) > 0 {
		first := spec.Networks[0]
		on = &network.NetworkingConfig{EndpointsConfig: map[string]*network.EndpointSettings{first.Network: endpointSettings(first)}}
	}
	err = d.within(ctx, changeTimeout, "create container", func(ctx context.Context) error {
		made, err := d.client.Load().ContainerCreate(ctx, config, host, on, nil, d.stackContainer(spec.Stack, spec.Service.Name))
		if err != nil {
			return d.explainStackCreate(ctx, spec, err)
		}
		id = made.ID
		return d.checkWarnings(made.Warnings, nil)
	})
	return id, err
}

func (d *Driver) explainStackCreate(ctx context.Context, spec *stack.Spec, err error) error {
	switch {
	case ctx.Err() != nil || disconnected(err):
		return err
	case cerrdefs.IsConflict(err):
		return protocol.Errorf(protocol.CodeConflict, "the engine has another container by the name of %s/%s: %s", spec.Stack, spec.Service.Name, message(err))
	case strings.Contains(err.Error(), "No such image"):
		return errImageAbsent(spec.Image)
	case strings.Contains(err.Error(), "no space left on device"):
		return err
	}
	return protocol.Errorf(protocol.CodeStartFailed, "the Docker engine refused to create the container: %s", message(err))
}

// complete connects a container to its other networks and puts its files in.
// Engines before API 1.44 take one network when a container is made.
func (s *Stacks) complete(ctx context.Context, spec *stack.Spec, id string) error {
	d := s.driver
	for _, e := range spec.Networks[min(1, len(spec.Networks)):] {
		if err := d.within(ctx, changeTimeout, "connect the container to "+e.Network, func(ctx context.Context) error {
			return d.client.Load().NetworkConnect(ctx, e.Network, id, endpointSettings(e))
		}); err != nil {
			return err
		}
	}
	return s.copyFiles(ctx, spec, id)
}

// A filler is a container that is never started, through which the engine is asked
// to look into a folder and to put files there: as it does, also where hearth is not
// root or the engine maps users.
func (s *Stacks) withFiller(ctx context.Context, spec *stack.Spec, host *container.HostConfig, do func(id string) error) error {
	d := s.driver
	name := d.stackContainer(spec.Stack, spec.Service.Name) + fillerSuffix
	config := &container.Config{Image: spec.Image, Cmd: []string{"never-run"}, Healthcheck: &container.HealthConfig{Test: []string{"NONE"}}, Labels: map[string]string{
		labelMesh: d.cfg.Mesh, labelNode: string(d.cfg.Node), labelFiller: name,
	}}
	host.NetworkMode = "none"
	d.discard(ctx, name) // of an earlier process
	var id string
	err := d.within(ctx, changeTimeout, "make a container to fill in files", func(ctx context.Context) error {
		made, err := d.client.Load().ContainerCreate(ctx, config, host, nil, nil, name)
		id = made.ID
		if err != nil && strings.Contains(err.Error(), "No such image") {
			return errImageAbsent(spec.Image)
		}
		return err
	})
	if err != nil {
		return err
	}
	defer d.discard(ctx, id)
	return do(id)
}

// stat asks the engine for a file in a container; nil where there is none.
func (s *Stacks) stat(ctx context.Context, id, file string) (found *container.PathStat, err error) {
	d := s.driver
	err = d.within(ctx, askTimeout, "look into a container", func(ctx context.Context) error {
		one, err := d.client.Load().ContainerStatPath(ctx, id, path.Clean(file))
		if cerrdefs.IsNotFound(err) {
			return nil
		}
		found = &one
		return err
	})
	if err != nil {
		return nil, err
	}
	return found, nil
}

var errOutside = errors.New("the path leads out of the volume")
