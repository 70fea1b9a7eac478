package testnet

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

// removeGroups removes the control groups in which an engine kept its
// containers, in either version of control groups.
func removeGroups(name string) error {
	var tops []string
	for _, pattern := range []string{"/sys/fs/cgroup/", "/sys/fs/cgroup/*/"} {
		found, err := filepath.Glob(pattern + name)
		if err != nil {
			return err
		}
		tops = append(tops, found...)
	}
	for _, top := range tops {
		var dirs []string
		err := filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				dirs = append(dirs, path)
			}
			return nil // what is gone by now need not be removed
		})
		if err != nil {
			return err
		}
		slices.Reverse(dirs) // children first
		for _, dir := range dirs {
			if err := removeGroup(dir); err != nil {
				return err
			}
		}
	}
	return nil
}

// removeGroup waits for a group whose processes were killed to be empty: the
// kernel tells nobody.
func removeGroup(dir string) error {
	for deadline := time.Now().Add(waitTimeout); ; time.Sleep(10 * time.Millisecond) {
		err := syscall.Rmdir(dir)
		if err == nil || errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if !errors.Is(err, syscall.EBUSY) || time.Now().After(deadline) {
			return fmt.Errorf("remove the control group %s: %w", dir, err)
		}
	}
}
