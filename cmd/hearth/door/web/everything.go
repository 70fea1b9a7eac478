package web

import (
	"context"
	"net/http"
	"sync"

	"github.com/hearth-edge/hearth/protocol"
)

// requestLine is a piece of output, and whose it is.
type requestLine struct {
	outputLine
	Request protocol.RequestID `json:"request"`
	Name    string             `json:"name"` // what its asker calls it, or its ID
}

// everything answers with what all requests write that run, on whichever device, from
// now on. Of those that wrote before, the end of it comes first.
func (a *handler) everything(w http.ResponseWriter, r *http.Request) error {
	s, free, err := a.lines(w, streamTimeout) // one slow reader would hold all containers up
	if err != nil {
		return err
	}
	defer free()
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	m := &merged{app: a.app, stream: s, follows: make(map[protocol.RequestID]bool)}
	err = a.app.Watch(ctx, func() { m.begin(ctx) }, func(e protocol.Event) error {
		if e.State == protocol.StateRunning {
			m.follow(ctx, e.Request, "")
		}
		return m.failure()
	})
	cancel()
	m.sessions.Wait() // they write to the same stream
	return s.end(bare(ctx, err))
}

// merged is the output of many requests as one stream. Each has a goroutine, which
// ends with the request or with ctx.
type merged struct {
	app      protocol.App
	sessions sync.WaitGroup

	mu      sync.Mutex // guards what follows
	stream  *stream
	follows map[protocol.RequestID]bool
	err     error // why the client hears no more
}

func (m *merged) failure() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.err
}

// begin follows what runs already.
func (m *merged) begin(ctx context.Context) {
	m.mu.Lock()
	m.stream.begin()
	m.mu.Unlock()
	_, err := m.app.List(ctx, false, func(i protocol.RequestInfo) error {
		if i.Last.State == protocol.StateRunning {
			m.follow(ctx, i.ID, i.Tags[protocol.TagName])
		}
		return nil
	})
	if err != nil {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.err = err
	}
}

// follow shows a request's output until it ends; beyond maxFollowed it does not.
func (m *merged) follow(ctx context.Context, id protocol.RequestID, name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.follows[id] || len(m.follows) >= maxFollowed {
		return
	}
	m.follows[id] = true
	m.sessions.Go(func() {
		defer func() {
			m.mu.Lock()
			defer m.mu.Unlock()
			delete(m.follows, id)
		}()
		if name == "" {
			name = m.nameOf(ctx, id)
		}
		session, err := m.app.Attach(ctx, protocol.Attach{Request: id, Since: recent})
		if err != nil {
			return // it is gone again
		}
		defer session.Close()
		defer context.AfterFunc(ctx, func() { _ = session.Close() })()
		lines := &outputLines{channels: [protocol.Stderr + 1]bool{protocol.Stdout: true, protocol.Stderr: true}}
		lines.send = func(v any) error {
			line, ok := v.(outputLine)
			if !ok {
				return nil // its end is told by the events
			}
			m.mu.Lock()
			defer m.mu.Unlock()
			if m.err == nil {
				m.err = m.stream.send(requestLine{line, id, name})
			}
			return m.err
		}
		_ = each(session, lines.update) // what broke off is one request's
	})
}

// nameOf asks what a request is called.
func (m *merged) nameOf(ctx context.Context, id protocol.RequestID) string {
	if d, err := m.app.Inspect(ctx, id); err == nil && d.Tags[protocol.TagName] != "" {
		return d.Tags[protocol.TagName]
	}
	return string(id)
}
