package stack

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/protocol/protocoltest"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashDir); dir != "" {
		runCrasher(dir)
	}
	goleak.VerifyTestMain(m)
}

// memoryKeeper keeps instances up in memory. What becomes of a service its image
// says: "good", "bad" (unhealthy for ever), "fails" (ends for good), "slow" (up
// after a minute).
type memoryKeeper struct {
	mu      sync.Mutex
	applied map[protocol.StackName]protocol.StackRecord
	since   map[protocol.StackName]time.Time
	stopped map[protocol.StackName]bool
	halted  map[string]bool // STACK/SERVICE
	data    map[protocol.StackName]bool
	slow    time.Duration // of Remove
	calls   []string
	refuse  []protocol.StackRefusal
	fail    error
	changed chan struct{}
}

func newMemoryKeeper() *memoryKeeper {
	return &memoryKeeper{
		applied: make(map[protocol.StackName]protocol.StackRecord), since: make(map[protocol.StackName]time.Time),
		stopped: make(map[protocol.StackName]bool), halted: make(map[string]bool), data: make(map[protocol.StackName]bool), changed: make(chan struct{}),
	}
}

func (k *memoryKeeper) did(format string, args ...any) {
	k.calls = append(k.calls, fmt.Sprintf(format, args...))
	close(k.changed)
	k.changed = make(chan struct{})
}

func (k *memoryKeeper) Check(context.Context, protocol.Stack) ([]protocol.StackRefusal, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.refuse, k.fail
}

func (k *memoryKeeper) Apply(_ context.Context, r protocol.StackRecord) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	name := r.Stack.Name
	if k.applied[name].Version >= r.Version {
		return nil
	}
	k.applied[name], k.since[name] = r, time.Now()
	delete(k.stopped, name)
	k.did("apply %s %d", name, r.Version)
	return nil
}

func (k *memoryKeeper) HasData(name protocol.StackName) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.data[name]
}

func (k *memoryKeeper) Remove(ctx context.Context, name protocol.StackName, data bool) error {
	select {
	case <-time.After(k.slow):
	case <-ctx.Done():
		return ctx.Err()
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.applied, name)
	if data {
		delete(k.data, name)
	}
	k.did("remove %s %v", name, data)
	return nil
}

func (k *memoryKeeper) act(what string, name protocol.StackName, services []string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if what != "restart" && len(services) == 0 {
		k.stopped[name] = what == "stop"
	}
	for _, s := range services {
		k.halted[string(name)+"/"+s] = what == "stop"
	}
	k.did("%s %s %v", what, name, services)
	return nil
}

func (k *memoryKeeper) Restart(_ context.Context, name protocol.StackName, s []string) error {
	return k.act("restart", name, s)
}

func (k *memoryKeeper) Stop(_ context.Context, name protocol.StackName, s []string) error {
	return k.act("stop", name, s)
}

func (k *memoryKeeper) Start(_ context.Context, name protocol.StackName, s []string) error {
	return k.act("start", name, s)
}

func (k *memoryKeeper) Status() (all []protocol.StackStatus) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for name := range k.applied {
		all = append(all, k.status(name))
	}
	return all
}

// slowFor is how long an image "slow" takes to be up.
const slowFor = time.Minute

func (k *memoryKeeper) status(name protocol.StackName) protocol.StackStatus {
	r := k.applied[name]
	s := protocol.StackStatus{Name: name, Version: r.Version, State: protocol.StackUp}
	for _, svc := range r.Stack.Services {
		n := protocol.InstanceStatus{Service: svc.Name, Image: svc.Image, State: protocol.InstanceRunning}
		image, _, _ := strings.Cut(svc.Image, ":")
		switch {
		case k.halted[string(name)+"/"+svc.Name]:
			n.State = protocol.InstanceStopped
		case k.stopped[name]:
			n.State, s.State = protocol.InstanceStopped, protocol.StackStopped
		case image == "bad":
			n.State, n.Health, n.Reason, n.LastOutput = protocol.InstanceUnhealthy, "unhealthy", "the check fails", "hello\nno route\n"
			s.State = protocol.StackDegraded
		case image == "fails":
			n.State, n.Exited, n.ExitCode = protocol.InstanceFailed, true, 1
			s.State = protocol.StackDegraded
		case image == "slow" && time.Since(k.since[name]) < slowFor:
			n.State, s.State = protocol.InstanceStarting, protocol.StackStarting
		}
		s.Instances = append(s.Instances, n)
	}
	return s
}

func (k *memoryKeeper) Watch(ctx context.Context, name protocol.StackName, yield func(protocol.StackStatus) error) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		k.mu.Lock()
		_, there := k.applied[name]
		s, changed := k.status(name), k.changed
		k.mu.Unlock()
		if !there {
			return nil
		}
		if err := yield(s); err != nil {
			return err
		}
		select {
		case <-changed:
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

func (k *memoryKeeper) Logs(_ context.Context, l protocol.StackLogs, yield func(protocol.LogLine) error) error {
	return yield(protocol.LogLine{Service: "web", Text: fmt.Sprint(l.Name, l.Services)})
}

func (k *memoryKeeper) log() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.calls)
}

// reversed is a Sealer that hides nothing from a reader of the code.
type reversed struct{}

func (reversed) Seal(plain, context []byte) []byte {
	sealed := append(slices.Clone(context), plain...)
	slices.Reverse(sealed)
	return sealed
}

func (reversed) Open(sealed, context []byte) ([]byte, error) {
	plain := slices.Clone(sealed)
	slices.Reverse(plain)
	plain, ok := bytes.CutPrefix(plain, context)
	if !ok {
		return nil, errDamaged
	}
	return plain, nil
}

// testKeys sign with the name of the signer and a digest.
func testKeys(self protocol.PeerID) Keys {
	return Keys{
		Sign: func(data []byte) ([]byte, error) { return fmt.Appendf(nil, "%s %x", self, sha256.Sum256(data)), nil },
		Verify: func(by protocol.PeerID, data, signature []byte) error {
			if string(signature) != fmt.Sprintf("%s %x", by, sha256.Sum256(data)) {
				return errDamaged
			}
			return nil
		},
	}
}

// rig is one device.
type rig struct {
	id     protocol.PeerID
	dir    string
	keeper *memoryKeeper
	holder *Holder
	mesh   *Mesh
	names  *Names
	admit  error
	cancel context.CancelFunc
	ended  chan struct{}
	home   *home
}

// home is some devices that see each other.
type home struct {
	t       *testing.T
	devices []*rig
	mu      sync.Mutex // guards away
	away    map[protocol.PeerID]bool
	deaf    protocol.PeerID
}

func newHome(t *testing.T, n int) *home {
	h := &home{t: t, away: make(map[protocol.PeerID]bool)}
	for i := range n {
		h.devices = append(h.devices, h.device(protocol.PeerID(fmt.Sprint("peer", i)), t.TempDir(), newMemoryKeeper()))
	}
	return h
}

func (h *home) device(id protocol.PeerID, dir string, keeper *memoryKeeper) *rig {
	d := &rig{id: id, dir: dir, keeper: keeper, home: h}
	d.start()
	return d
}

func nameOf(id protocol.PeerID) string { return strings.Replace(string(id), "peer", "node", 1) }

// start begins the device's process.
func (d *rig) start() {
	t := d.home.t
	log := slog.New(slog.DiscardHandler)
	var err error
	d.holder, err = NewHolder(HolderConfig{
		Self: d.id, Name: nameOf(d.id), Dir: filepath.Join(d.dir, "stacks"), Sealer: reversed{}, Keeper: d.keeper,
		Admit: func(protocol.PeerID) error { return d.admit }, Keys: testKeys(d.id), Now: time.Now, Changed: d.home.gossip, Log: log,
	})
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	d.names = NewNames(filepath.Join(d.dir, "names"), func() time.Duration { return time.Since(start) }, time.Now, log)
	d.mesh = NewMesh(MeshConfig{
		Self: d.id, Name: nameOf(d.id), Own: d.holder, Names: d.names, Keys: testKeys(d.id), Now: time.Now, Log: log,
		At:      func(id protocol.PeerID) protocol.Stacks { return protocol.NewStacksClient(d.home.open(d.id, id)) },
		Devices: func() []protocol.Device { return d.home.seenBy(d.id) },
		Changed: func() <-chan struct{} { return nil },
		Rank:    func(*protocol.Service) protocol.Decision { return d.home.rank(d.id) },
		Salt:    func() []byte { return []byte("salt") },
	})
	ctx, cancel := context.WithCancel(context.Background())
	d.cancel, d.ended = cancel, make(chan struct{})
	go func() {
		defer close(d.ended)
		var parts sync.WaitGroup
		parts.Go(func() { _ = d.names.Run(ctx) })
		_ = d.holder.Run(ctx)
		parts.Wait()
	}()
	t.Cleanup(d.stop)
}

func (d *rig) stop() {
	d.cancel()
	<-d.ended
}

// restart ends the device's process and begins another one. Its engine went on.
func (d *rig) restart() {
	d.stop()
	d.keeper.mu.Lock()
	d.keeper.applied, d.keeper.calls = make(map[protocol.StackName]protocol.StackRecord), nil
	d.keeper.mu.Unlock()
	d.start()
}

// gossip has everybody know what everybody holds.
func (h *home) gossip() {
	for _, to := range h.devices {
		for _, d := range h.seenBy(to.id) {
			if !d.Self {
				to.names.Seen(&d.Status, d.Status.Name)
			}
		}
	}
}

func (h *home) seenBy(id protocol.PeerID) (list []protocol.Device) {
	for _, d := range h.devices {
		if h.isAway(d.id) || h.isAway(id) && d.id != id {
			continue
		}
		s := protocol.Status{Node: d.id, Name: nameOf(d.id), Role: protocol.RoleNode}
		s.Stacks, s.UnnamedStacks = protocol.Publish(d.holder.Published())
		list = append(list, protocol.Device{Self: d.id == id, Status: s})
	}
	return list
}

func (h *home) isAway(id protocol.PeerID) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.away[id]
}

// comeBack ends what leave began.
func (h *home) comeBack(d *rig) {
	h.mu.Lock()
	delete(h.away, d.id)
	h.mu.Unlock()
	h.gossip()
}

// leave takes a device off the network.
func (h *home) leave(d *rig) {
	synctest.Wait()
	h.mu.Lock()
	h.away[d.id] = true
	h.mu.Unlock()
	for _, other := range h.devices {
		other.names.Left(d.id)
	}
}

func (h *home) rank(self protocol.PeerID) (all protocol.Decision) {
	for i, d := range h.seenBy(self) {
		all.Candidates = append(all.Candidates, protocol.Candidate{
			Node: d.Status.Node, Name: d.Status.Name, Self: d.Self, Chosen: i == 0,
		})
	}
	return all
}

// open opens a stream from one device to another.
func (h *home) open(from, to protocol.PeerID) func(context.Context) (protocol.Stream, error) {
	return func(context.Context) (protocol.Stream, error) {
		i := slices.IndexFunc(h.devices, func(d *rig) bool { return d.id == to && to != h.deaf && !h.isAway(to) && !h.isAway(from) })
		if i < 0 {
			return nil, fmt.Errorf("no route to %s", to)
		}
		a, b := protocoltest.Pipe()
		m := member{Holder: h.devices[i].holder}
		go func() { _ = protocol.ServeExecute(context.Background(), b, nil, m, nil, from) }() // ends with the stream
		return a, nil
	}
}

// member is a device of which only stacks are asked.
type member struct {
	protocol.Orchestrator
	*Holder
}
