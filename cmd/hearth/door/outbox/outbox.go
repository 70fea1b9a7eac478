package outbox

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/hearth-edge/hearth/protocol"
)

// Config is what an Outbox stands on.
type Config struct {
	App     protocol.App
	Targets []*Target
	// Mesh is the fingerprint of the mesh, Name the device's.
	Mesh, Name string
	Log        *slog.Logger
}

// An Outbox sends events to its targets.
type Outbox struct {
	cfg     Config
	senders []*sender
	feed    *feed
}

// New returns an outbox that has sent nothing.
func New(cfg Config) *Outbox {
	o := &Outbox{cfg: cfg, feed: newFeed(cfg.Mesh)}
	for _, t := range cfg.Targets {
		s := &sender{target: t, queue: newQueue(), log: cfg.Log, backoff: minBackoff}
		if t.broker() {
			s.sink = newBroker(t, will(cfg.Mesh, cfg.Name))
		} else {
			s.sink = newWebhook(t)
		}
		o.senders = append(o.senders, s)
	}
	return o
}

// Run sends until ctx ends. What is queued then is dropped.
func (o *Outbox) Run(ctx context.Context) error {
	if len(o.senders) == 0 {
		return nil
	}
	g, ctx := errgroup.WithContext(ctx)
	for _, s := range o.senders {
		g.Go(func() error { s.run(ctx); return nil })
	}
	put := func(m message) {
		for _, s := range o.senders {
			if s.target.broker() || !discovery(m.topic) {
				s.queue.put(m)
			}
		}
	}
	g.Go(func() error {
		o.again(ctx, func() error {
			return o.cfg.App.Watch(ctx, func() {}, func(e protocol.Event) error { o.feed.event(&e, put); return nil })
		})
		return nil
	})
	g.Go(func() error {
		o.again(ctx, func() error {
			return o.cfg.App.Devices(ctx, true, func(ds []protocol.Device) error { o.feed.devices(ds, put); return nil })
		})
		return nil
	})
	return g.Wait()
}

// again does what ends with ctx alone, and does it anew where it failed.
func (o *Outbox) again(ctx context.Context, watch func() error) {
	for {
		err := watch()
		if ctx.Err() != nil {
			return
		}
		o.cfg.Log.Warn("events cannot be watched; some are missed", "err", err)
		select {
		case <-time.After(minBackoff):
		case <-ctx.Done():
			return
		}
	}
}

// Checks tell of targets that cannot be reached, and of what was dropped.
func (o *Outbox) Checks() (checks []protocol.Check) {
	for _, s := range o.senders {
		s.queue.mu.Lock()
		waiting, dropped, failure := len(s.queue.list), s.queue.dropped, s.queue.failure
		s.queue.mu.Unlock()
		check := protocol.Check{Name: "events", Finding: fmt.Sprintf("events go to %s", s.target)}
		if failure != "" {
			check.Level, check.Finding = protocol.LevelWarning, fmt.Sprintf("%s takes no events: %s; %d wait", s.target, failure, waiting)
			check.Advice = "see that it runs and can be reached from here, and that --events-to has its address and its secret"
		}
		if dropped > 0 {
			check.Level = protocol.LevelWarning
			check.Finding += fmt.Sprintf("; %d were dropped since the start", dropped)
		}
		checks = append(checks, check)
	}
	return checks
}

// sink is one way to send. Its methods are used by one goroutine.
type sink interface {
	// open makes sure that there is a connection; fresh says that it is a new one.
	open(ctx context.Context) (fresh bool, err error)
	send(ctx context.Context, m message) error
	// lost is closed when the connection of open broke; nil where there is none.
	lost() <-chan struct{}
	// tries is how often one message is sent before it is dropped; 0 is for ever.
	tries() int
	close()
}

// sender brings what is queued to a target.
type sender struct {
	target  *Target
	queue   *queue
	sink    sink
	log     *slog.Logger
	backoff time.Duration // minBackoff, but in tests
}

func (s *sender) run(ctx context.Context) {
	defer s.sink.close()
	failures := 0
	for ctx.Err() == nil {
		err := s.step(ctx)
		if err == nil {
			if failures > 0 {
				s.log.Info("events are taken again", "target", s.target.String())
			}
			failures = 0
			s.queue.failed("")
			select {
			case <-s.queue.notify:
			case <-s.sink.lost():
			case <-ctx.Done():
			}
			continue
		}
		if ctx.Err() != nil {
			return
		}
		if failures++; failures == 1 {
			s.log.Warn("events are not taken; they wait", "target", s.target.String(), "err", err)
		}
		s.queue.failed(err.Error())
		if most := s.sink.tries(); most > 0 && failures%most == 0 {
			if _, ok := s.queue.take(); ok {
				s.queue.drop()
			}
		}
		select {
		case <-time.After(min(s.backoff<<min(failures-1, 6), maxBackoff)):
		case <-ctx.Done():
		}
	}
}

// step sends all that is queued.
func (s *sender) step(ctx context.Context) error {
	fresh, err := s.sink.open(ctx)
	if err != nil {
		return err
	}
	if fresh {
		s.queue.restore()
	}
	for {
		m, ok := s.queue.take()
		if !ok {
			return nil
		}
		if err := s.sink.send(ctx, m); err != nil {
			s.queue.back(m)
			return err
		}
	}
}
