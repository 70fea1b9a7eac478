package testnet

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// diskInodes is how many files fit on a disk of its own.
const diskInodes = 1024

// stateFolder makes a state folder that is gone at the end of the test, on a
// file system of so many bytes if that is not 0.
func stateFolder(t testing.TB, size int64) string {
	t.Helper()
	if size == 0 {
		return ShortTempDir(t)
	}
	dir := ownedDir(t, "disk")
	options := fmt.Sprintf("size=%d,nr_inodes=%d,mode=0700", size, diskInodes)
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
		t.Fatalf("mount a small disk (as root only): %v", err)
	}
	return dir
}

// FillDisk leaves no byte free where the state folder is. It needs Options.Disk.
func (n *Node) FillDisk() {
	n.t.Helper()
	f, err := os.Create(filepath.Join(n.filler(), "bytes"))
	if err != nil {
		n.t.Fatal(err)
	}
	defer f.Close()
	for page := make([]byte, os.Getpagesize()); err == nil; {
		_, err = f.Write(page)
	}
	n.wantFull(err)
}

// FillInodes leaves no inode free where the state folder is: no file can be
// made. It needs Options.Disk.
func (n *Node) FillInodes() {
	n.t.Helper()
	dir := n.filler()
	var err error
	for i := 0; err == nil; i++ {
		err = os.WriteFile(filepath.Join(dir, strconv.Itoa(i)), nil, 0o600)
	}
	n.wantFull(err)
}

// FreeDisk ends FillDisk and FillInodes.
func (n *Node) FreeDisk() {
	n.t.Helper()
	if err := os.RemoveAll(filepath.Join(n.State, "filler")); err != nil {
		n.t.Fatal(err)
	}
}

func (n *Node) filler() string {
	n.t.Helper()
	if n.options.Disk == 0 {
		n.t.Fatalf("fill the disk of node %s: start it with Options.Disk", n.Name)
	}
	dir := filepath.Join(n.State, "filler")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		n.t.Fatal(err)
	}
	return dir
}

func (n *Node) wantFull(err error) {
	n.t.Helper()
	if !errors.Is(err, syscall.ENOSPC) {
		n.t.Fatalf("fill the disk of node %s: %v", n.Name, err)
	}
}

// The folders of mounts and engines bear the process that made them, so that a
// later one can remove what a killed one left.
const ownedPrefix = "/tmp/hearth-of-"

func ownedDir(t testing.TB, what string) string {
	t.Helper()
	removeUnowned(t)
	dir, err := os.MkdirTemp("/tmp", fmt.Sprintf("%s%d-%s-", strings.TrimPrefix(ownedPrefix, "/tmp/"), os.Getpid(), what)) //nolint:usetesting // t.TempDir's paths grow with the test's name
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := removeOwned(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// removeUnowned removes the folders of processes that are no more.
func removeUnowned(t testing.TB) {
	t.Helper()
	dirs, err := filepath.Glob(ownedPrefix + "*")
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range dirs {
		owner, _, _ := strings.Cut(strings.TrimPrefix(dir, ownedPrefix), "-")
		pid, err := strconv.Atoi(owner)
		if err != nil || !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			continue
		}
		if err := removeOwned(dir); err != nil {
			t.Logf("leftover of an earlier run: %v", err)
		}
	}
}

func removeOwned(dir string) error {
	if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, syscall.ENOENT) {
		return fmt.Errorf("unmount %s: %w", dir, err)
	}
	return errors.Join(os.RemoveAll(dir), removeGroups(filepath.Base(dir)))
}
