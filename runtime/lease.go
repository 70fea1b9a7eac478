package runtime

import (
	"context"
	"sync"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

// renewalsPerLease is how often a lease is renewed in its time, so that some may fail.
const renewalsPerLease = 4

// errExpired: the lease ran out before the container was started.
var errExpired = protocol.Errorf(protocol.CodeLeaseExpired, "the device that asked for it does not want it any more, or could not be reached")

// Leases hold until when executions may run, and see to it that none runs longer
// should this process die or hang. reaper.Leases is one. Methods may be called
// concurrently.
type Leases interface {
	// Now is the clock that leases are counted by; it goes on while the device
	// sleeps.
	Now() time.Duration
	// Until returns until when the execution may run; 0 where no lease is held.
	Until(id ExecutionID) time.Duration
	// Hold returns when it is made sure that the execution runs until then and no
	// longer.
	Hold(id ExecutionID, until time.Duration) error
	// Drop forgets the lease of what has ended.
	Drop(id ExecutionID) error
	// Held names all that have one.
	Held() []ExecutionID
}

// ownLeases are those of a driver whose containers end with this process.
type ownLeases struct {
	start time.Time
	mu    sync.Mutex // guards held
	held  map[ExecutionID]time.Duration
}

func newOwnLeases() *ownLeases {
	return &ownLeases{start: time.Now(), held: make(map[ExecutionID]time.Duration)}
}

func (l *ownLeases) Now() time.Duration { return time.Since(l.start) }

func (l *ownLeases) Until(id ExecutionID) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.held[id]
}

func (l *ownLeases) Hold(id ExecutionID, until time.Duration) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held[id] = until
	return nil
}

func (l *ownLeases) Drop(id ExecutionID) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.held, id)
	return nil
}

func (l *ownLeases) Held() (ids []ExecutionID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id := range l.held {
		ids = append(ids, id)
	}
	return ids
}

// renewLease renews the execution's lease from its admission to its end, and stops
// it when that fails for so long that the orchestrator may start another attempt.
func (e *execution) renewLease(ctx context.Context) {
	leases, id, lease := e.node.cfg.Leases, e.spec.ID, e.spec.Lease
	log := e.node.cfg.Log.With("request", id.Request, "attempt", id.Attempt)
	until := leases.Until(id)
	if !e.adopted {
		until = leases.Now() + lease // nothing is started before the first grant
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-e.ended:
			if err := leases.Drop(id); err != nil {
				log.Warn("a lease is not given back", "err", err)
			}
			return
		case <-ctx.Done():
			return // the next process, or the reaper, goes by what is held
		}
		asked := leases.Now()
		if asked >= until {
			log.Warn("stopped, since its lease could not be renewed")
			e.expire()
			timer.Stop()
			continue
		}
		call, cancel := context.WithTimeout(ctx, min(lease/renewalsPerLease, until-asked))
		err := e.node.cfg.Renew(call, id.Orchestrator, protocol.Renewal{Request: id.Request, Attempt: id.Attempt})
		cancel()
		next := asked + lease/renewalsPerLease
		switch {
		case err == nil:
			if err = leases.Hold(id, asked+lease); err == nil {
				until = asked + lease
				e.grantLease()
			} else {
				log.Error("a lease is not held", "err", err)
			}
		case protocol.CodeOf(err) == protocol.CodeLeaseExpired:
			log.Info("stopped, since it is not wanted any more")
			e.expire()
			continue
		default:
			log.Debug("a lease is not renewed", "peer", id.Orchestrator, "err", err)
			next = leases.Now() + lease/(renewalsPerLease*renewalsPerLease)
		}
		timer.Reset(max(0, min(next, until)-leases.Now()))
	}
}

// grantLease lets the container start.
func (e *execution) grantLease() {
	e.mu.Lock()
	defer e.mu.Unlock()
	closeOnce(e.granted)
}

// expire ends the execution at once.
func (e *execution) expire() {
	e.expired.Store(true)
	e.stop(0)
}

// awaitGrant blocks until the container may be started: at once without a lease.
func (e *execution) awaitGrant(ctx context.Context) error {
	if e.spec.Lease == 0 {
		return nil
	}
	select {
	case <-e.granted:
	case <-e.stopped:
		return errStopped
	case <-ctx.Done():
		return ctx.Err()
	}
	if leases := e.node.cfg.Leases; leases.Now() >= leases.Until(e.spec.ID) {
		return errExpired
	}
	return nil
}

// forgetLeases drops those of executions that an earlier process had and that are
// gone from the engine.
func (n *Node) forgetLeases(found []Recovered) {
	there := make(map[ExecutionID]bool, len(found))
	for _, r := range found {
		there[r.ID] = true
		n.nameLease(r.ID)
	}
	for _, id := range n.cfg.Leases.Held() {
		n.mu.Lock()
		known := n.executions[id] != nil
		n.mu.Unlock()
		if there[id] || known {
			continue
		}
		if err := n.cfg.Leases.Drop(id); err != nil {
			n.cfg.Log.Warn("a lease is not given back", "request", id.Request, "attempt", id.Attempt, "err", err)
		}
	}
}

// nameLease puts a lease that an older hearth held, without the orchestrator's
// name, under the execution's whole one.
func (n *Node) nameLease(id ExecutionID) {
	leases := n.cfg.Leases
	until := leases.Until(ExecutionID{Request: id.Request, Attempt: id.Attempt})
	if id.Orchestrator == "" || until == 0 || leases.Until(id) != 0 {
		return
	}
	if err := leases.Hold(id, until); err != nil {
		n.cfg.Log.Warn("a lease is not held", "request", id.Request, "attempt", id.Attempt, "err", err)
	}
}
