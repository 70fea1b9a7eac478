package docker

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
	"golang.org/x/sys/unix"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime"
)

// secretStore holds what containers are given in secret: a folder for each, in a
// file system in memory, which the container sees read-only at
// protocol.SecretsDir. Who may not enter the store's own folder cannot reach them
// on this machine; they are gone with its memory.
type secretStore struct {
	dir string

	mu sync.Mutex
	// ours are the folders that this process made and has not dropped.
	ours map[string]struct{}
}

// secretSuffix is how many characters tell the folders of one container's name
// apart: a second one of that name may be asked for while the first one runs.
const secretSuffix = 8

// Of file systems in memory, by statfs(2).
const (
	tmpfsMagic = 0x01021994
	ramfsMagic = 0x858458f6
)

// usable returns why no secrets can be kept; nil where they can.
func (s *secretStore) usable() error {
	if s.dir == "" {
		return errors.New("this device has no folder in memory")
	}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return fmt.Errorf("its folder in memory cannot be made: %w", err)
	}
	info, err := os.Lstat(s.dir)
	if err != nil {
		return err
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.IsDir() || int(owner.Uid) != os.Geteuid() || info.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("%s is not a folder that only hearth can enter: remove it", s.dir)
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(s.dir, &fs); err != nil {
		return err
	}
	if kind := uint32(fs.Type); kind != tmpfsMagic && kind != ramfsMagic {
		return fmt.Errorf("%s is not in memory", s.dir)
	}
	return nil
}

// make makes the folder for a container of that name. Nothing is in it yet.
func (s *secretStore) make(container string) (string, error) {
	if err := s.usable(); err != nil {
		return "", protocol.Errorf(protocol.CodePolicy, "secrets cannot be given here: %v", err)
	}
	random := make([]byte, secretSuffix/2)
	_, _ = rand.Read(random)
	dir := filepath.Join(s.dir, container+"."+hex.EncodeToString(random))
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", storeError(err)
	}
	// What is in it is its reader's own; the store keeps others on this machine out.
	if err := os.Chmod(dir, 0o755); err != nil {
		return "", errors.Join(storeError(err), os.Remove(dir))
	}
	s.ours[dir] = struct{}{}
	return dir, nil
}

// check makes sure that the engine has filled in the folder: one in a container of
// its own, or on another machine, has another folder of that name, or none.
func (s *secretStore) check(dir string, secrets []protocol.Secret) error {
	for _, x := range secrets {
		info, err := os.Lstat(filepath.Join(dir, x.Name))
		if err != nil || !info.Mode().IsRegular() || info.Mode().Perm() != 0o400 || info.Size() != int64(x.Size) {
			return errOtherFolder()
		}
	}
	return nil
}

func storeError(err error) error {
	if errors.Is(err, syscall.ENOSPC) {
		return protocol.Errorf(protocol.CodeDiskFull, "the node has no room in memory for secrets")
	}
	return fmt.Errorf("keep secrets in memory: %w", err)
}

// drop removes a folder.
func (s *secretStore) drop(dir string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.ours, dir)
	return os.RemoveAll(dir)
}

// dropOf removes all folders of the container of that name.
func (s *secretStore) dropOf(container string) error {
	return s.sweep(func(name, _ string) bool { return name == container })
}

// sweep removes the folders for which gone, given the container's name and the
// folder, says so.
func (s *secretStore) sweep(gone func(container, dir string) bool) error {
	if s.dir == "" {
		return nil
	}
	all, err := os.ReadDir(s.dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	var errs []error
	for _, entry := range all {
		dir := filepath.Join(s.dir, entry.Name())
		dot := strings.LastIndexByte(entry.Name(), '.')
		if dot >= 0 && gone(entry.Name()[:dot], dir) {
			errs = append(errs, s.drop(dir))
		}
	}
	return errors.Join(errs...)
}

// sweepFor removes what earlier processes left of containers of this node that do
// not run.
func (s *secretStore) sweepFor(prefix string, running map[string]bool) error {
	return s.sweep(func(container, dir string) bool {
		s.mu.Lock()
		_, ours := s.ours[dir]
		s.mu.Unlock()
		return !ours && !running[container] && strings.HasPrefix(container, prefix)
	})
}

// secretsMount shows a container its folder.
func secretsMount(dir string, readOnly bool) mount.Mount {
	return mount.Mount{
		Type: mount.TypeBind, Source: dir, Target: protocol.SecretsDir, ReadOnly: readOnly,
		BindOptions: &mount.BindOptions{Propagation: mount.PropagationRPrivate, NonRecursive: true},
	}
}

// noSecrets says why the engine's containers can be given none; empty where they
// can.
func (d *Driver) noSecrets() string {
	if d.socket() == "" {
		return "its engine is on another machine"
	}
	if err := d.secrets.usable(); err != nil {
		return err.Error()
	}
	return ""
}

// dropSecrets removes what a container was given that has ended, or was never
// started. What cannot be removed now is when the device starts again.
func (d *Driver) dropSecrets(id runtime.ExecutionID) {
	if err := d.secrets.dropOf(d.name(id)); err != nil {
		d.cfg.Log.Error("secrets in memory were not removed", "request", id.Request, "attempt", id.Attempt, "err", err)
	}
}

// sweepSecrets removes what is left of containers that do not run.
func (d *Driver) sweepSecrets(found []runtime.Recovered) {
	running := make(map[string]bool)
	for _, r := range found {
		running[d.name(r.ID)] = r.Running
	}
	if err := d.secrets.sweepFor(d.prefix(), running); err != nil {
		d.cfg.Log.Error("secrets in memory were not removed", "err", err)
	}
}

// discardFiller removes what an earlier process filled secrets in through. One of
// this process is about to be removed by who made it.
func (d *Driver) discardFiller(ctx context.Context, c container.Summary) {
	if !d.secrets.has(c.Labels[labelFiller]) {
		d.discard(ctx, c.ID)
	}
}

// has reports whether this process has a folder for a container of that name.
func (s *secretStore) has(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for dir := range s.ours {
		if strings.HasPrefix(filepath.Base(dir), name+".") {
			return true
		}
	}
	return false
}
