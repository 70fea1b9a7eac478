package stack

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime"
)

// LogQuery says which lines of a stack are meant.
type LogQuery struct {
	Services []string      // none names all
	Since    time.Duration // ago; 0 is all
	Tail     int           // of each service; 0 is all
	// Follow goes on with what is written, over restarts of the instances.
	Follow bool
}

// Logs yields lines of the services, in the order of their times as far as they
// were written before, then as they come. CodeNotFound as for Restart.
func (k *Keeper) Logs(ctx context.Context, name protocol.StackName, q LogQuery, yield func(protocol.LogLine) error) error {
	k.mu.Lock()
	h, err := k.chosen(name, q.Services)
	var services []string
	if err == nil {
		services = q.Services
		if len(services) == 0 {
			for i := range h.record.Stack.Services {
				services = append(services, h.record.Stack.Services[i].Name)
			}
		}
	}
	k.mu.Unlock()
	if err != nil {
		return err
	}
	from := make(map[string]mark)
	if err := k.written(ctx, name, services, q, from, yield); err != nil || !q.Follow {
		return err
	}
	return k.followLogs(ctx, name, services, from, yield)
}

// mark is how far the log of a service was read.
type mark struct {
	container string
	ended     time.Time // when it had ended, if all of that was read
	at        time.Time // of the last line
}

// containerOf returns the container of a service.
func (k *Keeper) containerOf(name protocol.StackName, service string) (c Container, there bool, news chan struct{}) {
	k.mu.Lock()
	defer k.mu.Unlock()
	h := k.stacks[name]
	if h == nil {
		return Container{}, false, k.news
	}
	return h.instance(service).Container, true, k.news
}

// stream is the log of one service, read one line ahead.
type stream struct {
	service string
	lines   chan protocol.LogLine
	head    protocol.LogLine
}

// lineBuffer is how many lines of each service wait to be merged.
const lineBuffer = 64

// written yields what was written so far, the oldest line of all first.
func (k *Keeper) written(ctx context.Context, name protocol.StackName, services []string, q LogQuery, from map[string]mark, yield func(protocol.LogLine) error) error {
	o := LogOptions{Tail: q.Tail}
	if q.Since > 0 {
		o.Since = time.Now().Add(-q.Since)
	}
	group, ctx := errgroup.WithContext(ctx)
	var streams []*stream
	for _, service := range services {
		c, _, _ := k.containerOf(name, service)
		if c.State == Absent {
			continue
		}
		m := mark{container: c.ID, at: o.Since}
		if c.State == Exited {
			m.ended = c.Finished
		}
		from[service] = m
		s := &stream{service: service, lines: make(chan protocol.LogLine, lineBuffer)}
		streams = append(streams, s)
		group.Go(func() error {
			defer close(s.lines)
			return k.readLog(ctx, c.ID, service, o, func(l protocol.LogLine) error {
				select {
				case s.lines <- l:
					return nil
				case <-ctx.Done():
					return ctx.Err()
				}
			})
		})
	}
	group.Go(func() error { return merge(streams, from, yield) })
	return group.Wait()
}

// merge yields the lines of all streams by their times.
func merge(streams []*stream, from map[string]mark, yield func(protocol.LogLine) error) error {
	var open []*stream
	advance := func(s *stream) bool {
		line, ok := <-s.lines
		s.head = line
		return ok
	}
	for _, s := range streams {
		if advance(s) {
			open = append(open, s)
		}
	}
	for len(open) > 0 {
		first := 0
		for i := range open {
			if open[i].head.At.Before(open[first].head.At) {
				first = i
			}
		}
		s := open[first]
		m := from[s.service]
		m.at = s.head.At
		from[s.service] = m
		if err := yield(s.head); err != nil {
			return err
		}
		if !advance(s) {
			open = append(open[:first], open[first+1:]...)
		}
	}
	return nil
}

// readLog reads a container's log. One that is gone has none.
func (k *Keeper) readLog(ctx context.Context, id, service string, o LogOptions, yield func(protocol.LogLine) error) error {
	err := k.cfg.Engine.Logs(ctx, id, o, func(l protocol.LogLine) error {
		l.Service = service
		return yield(l)
	})
	if errors.Is(err, runtime.ErrNotFound) {
		return nil
	}
	return err
}

// followLogs yields what is written from the marks on, until ctx ends, yield fails
// or the stack is removed.
func (k *Keeper) followLogs(ctx context.Context, name protocol.StackName, services []string, from map[string]mark, yield func(protocol.LogLine) error) error {
	group, ctx := errgroup.WithContext(ctx)
	lines := make(chan protocol.LogLine)
	readers, reading := errgroup.WithContext(ctx)
	for _, service := range services {
		readers.Go(func() error { return k.followLog(reading, name, service, from[service], lines) })
	}
	group.Go(func() error { defer close(lines); return readers.Wait() })
	group.Go(func() error {
		for l := range lines {
			if err := yield(l); err != nil {
				return err
			}
		}
		return nil
	})
	return group.Wait()
}

// followLog sends the lines of one service, over all its containers.
func (k *Keeper) followLog(ctx context.Context, name protocol.StackName, service string, m mark, lines chan<- protocol.LogLine) error {
	for {
		c, there, news := k.containerOf(name, service)
		if !there {
			return nil
		}
		if c.ID != m.container {
			m = mark{container: c.ID}
		}
		// What has ended may have written more since it was read.
		if c.State == Running || c.State == Exited && !c.Finished.Equal(m.ended) {
			err := k.readLog(ctx, c.ID, service, LogOptions{Since: m.next(), Follow: c.State == Running}, func(l protocol.LogLine) error {
				m.at = l.At
				select {
				case lines <- l:
					return nil
				case <-ctx.Done():
					return ctx.Err()
				}
			})
			if err != nil && (ctx.Err() != nil || protocol.CodeOf(err) != protocol.CodeEngineDown) {
				return err
			}
			if c.State == Exited {
				m.ended = c.Finished
			}
		}
		select {
		case <-news:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// next is where to read on.
func (m mark) next() time.Time {
	if m.at.IsZero() {
		return m.at
	}
	return m.at.Add(1)
}
