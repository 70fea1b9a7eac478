// Package mdns finds the devices of a mesh on the local network, and lets
// itself be found.
//
// Each device announces a DNS-SD service _hearth._udp.local under a random
// instance name, as libp2p's mDNS does: one TXT string
//
//	dnsaddr=/ip4/192.168.1.7/tcp/4100/p2p/12D3KooW…
//
// for each address, at most netif.MaxAddrs. Two strings are Hearth's own:
//
//	v=1
//	mesh=<fingerprint>
//
// The fingerprint tells meshes apart before anything is dialled. It is public,
// and no proof of anything: whoever is found still has to prove its membership.
//
// # Decisions
//
// The wire is our own (conn.go, wire.go), on the packages that libp2p's zeroconf
// library is made of. That library hides which address a packet came from, so that
// a stranger's address would be what the stranger claims; it keeps all that it
// hears, freezes interfaces at its start, and asks ever more rarely.
//
// A device announces itself and asks, and does both once more a second later, at
// its start and when its addresses change; everybody answers to everybody. Thus
// a newcomer knows all and is known to all within milliseconds. From then on a
// device with company announces itself about once a minute, by which what was lost
// is made good: if all asked as often, too, a mesh of n would send n² answers a
// minute. Where there is no network it waits for one. Either IP family will do.
//
// A device that is connected to nobody goes on asking, after 1, 2 and then each 4 s.
// No event tells when multicast begins to pass: a switch port that forwards, a
// wireless network that has associated. A mesh of n forms when the first of those
// that are alone asks, so within 4 s and a join of that moment. RFC 6762, section
// 5.2, has questions become ever rarer, and has all programs that watch a service
// in mind; here ask only those that are alone, by two packets of 0.4 KB together.
// A device that hears others of its mesh and still cannot connect asks as the RFC
// wants it, down to once a minute: everybody answers it, and asking is no help.
//
// Anybody on the network can say anything. Packets that don't mention the service
// are not decoded; of the others so many a second of one address, and in all.
// Packets from outside of an interface's own networks count for nothing. An
// announcement is believed only for the address it was sent from: nobody can
// make a mesh dial a third party, nor invent more devices than one address may
// have. What is remembered, answered and reported is bounded (conn.go, run.go, table.go).
// So a router that repeats multicast from another network makes nothing known:
// devices there are named with --peer.
package mdns

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
)

// Config says what is announced and who is told of what was heard. All fields
// but Interfaces are required.
type Config struct {
	// Peer is this device. Its own announcements are not reported; those of another
	// device under its ID are.
	Peer peer.ID
	// Fingerprint of the mesh: 4 to 64 characters of a-z and 0-9.
	Fingerprint string
	// Interfaces to speak on; empty for all real ones, see netif.List.
	Interfaces []string
	// Addrs are the addresses this device listens on, without /p2p, those of a
	// wildcard resolved and up to date. Called from Run's goroutine.
	Addrs func() []ma.Multiaddr
	// Alone reports whether this device is connected to no other. Called from Run's
	// goroutine.
	Alone func() bool
	// Found is told of a device of the same mesh: when it is new, when its
	// addresses changed, and again about each minute while it is heard. Called
	// from Run's goroutine, at most maxFoundPerSecond times a second; it must not
	// block.
	Found func(peer.AddrInfo)
	// Stranger is told of a device of another mesh: an IP address, and a
	// fingerprint that is safe to print. Called from Run's goroutine, once in a
	// while for each; it must not block.
	Stranger func(addr, fingerprint string)
	Log      *slog.Logger
}

// A Service is this device's part in mDNS.
type Service struct {
	cfg     Config
	period  time.Duration // the constant, but in tests
	network network       // machine, but in tests
	notify  chan struct{} // has one place: company may have been lost

	mu       sync.Mutex // owns what follows
	status   Status
	lastSeen time.Time // when somebody else was last heard
	own      string    // the instance name announced now
}

// Status is what a Service is doing.
type Status struct {
	// Interfaces that are spoken on.
	Interfaces []string
	// Announced are the addresses told to others, without /p2p.
	Announced []string
	// LastSeen is for how long nobody else was heard, to about a minute.
	// It means nothing unless Seen.
	LastSeen time.Duration
	Seen     bool
	// Err says why nothing is announced or heard; empty when all is well.
	Err string
}

// New makes a Service; Run starts it.
func New(cfg Config) *Service {
	return &Service{cfg: cfg, period: period, network: machine{}, notify: make(chan struct{}, 1)}
}

// CheckAlone says that Alone may have become true, so that the device asks at once. It
// never blocks.
func (s *Service) CheckAlone() {
	select {
	case s.notify <- struct{}{}:
	default: // one is waiting already and will do
	}
}

// Run announces and listens until ctx ends, and then says goodbye. Lacking or
// failing networks don't end it: it waits for them. It returns nil. It must be
// called once only.
func (s *Service) Run(ctx context.Context) error {
	r := newRunner(s)
	r.loop(ctx)
	return nil
}

// Status may be called at any time, by any goroutine.
func (s *Service) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.status
	if !s.lastSeen.IsZero() {
		st.Seen, st.LastSeen = true, time.Since(s.lastSeen)
	}
	return st
}

// set changes what Status says.
func (s *Service) set(change func(*Status)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.status)
}
