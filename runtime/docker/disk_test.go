package docker

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/hearth-edge/hearth/protocol"
)

// TestEngineDiskFull: an engine without room starts nothing and says why, in
// the code by which another node is tried; with room it works again. For another
// image there is not even room to try.
func TestEngineDiskFull(t *testing.T) {
	data := t.TempDir()
	if err := syscall.Mount("tmpfs", data, "tmpfs", 0, "size=32m"); err != nil {
		t.Fatalf("%v\nThis test mounts a file system: run it as root.", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(data, 0); err != nil {
			t.Error(err)
		}
	})
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
