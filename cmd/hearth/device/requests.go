package device

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
	// askTimeout is how long another device may take to answer what every device
	// is asked; one that takes longer is left out.
	askTimeout = 2 * time.Second
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
	// id and name are this device's.
	id   protocol.PeerID
	name string
	// peers lists the devices connected; changed tells when that may differ.
	peers   func() []p2p.Peer
	changed func() <-chan struct{}
	// at is the way to the requests of another device.
	at  func(protocol.PeerID) protocol.Requests
	log *slog.Logger
}

func (d *Device) meshRequests() *meshRequests {
	return &meshRequests{
		own: d.orch, id: d.id, name: d.cfg.Name, peers: d.mesh.Peers, changed: d.view.Changed, at: d.requestsAt, log: d.log,
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

// Remove implements protocol.Requests.
func (m *meshRequests) Remove(ctx context.Context, r protocol.Remove) error {
	found, err := m.find(ctx, r.Request)
	if err != nil {
		return err
	}
	r.Request = found.detail.ID
	return found.at.Remove(ctx, r)
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
	silent = m.askAll(ctx, m.peers(), func(ctx context.Context, p p2p.Peer) error {
		count := 0
		_, err := m.at(p.ID).List(ctx, all, func(r protocol.RequestInfo) error {
			if count++; count > maxListed {
				return fmt.Errorf("it lists more than %d requests", maxListed)
			}
			if r.Orchestrator == p.ID {
				r.OrchestratorName = p.Name // as it is called here
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

// askAll asks all the devices at the same time and returns when each has
// answered or used up its time: so it takes as long with a hundred devices as
// with one. It returns the names of those that did not answer.
func (m *meshRequests) askAll(ctx context.Context, peers []p2p.Peer, ask func(context.Context, p2p.Peer) error) (silent []string) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	var mu sync.Mutex // guards silent
	var asked sync.WaitGroup
	for _, p := range peers {
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
	name   string // of the device
}

// find finds the request that ref names: an ID or the beginning of one, and the
// device where one is named. The whole ID of one of this device's own is found
// without asking anyone, so that no other device can make it ambiguous; else a
// whole ID goes before a beginning, wherever it is.
func (m *meshRequests) find(ctx context.Context, ref protocol.RequestID) (located, error) {
	id, device, err := protocol.ParseRequestRef(string(ref))
	if err != nil {
		return located{}, err
	}
	s := search{id: id}
	here := device == "" || device == m.name || device == string(m.id)
	if here {
		detail, err := m.own.Inspect(ctx, id)
		if err == nil && detail.ID == id {
			return located{detail, m.own, m.name}, nil
		}
		if err := s.add(located{detail, m.own, m.name}, err); err != nil {
			return located{}, err
		}
	}
	peers := m.peers()
	if device != "" {
		peers = slices.DeleteFunc(slices.Clone(peers), func(p p2p.Peer) bool { return p.Name != device && string(p.ID) != device })
		if len(peers) == 0 && !here {
			return located{}, protocol.Errorf(protocol.CodeNotFound, "no device %q is connected; see 'hearth nodes'", device)
		}
	}
	silent := m.askAll(ctx, peers, func(ctx context.Context, p p2p.Peer) error {
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
	named, _ := l.detail.NamedBy(s.id)
	switch e, _ := err.(*protocol.Error); { //nolint:errorlint // told, not wrapped
	case err == nil && named:
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
	meant := s.meant()
	exact := len(meant) > 0 && meant[0].detail.ID == s.id
	switch {
	case exact && len(meant) == 1:
		return meant[0], nil
	case exact:
		return located{}, protocol.Errorf(protocol.CodeInvalid, "several devices have a request %s: name %s", s.id, places(meant, " or "))
	case len(meant) > 1 && meant[0].detail.Tags[protocol.TagName] == string(s.id):
		return located{}, protocol.Errorf(protocol.CodeInvalid, "several requests are named %s: %s; give an ID", s.id, places(meant, ", "))
	case len(meant) > 1:
		return located{}, protocol.Errorf(protocol.CodeInvalid, "several requests begin with %s: %s; give more of the ID", s.id, places(meant, ", "))
	case s.ambiguous != nil:
		return located{}, s.ambiguous
	case len(meant) == 1:
		return meant[0], nil
	case len(silent) > 0:
		return located{}, protocol.Errorf(protocol.CodeNotFound, "no request %s is known here; %s did not answer", s.id, strings.Join(silent, ", "))
	}
	return located{}, protocol.Errorf(protocol.CodeNotFound, "no request %s is known in the mesh", s.id)
}

// meant returns those found that the text means; it is called with mu held.
func (s *search) meant() []located {
	infos := make([]protocol.RequestInfo, 0, len(s.found))
	for _, l := range s.found {
		infos = append(infos, l.detail.RequestInfo)
	}
	meant := protocol.Meant(s.id, infos)
	return slices.DeleteFunc(slices.Clone(s.found), func(l located) bool {
		return !slices.ContainsFunc(meant, func(i protocol.RequestInfo) bool {
			return i.ID == l.detail.ID && i.Orchestrator == l.detail.Orchestrator
		})
	})
}

// places names what was found, so that verbs take it.
func places(found []located, between string) string {
	var texts []string
	for _, l := range found {
		texts = append(texts, fmt.Sprintf("%s@%s", l.detail.ID, l.name))
	}
	slices.Sort(texts)
	return strings.Join(texts, between)
}
