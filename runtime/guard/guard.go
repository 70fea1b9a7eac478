// Package guard stops containers whose leases have run out, whatever becomes of
// the process that started them: a second process, which does nothing else,
// sleeps until the next lease ends and then looks whether it was extended. It
// runs only while there are leases. It knows nothing of orchestrators: it never
// extends a lease.
//
//	hearth up ── Keeper.Hold, Drop ──▶ leases.json ──▶ Watch ── hearth guard
//
// The file is the truth between the two, so that either may die at any moment: a
// Keeper that starts finds out what its forerunner held, and starts a guard where
// none runs.
package guard

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

// table is what the leases file holds.
type table struct {
	// Boot names the start of the machine that Until is counted from: leases of
	// another one are over, and so is what ran under them.
	Boot   string `json:"boot"`
	Leases []held `json:"leases"`
}

type held struct {
	Orchestrator protocol.PeerID    `json:"orchestrator"`
	Request      protocol.RequestID `json:"request"`
	Attempt      uint32             `json:"attempt"`
	Until        time.Duration      `json:"until_ns"`
}

// readTable returns the leases in the folder, none where there is no file. A
// damaged one is an error.
func readTable(dir string) (map[runtime.ExecutionID]time.Duration, error) {
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
	var t table
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

// writeTable replaces the file at once. It need not reach the disk: leases do not
// outlive the machine's start.
func writeTable(dir string, leases map[runtime.ExecutionID]time.Duration) error {
	t := table{Boot: bootID(), Leases: make([]held, 0, len(leases))}
	for id, until := range leases {
		t.Leases = append(t.Leases, held{Orchestrator: id.Orchestrator, Request: id.Request, Attempt: id.Attempt, Until: until})
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

// A Keeper holds the leases of this device's executions. Its methods may be called
// concurrently.
type Keeper struct {
	dir   string
	start func() error // a guard, where none runs

	mu      sync.Mutex // guards the rest
	leases  map[runtime.ExecutionID]time.Duration
	changes uint64        // made to leases
	written uint64        // the last change that is in the file
	writing bool          // somebody writes; changed is closed when done
	done    chan struct{} // closed, and replaced, after each write
	failed  error         // how the last write ended
}

// NewKeeper returns the keeper of the leases in a state folder, with those that an
// earlier process held. start makes sure that a guard runs, and is called after
// each change to the file. A file that a power cut has damaged holds none: what
// ran under its leases has ended, too.
func NewKeeper(dir string, start func() error, log *slog.Logger) *Keeper {
	leases, err := readTable(dir)
	if err != nil {
		log.Warn("leases are not known any more, and so have ended", "err", err)
	}
	if leases == nil {
		leases = make(map[runtime.ExecutionID]time.Duration)
	}
	return &Keeper{dir: dir, start: start, leases: leases, done: make(chan struct{})}
}

// Until returns until when the execution may run by Now; 0 where no lease is held.
func (k *Keeper) Until(id runtime.ExecutionID) time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.leases[id]
}

// Held returns whose leases are held.
func (k *Keeper) Held() []runtime.ExecutionID {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Collect(maps.Keys(k.leases))
}

// Now is the time that leases are counted by.
func (k *Keeper) Now() time.Duration { return Now() }

// Hold lets the execution run until the given time by Now, and returns when the
// guard will see to it. With an error nothing is extended that was not before.
func (k *Keeper) Hold(id runtime.ExecutionID, until time.Duration) error {
	k.mu.Lock()
	before, had := k.leases[id]
	k.leases[id] = until
	k.mu.Unlock()
	err := k.sync()
	if err != nil {
		k.mu.Lock()
		if k.leases[id] == until {
			if delete(k.leases, id); had {
				k.leases[id] = before
			}
		}
		k.mu.Unlock()
	}
	return err
}

// Drop forgets the lease: the execution has ended, or was never started.
func (k *Keeper) Drop(id runtime.ExecutionID) error {
	k.mu.Lock()
	_, had := k.leases[id]
	delete(k.leases, id)
	k.mu.Unlock()
	if !had {
		return nil
	}
	return k.sync()
}

// sync returns when all changes up to now are in the file. Those who come while
// it is written share the next write.
func (k *Keeper) sync() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.changes++
	mine := k.changes
	for k.writing && k.written < mine {
		done := k.done
		k.mu.Unlock()
		<-done
		k.mu.Lock()
	}
	if k.written >= mine {
		return k.failed
	}
	k.writing = true
	upTo, leases := k.changes, maps.Clone(k.leases)
	k.mu.Unlock()
	err := writeTable(k.dir, leases)
	if err == nil && len(leases) > 0 {
		err = k.start()
	}
	k.mu.Lock()
	k.writing, k.written, k.failed = false, upTo, err
	close(k.done)
	k.done = make(chan struct{})
	return err
}
