package p2p

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	libp2pproto "github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/hearth-edge/hearth/p2p/mdns"
	"github.com/hearth-edge/hearth/p2p/netif"
	"github.com/hearth-edge/hearth/protocol"
)

// ErrNotConnected is returned by Open for a device that is not a connected
// member, and by Open and Publish while Run does not run.
var ErrNotConnected = errors.New("not connected")

// A Mesh is this device's membership in its mesh. Its methods may be called
// concurrently.
type Mesh struct {
	cfg         Config
	id          peer.ID
	configured  []configuredPeer
	diagnostics *diagnostics
	announced   *announcedAddrs
	names       *names
	small       *smallPaths
	members     *members
	limiters    peerLimiters
	ready       chan struct{}

	mu       sync.Mutex // owns handlers
	handlers map[string]func(context.Context, protocol.PeerID, protocol.Stream)

	live atomic.Pointer[live] // nil while Run does not run
}

// live is what exists while Run runs.
type live struct {
	host      host.Host
	sw        *swarm.Swarm
	preauth   *preauthLimiter
	gossip    *gossip
	detector  *detector
	connector *connector
	mdns      *mdns.Service // nil without discovery
	handlers  handlerGroup  // end with the host
}

// New checks the configuration. It opens nothing and starts nothing.
func New(cfg Config) (*Mesh, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	cfg.muxID = cmp.Or(cfg.muxID, muxID)
	id, err := peer.IDFromPrivateKey(cfg.Key)
	if err != nil {
		return nil, fmt.Errorf("identity: %w", err)
	}
	names := newNames(pin{Name: cfg.Name, ID: id}, cfg.ProtectedNames, cfg.Log)
	m := &Mesh{
		names: names, limiters: newPeerLimiters(), cfg: cfg, id: id, members: newMembers(id), ready: make(chan struct{}),
		diagnostics: newDiagnostics(cfg.Secret.Fingerprint(), cfg.Log),
		announced:   &announcedAddrs{interfaces: cfg.Interfaces},
		small:       &smallPaths{log: cfg.Log},
		handlers:    make(map[string]func(context.Context, protocol.PeerID, protocol.Stream)),
	}
	m.members.names = names
	for _, a := range cfg.Peers {
		n, err := parsePeer(a)
		if err != nil {
			return nil, err
		}
		m.configured = append(m.configured, n)
	}
	return m, nil
}

// ID returns the device's ID.
func (m *Mesh) ID() protocol.PeerID { return peerID(m.id) }

// Ready is closed when the device listens.
func (m *Mesh) Ready() <-chan struct{} { return m.ready }

// Addresses returns the multiaddrs that other devices can dial, with the ID at
// their end; at most a dozen, none before Ready. They change with the network.
func (m *Mesh) Addresses() []string {
	var out []string
	for _, a := range m.announced.get() {
		out = append(out, a.String()+"/p2p/"+m.id.String())
	}
	return out
}

// Handle serves a protocol: h is called for each stream that a member opens,
// in a goroutine of its own, and must return soon after ctx ends. The stream
// is h's to close. Handle must be called before Run.
func (m *Mesh) Handle(proto string, h func(ctx context.Context, from protocol.PeerID, s protocol.Stream)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.handlers[proto] = h
}

// Open opens a stream to a connected member; it never dials. ctx bounds the
// opening only. The stream is the caller's to close.
func (m *Mesh) Open(ctx context.Context, to protocol.PeerID, proto string) (protocol.Stream, error) {
	l := m.live.Load()
	id, err := peer.Decode(string(to))
	if err != nil {
		return nil, fmt.Errorf("open stream: %w", err)
	}
	if l == nil || !m.members.reachable(id) {
		return nil, fmt.Errorf("open stream to %s: %w", to, ErrNotConnected)
	}
	s, err := l.host.NewStream(ctx, id, libp2pproto.ID(proto))
	if err != nil {
		return nil, fmt.Errorf("open stream to %s: %w", to, err)
	}
	return s, nil
}

// Publish gossips this device's status; it sets Node, Name and Sequence. A
// status that is out of bounds is an error and not sent.
func (m *Mesh) Publish(s protocol.Status) error {
	l := m.live.Load()
	if l == nil {
		return fmt.Errorf("publish score: %w", ErrNotConnected)
	}
	s.Node, s.Name = m.ID(), m.cfg.Name
	if err := l.gossip.publish(context.Background(), s); err != nil {
		return fmt.Errorf("publish score: %w", err)
	}
	return nil
}

// Tick returns the time until this device wakes up anyway, within half a second
// of about. Work that is not urgent is cheapest then.
func (m *Mesh) Tick(about time.Duration) time.Duration {
	if l := m.live.Load(); l != nil {
		return l.detector.nextTick(about)
	}
	return about
}

// Size returns how many devices the mesh has, this one included.
func (m *Mesh) Size() int { return m.members.count() + 1 }

// Peers returns the connected members, by name.
func (m *Mesh) Peers() []Peer { return m.members.list() }

// Strangers returns the devices of other meshes that were seen.
func (m *Mesh) Strangers() []Stranger { return m.diagnostics.seenStrangers() }

// OtherVersions returns the members that were met and cannot be connected to, since they
// are of another version of hearth.
func (m *Mesh) OtherVersions() []Peer {
	return slices.DeleteFunc(m.diagnostics.otherVersions(), func(p Peer) bool {
		id, err := peer.Decode(string(p.ID))
		return err != nil || m.members.has(id)
	})
}

// Stats counts what was turned away since Run began.
func (m *Mesh) Stats() Stats {
	l := m.live.Load()
	if l == nil {
		return Stats{}
	}
	return Stats{Statuses: l.gossip.dropped(), Evicted: l.preauth.evictions(), Strangers: m.diagnostics.rejectedCount()}
}

// Discovery says how discovery on the local network is doing.
func (m *Mesh) Discovery() DiscoveryStatus {
	l := m.live.Load()
	if l == nil || l.mdns == nil {
		return DiscoveryStatus{Enabled: m.cfg.Discovery}
	}
	s := l.mdns.Status()
	d := DiscoveryStatus{Enabled: true, Interfaces: s.Interfaces}
	if s.Seen {
		d.LastSeen = time.Now().Add(-s.LastSeen)
	}
	if s.Err != "" {
		d.Err = errors.New(s.Err)
	}
	return d
}

// MulticastBlocked returns the interfaces on which a multicast of this device's own does not
// come back to it, as where a firewall on it blocks them; it takes half a second
// for each. It is for when a person asks.
func (m *Mesh) MulticastBlocked(ctx context.Context) []string {
	l := m.live.Load()
	if l == nil || l.mdns == nil {
		return nil
	}
	var deaf []string
	for _, e := range l.mdns.Selftest(ctx) {
		if e.Err != nil {
			deaf = append(deaf, e.Interface)
		}
	}
	return deaf
}

// Run takes part in the mesh until ctx ends: it listens, connects, gossips and
// serves. It says goodbye before it returns, and returns nil where only ctx
// ended it. It must be called once.
func (m *Mesh) Run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	r := newPeerBook(m.cfg.StateDir, m.id, m.cfg.Log)
	r.connected = m.members.has
	m.names.load(m.cfg.StateDir)
	l, err := m.assemble(ctx, r)
	if err != nil {
		return err
	}
	m.live.Store(l)
	err = listen(&m.cfg, l.sw)
	if err == nil {
		_, err = m.announced.refresh(l.sw.ListenAddresses())
	}
	if err == nil {
		close(m.ready)
		err = m.runParts(ctx, stop, l, r)
	}
	stop()
	m.live.Store(nil)
	err = errors.Join(err, l.host.Close())
	l.handlers.wait()
	return err
}

// assemble makes all parts and connects them; nothing is dialled or listened
// to yet.
func (m *Mesh) assemble(ctx context.Context, r *peerBook) (*live, error) {
	secure, err := newMembership(&m.cfg, m.id, r, m.names, m.diagnostics)
	if err != nil {
		return nil, err
	}
	preauth := &preauthLimiter{}
	detector := &detector{members: m.members, names: m.names, diagnostics: m.diagnostics, small: m.small, workProtocols: m.protocols(), log: m.cfg.Log}
	h, err := newHost(&m.cfg, m.id, secure, preauth, &startExchange{
		start: rand.Uint64(), admit: detector.admitStart, onRefused: func(addr string) { m.diagnostics.noteRefused(m.id, addr) },
	}, m.small)
	if err != nil {
		return nil, fmt.Errorf("start the network host: %w", err)
	}
	l := &live{host: h, sw: h.Swarm, preauth: preauth}
	l.connector = newConnector(m.id, l.sw, secure, r, m.members, m.cfg.Log)
	l.gossip = &gossip{
		self: m.id, members: m.members, onAddresses: m.addressHandler(l, r), log: m.cfg.Log,
		drops: make(map[string]uint64), counter: nextBoot(m.cfg.StateDir, m.cfg.Log)<<32 | 1,
	}
	if err := l.gossip.join(ctx, h, m.cfg.Secret.Topic()); err != nil {
		return nil, errors.Join(fmt.Errorf("start gossip: %w", err), h.Close())
	}
	// Pings go out with the heartbeat of pubsub.
	detector.epoch, detector.gossip = time.Now().Add(pubsub.GossipSubHeartbeatInitialDelay-pingInterval), l.gossip
	l.detector, l.gossip.detector = detector, detector
	m.serve(ctx, l)
	if m.cfg.OnRTT != nil {
		m.members.onRTT = m.cfg.OnRTT
	}
	m.members.onOpen = func(c network.Conn) {
		detector.watch(c)
		if c.Stat().Direction == network.DirOutbound {
			r.addAddresses(c.RemotePeer(), []ma.Multiaddr{c.RemoteMultiaddr()})
		}
	}
	m.members.onClose = func(c network.Conn) {
		detector.unwatch(c)
		m.names.touchPin(certifiedName(c), c.RemotePeer())
		if !m.members.has(c.RemotePeer()) {
			secure.tieBreaker.free(c.RemotePeer())
			l.connector.onDisconnect(c.RemotePeer())
		}
	}
	l.sw.Notify(m.members)
	if m.cfg.Discovery {
		l.mdns = mdns.New(mdns.Config{
			Peer: m.id, Fingerprint: string(m.cfg.Secret.Fingerprint()), Interfaces: m.cfg.Interfaces, Log: m.cfg.Log,
			Addrs:    m.announced.get,
			Alone:    func() bool { return m.members.count() == 0 },
			Found:    func(p peer.AddrInfo) { l.connector.addHint(hint{id: p.ID, addrs: p.Addrs, fresh: true}) },
			Stranger: func(addr, fingerprint string) { m.diagnostics.noteStranger(addr, fingerprint, nil) },
		})
	}
	return l, nil
}

// addressHandler takes the addresses in statuses: they are kept for members that are
// connected, and dialled for others.
func (m *Mesh) addressHandler(l *live, r *peerBook) func(peer.ID, []string) {
	return func(id peer.ID, text []string) {
		addrs := parseAddrs(text)
		r.addAddresses(id, addrs)
		if !m.members.has(id) {
			l.connector.addHint(hint{id: id, addrs: addrs})
		}
	}
}

// runParts runs everything that has a goroutine of its own until ctx ends or
// one of them fails.
func (m *Mesh) runParts(ctx context.Context, stop context.CancelFunc, l *live, r *peerBook) error {
	var wg sync.WaitGroup
	errs := make(chan error, 2)
	part := func(f func() error) {
		wg.Go(func() {
			if err := f(); err != nil && ctx.Err() == nil {
				errs <- err
				stop()
			}
		})
	}
	onStatus, onPeer := m.cfg.OnStatus, m.cfg.OnPeer
	if onStatus == nil {
		onStatus = func(protocol.Status) {}
	}
	if onPeer == nil {
		onPeer = func(Peer, bool, Departure) {}
	}
	wg.Go(func() { r.file.run(ctx) })
	wg.Go(func() { m.names.file.run(ctx) })
	wg.Go(func() { l.detector.repeatForgotten(ctx) })
	wg.Go(func() {
		m.members.run(ctx, func(p Peer, joined bool, how Departure) {
			onPeer(p, joined, how)
			if l.mdns != nil && m.members.count() == 0 {
				l.mdns.CheckAlone()
			}
		})
	})
	wg.Go(func() { l.gossip.maintainNeighbours(ctx) })
	wg.Go(func() { l.detector.run(ctx) })
	wg.Go(func() { l.connector.run(ctx, slices.Clone(m.configured)) })
	wg.Go(func() { m.watchNetwork(ctx, l) })
	wg.Go(func() { l.gossip.run(ctx, onStatus) })
	if l.mdns != nil {
		part(func() error { return l.mdns.Run(ctx) })
	}
	wg.Wait()
	close(errs)
	var err error
	for e := range errs {
		err = errors.Join(err, e)
	}
	return err
}

// watchNetwork keeps the announced addresses true until ctx ends.
func (m *Mesh) watchNetwork(ctx context.Context, l *live) {
	refresh := func() {
		changed, err := m.announced.refresh(l.sw.ListenAddresses())
		if err != nil {
			m.cfg.Log.Warn("the network interfaces could not be read", "err", err)
		}
		if changed {
			m.cfg.Log.Info("this device's addresses changed", "addresses", m.announced.get())
			notify(l.connector.notifyAddresses)
		}
	}
	for {
		err := netif.Watch(ctx, refresh)
		if ctx.Err() != nil {
			return
		}
		m.cfg.Log.Warn("changes of the network were missed; watching again", "err", err)
		select {
		case <-time.After(time.Second):
			refresh()
		case <-ctx.Done():
			return
		}
	}
}
