package sched

import (
	"bytes"
	"slices"
	"sync"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

// secrets are those of a request, until it has ended.
type secrets struct {
	mu   sync.Mutex // guards of
	list []protocol.Secret
}

// fill returns the service with its secrets' data, for the offer and for the
// journal, which seals them.
func (s *secrets) fill(service protocol.Service) protocol.Service {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.list) > 0 {
		service.Secrets = slices.Clone(s.list)
	}
	return service
}

// complete reports whether none is missing: the journal could not read them.
func (s *secrets) complete() bool {
	service := s.fill(protocol.Service{})
	return service.SecretsComplete()
}

// same reports whether others are no different. Of a request that has ended it is
// not known any more.
func (s *secrets) same(others []protocol.Secret) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.list == nil || slices.EqualFunc(s.list, others, func(a, b protocol.Secret) bool {
		return a.Name == b.Name && bytes.Equal(a.Data, b.Data)
	})
}

// drop forgets them.
func (s *secrets) drop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = nil
}

// endWithoutSecrets ends a request that cannot be offered any more.
func (r *request) endWithoutSecrets() {
	r.dropFirstPlacement()
	if r.endAsLastAttempt() {
		return
	}
	r.node, r.name = "", ""
	r.end(protocol.StateRefused, protocol.CodeInternal,
		"its secrets cannot be read from the journal of this device any more: its seed has changed")
}

// minLinkRate is how many bytes a second a link moves at least.
const minLinkRate = 128 << 10

// answerTimeout bounds the wait for the answer to an offer with a service of so
// many bytes.
func (p *Params) answerTimeout(size int) time.Duration {
	return p.AnswerTimeout + time.Duration(size)*time.Second/minLinkRate
}
