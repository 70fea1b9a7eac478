package p2p

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"syscall"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/sec"
	"github.com/libp2p/go-libp2p/p2p/host/eventbus"
	"github.com/libp2p/go-libp2p/p2p/host/peerstore/pstoremem"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	"github.com/libp2p/go-libp2p/p2p/net/upgrader"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	"github.com/libp2p/go-libp2p/x/rate"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/hearth-edge/hearth/keys"
)

const (
	// dialTimeout bounds one attempt at one device, handshake included.
	dialTimeout = handshakeTimeout + connectTimeout
	// connectTimeout bounds TCP's part of it: a device that was away answers a new
	// attempt sooner than the third repetition of an old one.
	connectTimeout = 2 * time.Second
	// streamWindow is how much of a stream may be under way or unread. At 1 MiB
	// a stream fills a 1 Gbit/s link of 8 ms, and a reader that stalls holds no
	// more than this.
	streamWindow = 1 << 20
	// streamBacklog is how many streams of a connection may have been opened that the
	// other side has not seen yet. Each connection has room for as many.
	streamBacklog = 64
	// rttInterval is how often yamux measures a round trip, by which a stream's
	// window grows. It does so at the start of each connection; each further time wakes
	// both sides up.
	rttInterval = time.Hour
	// maxYamuxMessage is the longest message of yamux: with its frame's head one of Noise's.
	maxYamuxMessage = noise.MaxPlaintextLength - headSize
	// writeTimeout is for how long a connection may be full.
	writeTimeout = 2 * maxSilenceTimeout
	// Limits: one connection per member is kept, a second one while the two
	// sides agree on which.
	maxConns       = 1024
	maxPending     = 128 // connections whose handshake is not done
	maxPeerConns   = 4
	maxPeerStreams = 1024
	maxStreams     = 16384
	maxMemory      = 1 << 30 // windows promised to others, mostly unused
)

// newHost assembles a libp2p host from its parts; it listens nowhere yet.
func newHost(cfg *Config, id peer.ID, secure *membership, preauth *preauthLimiter, opening *startExchange, small *smallPaths) (*streams, error) {
	store, err := pstoremem.NewPeerstore()
	if err != nil {
		return nil, err
	}
	if err := errors.Join(store.AddPrivKey(id, cfg.Key), store.AddPubKey(id, cfg.Key.GetPublic())); err != nil {
		return nil, errors.Join(err, store.Close())
	}
	limits, err := newLimits()
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	bus := eventbus.NewBus()
	// Switch off the swarm's black hole detection: the connector decides when
	// to retry.
	sw, err := swarm.NewSwarm(id, store, bus, swarm.WithResourceManager(limits),
		swarm.WithDialTimeout(dialTimeout), swarm.WithDialTimeoutLocal(dialTimeout),
		swarm.WithUDPBlackHoleSuccessCounter(nil), swarm.WithIPv6BlackHoleSuccessCounter(nil))
	if err != nil {
		return nil, errors.Join(err, limits.Close(), store.Close())
	}
	host, err := newStreams(sw, bus)
	if err != nil {
		return nil, errors.Join(err, sw.Close(), limits.Close(), store.Close())
	}
	if err := addTransport(cfg, sw, limits, secure, preauth, opening, small); err != nil {
		return nil, errors.Join(err, host.Close())
	}
	return host, nil
}

// addTransport gives the swarm TCP with the membership handshake and yamux.
func addTransport(cfg *Config, sw *swarm.Swarm, limits network.ResourceManager, secure *membership, preauth *preauthLimiter, opening *startExchange, small *smallPaths) error {
	up, err := upgrader.New([]sec.SecureTransport{secure}, newMuxers(cfg.muxID, opening), nil, limits, nil, upgrader.WithAcceptTimeout(handshakeTimeout))
	if err != nil {
		return err
	}
	// With port reuse two devices on one machine would share a port and each
	// get some of the other's connections.
	preauth.Upgrader = up
	t, err := tcp.NewTCPTransport(preauth, limits, nil, tcp.DisableReuseport(), tcp.WithConnectionTimeout(connectTimeout), tcp.WithDialerForAddr(small.dialer))
	if err != nil {
		return err
	}
	return sw.AddTransport(t)
}

func newMembership(cfg *Config, id peer.ID, r *peerBook, n *names, report *diagnostics) (*membership, error) {
	mesh, err := keys.NewMesh(cfg.Secret)
	if err != nil {
		return nil, err
	}
	cert, err := mesh.Certify(id, cfg.Name)
	if err != nil {
		return nil, err
	}
	proof, err := cert.MarshalBinary()
	if err != nil {
		return nil, err
	}
	inner, err := noise.New(securityID, cfg.Key, newMuxers(cfg.muxID, nil))
	if err != nil {
		return nil, err
	}
	anyone, err := inner.WithSessionOptions(noise.DisablePeerIDCheck())
	if err != nil {
		return nil, err
	}
	return &membership{noise: inner, anyPeer: anyone, mesh: mesh, proof: proof, self: id, book: r, names: n, diagnostics: report,
		tieBreaker: &dialTieBreaker{self: id, reserved: make(map[peer.ID]time.Time)}}, nil
}

func newLimits() (network.ResourceManager, error) {
	limit := func(conns rcmgr.LimitVal, streams rcmgr.LimitVal, memory rcmgr.LimitVal64) rcmgr.ResourceLimits {
		return rcmgr.ResourceLimits{
			Conns: conns, ConnsInbound: conns, ConnsOutbound: conns, FD: conns,
			Streams: streams, StreamsInbound: streams, StreamsOutbound: streams, Memory: memory,
		}
	}
	streams := func(n rcmgr.LimitVal) rcmgr.ResourceLimits {
		return rcmgr.ResourceLimits{Streams: n, StreamsInbound: n, StreamsOutbound: n}
	}
	fixed := rcmgr.PartialLimitConfig{
		// No protocol of a member may take the streams of its others.
		ProtocolPeerDefault: streams(maxPeerStreams * 3 / 4),
		System:              limit(maxConns, maxStreams, maxMemory),
		Transient:           limit(maxPending, maxPending*4, maxMemory/4),
		PeerDefault:         limit(maxPeerConns, maxPeerStreams, maxMemory/2),
	}
	// The library's limits per address suit the open Internet: a home's
	// devices may all be in one IPv6 network, and one that comes back after a
	// loss must not wait.
	perHost := rate.Limit{RPS: 20, Burst: 100}
	return rcmgr.NewResourceManager(rcmgr.NewFixedLimiter(fixed.Build(rcmgr.InfiniteLimits)), rcmgr.WithMetricsDisabled(),
		rcmgr.WithLimitPerSubnet(
			[]rcmgr.ConnLimitPerSubnet{{PrefixLength: 32, ConnCount: maxPending}},
			[]rcmgr.ConnLimitPerSubnet{{PrefixLength: 128, ConnCount: maxPending}}),
		rcmgr.WithConnRateLimiters(&rate.Limiter{
			NetworkPrefixLimits: []rate.PrefixLimit{{Prefix: netip.MustParsePrefix("127.0.0.0/8")}, {Prefix: netip.MustParsePrefix("::1/128")}},
			SubnetRateLimiter: rate.SubnetLimiter{
				IPv4SubnetLimits: []rate.SubnetLimit{{PrefixLength: 32, Limit: perHost}},
				IPv6SubnetLimits: []rate.SubnetLimit{{PrefixLength: 128, Limit: perHost}},
				GracePeriod:      time.Minute,
			},
		}))
}

// listen opens the configured addresses. Where none were named and the usual
// port is taken, any free one will do.
func listen(cfg *Config, sw *swarm.Swarm) error {
	if len(cfg.Listen) > 0 {
		for _, a := range cfg.Listen {
			if err := sw.AddListenAddr(a); err != nil {
				return listenError(a, err)
			}
		}
		return nil
	}
	err := listenBoth(sw, DefaultPort)
	if portTaken(err) {
		err = listenBoth(sw, 0)
		if err == nil {
			cfg.Log.Warn("the usual port is taken, so another one is used; name one with --listen to keep it", "usual", DefaultPort, "listening", sw.ListenAddresses())
		}
	}
	return err
}

// listenBoth listens on a port of every interface, with IPv4 and, where the
// machine has it, IPv6.
func listenBoth(sw *swarm.Swarm, port int) error {
	all := listenEverywhere(port)
	if err := sw.AddListenAddr(all[0]); err != nil {
		return listenError(all[0], err)
	}
	if port == 0 {
		port = portOf(sw.ListenAddresses()[0])
		all = listenEverywhere(port)
	}
	// Without IPv6, or with its port taken, IPv4 is enough.
	_ = sw.AddListenAddr(all[1])
	return nil
}

func listenError(a ma.Multiaddr, err error) error {
	if portTaken(err) {
		return fmt.Errorf("port %d is taken, so %s cannot be listened on; stop what uses it or name another with --listen: %w", portOf(a), a, syscall.EADDRINUSE)
	}
	return fmt.Errorf("listen on %s: %w", a, err)
}

func portTaken(err error) bool { return errors.Is(err, syscall.EADDRINUSE) }

func portOf(a ma.Multiaddr) int {
	_, hostport, err := manet.DialArgs(a)
	if err != nil {
		return 0
	}
	_, port, _ := net.SplitHostPort(hostport)
	n, _ := strconv.Atoi(port)
	return n
}
