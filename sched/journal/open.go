package journal

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

// Report tells what Open found.
type Report struct {
	// SetAside is the path that a damaged file was moved to; empty where the
	// file was sound, or new.
	SetAside string
	// Problem is the first thing that was wrong with it, Faults how many there
	// were; each may have cost any number of requests.
	Problem string
	Faults  int
	// Saved is how many requests were taken from it, InDoubt how many of them
	// are that.
	Saved, InDoubt int
	// Compacted says that the file was written anew because most of it was
	// empty.
	Compacted bool
}

const (
	lockPoll = 50 * time.Millisecond
	// maxAside is how many damaged files are kept; with more, something is so
	// wrong that a person must look.
	maxAside = 99
)

// Open opens the journal at path, and makes it where there is none. The folder
// must be there. It fails when another process has it open for longer than
// Options.LockTimeout, and where the file cannot be read or written; a full disk
// is an *protocol.Error with CodeDiskFull.
//
// A damaged file, or one of another version, is no error: it is kept beside the
// new one as path.bad-N, what can be read of it is taken over, and the log and
// Report say so. Where there is none, and one of the format before at
// Options.Former, that one is read and kept.
func Open(path string, opts Options) (*Journal, error) {
	if err := opts.Validate(); err != nil {
		return nil, err
	}
	f, err := lock(path, opts.LockTimeout)
	if err != nil {
		return nil, err
	}
	j := &Journal{
		opts: opts, log: opts.Log, path: path, file: &logFile{File: f},
		index:  make(map[protocol.RequestID]*entry),
		notify: make(chan struct{}, 1),
		start:  opts.Clock(), syncDir: syncDir,
	}
	if err := j.open(); err != nil {
		j.file.Close()
		if isFull(err) {
			return nil, toCaller(err)
		}
		return nil, fmt.Errorf("open the journal %s: %w", path, err)
	}
	return j, nil
}

func (j *Journal) open() error {
	info, err := j.file.Stat()
	if err != nil {
		return err
	}
	if err := j.file.Chmod(0o600); err != nil {
		return err
	}
	if info.Size() == 0 {
		if err := j.begin(); err != nil {
			return err
		}
		return j.convert()
	}
	s := &scanner{file: j.file, size: info.Size()}
	if s.unbegun() {
		if err := errors.Join(j.file.cut(0), j.begin()); err != nil {
			return err
		}
		return j.convert()
	}
	r := newReplay(s)
	problem := r.run()
	if s.err != nil && problem == nil {
		problem = s.err
	}
	if problem != nil {
		return j.salvage(r, problem)
	}
	j.adopt(r)
	if j.end < s.size { // a write that was cut short, of which nobody was told
		if err := j.file.cut(j.end); err != nil {
			return err
		}
	}
	j.compactIfWasteful()
	return j.convert()
}

// unbegun reports whether the file holds a header that was cut short, and no more.
func (s *scanner) unbegun() bool {
	header, _ := appendFrame(nil, 0, kindHeader, formatVersion, nil)
	if s.size > int64(len(header)) {
		return false
	}
	raw := s.bytes(0, len(header))
	return len(raw) < len(header) && bytes.HasPrefix(header, raw) || bytes.Equal(raw, make([]byte, len(raw)))
}

// begin starts a new file.
func (j *Journal) begin() error {
	header, _ := appendFrame(nil, 0, kindHeader, formatVersion, nil)
	if err := j.file.append(header, 0); err != nil {
		return errors.Join(err, j.file.cut(0))
	}
	j.end = int64(len(header))
	return nil
}

// adopt makes what was read the journal's.
func (j *Journal) adopt(r *replay) {
	j.index, j.totals, j.end = r.index, r.totals, r.end
	j.opened = j.totals.age
	j.removals = j.totals.recent()
	for i := range j.removals {
		j.removals[i].Age = j.totals.age - j.removals[i].Age
	}
}

// lock opens the file and locks it, so that no other process has it.
func lock(path string, timeout time.Duration) (*os.File, error) {
	deadline := time.NewTimer(timeout)
	defer deadline.Stop()
	poll := time.NewTicker(lockPoll)
	defer poll.Stop()
	for {
		f, err := tryLock(path)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("open the journal: %w", err)
		}
		select {
		case <-poll.C:
		case <-deadline.C:
			return nil, fmt.Errorf("the journal %s is in use by another process: is hearth running already with this state folder?", path)
		}
	}
}

func tryLock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := lockFile(path, f); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func lockFile(path string, f *os.File) error {
	opened, err := f.Stat()
	if err != nil {
		return err
	}
	if !opened.Mode().IsRegular() {
		return fmt.Errorf("%s is no regular file", path)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return err
	}
	// The process that had it may have put another file in its place.
	if there, err := os.Stat(path); err != nil || !os.SameFile(opened, there) {
		return syscall.EWOULDBLOCK
	}
	if opened.Size() == 0 {
		return syncDir(path) // or a new file could be gone after a power cut
	}
	return nil
}

// syncDir makes the names in path's folder last.
func syncDir(path string) error {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}
