package p2p

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"time"
)

// minWriteInterval is the least time between two writes of a state file.
// writeBackoffFactor is the least in multiples of the last write's duration. A
// starting mesh changes the file hundreds of times, and a memory card takes up
// to 50 ms a write.
const (
	minWriteInterval, writeBackoffFactor = time.Second, 100
)

// A stateFile is a file of the state folder. Its owner calls markDirty after a
// change, and run writes it.
type stateFile struct {
	path    string // empty keeps nothing
	content string // it holds, for the log
	log     *slog.Logger
	// encode returns what is to be written.
	encode func() ([]byte, error)
	// notify has one place: the file is out of date.
	notify chan struct{}
}

// read hands the file's content to take, where there is one. A file that take does
// not understand, or longer than limit, is set aside.
func (f *stateFile) read(limit int64, take func([]byte) error) {
	if f.path == "" {
		return
	}
	err := func() error {
		file, err := os.Open(f.path)
		if err != nil {
			return err
		}
		defer file.Close()
		data, err := io.ReadAll(io.LimitReader(file, limit))
		if err != nil {
			return err
		}
		return take(data)
	}()
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return
	}
	f.log.Warn("a file in the state folder is damaged and set aside; what it held is learnt anew", "holds", f.content, "file", f.path, "kept", f.path+".bad", "err", err)
	if err := os.Rename(f.path, f.path+".bad"); err != nil {
		f.log.Warn("the damaged file could not be set aside", "file", f.path, "err", err)
	}
}

// markDirty says that the file is out of date. It never blocks.
func (f *stateFile) markDirty() { notify(f.notify) }

// run writes the file after changes until ctx ends: the first one at once,
// further ones together. The last change is written before it returns. It owns
// the file.
func (f *stateFile) run(ctx context.Context) {
	if f.path == "" {
		return
	}
	failing := false
	for ctx.Err() == nil {
		select {
		case <-f.notify:
		case <-ctx.Done():
			continue
		}
		began := time.Now()
		err := f.write()
		pause := max(minWriteInterval, writeBackoffFactor*time.Since(began))
		if err != nil && !failing {
			f.log.Warn("a file in the state folder could not be saved; after a restart what it held must be learnt anew", "holds", f.content, "file", f.path, "err", err)
		}
		failing = err != nil
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
	select {
	case <-f.notify:
		_ = f.write()
	default:
	}
}

func (f *stateFile) write() error {
	data, err := f.encode()
	if err != nil {
		return err
	}
	return writeFile(f.path, append(data, '\n'))
}
