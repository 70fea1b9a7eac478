package p2p

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	"go.uber.org/goleak"

	"github.com/hearth-edge/hearth/keys"
	"github.com/hearth-edge/hearth/protocol"
)

func TestMain(m *testing.M) {
	if text := os.Getenv(lossyChild); text != "" {
		runLossyChild(text)
		return
	}
	if text := os.Getenv(membersChild); text != "" {
		runMembersChild(text)
		return
	}
	goleak.VerifyTestMain(m)
}

// patient is how long a test waits for what must happen.
const patient = 60 * time.Second

// device is a running Mesh of a test.
type device struct {
	*Mesh
	t        testing.TB
	name     string
	log      *logBuffer
	events   chan event
	statuses chan protocol.Status
	speeds   map[protocol.PeerID]float64 // of what heard has taken from statuses
	stop     func()                      // returns when Run has
}

type event struct {
	peer   Peer
	joined bool
	how    Departure
	at     time.Time
}

// start runs a device on the loopback interface until the test ends.
func start(t testing.TB, secret keys.Secret, name string, change ...func(*Config)) *device {
	t.Helper()
	d := prepare(t, secret, name, change...)
	d.run()
	return d
}

// prepare makes a device without running it.
func prepare(t testing.TB, secret keys.Secret, name string, change ...func(*Config)) *device {
	t.Helper()
	d := &device{t: t, name: name, log: &logBuffer{}, events: make(chan event, 256), statuses: make(chan protocol.Status, 1024), speeds: make(map[protocol.PeerID]float64)}
	cfg := Config{
		Secret: secret, Key: newKey(t, secret, name), Name: name,
		Listen: addrs("/ip4/127.0.0.1/tcp/0"),
		Log:    slog.New(slog.NewTextHandler(d.log, nil)),
		OnPeer: func(p Peer, joined bool, how Departure) { d.events <- event{p, joined, how, time.Now()} },
		OnStatus: func(s protocol.Status) {
			select {
			case d.statuses <- s:
			default:
			}
		},
	}
	for _, f := range change {
		f(&cfg)
	}
	var err error
	if d.Mesh, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	return d
}

func (d *device) run() {
	d.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	d.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			d.t.Errorf("%s: %v", d.name, err)
		}
	})
	d.t.Cleanup(d.stop)
	select {
	case <-d.Ready():
	case err := <-done:
		done <- err
		d.t.Fatalf("%s: %v", d.name, err)
	}
}

// next returns the next event; it fails if there is none in time.
func (d *device) next() event {
	d.t.Helper()
	select {
	case e := <-d.events:
		return e
	case <-time.After(patient):
		d.t.Fatalf("%s: no event\n%s", d.name, d.log)
		return event{}
	}
}

// joins waits until all of them joined.
func (d *device) joins(others ...*device) {
	d.t.Helper()
	missing := make(map[protocol.PeerID]bool)
	for _, o := range others {
		missing[o.ID()] = true
	}
	for len(missing) > 0 {
		if e := d.next(); e.joined {
			delete(missing, e.peer.ID)
		}
	}
}

// gossipsTo waits until gossip reaches another device.
func (d *device) gossipsTo(other *device) {
	d.t.Helper()
	g := d.live.Load().gossip
	eventually(d.t, func() bool { return slices.Contains(g.pub.ListPeers(g.topic.String()), other.id) })
}

// logs waits until each of the texts was logged.
func (d *device) logs(texts ...string) {
	d.t.Helper()
	for _, text := range texts {
		d.log.wait(d.t, text)
	}
}

// nextStatus returns the next status that fits.
func (d *device) nextStatus(from protocol.PeerID) protocol.Status {
	d.t.Helper()
	timeout := time.After(patient)
	for {
		select {
		case s := <-d.statuses:
			if s.Node == from {
				return s
			}
		case <-timeout:
			d.t.Fatalf("%s: no score from %s; dropped %v", d.name, from, d.live.Load().gossip.dropped())
		}
	}
}

// peers names the device's first address as a peer of another.
func (d *device) asPeer() func(*Config) {
	a := d.Addresses()[0]
	return func(c *Config) { c.Peers = append(c.Peers, ma.StringCast(a)) }
}

// asAddress is asPeer without the ID.
func (d *device) asAddress() func(*Config) {
	a, _ := peer.SplitAddr(ma.StringCast(d.Addresses()[0]))
	return func(c *Config) { c.Peers = append(c.Peers, a) }
}

func newKey(t testing.TB, secret keys.Secret, name string) crypto.PrivKey {
	t.Helper()
	seed := make(keys.Seed, 32)
	copy(seed, name+t.Name())
	key, err := keys.Identity(secret, seed)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func addrs(texts ...string) []ma.Multiaddr {
	var out []ma.Multiaddr
	for _, a := range texts {
		out = append(out, ma.StringCast(a))
	}
	return out
}

// logBuffer is a log that can be waited on.
type logBuffer struct {
	mu   sync.Mutex
	buf  bytes.Buffer
	more chan struct{} // closed on the next write
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.more != nil {
		close(b.more)
		b.more = nil
	}
	return b.buf.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func (b *logBuffer) wait(t testing.TB, text string) {
	t.Helper()
	timeout := time.After(patient)
	for {
		b.mu.Lock()
		found := strings.Contains(b.buf.String(), text)
		if b.more == nil {
			b.more = make(chan struct{})
		}
		more := b.more
		b.mu.Unlock()
		if found {
			return
		}
		select {
		case <-more:
		case <-timeout:
			t.Fatalf("never logged: %s\n%s", text, b)
		}
	}
}

// eventually waits until ok; it looks again every few milliseconds.
func eventually(t testing.TB, ok func() bool) {
	t.Helper()
	look := time.NewTicker(2 * time.Millisecond)
	defer look.Stop()
	timeout := time.After(patient)
	for !ok() {
		select {
		case <-look.C:
		case <-timeout:
			t.Fatal("did not happen in time")
		}
	}
}

// ownMet is how many connections proved this device's own ID.
func (m *membership) ownMet() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.ownAddrs)
}
