// Package mdns finds the devices of a mesh on the local network.
package mdns

import (
	"context"
	"log/slog"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
)

// Config says what is announced and who is told of what was heard.
type Config struct {
	Peer        peer.ID
	Fingerprint string
	Interfaces  []string
	Addrs       func() []ma.Multiaddr
	Found       func(peer.AddrInfo)
	Stranger    func(addr, fingerprint string)
	Log         *slog.Logger
}

// Service is this device's part in mDNS.
type Service struct{ cfg Config }

// Status is what `hearth doctor` wants to know.
type Status struct {
	Interfaces []string
	Announced  []string
	Echo       bool
	Heard      bool
	LastSeen   time.Duration
	Err        string
}

// New starts nothing.
func New(cfg Config) *Service { return &Service{cfg: cfg} }

// Run blocks until ctx ends.
func (s *Service) Run(ctx context.Context) error { <-ctx.Done(); return nil }

// Status may be called at any time.
func (s *Service) Status() Status { return Status{} }
