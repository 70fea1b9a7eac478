package journal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"go.etcd.io/bbolt"

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
	// Saved is how many requests were taken from it, Doubtful how many of them
	// are that.
	Saved, Doubtful int
	// Compacted says that the file was written anew because most of it was
	// empty.
	Compacted bool
}

const (
	lockPoll = 50 * time.Millisecond
	// maxAside is how many damaged files are kept; with more, something is so
	// wrong that a person must look.
	maxAside = 99
	// A file of compactSize in which less than 1/compactShare is in use is
	// written anew.
	compactSize  = 8 << 20
	compactShare = 4
)

// Open opens the journal at path, and makes it where there is none. The folder
// must be there. It fails when another process has it open for longer than
// Options.LockTimeout, and where the file cannot be read or written; a full disk
// is an *protocol.Error with CodeDiskFull.
//
// A damaged file, or one of another version, is no error: it is kept beside the
// new one as path.bad-N, what can be read of it is taken over, and the log and
// Report say so.
func Open(path string, opts Options) (*Journal, error) {
	if err := opts.Validate(); err != nil {
		return nil, err
	}
	f, err := lock(path, opts.LockTimeout)
	if err != nil {
		return nil, err
	}
	j := &Journal{
		opts: opts, log: opts.Log,
		index: make(map[protocol.RequestID]*entry),
		hurry: make(chan struct{}, 1),
		kept:  kept{start: opts.Clock(), undo: make(map[protocol.RequestID]uint64)},
	}
	if err := j.open(path, f); err != nil {
		f.Close()
		if isFull(err) {
			return nil, toCaller(err)
		}
		return nil, fmt.Errorf("open the journal %s: %w", path, err)
	}
	return j, nil
}

func (j *Journal) open(path string, f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	found := inspect(f, info.Size())
	switch {
	case found.problem != nil:
		err = j.renew(path, f, found)
	case found.wasteful():
		if err = j.renew(path, f, found); err != nil {
			j.log.Warn("the journal was not made smaller", "err", err)
			err = j.start(path, f)
		}
	default:
		err = j.start(path, f)
	}
	if err != nil {
		return err
	}
	if err := guard(func() error { return j.db.View(j.load) }); err != nil {
		return errors.Join(err, guard(j.db.Close))
	}
	return nil
}

// start makes the locked file the journal's.
func (j *Journal) start(path string, f *os.File) error {
	if err := f.Chmod(0o600); err != nil {
		return err
	}
	return guard(func() (err error) {
		j.db, err = bbolt.Open(path, 0o600, &bbolt.Options{
			NoFreelistSync: true, FreelistType: bbolt.FreelistMapType, NoStatistics: true, PageSize: pageSize,
			Timeout:  lockPoll, // it is locked already
			OpenFile: func(string, int, os.FileMode) (*os.File, error) { return f, nil },
		})
		j.file = f
		return err
	})
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
