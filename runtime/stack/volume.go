package stack

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/hearth-edge/hearth/protocol"
)

// addImageVolumes gives a container a volume for each path that its image declares
// to hold data and that nothing is mounted at: the engine's own would be gone with
// the container, and each change of the service makes a new one.
func (k *Keeper) addImageVolumes(ctx context.Context, spec *Spec) error {
	image, err := k.cfg.Engine.Image(ctx, spec.Image)
	if err != nil {
		return nil //nolint:nilerr // Create says so
	}
	spec.Mounts = slices.Clone(spec.Mounts)
	for _, target := range image.Volumes {
		if target = path.Clean("/" + target); mounts(spec, target) {
			continue
		}
		spec.Mounts = append(spec.Mounts, Mount{Volume: volumeName(spec.Stack, imageVolume(spec.Service.Name, target)), Target: target})
	}
	return nil
}

// imageVolume names the volume of an image's path in the stack. Services have a dot
// in their names rarely, and volumes of stacks none.
func imageVolume(service, target string) string {
	return service + "." + strings.ReplaceAll(strings.TrimPrefix(target, "/"), "/", "-")
}

// mounts reports whether something is mounted at a path.
func mounts(spec *Spec, target string) bool {
	return slices.ContainsFunc(spec.Service.Mounts, func(m protocol.StackMount) bool { return m.Target == target }) ||
		slices.ContainsFunc(spec.Tmpfs, func(m protocol.StackMount) bool { return m.Target == target })
}

// sharedAbove refuses a folder in a volume of which another service writes what is
// above it: that one could put a link to anywhere on the node in its place while the
// engine mounts it. The folder itself may be shared: who has it mounted cannot
// replace it.
func sharedAbove(s *protocol.Stack, svc *protocol.StackService) (refusals []protocol.StackRefusal) {
	for _, m := range svc.Mounts {
		if m.Kind != protocol.MountVolume || m.Subpath == "" {
			continue
		}
		folder := path.Clean(m.Subpath)
		for i := range s.Services {
			other := &s.Services[i]
			above := func(o protocol.StackMount) bool {
				at := path.Clean("/" + o.Subpath)
				return o.Kind == protocol.MountVolume && o.Source == m.Source && !o.ReadOnly && at != "/"+folder && (at == "/" || strings.HasPrefix("/"+folder, at+"/"))
			}
			if other.Name != svc.Name && slices.ContainsFunc(other.Mounts, above) {
				refusals = append(refusals, protocol.StackRefusal{Service: svc.Name, Code: protocol.CodeConstraint, Reason: fmt.Sprintf(
					"mounts the folder %s of the volume %s, and %s writes what is above it, so it could lead elsewhere: mount separate folders, or the same one", folder, m.Source, other.Name)})
				break
			}
		}
	}
	return refusals
}

// volumesOf lists a container's volumes by their names in the stack.
func volumesOf(spec *Spec) []string {
	var names []string
	for _, m := range spec.Mounts {
		if name, ok := strings.CutPrefix(m.Volume, volumeName(spec.Stack, "")); ok && m.Volume != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// HasData reports whether volumes of the stack were made here and are still kept:
// those that its record names, and those that its images declare.
func (k *Keeper) HasData(name protocol.StackName) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	kept := k.store.Stacks[name]
	return kept != nil && len(kept.Volumes) > 0
}

// makeVolumes makes the volumes of a container that were never made, and writes
// down that they are there before anything is written to them.
func (k *Keeper) makeVolumes(ctx context.Context, spec *Spec) error {
	if err := k.checkVolumes(ctx, spec); err != nil {
		return err
	}
	changed := false
	for _, name := range volumesOf(spec) {
		err := k.cfg.Engine.MakeVolume(ctx, Volume{Name: volumeName(spec.Stack, name), Stack: spec.Stack, Volume: name})
		if err != nil {
			return err
		}
		k.mu.Lock()
		changed = add(&k.store.of(spec.Stack).Volumes, name) || changed
		k.mu.Unlock()
	}
	if !changed {
		return nil
	}
	return k.save()
}

// checkVolumes makes sure that no volume of a container was lost.
func (k *Keeper) checkVolumes(ctx context.Context, spec *Spec) error {
	k.mu.Lock()
	made := slices.Clone(k.store.of(spec.Stack).Volumes)
	k.mu.Unlock()
	for _, name := range volumesOf(spec) {
		why, err := k.volumeTrouble(ctx, spec.Stack, name, made)
		if err != nil {
			return err
		}
		if why != "" {
			return protocol.Errorf(protocol.CodeConflict, "%s", why)
		}
	}
	return nil
}
