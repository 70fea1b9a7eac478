package node

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hearth-edge/hearth/p2p"
	"github.com/hearth-edge/hearth/protocol"
)

const (
	// askWait is how long another device may take to answer what every device
	// is asked; one that takes longer is left out.
	askWait = 2 * time.Second
	// maxListed bounds what one device can add to a list.
	maxListed = 10_000
)

// meshRequests is what this device's apps can ask of requests: those of its own
// orchestrator and, asked at that moment, those of every device connected. It
// keeps nothing, so there is nothing that could be out of date; and what it
// costs is paid by those who ask, never by a run.
type meshRequests struct {
	// own are the requests of this device: all that other devices are told of.
	own protocol.Requests
	// peers lists the devices connected; changed tells when that may differ.
	peers   func() []p2p.Peer
	changed func() <-chan struct{}
	// at is the way to the requests of another device.
	at  func(protocol.NodeID) protocol.Requests
	log *slog.Logger
}

func (n *Node) meshRequests() *meshRequests {
	return &meshRequests{
		own: n.orch, peers: n.mesh.Peers, changed: n.view.Changed, at: n.requestsAt, log: n.log,
	}
}

// Attach implements protocol.Requests.
func (m *meshRequests) Attach(ctx context.Context, a protocol.Attach) (protocol.Session, error) {
	found, err := m.find(ctx, a.Request)
	if err != nil {
		return nil, err
	}
	a.Request = found.detail.ID
	return found.at.Attach(ctx, a)
}

// Stop implements protocol.Requests.
func (m *meshRequests) Stop(ctx context.Context, s protocol.Stop) error {
	found, err := m.find(ctx, s.Request)
	if err != nil {
		return err
	}
	s.Request = found.detail.ID
	return found.at.Stop(ctx, s)
}

// Inspect implements protocol.Requests.
func (m *meshRequests) Inspect(ctx context.Context, id protocol.RequestID) (protocol.RequestDetail, error) {
	found, err := m.find(ctx, id)
	return found.detail, err
}

// List implements protocol.Requests.
func (m *meshRequests) List(ctx context.Context, all bool, yield func(protocol.RequestInfo) error) (silent []string, err error) {
	var list []protocol.RequestInfo
	_, err = m.own.List(ctx, all, func(r protocol.RequestInfo) error {
		list = append(list, r)
		return nil
	})
	if err != nil {
		return nil, err
	}
	var mu sync.Mutex // guards list
	silent = m.askAll(ctx, func(ctx context.Context, p p2p.Peer) error {
		count := 0
		_, err := m.at(p.ID).List(ctx, all, func(r protocol.RequestInfo) error {
			if count++; count > maxListed {
				return fmt.Errorf("it lists more than %d requests", maxListed)
			}
			mu.Lock()
			defer mu.Unlock()
			list = append(list, r)
			return nil
		})
		return err
	})
	// Times of several clocks: good enough for people, and nothing depends on it.
	slices.SortStableFunc(list, func(a, b protocol.RequestInfo) int {
		if c := b.Accepted.Compare(a.Accepted); c != 0 {
			return c
		}
		return strings.Compare(string(a.ID), string(b.ID))
	})
	for _, r := range list {
		if err := yield(r); err != nil {
			return nil, err
		}
	}
	return silent, ctx.Err()
}

// askAll asks every device connected at the same time and returns when each has
// answered or used up its time: so it takes as long with a hundred devices as
// with one. It returns the names of those that did not answer.
func (m *meshRequests) askAll(ctx context.Context, ask func(context.Context, p2p.Peer) error) (silent []string) {
	ctx, cancel := context.WithTimeout(ctx, askWait)
	defer cancel()
	var mu sync.Mutex // guards silent
	var asked sync.WaitGroup
	for _, p := range m.peers() {
		asked.Go(func() {
			err := ask(ctx, p)
			if err == nil {
				return
			}
			m.log.Warn("a device did not tell its requests", "peer", p.ID, "name", p.Name, "err", err)
			mu.Lock()
			defer mu.Unlock()
			silent = append(silent, p.Name)
		})
	}
	asked.Wait()
	slices.Sort(silent)
	return silent
}

// located is a request, and whom to ask about it.
type located struct {
	detail protocol.RequestDetail
	at     protocol.Requests
	name   string // of the device; empty for this one
}

// find finds the request that id names or is the beginning of. The whole ID of
// one of this device's own is found without asking anyone; else a whole ID goes
// before a beginning, wherever it is.
func (m *meshRequests) find(ctx context.Context, id protocol.RequestID) (located, error) {
	if _, err := protocol.ParseRequestID(string(id)); err != nil {
		return located{}, err
	}
	detail, err := m.own.Inspect(ctx, id)
	if err == nil && detail.ID == id {
		return located{detail, m.own, ""}, nil
	}
	s := search{id: id}
	if err := s.add(located{detail, m.own, ""}, err); err != nil {
		return located{}, err
	}
	silent := m.askAll(ctx, func(ctx context.Context, p p2p.Peer) error {
		at := m.at(p.ID)
		detail, err := at.Inspect(ctx, id)
		return s.add(located{detail, at, p.Name}, err)
	})
	if err := ctx.Err(); err != nil {
		return located{}, err
	}
	return s.result(silent)
}

// search collects what the devices answer to one ID. Its methods may be called
// by several goroutines.
type search struct {
	id protocol.RequestID

	mu        sync.Mutex // guards the rest
	found     []located
	ambiguous error
}

// add takes an answer in; it returns what is none. Of an ID that is well formed a
// device says with CodeInvalid that it is ambiguous; what the asking itself failed
// of comes wrapped.
func (s *search) add(l located, err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch e, _ := err.(*protocol.Error); { //nolint:errorlint // told, not wrapped
	case err == nil && strings.HasPrefix(string(l.detail.ID), string(s.id)):
		s.found = append(s.found, l)
	case err == nil:
		return fmt.Errorf("it answered with another request, %s", l.detail.ID)
	case e != nil && e.Code == protocol.CodeInvalid:
		s.ambiguous = e
	case e == nil || e.Code != protocol.CodeNotFound:
		return err
	}
	return nil
}

// result decides. Those that did not answer may have had something to say.
func (s *search) result(silent []string) (located, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	exact := slices.DeleteFunc(slices.Clone(s.found), func(l located) bool { return l.detail.ID != s.id })
	switch {
	case len(exact) == 1:
		return exact[0], nil
	case len(exact) > 1:
		return located{}, protocol.Errorf(protocol.CodeInvalid, "several devices have a request %s: %s; ask on one of them", s.id, places(exact))
	case len(s.found) > 1:
		return located{}, protocol.Errorf(protocol.CodeInvalid, "several requests begin with %s: %s; give more of the ID", s.id, places(s.found))
	case s.ambiguous != nil:
		return located{}, s.ambiguous
	case len(s.found) == 1:
		return s.found[0], nil
	case len(silent) > 0:
		return located{}, protocol.Errorf(protocol.CodeNotFound, "no request %s is known here; %s did not answer", s.id, strings.Join(silent, ", "))
	}
	return located{}, protocol.Errorf(protocol.CodeNotFound, "no request %s is known in the mesh", s.id)
}

// places says which requests were found where.
func places(found []located) string {
	var texts []string
	for _, l := range found {
		texts = append(texts, fmt.Sprintf("%s (%s)", l.detail.ID, l.name))
		if l.name == "" {
			texts[len(texts)-1] = fmt.Sprintf("%s (this device)", l.detail.ID)
		}
	}
	slices.Sort(texts)
	return strings.Join(texts, ", ")
}
