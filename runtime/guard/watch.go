package guard

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/hearth-edge/hearth/runtime"
)

const (
	// lockFile is locked by the guard that runs.
	lockFile = "guard.lock"
	// glance is how often the guard looks at the leases at least: a new one may
	// end before all that it knows.
	glance = time.Second
	// again is between two tries to stop a container: the engine may be down.
	again = 250 * time.Millisecond
	// patience is how long a guard waits for the lock: one that runs has it for
	// good, one who looks whether there is a guard only for a moment.
	patience = 2 * time.Second
	// linger is how long a guard without leases waits for new ones.
	linger = 10 * time.Second
	// callTimeout is how long the engine has to stop one.
	callTimeout = 10 * time.Second
)

// Watch stops, by driver, what outlives its lease in the folder's leases file. It
// returns nil when there has been no lease for a while, or another guard runs, or
// ctx ends.
func Watch(ctx context.Context, dir string, driver runtime.Driver, log *slog.Logger) error {
	w := &watcher{dir: dir, driver: driver, log: log, stopping: make(map[runtime.ExecutionID]time.Duration)}
	defer w.children.Wait()
	for {
		lock, err := lockSoon(ctx, dir)
		if lock == nil {
			return err
		}
		err = w.run(ctx)
		// Whoever looks for a guard from here on finds none. A lease that came
		// before that is seen now.
		_ = lock.Close()
		if err != nil || ctx.Err() != nil || w.idle() {
			return err
		}
	}
}

// lockSoon returns the lock, or nil where another guard has it.
func lockSoon(ctx context.Context, dir string) (*os.File, error) {
	for until := time.Now().Add(patience); ; {
		lock, err := tryLock(dir)
		if lock != nil || err != nil || !time.Now().Before(until) || !sleep(ctx, again/10) {
			return lock, err
		}
	}
}

// tryLock returns the lock, which closing it lets go of; nil where somebody has it.
func tryLock(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, nil
		}
		return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	return f, nil
}

// Running reports whether a guard looks after the folder's leases.
func Running(dir string) (bool, error) {
	lock, err := tryLock(dir)
	if lock != nil {
		return false, lock.Close()
	}
	return err == nil, err
}

// watcher is a guard. Its goroutines stop one execution each.
type watcher struct {
	dir      string
	driver   runtime.Driver
	log      *slog.Logger
	children sync.WaitGroup

	mu sync.Mutex // guards stopping
	// stopping holds what was or is being stopped, with the end of the lease
	// that this is for.
	stopping map[runtime.ExecutionID]time.Duration
	// busy counts those under way.
	busy int
}

// run stops what is to be stopped until there has been nothing to do for linger.
func (w *watcher) run(ctx context.Context) error {
	lastLease := Now()
	for {
		wait, err := w.look(ctx)
		if err != nil {
			// The file is replaced at once, so this does not pass by itself; but
			// the next write may mend it, and nobody else would stop anything.
			w.log.Error("the leases cannot be read", "err", err)
		}
		if wait > 0 || err != nil {
			lastLease = Now()
		} else if Now()-lastLease >= linger {
			return nil
		}
		if wait <= 0 || wait > glance {
			wait = glance
		}
		if !sleep(ctx, wait) {
			return nil
		}
	}
}

// look stops what is overdue, and returns how long it is until the next lease
// ends; 0 where there is none.
func (w *watcher) look(ctx context.Context) (time.Duration, error) {
	leases, err := readTable(w.dir)
	if err != nil {
		return 0, err
	}
	now, next := Now(), time.Duration(0)
	w.mu.Lock()
	defer w.mu.Unlock()
	for id := range w.stopping {
		if _, held := leases[id]; !held {
			delete(w.stopping, id)
		}
	}
	for id, until := range leases {
		if left := until - now; left > 0 {
			if next == 0 || left < next {
				next = left
			}
			continue
		}
		if w.stopping[id] == until {
			continue
		}
		w.stopping[id] = until
		w.busy++
		w.children.Go(func() { w.stop(ctx, id, until) })
	}
	if next == 0 && w.busy > 0 {
		next = glance
	}
	return next, nil
}

// idle reports whether no lease is left that runs or is overdue.
func (w *watcher) idle() bool {
	leases, err := readTable(w.dir)
	if err != nil {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for id, until := range leases {
		if w.stopping[id] != until {
			return false
		}
	}
	return true
}

// stop sees to it that the execution does not run any more, as long as its lease
// is among those that are over. What has ended stays for its end to be read; what
// was not started yet never will be.
func (w *watcher) stop(ctx context.Context, id runtime.ExecutionID, until time.Duration) {
	defer func() {
		w.mu.Lock()
		w.busy--
		w.mu.Unlock()
	}()
	log := w.log.With("request", id.Request, "attempt", id.Attempt)
	for killed := false; ; {
		call, cancel := context.WithTimeout(ctx, callTimeout)
		running, err := w.end(call, id)
		cancel()
		switch {
		case err != nil:
			log.Warn("a container is not stopped at the end of its lease", "err", err)
		case !running:
			return
		case !killed:
			killed = true
			log.Info("stopped at the end of its lease")
		}
		if !sleep(ctx, again) {
			return
		}
		w.mu.Lock()
		given := w.stopping[id] != until
		w.mu.Unlock()
		if given {
			return
		}
	}
}

// end kills the execution where it runs, and reports whether it did.
func (w *watcher) end(ctx context.Context, id runtime.ExecutionID) (running bool, err error) {
	all, err := w.driver.Recover(ctx)
	if err != nil {
		return false, err
	}
	for _, r := range all {
		switch {
		case r.ID != id:
		case r.Running:
			return true, w.driver.Signal(ctx, id, "KILL")
		case !r.Started:
			return false, w.driver.Remove(ctx, id)
		}
	}
	return false, nil
}

// sleepAwake is sleep by a clock that stops while the machine sleeps.
func sleepAwake(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
