package runtime

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/shirou/gopsutil/v4/disk"

	"github.com/hearth-edge/hearth/protocol"
)

// Space is what is left in a file system.
type Space struct {
	Bytes protocol.Bytes
	// Files is how many can still be made: one that has room in bytes may be out
	// of inodes. It is math.MaxUint64 where there is no such bound.
	Files uint64
}

var unbounded = Space{Bytes: math.MaxUint64, Files: math.MaxUint64}

const (
	// DiskReserve is how much must be free where the engine keeps images before
	// one is fetched: containers that run write there too, and a full disk harms
	// more than them.
	DiskReserve protocol.Bytes = 256 << 20
	// FileReserve is the same in files: as many as come with those bytes where a
	// file system has an inode for each 16 KiB, which is ext4's default.
	FileReserve uint64 = 16 << 10
	// unpacked is how many times as much as its fetch moves an image takes on the
	// disk, for a short while with what was fetched beside it.
	unpacked = 2.5
)

// spaceOf returns what is left in the file system of a folder.
func spaceOf(ctx context.Context, dir string) (Space, error) {
	usage, err := disk.UsageWithContext(ctx, dir)
	if err != nil {
		return Space{}, err
	}
	s := Space{Bytes: protocol.Bytes(usage.Free), Files: usage.InodesFree}
	if usage.InodesTotal == 0 { // as btrfs tells, which makes them as needed
		s.Files = math.MaxUint64
	}
	return s, nil
}

// room returns what is free where the engine keeps images. Where that cannot be
// found out, as for an engine on another machine, it is no obstacle.
func (n *Node) room(ctx context.Context) Space {
	n.mu.Lock()
	dir := n.engine.info.DataDir
	n.mu.Unlock()
	if dir == "" {
		return unbounded
	}
	free, err := n.cfg.Space(ctx, dir)
	if err != nil {
		n.cfg.Log.Debug("room for images not known", "err", err)
		return unbounded
	}
	return free
}

// checkImage refuses what would have to be fetched without room for that, or
// without leave.
func (n *Node) checkImage(ctx context.Context, spec Spec) error {
	if spec.Pull == protocol.PullNever {
		return n.checkPresent(ctx, spec.Image)
	}
	err := enough(spec.Image, n.room(ctx), 0)
	if err != nil && spec.Pull != protocol.PullAlways && n.present(spec.Image) {
		return nil
	}
	return err
}

// checkPresent refuses an image that is not on the engine. What is known may be
// older than the image, so the engine is asked before one is refused.
func (n *Node) checkPresent(ctx context.Context, image string) error {
	if n.present(image) {
		return nil
	}
	info, err := n.cfg.Driver.Info(ctx)
	if err == nil && !holds(info.Images, image) {
		err = protocol.Errorf(protocol.CodeImageNotFound, "the image %q is not on this node, and is not to be fetched (--pull never)", image)
	}
	return err
}

// enough reports whether an image of which a fetch moves that much, 0 where it is
// not known, may be fetched with so much room: as an error with CodeDiskFull.
func enough(image string, free Space, fetch protocol.Bytes) error {
	const text = "fetching the image %q needs room for %s where the container engine keeps images, and there is room for %s: make some, for example with \"docker system prune\""
	needed := max(DiskReserve, protocol.Bytes(unpacked*float64(fetch)))
	switch {
	case free.Bytes < needed:
		return protocol.Errorf(protocol.CodeDiskFull, text, image, needed, free.Bytes)
	case free.Files < FileReserve:
		return protocol.Errorf(protocol.CodeDiskFull, text, image, fmt.Sprintf("%d files", FileReserve), fmt.Sprintf("%d (inodes)", free.Files))
	}
	return nil
}

// present reports whether the image is on the engine, as Info.Has does.
func (n *Node) present(image string) bool {
	n.mu.Lock()
	info := n.engine.info
	n.mu.Unlock()
	return info.Has(image)
}

// Has reports whether the image is on the engine, or named by what looks like
// its ID: that cannot be fetched. It may be wrong about the latter, and about the
// very latest.
func (i *Info) Has(image string) bool {
	if strings.Trim(strings.TrimPrefix(image, "sha256:"), "0123456789abcdef") == "" {
		return true
	}
	return holds(i.Images, image)
}

// holds reports whether a list of references has the image, however both are
// written.
func holds(refs []string, image string) bool {
	hash := protocol.HashImage(image)
	return slices.ContainsFunc(refs, func(ref string) bool { return protocol.HashImage(ref) == hash })
}
