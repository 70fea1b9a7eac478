package runtime

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

const (
	// callTimeout is how long the engine has for creating or starting a
	// container, signalling or removing it. A busy card may take many seconds.
	callTimeout = 60 * time.Second
	// fetchNoticeDelay is after how long without news of a fetch its asker is told that
	// there is one.
	fetchNoticeDelay = time.Second
	// timeoutGrace is between the TERM and the KILL of what ran too long.
	timeoutGrace = 5 * time.Second
	// outputLimit is how much of its output is kept.
	outputLimit = protocol.DefaultOutputLimit
)

var (
	// errStopped: somebody stopped it before it was started.
	errStopped = protocol.Errorf(protocol.CodeCancelled, "stopped before it was started")
	// errLeaving: the device shut down before it was started.
	errLeaving = protocol.Errorf(protocol.CodeLeaving, "the device shuts down; nothing was started")
)

// An execution is one attempt at a request on this node, from its admission
// until it is forgotten. Its goroutine, which Run starts, is the only one that
// goes through its steps.
type execution struct {
	node         *Node
	spec         Spec
	service      protocol.Service // without what its secrets hold; zero where adopted
	size         int              // of the service, encoded
	adopted      bool
	demand       demand
	feed         *protocol.Feed
	input        *input
	control      pendingControl
	firstSession *session // of the offer that brought it

	// heldSince is since when the demand is taken; zero where it is not. expected
	// is how long the service usually runs here. queueDeadline is when it leaves the
	// queue unstarted, after maxWait; zero is never. The Node's mutex guards them.
	heldSince     time.Time
	expected      time.Duration
	queueDeadline time.Time
	maxWait       time.Duration

	// These belong to the goroutine.
	container string
	ranBefore time.Duration // before it was adopted
	created   bool          // the engine was asked to create it
	started   bool          // the engine was asked to start it

	forgotten chan struct{} // closed when nobody can come for the end any more; by the Node's retention

	// granted is closed when its lease was renewed for the first time, over when
	// its end was told.
	granted, ended chan struct{}
	expired        atomic.Bool // it was stopped for its lease's sake

	queuePlace int // how many were before it when that was last told; the Node's mutex guards it

	mu        sync.Mutex // guards the rest; taken after the Node's
	stopped   chan struct{}
	endRead   chan struct{}      // closed when a session read the end
	stops     chan time.Duration // holds the newest request to stop, with its grace
	sessions  map[*session]struct{}
	abandoned bool
	disk      diskUse
	// runningContainer is the container while it runs; reachable is what inside tells.
	runningContainer string
	reachable        protocol.State

	reach reach
}

func newExecution(n *Node, spec Spec) *execution {
	return &execution{
		node:      n,
		spec:      spec,
		demand:    demandOf(spec.CPUs, spec.Memory),
		feed:      protocol.NewFeed(outputLimit),
		input:     newInput(spec.Stdin),
		control:   pendingControl{notify: make(chan struct{}, 1)},
		stopped:   make(chan struct{}),
		endRead:   make(chan struct{}),
		forgotten: make(chan struct{}),
		granted:   make(chan struct{}),
		ended:     make(chan struct{}),
		stops:     make(chan time.Duration, 1),
		sessions:  make(map[*session]struct{}),
	}
}

// run takes the execution to its end, or to that of ctx, which leaves the
// container alone.
func (e *execution) run(ctx context.Context) {
	if e.adopted {
		e.resumeContainer(ctx)
		return
	}
	stdio, err := e.start(ctx)
	switch {
	case err == nil:
		e.follow(ctx, &stdio)
	case errors.Is(err, ErrExists):
		// An earlier process, or this one before it forgot, had it started.
		e.follow(ctx, nil)
	default:
		e.failStart(ctx, err)
	}
}

// start makes the image present and the container run. A stop that comes
// before the start is errStopped. The image is there more often than not, so it is
// only asked for when the container cannot be made without it.
func (e *execution) start(ctx context.Context) (Stdio, error) {
	if e.spec.Pull == protocol.PullAlways {
		if err := e.pull(ctx); err != nil {
			return Stdio{}, err
		}
	}
	stdio, err := e.create(ctx)
	if protocol.CodeOf(err) == protocol.CodeImageNotFound && e.spec.Pull != protocol.PullNever {
		if err := e.pull(ctx); err != nil {
			return Stdio{}, err
		}
		stdio, err = e.create(ctx)
	}
	if err != nil {
		return Stdio{}, err
	}
	if e.isStopped() {
		stdio.close()
		return Stdio{}, errStopped
	}
	if err := e.awaitGrant(ctx); err != nil {
		stdio.close()
		return Stdio{}, err
	}
	e.feed.Event(e.event(protocol.StateStarting))
	e.started = true
	call, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if err := e.node.cfg.Driver.Start(call, e.spec.ID); err != nil {
		stdio.close()
		return Stdio{}, err
	}
	running := e.event(protocol.StateRunning)
	running.Reason = e.node.notCompared(e.spec.ImageID)
	e.reachInto(e.container, protocol.StateRunning)
	e.feed.Event(running)
	return stdio, nil
}

// create makes the container.
func (e *execution) create(ctx context.Context) (Stdio, error) {
	if err := e.node.recheckPolicy(e); err != nil {
		return Stdio{}, err
	}
	call, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	container, stdio, err := e.node.cfg.Driver.Create(call, e.spec)
	if e.created = protocol.CodeOf(err) != protocol.CodeImageNotFound; e.created {
		e.dropSecrets()
	}
	e.container = container
	return stdio, err
}

// pull makes the image present. A stop cuts it short.
func (e *execution) pull(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	e.setWriting(writesImage, cancel)
	defer e.setWriting(writeNone, nil)
	var watch sync.WaitGroup
	watch.Go(func() {
		notice := time.NewTimer(fetchNoticeDelay)
		defer notice.Stop()
		for {
			select {
			case <-notice.C:
				event := e.event(protocol.StatePulling)
				event.Reason = fmt.Sprintf("fetching the image %q", e.spec.Image)
				e.feed.Event(event)
				continue
			case <-e.stopped:
				cancel(errStopped)
			case <-ctx.Done():
			}
			return
		}
	})
	var moved transfer
	room := e.node.room(ctx)
	fetch := e.node.cfg.Driver.Pull
	if e.spec.Pull == protocol.PullAlways {
		fetch = e.node.cfg.Driver.PullAlways
	}
	err := fetch(ctx, e.spec.Image, func(step PullStep) {
		if full := enough(e.spec.Image, room, step.Total); full != nil {
			cancel(full)
		}
		moved.step(time.Now(), step.Current)
		event := e.event(protocol.StatePulling)
		event.Progress, event.Reason = &step.Progress, step.Retry
		e.feed.Event(event)
	})
	if err == nil {
		e.node.pulled(moved.rate(time.Now()))
	}
	full := context.Cause(ctx)
	cancel(nil)
	watch.Wait()
	switch {
	case e.isStopped():
		return errStopped
	case err != nil && protocol.CodeOf(full) == protocol.CodeDiskFull:
		return full
	}
	return err
}

// failStart ends an execution that could not be started. Where the engine may have
// started it all the same, it is first made sure that it does not run.
func (e *execution) failStart(ctx context.Context, err error) {
	if ctx.Err() != nil && !e.started {
		err = errLeaving
	}
	if e.started && !e.removeRetrying(ctx) {
		e.abandon()
		return
	}
	e.end(e.failure(err), 0)
	if e.created {
		e.remove(ctx)
	}
}

// failure makes the last event for an error.
func (e *execution) failure(err error) protocol.Event {
	state := protocol.StateFailed
	code := protocol.CodeOf(err)
	if code == protocol.CodeCancelled && e.expired.Load() {
		err, code = errExpired, protocol.CodeLeaseExpired
	}
	switch {
	case code == protocol.CodeCancelled:
		state = protocol.StateCancelled
	case errors.Is(err, context.DeadlineExceeded):
		code = protocol.CodeEngineDown
	case code == protocol.CodeInternal:
		e.node.cfg.Log.Error("execution failed", "request", e.spec.ID.Request, "attempt", e.spec.ID.Attempt, "err", err)
	}
	event := e.event(state)
	event.Code, event.Reason = code, publicText(err)
	return event
}

// publicText is what of an error may be told to others: internal text stays in
// the log.
func publicText(err error) string {
	if public, ok := errors.AsType[*protocol.Error](err); ok {
		return public.Message
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return "the container engine did not answer in time"
	}
	return "an unforeseen error; the node's log has the details"
}

// end tells the end and releases what the execution took.
func (e *execution) end(end protocol.Event, ran time.Duration) {
	e.node.release(e)
	e.publishEnd(end, ran)
	e.feed.End()
}

// awaitRead blocks until somebody has read the end, or nobody came for it in
// time. It reports false where ctx ended first: then the next process is to
// tell the end, from the container.
func (e *execution) awaitRead(ctx context.Context) bool {
	select {
	case <-e.endRead:
	case <-e.forgotten:
	case <-ctx.Done():
		return isClosed(e.endRead)
	}
	return true
}

// remove removes the container. A last try belongs to the leaving of a device,
// too.
func (e *execution) remove(ctx context.Context) {
	call, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeoutGrace)
	err := e.node.cfg.Driver.Remove(call, e.spec.ID)
	cancel()
	if err != nil {
		e.removeRetrying(ctx)
	}
}

// removeRetrying removes the container, however long the engine takes. It
// reports false where ctx ended first.
func (e *execution) removeRetrying(ctx context.Context) bool {
	for {
		call, cancel := context.WithTimeout(ctx, callTimeout)
		err := e.node.cfg.Driver.Remove(call, e.spec.ID)
		cancel()
		if err == nil {
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		e.node.cfg.Log.Warn("container not removed", "request", e.spec.ID.Request, "attempt", e.spec.ID.Attempt, "err", err)
		if e.node.engineBack(ctx) != nil {
			return false
		}
	}
}

// publishEnd tells the end and puts the execution among those that are kept for a
// while.
func (e *execution) publishEnd(end protocol.Event, ran time.Duration) {
	e.input.close()
	e.reachInto("", end.State)
	e.feed.Event(end)
	e.node.retain(e)
	close(e.ended)
	if e.node.cfg.Finished != nil && !e.adopted {
		e.node.cfg.Finished(e.service, end, ran)
	}
}

// event makes an event about this execution.
func (e *execution) event(s protocol.State) protocol.Event {
	return protocol.Event{
		Request:   e.spec.ID.Request,
		Attempt:   e.spec.ID.Attempt,
		State:     s,
		Node:      e.node.cfg.Node,
		NodeName:  e.node.cfg.Name,
		At:        time.Now(),
		Container: e.container,
	}
}

// publishPlace tells how many executions are before this one, of which so many
// wait; the Node's mutex is held. Each event is kept, so far back in the queue
// not each step is told, only when a tenth of the way was made.
func (e *execution) publishPlace(before, waiting int) {
	if before == e.queuePlace || e.queuePlace > 0 && waiting > 10 && before*10 > e.queuePlace*9 {
		return
	}
	e.queuePlace = before
	event := e.event(protocol.StatePlacing)
	event.QueuePlace = uint32(before)
	event.Reason = fmt.Sprintf("queued, %d before it", before)
	e.feed.Event(event)
}
