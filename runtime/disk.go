package runtime

import (
	"context"
	"math"
	"strings"

	"github.com/shirou/gopsutil/v4/disk"

	"github.com/hearth-edge/hearth/protocol"
)

const (
	// DiskReserve is how much must be free where the engine keeps images before
	// one is fetched: containers that run write there too, and a full disk harms
	// more than them.
	DiskReserve protocol.Bytes = 256 << 20
	// unpacked is how many times as much as its fetch moves an image takes on the
	// disk, for a short while with what was fetched beside it.
	unpacked = 2.5
)

// diskFree returns what is left in the file system of a folder.
func diskFree(ctx context.Context, dir string) (protocol.Bytes, error) {
	usage, err := disk.UsageWithContext(ctx, dir)
	if err != nil {
		return 0, err
	}
	return protocol.Bytes(usage.Free), nil
}

// room returns what is free where the engine keeps images. Where that cannot be
// found out, as for an engine on another machine, it is no obstacle.
func (n *Node) room(ctx context.Context) protocol.Bytes {
	n.mu.Lock()
	dir := n.engine.info.DataDir
	n.mu.Unlock()
	if dir == "" {
		return math.MaxUint64
	}
	free, err := n.cfg.DiskFree(ctx, dir)
	if err != nil {
		n.cfg.Log.Debug("room for images not known", "err", err)
		return math.MaxUint64
	}
	return free
}

// checkRoom refuses what would have to be fetched without room for that.
func (n *Node) checkRoom(ctx context.Context, image string) error {
	err := enough(image, n.room(ctx), 0)
	if err != nil && n.present(image) {
		return nil
	}
	return err
}

// enough reports whether an image of which a fetch moves that much, 0 where it is
// not known, may be fetched with so much room: as an error with CodeDiskFull.
func enough(image string, free, fetch protocol.Bytes) error {
	needed := max(DiskReserve, protocol.Bytes(unpacked*float64(fetch)))
	if free >= needed {
		return nil
	}
	return protocol.Errorf(protocol.CodeDiskFull,
		"fetching the image %q needs %s of room where the container engine keeps images, and %s is free: make some, for example with \"docker system prune\"",
		image, size(needed), size(free))
}

// present reports whether the image is on the engine, or named by what looks like
// its ID: that cannot be fetched. It may be wrong about the latter, and about the
// very latest.
func (n *Node) present(image string) bool {
	if strings.Trim(strings.TrimPrefix(image, "sha256:"), "0123456789abcdef") == "" {
		return true
	}
	n.mu.Lock()
	images := n.engine.info.Images
	n.mu.Unlock()
	hash := protocol.HashImage(image)
	for _, ref := range images {
		if protocol.HashImage(ref) == hash {
			return true
		}
	}
	return false
}
