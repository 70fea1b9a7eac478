// Package policyfile reads a node owner's policy from a file, and explains its
// keys. It knows how a policy is written, and nothing of what it means: that is
// runtime.Policy.
//
//	Read -> Parse -> runtime.Policy;  Example and Write print the same keys
package policyfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/hearth-edge/hearth/runtime"
)

// Name is the file's in the state folder.
const Name = "policy.toml"

// maxSize of a policy's file.
const maxSize = 1 << 20

// Find returns the policy in the file named; where none is, that in the state
// folder; where that has none, the default. from is the file, empty for the
// default. A file that is there and cannot be used is an error, never a default.
func Find(file, stateDir string) (p runtime.Policy, from string, err error) {
	if file != "" {
		p, err = Read(file)
		return p, file, err
	}
	file = filepath.Join(stateDir, Name)
	p, err = Read(file)
	if errors.Is(err, fs.ErrNotExist) {
		return runtime.DefaultPolicy(), "", nil
	}
	return p, file, err
}

// Read reads a policy. Whoever can change it decides what runs here, so nobody
// but root and this process's user may be able to.
func Read(file string) (runtime.Policy, error) {
	f, err := os.Open(file)
	if err != nil {
		return runtime.Policy{}, fmt.Errorf("policy: %w", err)
	}
	defer f.Close()
	if err := guarded(f); err != nil {
		return runtime.Policy{}, err
	}
	text, err := io.ReadAll(io.LimitReader(f, maxSize+1))
	if err != nil {
		return runtime.Policy{}, fmt.Errorf("policy: %w", err)
	}
	p, err := Parse(text)
	if bad, ok := errors.AsType[*Error](err); ok {
		bad.File = file
	}
	return p, err
}

// guarded checks who can change an open file, or put another in its place.
func guarded(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("policy: %w", err)
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("policy: %s is not a file", f.Name())
	}
	if err := onlyOurs(f.Name(), info); err != nil {
		return err
	}
	real, err := filepath.EvalSymlinks(f.Name())
	if err != nil {
		return fmt.Errorf("policy: %w", err)
	}
	dir := filepath.Dir(real)
	if info, err = os.Stat(dir); err != nil {
		return fmt.Errorf("policy: %w", err)
	}
	if info.Mode()&fs.ModeSticky != 0 { // as in /tmp: nobody can replace another's
		return nil
	}
	return onlyOurs(dir, info)
}

func onlyOurs(name string, info fs.FileInfo) error {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if ok && stat.Uid != 0 && int(stat.Uid) != os.Geteuid() {
		return fmt.Errorf("policy: %s belongs to the user with the ID %d, who could allow what they like: chown it to root, or to the user who runs hearth", name, stat.Uid)
	}
	if info.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("policy: %s can be changed by others (mode %04o): run 'chmod go-w %s'", name, info.Mode().Perm(), name)
	}
	return nil
}
