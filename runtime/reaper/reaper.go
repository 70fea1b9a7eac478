package reaper

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
	// lockFile is locked by the running reaper. Releases before call it a guard.
	lockFile = "guard.lock"
	// checkInterval is how often the reaper looks at the leases at least: a new one may
	// end before all that it knows.
	checkInterval = time.Second
	// retryInterval is between two tries to stop a container: the engine may be down.
	retryInterval = 250 * time.Millisecond
	// lockTimeout is how long a reaper waits for the lock: one that runs has it for
	// good, one who looks whether there is a reaper only for a moment.
	lockTimeout = 2 * time.Second
	// idleTimeout is how long a reaper without leases waits for new ones.
	idleTimeout = 10 * time.Second
	// callTimeout is how long the engine has to stop one.
	callTimeout = 10 * time.Second
)

// Run stops, by driver, what outlives its lease in the folder's leases file. It
// returns nil when there has been no lease for a while, or another reaper runs, or
// ctx ends.
func Run(ctx context.Context, dir string, driver runtime.Driver, log *slog.Logger) error {
	w := &reaper{dir: dir, driver: driver, log: log, stopping: make(map[runtime.ExecutionID]time.Duration)}
	defer w.children.Wait()
	for {
		lock, err := awaitLock(ctx, dir)
		if lock == nil {
			return err
		}
		err = w.run(ctx)
		// Whoever looks for a reaper from here on finds none. A lease that came
		// before that is seen now.
		_ = lock.Close()
		if err != nil || ctx.Err() != nil || w.allReaped() {
			return err
		}
	}
}

// awaitLock returns the lock, or nil where another reaper has it.
func awaitLock(ctx context.Context, dir string) (*os.File, error) {
	for until := time.Now().Add(lockTimeout); ; {
		lock, err := tryLock(dir)
		if lock != nil || err != nil || !time.Now().Before(until) || !sleep(ctx, retryInterval/10) {
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

// Running reports whether a reaper looks after the folder's leases.
func Running(dir string) (bool, error) {
	lock, err := tryLock(dir)
	if lock != nil {
		return false, lock.Close()
	}
	return err == nil, err
}

// reaper stops what outlives its lease. Its goroutines stop one execution each.
type reaper struct {
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
func (r *reaper) run(ctx context.Context) error {
	lastLease := Now()
	for {
		wait, err := r.check(ctx)
		if err != nil {
			// The file is replaced at once, so this does not pass by itself; but
			// the next write may mend it, and nobody else would stop anything.
			r.log.Error("the leases cannot be read", "err", err)
		}
		if wait > 0 || err != nil {
			lastLease = Now()
		} else if Now()-lastLease >= idleTimeout {
			return nil
		}
		if wait <= 0 || wait > checkInterval {
			wait = checkInterval
		}
		if !sleep(ctx, wait) {
			return nil
		}
	}
}

// check stops what is overdue, and returns how long it is until the next lease
// ends; 0 where there is none.
func (r *reaper) check(ctx context.Context) (time.Duration, error) {
	leases, err := readLeases(r.dir)
	if err != nil {
		return 0, err
	}
	now, next := Now(), time.Duration(0)
	r.mu.Lock()
	defer r.mu.Unlock()
	for id := range r.stopping {
		if _, held := leases[id]; !held {
			delete(r.stopping, id)
		}
	}
	for id, until := range leases {
		if left := until - now; left > 0 {
			if next == 0 || left < next {
				next = left
			}
			continue
		}
		if r.stopping[id] == until {
			continue
		}
		r.stopping[id] = until
		r.busy++
		r.children.Go(func() { r.stop(ctx, id, until) })
	}
	if next == 0 && r.busy > 0 {
		next = checkInterval
	}
	return next, nil
}

// allReaped reports whether no lease is left that runs or is overdue.
func (r *reaper) allReaped() bool {
	leases, err := readLeases(r.dir)
	if err != nil {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, until := range leases {
		if r.stopping[id] != until {
			return false
		}
	}
	return true
}

// stop sees to it that the execution does not run any more, as long as its lease
// is among those that are over. What has ended stays for its end to be read; what
// was not started yet never will be.
func (r *reaper) stop(ctx context.Context, id runtime.ExecutionID, until time.Duration) {
	defer func() {
		r.mu.Lock()
		r.busy--
		r.mu.Unlock()
	}()
	log := r.log.With("request", id.Request, "attempt", id.Attempt)
	for killed := false; ; {
		call, cancel := context.WithTimeout(ctx, callTimeout)
		running, err := r.kill(call, id)
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
		if !sleep(ctx, retryInterval) {
			return
		}
		r.mu.Lock()
		given := r.stopping[id] != until
		r.mu.Unlock()
		if given {
			return
		}
	}
}

// kill kills the execution where it runs, and reports whether it did.
func (r *reaper) kill(ctx context.Context, id runtime.ExecutionID) (running bool, err error) {
	all, err := r.driver.Recover(ctx)
	if err != nil {
		return false, err
	}
	for _, found := range all {
		switch {
		case found.ID != id:
		case found.Running:
			return true, r.driver.Signal(ctx, id, "KILL")
		case !found.Started:
			return false, r.driver.Remove(ctx, id)
		}
	}
	return false, nil
}

// sleepMonotonic is sleep by a clock that stops while the machine sleeps.
func sleepMonotonic(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
