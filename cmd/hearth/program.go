package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
)

// maxParents bounds how deep a program may lie.
const maxParents = 64

// A program is what a unit runs.
type program struct {
	path string
	// unsafe is why others could replace this program where it is; path is then
	// where a copy of it is to be.
	unsafe error
}

// trustedUsers are those whose programs a unit may run: root, who can do all in
// any case, and who installs, which is somebody else in a test only.
func trustedUsers() []int { return []int{0, os.Geteuid()} }

// findProgram returns what a unit of root's is to run: this program, or a copy of
// it in dir, which must be safe.
func findProgram(dir string, trusted []int) (program, error) {
	path, err := os.Executable()
	if err == nil {
		path, err = filepath.EvalSymlinks(path)
	}
	if err != nil {
		return program{}, fmt.Errorf("find this program: %w", err)
	}
	unsafe := replaceable(path, trusted)
	if unsafe == nil {
		return program{path: path}, nil
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return program{}, err
	}
	there, missing := existing(dir)
	if there, err = filepath.EvalSymlinks(there); err != nil {
		return program{}, err
	}
	dir = filepath.Join(there, missing)
	if err := replaceable(there, trusted); err != nil {
		return program{}, &failure{
			err:  fmt.Errorf("others could replace what is in %s: %w", dir, err),
			hint: "name a folder that only root can change with --bin-dir; the program is copied there, since it is not safe where it is: " + unsafe.Error(),
		}
	}
	return program{path: filepath.Join(dir, "hearth"), unsafe: unsafe}, nil
}

// existing parts a path into what is there and what is not.
func existing(path string) (there, missing string) {
	for there = path; ; there = filepath.Dir(there) {
		if _, err := os.Lstat(there); err == nil || there == filepath.Dir(there) {
			return there, missing
		}
		missing = filepath.Join(filepath.Base(there), missing)
	}
}

// replaceable returns why others than the trusted could put something else in a
// path's place, which has no symbolic links: it, or a folder above it, is theirs or
// can be written by them. In a sticky folder, as /tmp, they reach only what is theirs.
func replaceable(path string, trusted []int) error {
	for range maxParents {
		info, err := os.Lstat(path)
		if err != nil {
			return err
		}
		stat, ok := info.Sys().(*syscall.Stat_t)
		if !ok {
			return fmt.Errorf("whose %s is, cannot be told", path)
		}
		mode := info.Mode()
		open := mode.Perm() & 0o002
		if stat.Gid != 0 { // root's own group is root
			open |= mode.Perm() & 0o020
		}
		switch {
		case mode&fs.ModeSymlink != 0:
			return fmt.Errorf("%s is a symbolic link", path)
		case !slices.Contains(trusted, int(stat.Uid)):
			return fmt.Errorf("%s belongs to the user with the ID %d", path, stat.Uid)
		case open != 0 && (!mode.IsDir() || mode&fs.ModeSticky == 0):
			return fmt.Errorf("others can write %s (mode %04o)", path, mode.Perm())
		}
		parent := filepath.Dir(path)
		if parent == path {
			return nil
		}
		path = parent
	}
	return errors.New("it lies too deep")
}

// copyProgram puts this program, as it runs, in the place of path, whole or not at
// all. It reads no path for that: what is there may be something else by now.
func copyProgram(path string) (err error) {
	from, err := os.Open("/proc/self/exe")
	if err != nil {
		return err
	}
	defer from.Close()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	to, err := os.CreateTemp(filepath.Dir(path), ".hearth-")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(to.Name())
		}
	}()
	_, err = io.Copy(to, from)
	if err = errors.Join(err, to.Chmod(0o755), to.Sync(), to.Close()); err != nil {
		return err
	}
	return os.Rename(to.Name(), path)
}
