package p2p

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/libp2p/go-libp2p/core/sec"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/hearth-edge/hearth/keys"
)

// gossiping makes a device publish its status, with its addresses, until the
// returned function is called.
func gossiping(t *testing.T, devices ...*device) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for _, d := range devices {
		wg.Go(func() {
			interval := time.NewTicker(time.Second)
			defer interval.Stop()
			for ctx.Err() == nil {
				s := aStatus()
				s.Addresses = d.Addresses()
				if err := d.Publish(s); err != nil && ctx.Err() == nil {
					t.Errorf("%s: %v", d.name, err)
				}
				select {
				case <-interval.C:
				case <-ctx.Done():
				}
			}
		})
	}
	stop = sync.OnceFunc(func() { cancel(); wg.Wait() })
	t.Cleanup(stop)
	return stop
}

// One --peer is enough to find everybody, with one connection for each pair.
func TestTwentyDevicesFindEachOther(t *testing.T) {
	const n = 20
	secret := keys.NewSecret()
	began := time.Now()
	devices := []*device{start(t, secret, "d0")}
	for i := 1; i < n; i++ {
		devices = append(devices, start(t, secret, fmt.Sprintf("d%d", i), devices[0].asAddress()))
	}
	gossiping(t, devices...)
	for _, d := range devices {
		eventually(t, func() bool { return len(d.Peers()) == n-1 })
	}
	t.Logf("all connected after %v", time.Since(began))
	for _, d := range devices {
		for _, o := range devices {
			if d != o {
				eventually(t, func() bool { return len(d.live.Load().sw.ConnsToPeer(o.id)) == 1 })
			}
		}
	}
}

// Both dial at the same moment: each pair ends up with the same connection,
// and neither side is ever told that the other was lost.
func TestSimultaneousDial(t *testing.T) {
	const pairs = 100
	for i := range pairs {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			secret := keys.NewSecret()
			a, b := start(t, secret, "a"), start(t, secret, "b")
			var wg sync.WaitGroup
			for _, way := range [][2]*device{{a, b}, {b, a}} {
				sw, to := way[0].live.Load().sw, way[1]
				sw.Peerstore().AddAddrs(to.id, to.announced.get(), peerstore.TempAddrTTL)
				// One of the two is turned down, if the other is fast enough.
				wg.Go(func() { _, _ = sw.DialPeer(t.Context(), to.id) })
			}
			wg.Wait()
			for _, way := range [][2]*device{{a, b}, {b, a}} {
				d, o := way[0], way[1]
				eventually(t, func() bool {
					return len(d.Peers()) == 1 && len(d.live.Load().sw.ConnsToPeer(o.id)) == 1
				})
			}
			if len(a.events) > 1 || len(b.events) > 1 {
				t.Errorf("told of more than joining: %d, %d", len(a.events), len(b.events))
			}
		})
	}
}

// After a restart the known peers are enough, and statuses are taken at once.
func TestRestartWithKnownPeers(t *testing.T) {
	secret := keys.NewSecret()
	dir := t.TempDir()
	state := func(c *Config) { c.StateDir = dir }
	a := start(t, secret, "a")
	b := start(t, secret, "b", a.asPeer(), state)
	a.joins(b)
	for range 3 {
		stop := gossiping(t, a, b)
		before := a.nextStatus(b.ID()).Sequence
		stop()
		b.stop()
		b = start(t, secret, "b", state)
		a.joins(b)
		stop = gossiping(t, a, b)
		eventually(t, func() bool { return a.nextStatus(b.ID()).Sequence > before })
		stop()
	}
	info, err := os.Stat(filepath.Join(dir, PeersFile))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
}

// A named port that is taken is an error; without a name another one is used.
func TestTakenPort(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	secret := keys.NewSecret()
	port := l.Addr().(*net.TCPAddr).Port
	d := prepare(t, secret, "a", func(c *Config) { c.Listen = addrs(fmt.Sprintf("/ip4/127.0.0.1/tcp/%d", port)) })
	err = d.Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("port %d is taken", port)) || !strings.Contains(err.Error(), "--listen") {
		t.Errorf("%v", err)
	}

	usual, err := net.Listen("tcp4", fmt.Sprintf("0.0.0.0:%d", DefaultPort))
	if err == nil {
		defer usual.Close()
	} // else another program has it already, which does as well
	d = start(t, secret, "a", func(c *Config) { c.Listen = nil })
	d.logs("the usual port is taken")
	for _, a := range d.Addresses() {
		if strings.Contains(a, fmt.Sprintf("/tcp/%d/", DefaultPort)) || strings.Contains(a, "0.0.0.0") {
			t.Errorf("announces %s", a)
		}
	}
}

// A device that names itself notices.
func TestOwnAddressAsPeer(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	own := addrs(fmt.Sprintf("/ip4/127.0.0.1/tcp/%d", l.Addr().(*net.TCPAddr).Port))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	d := start(t, keys.NewSecret(), "a", func(c *Config) { c.Listen, c.Peers = own, own })
	d.logs("this device itself")
}

func TestBadConfig(t *testing.T) {
	secret := keys.NewSecret()
	for name, change := range map[string]func(*Config){
		"no secret":    func(c *Config) { c.Secret = keys.Secret{} },
		"no key":       func(c *Config) { c.Key = nil },
		"bad name":     func(c *Config) { c.Name = "a b" },
		"no log":       func(c *Config) { c.Log = nil },
		"udp":          func(c *Config) { c.Listen = addrs("/ip4/127.0.0.1/udp/7117") },
		"no port":      func(c *Config) { c.Peers = addrs("/ip4/127.0.0.1") },
		"only an ID":   func(c *Config) { c.Peers = addrs("/p2p/" + idOf(t, secret).String()) },
		"more than IP": func(c *Config) { c.Peers = addrs("/ip4/127.0.0.1/tcp/80/ws") },
	} {
		cfg := Config{Secret: secret, Key: newKey(t, secret, "a"), Name: "a", Log: prepare(t, secret, "x").cfg.Log}
		change(&cfg)
		if _, err := New(cfg); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// Hints from anybody fill the table up to its bound, and push out neither
// members nor peers named by hand.
func TestCandidatesAreBounded(t *testing.T) {
	secret := keys.NewSecret()
	d := start(t, secret, "a")
	l := d.live.Load()
	member := idOf(t, keys.NewSecret())
	l.connector.book.add(member)
	c := newConnector(d.id, l.sw, l.connector.secure, l.connector.book, d.members, d.cfg.Log)
	c.addConfigured(configuredPeer{addr: ma.StringCast("/ip4/127.0.0.1/tcp/1")})
	nowhere := addrs("/ip4/127.0.0.1/tcp/2")
	c.handleHint(hint{id: member, addrs: nowhere})
	for i := range 3 * maxCandidates {
		c.handleHint(hint{id: peer.ID(fmt.Sprint("fake", i)), addrs: nowhere, fresh: true})
	}
	if len(c.table) != maxCandidates || c.table[string(member)] == nil || c.table["/ip4/127.0.0.1/tcp/1"] == nil {
		t.Errorf("%d candidates", len(c.table))
	}
	for range maxFailures {
		c.finish(attempt{key: string(member), id: member, err: os.ErrDeadlineExceeded})
	}
	if c.table[string(member)] == nil {
		t.Error("a member was given up")
	}
}

// A member at whose address another device answers is tried rarely until it is heard
// of, and one that shuts down as it is dialled leaves its address in no bad repute.
func TestAddressOfAnother(t *testing.T) {
	secret := keys.NewSecret()
	d := start(t, secret, "a")
	l := d.live.Load()
	member, where := idOf(t, secret), addrs("/ip4/127.0.0.1/tcp/2")
	l.connector.book.add(member)
	c := newConnector(d.id, l.sw, l.connector.secure, l.connector.book, d.members, d.cfg.Log)
	c.handleHint(hint{id: member, addrs: where})
	cand := c.table[string(member)]
	due := func() time.Duration { return time.Until(cand.nextDial) }

	c.finish(attempt{key: cand.key, id: member, err: fmt.Errorf("dial: %w", errNoCertificate)})
	if due() > 2*minBackoff {
		t.Errorf("a member that closed is dialled in %v", due())
	}
	if !c.limiter.allow(where, time.Now()) {
		t.Error("its address is left alone")
	}
	c.finish(attempt{key: cand.key, id: member, err: &swarm.DialError{
		Peer: member, DialErrors: []swarm.TransportError{{Address: where[0], Cause: sec.ErrPeerIDMismatch{Expected: member, Actual: d.id}}},
	}})
	if due() < maxBackoff/2 {
		t.Errorf("another device's address is dialled in %v", due())
	}
	c.handleHint(hint{id: member, addrs: where, fresh: true})
	if due() > peerDialGrace {
		t.Errorf("a member that is heard of is dialled in %v", due())
	}
	c.finish(attempt{key: cand.key, id: member, err: fmt.Errorf("dial: %w", keys.ErrNotMember)})
	if c.limiter.allow(where, time.Now()) {
		t.Error("where no member answers is dialled on")
	}
}

func TestPauseGrowsToItsBound(t *testing.T) {
	for failures := 1; failures < 100; failures++ {
		p := backoff(failures)
		if p < minBackoff*3/4 || p > maxBackoff*5/4 || failures > 10 && p < maxBackoff*3/4 {
			t.Errorf("after %d failures %v", failures, p)
		}
	}
}

func idOf(t testing.TB, secret keys.Secret) peer.ID {
	id, err := peer.IDFromPrivateKey(newKey(t, secret, "id"))
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// However many devices go at once, as when a switch restarts, each is dialled again.
func TestManyGoAtOnce(t *testing.T) {
	const count = 200
	secret := keys.NewSecret()
	d := start(t, secret, "a")
	l := d.live.Load()
	c := newConnector(d.id, l.sw, l.connector.secure, l.connector.book, d.members, d.cfg.Log)
	for i := range count {
		id := peer.ID(fmt.Sprint("member", i))
		c.table[string(id)] = &candidate{key: string(id), id: id, addrs: addrs("/ip4/127.0.0.1/tcp/2")}
		c.onDisconnect(id) // and nothing takes it yet
	}
	select {
	case <-c.notifyDisconnects:
	default:
		t.Fatal("the connector is not told")
	}
	c.handleDisconnects()
	for _, cand := range c.table {
		if cand.nextDial.IsZero() {
			t.Fatalf("%s is not dialled again", cand.key)
		}
	}
	if len(c.table) != count || len(c.disconnected) > 0 {
		t.Errorf("%d candidates, %d left", len(c.table), len(c.disconnected))
	}
}
