package runtime_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime"
)

const lease = 8 * time.Second

// granter is an orchestrator as far as leases go.
type granter struct {
	mu     sync.Mutex // guards the rest
	answer error
	delay  time.Duration
	asked  int
}

func (g *granter) renew(ctx context.Context, _ protocol.PeerID, _ protocol.Renewal) error {
	g.mu.Lock()
	delay, answer := g.delay, g.answer
	g.asked++
	g.mu.Unlock()
	select {
	case <-time.After(delay):
		return answer
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (g *granter) say(answer error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.answer = answer
}

var (
	errUnheard   = errors.New("no route to it")
	errNotWanted = protocol.Errorf(protocol.CodeLeaseExpired, "another attempt runs")
)

// keptLeases outlive a node, as guard.Keeper's do.
type keptLeases struct {
	start time.Time
	mu    sync.Mutex // guards held
	held  map[runtime.ExecutionID]time.Duration
}

func (l *keptLeases) Now() time.Duration { return time.Since(l.start) }

func (l *keptLeases) Until(id runtime.ExecutionID) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.held[id]
}

func (l *keptLeases) Hold(id runtime.ExecutionID, until time.Duration) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held[id] = until
	return nil
}

func (l *keptLeases) Drop(id runtime.ExecutionID) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.held, id)
	return nil
}

func (l *keptLeases) Held() (ids []runtime.ExecutionID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id := range l.held {
		ids = append(ids, id)
	}
	return ids
}

// leased runs f with a node whose leases g grants.
func leased(t *testing.T, f func(b *bed, g *granter, l *keptLeases)) {
	inBubble(t, func(b *bed) {
		g := new(granter)
		l := &keptLeases{start: time.Now(), held: make(map[runtime.ExecutionID]time.Duration)}
		b.cfg.Renew, b.cfg.Leases = g.renew, l
		b.run()
		f(b, g, l)
	})
}

func leasedOffer(args ...string) protocol.Offer {
	o := offer("r", args...)
	o.Lease = lease
	return o
}

func TestLeaseIsRenewed(t *testing.T) {
	leased(t, func(b *bed, g *granter, l *keptLeases) {
		said := listen(b.offer(leasedOffer("sleep=60s")))
		if said.end().State != protocol.StateSucceeded {
			t.Errorf("ended as %+v", said.end())
		}
		synctest.Wait()
		g.mu.Lock()
		asked := g.asked
		g.mu.Unlock()
		if asked < 28 || asked > 34 {
			t.Errorf("asked %d times in 60 s for a lease of %v", asked, lease)
		}
		if held := l.Held(); len(held) != 0 {
			t.Errorf("held after the end: %v", held)
		}
	})
}

// Some renewals may fail.
func TestLeaseSurvivesLosses(t *testing.T) {
	leased(t, func(b *bed, g *granter, _ *keptLeases) {
		s := b.offer(leasedOffer("sleep=30s"))
		time.Sleep(10 * time.Second)
		g.say(errUnheard)
		time.Sleep(lease * 3 / 5)
		g.say(nil)
		if said := listen(s); said.end().State != protocol.StateSucceeded {
			t.Errorf("ended as %+v", said.end())
		}
	})
}

// An execution whose lease cannot be renewed is killed at its end.
func TestLeaseRunsOut(t *testing.T) {
	leased(t, func(b *bed, g *granter, _ *keptLeases) {
		s := b.offer(leasedOffer("ignore-term", "sleep=1h"))
		time.Sleep(20 * time.Second)
		g.say(errUnheard)
		began := time.Now()
		end := listen(s).end()
		if end.State != protocol.StateFailed || end.Code != protocol.CodeLeaseExpired {
			t.Errorf("ended as %+v", end)
		}
		if took := time.Since(began); took > lease || took < lease/2 {
			t.Errorf("it ran on for %v with a lease of %v", took, lease)
		}
	})
}

// What is not wanted any more is stopped at once.
func TestLeaseIsRevoked(t *testing.T) {
	leased(t, func(b *bed, g *granter, _ *keptLeases) {
		s := b.offer(leasedOffer("ignore-term", "sleep=1h"))
		time.Sleep(20 * time.Second)
		g.say(errNotWanted)
		began := time.Now()
		end := listen(s).end()
		if took := time.Since(began); took > lease/3 || end.Code != protocol.CodeLeaseExpired {
			t.Errorf("ended after %v as %+v", took, end)
		}
	})
}

// Nothing is started before the first renewal: the offer may have been under way
// for any time.
func TestNothingStartsWithoutALease(t *testing.T) {
	for name, answer := range map[string]error{"not wanted": errNotWanted, "unheard": errUnheard} {
		t.Run(name, func(t *testing.T) {
			leased(t, func(b *bed, g *granter, _ *keptLeases) {
				g.say(answer)
				end := listen(b.offer(leasedOffer("sleep=1s"))).end()
				if end.State != protocol.StateFailed || end.Code != protocol.CodeLeaseExpired {
					t.Errorf("ended as %+v", end)
				}
				if len(b.starts()) != 0 {
					t.Errorf("started %v", b.starts())
				}
			})
		})
	}
}

// A queued one has its lease kept as well, and leaves the queue without it.
func TestLeaseInTheQueue(t *testing.T) {
	leased(t, func(b *bed, g *granter, _ *keptLeases) {
		for _, id := range []string{"a", "b"} {
			b.offer(offer(id, "sleep=1h"))
		}
		o := leasedOffer("sleep=1s")
		o.Forced = true
		s := b.offer(o)
		time.Sleep(10 * time.Second)
		g.say(errNotWanted)
		if end := listen(s).end(); end.Code != protocol.CodeLeaseExpired {
			t.Errorf("ended as %+v", end)
		}
		if slices.Contains(b.starts(), runtime.ExecutionID{Orchestrator: self, Request: "r", Attempt: 1}) {
			t.Error("it was started")
		}
	})
}

// The answer counts from when it was asked for: a late one does not extend the
// lease beyond what the orchestrator counts with.
func TestLateAnswer(t *testing.T) {
	leased(t, func(b *bed, g *granter, l *keptLeases) {
		b.offer(leasedOffer("sleep=1h"))
		time.Sleep(10 * time.Second)
		g.mu.Lock()
		g.delay = lease/4 - time.Millisecond
		g.mu.Unlock()
		for range 10 {
			time.Sleep(time.Second)
			id := runtime.ExecutionID{Orchestrator: self, Request: "r", Attempt: 1}
			if left := l.Until(id) - l.Now(); left > lease {
				t.Errorf("%v are left", left)
			}
		}
	})
}

// After a restart the execution goes by the lease that it had, and asks at once.
func TestLeaseAfterARestart(t *testing.T) {
	for name, c := range map[string]struct {
		away   time.Duration
		answer error
		ends   bool
	}{
		"in time":             {away: lease / 2},
		"too late":            {away: 2 * lease, ends: true},
		"in time, not wanted": {away: lease / 2, answer: errNotWanted, ends: true},
	} {
		t.Run(name, func(t *testing.T) {
			leased(t, func(b *bed, g *granter, l *keptLeases) {
				b.offer(leasedOffer("ignore-term", "sleep=100s"))
				time.Sleep(10 * time.Second)
				b.stop()
				time.Sleep(c.away)
				g.say(c.answer)
				b.run()
				s, err := b.node.Attach(t.Context(), protocol.Attach{Request: "r", Attempt: 1})
				if err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				said := listen(s)
				if ended := said.end().Code == protocol.CodeLeaseExpired && time.Since(began) < time.Second; ended != c.ends {
					t.Errorf("ended after %v as %+v", time.Since(began), said.end())
				}
				synctest.Wait()
				if held := l.Held(); len(held) != 0 {
					t.Errorf("held after the end: %v", held)
				}
			})
		})
	}
}

// Leases of what is gone from the engine are given back.
func TestLeasesOfNothing(t *testing.T) {
	inBubble(t, func(b *bed) {
		l := &keptLeases{start: time.Now(), held: map[runtime.ExecutionID]time.Duration{{Request: "gone", Attempt: 1}: time.Hour}}
		b.cfg.Renew, b.cfg.Leases = new(granter).renew, l
		b.run()
		if held := l.Held(); len(held) != 0 {
			t.Errorf("held: %v", held)
		}
	})
}
