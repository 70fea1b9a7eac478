package docker

import (
	"context"
	"sync"

	"github.com/docker/docker/api/types/container"

	"github.com/hearth-edge/hearth/runtime"
)

// An ending is how a container ends, asked for before it is started: so no end is
// missed, however soon, and the engine need not be asked when it is busy with the
// start. All who wait for the end share it.
type ending struct {
	release context.CancelFunc // ends the asking, which then fails if it is not over
	told    chan struct{}      // closed when exit and err are set; err is as of inspect
	exit    runtime.Exit
	err     error
}

// expect has the engine tell the end of a container, and then how it ended. That
// outlives ctx: the caller releases the ending. An engine that refuses to tell is
// the ending's error, one that is silent expect's.
func (d *Driver) expect(ctx context.Context, target string) (*ending, error) {
	asking, release := context.WithCancel(context.WithoutCancel(ctx))
	e := &ending{release: release, told: make(chan struct{})}
	losses := d.losses.Load()
	var ended <-chan container.WaitResponse
	var failed <-chan error
	err := d.begin(ctx, "wait for container", release, func() error {
		ended, failed = d.client.Load().ContainerWait(asking, target, container.WaitConditionNextExit)
		return nil
	})
	d.background.Go(func() { // ends with asking at the latest
		defer release()
		select {
		case <-ended:
			e.exit, e.err = d.inspect(asking, target, losses)
		case err := <-failed:
			e.err = d.explain(asking, "wait for container", err)
		}
		close(e.told)
	})
	if err != nil {
		release()
		return nil, err
	}
	return e, nil
}

// await blocks until it is told how the container ended, or that this will not be
// told; or the error is ctx's.
func (e *ending) await(ctx context.Context) (runtime.Exit, error) {
	select {
	case <-e.told:
		return e.exit, e.err
	case <-ctx.Done():
		return runtime.Exit{}, ctx.Err()
	}
}

// over reports whether there is nothing to wait for any more.
func (e *ending) over() bool {
	select {
	case <-e.told:
		return true
	default:
		return false
	}
}

// endings are those of the containers that this process has created, until they
// are removed.
type endings struct {
	mu  sync.Mutex
	all map[runtime.ExecutionID]*ending
}

func newEndings() endings { return endings{all: make(map[runtime.ExecutionID]*ending)} }

func (s *endings) keep(id runtime.ExecutionID, e *ending) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all[id] = e
}

// of returns the execution's ending, or nil.
func (s *endings) of(id runtime.ExecutionID) *ending {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all[id]
}

// drop releases the execution's ending and forgets it.
func (s *endings) drop(id runtime.ExecutionID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.all[id]; e != nil {
		delete(s.all, id)
		e.release()
	}
}

// dropAll is drop for all.
func (s *endings) dropAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.all {
		e.release()
	}
	clear(s.all)
}
