// Package reaper stops containers whose leases have run out, even if the process
// that started them is dead. A second process does nothing else: it sleeps until
// the next lease ends, and kills the container unless the lease was extended. It
// runs only while there are leases. It never extends one, and knows nothing of
// orchestrators.
//
//	hearth up ── Leases.Hold, Drop ──▶ leases.json ──▶ Run ── hearth reaper
//
// The file is the truth between the two, so either may die at any moment. A new
// process opens the leases of the one before, and starts a reaper if none runs.
package reaper

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime"
)

const (
	// LeasesFile holds the leases, in the state folder.
	LeasesFile = "leases.json"
	// maxFile bounds what is read of it.
	maxFile = 4 << 20
)

// leaseFile is what the leases file holds.
type leaseFile struct {
	// Boot names the start of the machine that Until is counted from: leases of
	// another one are over, and so is what ran under them.
	Boot   string  `json:"boot"`
	Leases []lease `json:"leases"`
}

type lease struct {
	Orchestrator protocol.PeerID    `json:"orchestrator"`
	Request      protocol.RequestID `json:"request"`
	Attempt      uint32             `json:"attempt"`
	Until        time.Duration      `json:"until_ns"`
}

// readLeases returns the leases in the folder, none where there is no file. A
// damaged one is an error.
func readLeases(dir string) (map[runtime.ExecutionID]time.Duration, error) {
	path := filepath.Join(dir, LeasesFile)
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || info.Size() > maxFile {
		return nil, errors.Join(err, fmt.Errorf("%s: it is too large", path))
	}
	var t leaseFile
	if err := json.NewDecoder(f).Decode(&t); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if t.Boot != bootID() {
		return nil, nil
	}
	leases := make(map[runtime.ExecutionID]time.Duration, len(t.Leases))
	for _, h := range t.Leases {
		leases[runtime.ExecutionID{Orchestrator: h.Orchestrator, Request: h.Request, Attempt: h.Attempt}] = h.Until
	}
	return leases, nil
}

// writeLeases replaces the file at once. It need not reach the disk: leases do not
// outlive the machine's start.
func writeLeases(dir string, leases map[runtime.ExecutionID]time.Duration) error {
	t := leaseFile{Boot: bootID(), Leases: make([]lease, 0, len(leases))}
	for id, until := range leases {
		t.Leases = append(t.Leases, lease{Orchestrator: id.Orchestrator, Request: id.Request, Attempt: id.Attempt, Until: until})
	}
	data, err := json.Marshal(t)
	if err != nil {
		return err
	}
	path := filepath.Join(dir, LeasesFile)
	if err := os.WriteFile(path+".new", data, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// A Leases holds the leases of this device's executions. Its methods may be called
// concurrently.
type Leases struct {
	dir   string
	start func() error // a reaper, where none runs

	mu      sync.Mutex // guards the rest
	leases  map[runtime.ExecutionID]time.Duration
	changes uint64        // made to leases
	written uint64        // the last change that is in the file
	writing bool          // somebody writes; changed is closed when done
	done    chan struct{} // closed, and replaced, after each write
	failed  error         // how the last write ended
}

// Open returns the keeper of the leases in a state folder, with those that an
// earlier process held. start makes sure that a reaper runs, and is called after
// each change to the file. A file that a power cut has damaged holds none: what
// ran under its leases has ended, too.
func Open(dir string, start func() error, log *slog.Logger) *Leases {
	leases, err := readLeases(dir)
	if err != nil {
		log.Warn("leases are not known any more, and so have ended", "err", err)
	}
	if leases == nil {
		leases = make(map[runtime.ExecutionID]time.Duration)
	}
	return &Leases{dir: dir, start: start, leases: leases, done: make(chan struct{})}
}

// Until returns until when the execution may run by Now; 0 where no lease is held.
func (l *Leases) Until(id runtime.ExecutionID) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.leases[id]
}

// Held returns whose leases are held.
func (l *Leases) Held() []runtime.ExecutionID {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Collect(maps.Keys(l.leases))
}

// Now is the time that leases are counted by.
func (l *Leases) Now() time.Duration { return Now() }

// Hold lets the execution run until the given time by Now, and returns when the
// reaper will see to it. With an error nothing is extended that was not before.
func (l *Leases) Hold(id runtime.ExecutionID, until time.Duration) error {
	l.mu.Lock()
	before, had := l.leases[id]
	l.leases[id] = until
	l.mu.Unlock()
	err := l.sync()
	if err != nil {
		l.mu.Lock()
		if l.leases[id] == until {
			if delete(l.leases, id); had {
				l.leases[id] = before
			}
		}
		l.mu.Unlock()
	}
	return err
}

// Drop forgets the lease: the execution has ended, or was never started.
func (l *Leases) Drop(id runtime.ExecutionID) error {
	l.mu.Lock()
	_, had := l.leases[id]
	delete(l.leases, id)
	l.mu.Unlock()
	if !had {
		return nil
	}
	return l.sync()
}

// sync returns when all changes up to now are in the file. Those who come while
// it is written share the next write.
func (l *Leases) sync() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.changes++
	mine := l.changes
	for l.writing && l.written < mine {
		done := l.done
		l.mu.Unlock()
		<-done
		l.mu.Lock()
	}
	if l.written >= mine {
		return l.failed
	}
	l.writing = true
	upTo, leases := l.changes, maps.Clone(l.leases)
	l.mu.Unlock()
	err := writeLeases(l.dir, leases)
	if err == nil && len(leases) > 0 {
		err = l.start()
	}
	l.mu.Lock()
	l.writing, l.written, l.failed = false, upTo, err
	close(l.done)
	l.done = make(chan struct{})
	return err
}
