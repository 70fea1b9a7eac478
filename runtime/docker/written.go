package docker

import (
	"context"
	"io/fs"
	"path/filepath"
	"syscall"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime"
)

// Written implements runtime.Driver. The engine counts what is in the
// container's own layer, and this process what is in the image's volumes, where
// it may look there: the engine would count all volumes that there are.
func (d *Driver) Written(ctx context.Context, id runtime.ExecutionID) (protocol.Bytes, error) {
	var found container.InspectResponse
	err := d.within(ctx, changeTimeout, "measure container", func(ctx context.Context) (err error) {
		found, _, err = d.client.Load().ContainerInspectWithRaw(ctx, d.name(id), true)
		return err
	})
	if err != nil {
		return 0, err
	}
	var size int64
	if found.ContainerJSONBase != nil && found.SizeRw != nil {
		size = max(*found.SizeRw, 0)
	}
	if d.socket() != "" {
		for _, m := range found.Mounts {
			if m.Type == mount.TypeVolume {
				size += folderSize(ctx, m.Source)
			}
		}
	}
	return protocol.Bytes(size), nil
}

// folderSize returns what the files below a folder take on the disk, as far as
// this process sees them before ctx ends.
func folderSize(ctx context.Context, dir string) (size int64) {
	_ = filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // what is not seen does not count
		}
		if info, err := entry.Info(); err == nil {
			if stat, ok := info.Sys().(*syscall.Stat_t); ok {
				size += stat.Blocks * 512
			}
		}
		return ctx.Err()
	})
	return size
}
