package docker

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

// closeTimeout is how long Close waits for what goes on in the background.
const closeTimeout = 5 * time.Second

// lateCall is after how long without an answer the engine is asked whether it
// answers at all.
const lateCall = 2 * time.Second

// errHung ends the calls to an engine that does not answer any more.
var errHung = errors.New("the engine does not answer")

// calls are those that wait for the engine's answer. Each one has a deadline,
// and none outlives the news that the engine hangs.
type calls struct {
	doubt  chan struct{} // holds a token when the engine is to be asked at once
	closed chan struct{} // closed when Close has waited long enough

	mu      sync.Mutex // guards waiting
	waiting map[*call]struct{}
}

// call is one of them.
type call struct{ cancel context.CancelCauseFunc }

func newCalls() calls {
	return calls{doubt: make(chan struct{}, 1), closed: make(chan struct{}), waiting: make(map[*call]struct{})}
}

func (s *calls) add(cancel context.CancelCauseFunc) *call {
	c := &call{cancel}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting[c] = struct{}{}
	return c
}

func (s *calls) remove(c *call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.waiting, c)
}

// hung ends all that wait.
func (s *calls) hung() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.waiting {
		c.cancel(errHung)
	}
}

// suspect has the engine asked whether it answers.
func (s *calls) suspect() {
	select {
	case s.doubt <- struct{}{}:
	default:
	}
}

// within makes one call to the engine and turns its error into what the Driver
// contract says. It is the one place where calls get their context: the call
// ends with the caller's, after limit, and when the engine turns out to hang,
// for which a late answer is reason enough to look.
func (d *Driver) within(ctx context.Context, limit time.Duration, what string, do func(context.Context) error) error {
	late := time.AfterFunc(lateCall, d.calls.suspect)
	defer late.Stop()
	err := d.bounded(ctx, limit, what, do)
	if protocol.CodeOf(err) == protocol.CodeEngineDown {
		d.calls.suspect()
	}
	return err
}

// bounded is within for those who look at the engine themselves.
func (d *Driver) bounded(ctx context.Context, limit time.Duration, what string, do func(context.Context) error) error {
	limited, stop := context.WithTimeout(ctx, limit)
	defer stop()
	callCtx, cancel := context.WithCancelCause(limited)
	defer cancel(nil)
	c := d.calls.add(cancel)
	defer d.calls.remove(c)
	err := do(callCtx)
	if err != nil && errors.Is(context.Cause(callCtx), errHung) {
		err = context.DeadlineExceeded
	}
	return d.explain(ctx, what, err)
}

// begin makes a call whose answer goes on for long, of which only the beginning
// is bounded: cancel ends the call where that does not come in time.
func (d *Driver) begin(ctx context.Context, what string, cancel func(), do func() error) error {
	return d.within(ctx, askTimeout, what, func(callCtx context.Context) error {
		stop := context.AfterFunc(callCtx, cancel)
		err := do()
		if !stop() && err == nil {
			err = callCtx.Err() // the answer came too late, and breaks off
		}
		return err
	})
}

// untilClose returns a context for what goes on when its caller has gone away.
func (d *Driver) untilClose(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	go func() {
		select {
		case <-d.calls.closed:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}
