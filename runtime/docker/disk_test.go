package docker

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime"
)

// smallDisk is a folder on a file system of its own of that size, in memory.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	data := t.TempDir()
	if err := syscall.Mount("tmpfs", data, "tmpfs", 0, "size="+size); err != nil {
		t.Fatalf("%v\nThis test mounts a file system: run it as root.", err)
	}
	unmountLater(t, data)
	return data
}

// smallCard is a folder on an ext4 file system of its own of so many bytes: what
// containers write there is not their memory.
func smallCard(t *testing.T, size int64) string {
	t.Helper()
	image, data := filepath.Join(t.TempDir(), "card"), t.TempDir()
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(image, size); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"mkfs.ext4", "-q", "-F", image}, {"mount", "-o", "loop", image, data}} {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v: %s\nThis test mounts a file system: run it as root, with loop devices and e2fsprogs.", args, err, out)
		}
	}
	unmountLater(t, data)
	return data
}

func unmountLater(t *testing.T, dir string) {
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
}

// freeIn returns how many bytes are free in the file system of a folder.
func freeIn(t *testing.T, dir string) protocol.Bytes {
	t.Helper()
	var stat syscall.Statfs_t
	if err := syscall.Statfs(dir, &stat); err != nil {
		t.Fatal(err)
	}
	return protocol.Bytes(stat.Bavail) * protocol.Bytes(stat.Bsize)
}

// filling writes 20 MiB each 50 ms for as long as it is let.
const filling = "i=0; while dd if=/dev/zero of=%s/f$i bs=1M count=20 2>/dev/null; do i=$((i+1)); sleep 0.05; done; echo no room"

// TestContainerFillsTheDisk: it is ended before the engine's disk is full, with
// the amount; the one beside it goes on. So is one that writes more than its
// owner allows.
func TestContainerFillsTheDisk(t *testing.T) {
	data := smallCard(t, 800<<20)
	newDaemon(t, "--data-root", data)
	offered := func(node *runtime.Node, script string) *watched {
		o := offerOf(testSpec(daemonImage, "sh", "-c", script))
		o.Service.Network = "none"
		s, err := node.Offer(testContext(t), o)
		if err != nil {
			t.Fatal(err)
		}
		return &watched{Session: s, t: t}
	}
	node, _ := nodeOn(t)
	steady := offered(node, "dd if=/dev/zero of=/f bs=1M count=30 2>/dev/null; sleep 1000")
	filler := offered(node, fmt.Sprintf(filling, "/tmp"))
	filler.readAll()
	left := freeIn(t, data)
	t.Logf("%s; %v left", filler.last.Reason, left)
	if filler.last.State != protocol.StateFailed || filler.last.Code != protocol.CodeDiskFull || strings.Contains(filler.text, "no room") {
		t.Errorf("%+v, %q", filler.last, filler.text)
	}
	if left < runtime.DiskReserve/4 {
		t.Errorf("%v were left when it ended", left)
	}
	if n := node.State().Load.Running; n != 1 {
		t.Errorf("%d running beside it", n)
	}
	if err := steady.Stop(0); err != nil {
		t.Error(err)
	}
	if steady.readAll(); steady.last.State != protocol.StateCancelled {
		t.Errorf("beside it: %+v", steady.last)
	}

	limited, _ := newNode(t, newTestDriver(t, func(c *Config) { c.Node = "limited" }), func(c *runtime.Config) { c.Policy.MaxDisk = 100 << 20 })
	greedy := offered(limited, fmt.Sprintf(filling, "/tmp"))
	greedy.readAll()
	t.Log(greedy.last.Reason)
	if greedy.last.Code != protocol.CodeDiskFull || !strings.Contains(greedy.last.Reason, "max_disk") || strings.Contains(greedy.text, "no room") {
		t.Errorf("%+v, %q", greedy.last, greedy.text)
	}
}

// TestLayerThatUnpacksAThousandfold is ended before the engine's disk is full,
// and told as disk_full of something that was not started.
func TestLayerThatUnpacksAThousandfold(t *testing.T) {
	data := smallCard(t, 1<<30)
	r := newRegistryOn(t, newDaemon(t, "--data-root", data).listen())
	size := r.pushBomb(t, "bomb", (5<<30)/4)
	node, _ := newNode(t, newTestDriver(t), func(c *runtime.Config) { c.Policy.Registries = []string{r.host()} })
	s, err := node.Offer(testContext(t), offerOf(testSpec(r.ref("bomb"), "true")))
	if err != nil {
		t.Fatal(err)
	}
	w := &watched{Session: s, t: t}
	w.readAll()
	t.Logf("%d bytes came: %s", size, w.last.Reason)
	if w.last.State != protocol.StateFailed || w.last.Code != protocol.CodeDiskFull || w.last.Container != "" {
		t.Errorf("%+v", w.last)
	}
	if !strings.Contains(w.last.Reason, "kept free") {
		t.Errorf("the disk was full first: %s", w.last.Reason)
	}
}

// TestEngineDiskFull: an engine without room starts nothing and says why, in
// the code by which another node is tried; with room it works again. For another
// image there is not even room to try.
func TestEngineDiskFull(t *testing.T) {
	data := smallDisk(t, "32m")
	newDaemon(t, "--data-root", data)
	node, _ := nodeOn(t)
	_, err := node.Offer(testContext(t), offerOf(testSpec("thing:absent", "true")))
	if refusal, _ := errors.AsType[*protocol.Refusal](err); refusal == nil || refusal.Code != protocol.CodeDiskFull {
		t.Errorf("offer of an image that is not there: %v", err)
	}

	ballast := filepath.Join(data, "ballast")
	f, err := os.Create(ballast)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for block := make([]byte, 4096); err == nil; {
		_, err = f.Write(block)
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	for _, room := range []bool{false, true} {
		if room {
			if err := os.Remove(ballast); err != nil {
				t.Fatal(err)
			}
			f.Close()
		}
		o := offerOf(testSpec(daemonImage, "true"))
		o.Service.Network = "none"
		s, err := node.Offer(testContext(t), o)
		if err != nil {
			t.Fatal(err)
		}
		w := &watched{Session: s, t: t}
		w.readAll()
		if full := w.last.Code == protocol.CodeDiskFull; full == room || (w.last.State == protocol.StateSucceeded) != room {
			t.Errorf("room %v: %+v", room, w.last)
		}
	}
}
