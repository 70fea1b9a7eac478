package journal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/hearth-edge/hearth/protocol"
)

// fillUp accepts requests until the disk is full, makes room, goes on, and
// checks that just what was accepted is there, also after reopening.
func fillUp(path string, makeRoom func() error) error {
	j, err := Open(path, testOptions())
	if err != nil {
		return err
	}
	ctx := context.Background()
	accepted := map[protocol.RequestID]bool{}
	try := func(i int) (protocol.RequestID, error) {
		r := request(fmt.Sprint("r", i))
		r.Service.Args = []string{strings.Repeat("x", 5000)}
		_, err := j.Accepted(ctx, r)
		if err == nil {
			accepted[r.ID] = true
		}
		return r.ID, err
	}
	check := func() error {
		n := 0
		err := j.Load(func(r Record) error {
			n++
			if !accepted[r.ID] {
				return fmt.Errorf("%s is in the journal though it was not accepted", r.ID)
			}
			return nil
		})
		if err == nil && n != len(accepted) {
			err = fmt.Errorf("%d of %d requests are there", n, len(accepted))
		}
		return err
	}
	i, refusals := 0, 0
	for ; refusals < 20; i++ {
		if i > 10_000 {
			return errors.New("the disk never got full")
		}
		if id, err := try(i); err != nil {
			if refusals++; protocol.CodeOf(err) != protocol.CodeDiskFull || !strings.Contains(err.Error(), "free some") {
				return fmt.Errorf("on a full disk: %w", err)
			}
			if _, err := j.Find(id); !errors.Is(err, ErrNotFound) {
				return fmt.Errorf("%s was not accepted: %w", id, err)
			}
		}
	}
	fullAt := len(accepted)
	if err := check(); err != nil {
		return fmt.Errorf("while full: %w", err)
	}
	if err := makeRoom(); err != nil {
		return err
	}
	for range 20 {
		if _, err := try(i); err != nil {
			return fmt.Errorf("with room again: %w", err)
		}
		i++
	}
	if err := j.Close(); err != nil {
		return err
	}
	if j, err = Open(path, testOptions()); err != nil {
		return err
	}
	defer j.Close()
	if j.Report() != (Report{}) || fullAt == 0 {
		return fmt.Errorf("report %+v, full at %d", j.Report(), fullAt)
	}
	return check()
}

// rlimitChild meets a bound when the file is to grow.
func rlimitChild(dir string) error {
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
		return err
	}
	tight := old
	tight.Cur = 200 << 10
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &tight); err != nil {
		return err
	}
	return fillUp(filepath.Join(dir, "journal.db"), func() error {
		return syscall.Setrlimit(syscall.RLIMIT_FSIZE, &old)
	})
}

// tmpfsChild meets a disk that is full in the middle of a write. It runs in a
// mount namespace of its own, so that nothing is left behind.
func tmpfsChild(dir string) error {
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=600k"); err != nil {
		return fmt.Errorf("mount a tmpfs: %w", err)
	}
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 400<<10), 0o600); err != nil {
		return err
	}
	return fillUp(filepath.Join(dir, "journal.db"), func() error { return os.Remove(ballast) })
}

func TestFileSizeLimit(t *testing.T) {
	if err := child(t, "rlimit", t.TempDir()).Run(); err != nil {
		t.Fatal(err)
	}
}

func TestFullDisk(t *testing.T) {
	cmd := child(t, "tmpfs", t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	if os.Getuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v (a tmpfs is mounted for this test: run it as root, or allow user namespaces)", err)
	}
}

func TestFullDiskAtOpen(t *testing.T) {
	err := toCaller(&os.PathError{Op: "write", Path: "journal.db", Err: syscall.ENOSPC})
	if protocol.CodeOf(err) != protocol.CodeDiskFull {
		t.Fatalf("%v", err)
	}
	if strings.Contains(err.Error(), "journal.db") {
		t.Fatalf("internal text reaches the app: %v", err)
	}
}
