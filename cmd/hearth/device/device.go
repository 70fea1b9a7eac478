package device

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"golang.org/x/sync/errgroup"

	"github.com/hearth-edge/hearth/cmd/hearth/door"
	"github.com/hearth-edge/hearth/cmd/hearth/door/outbox"
	"github.com/hearth-edge/hearth/keys"
	"github.com/hearth-edge/hearth/p2p"
	"github.com/hearth-edge/hearth/p2p/app"
	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime"
	"github.com/hearth-edge/hearth/runtime/machine"
	"github.com/hearth-edge/hearth/sched"
	"github.com/hearth-edge/hearth/sched/journal"
)

// Device is one member of the mesh: New builds it, Run runs it.
type Device struct {
	cfg     Config
	log     *slog.Logger
	id      protocol.PeerID
	started time.Time
	unlock  func()

	mesh    *p2p.Mesh
	view    *sched.View
	journal *journal.Journal
	orch    *sched.Orchestrator
	// requests are those of the whole mesh, for the apps of this device.
	requests *meshRequests
	app      *app.Endpoint
	tokens   *door.Tokens
	http     *door.Server
	edge     *door.Server    // nil where it is off
	brokers  *outbox.Brokers // those of edge
	outbox   *outbox.Outbox
	machine  *machine.Machine
	driver   runtime.Driver // nil where no work is run
	runtime  *runtime.Node  // nil where no work is run
	stacks   stacks
	ports    *publishedPorts
	gossip   *gossip
	ready    chan struct{}
	// ending is closed when the device's owner has it end.
	ending  chan struct{}
	endOnce sync.Once
}

// New opens the state folder, which it locks until Run returns, and builds all
// parts; it starts none. A Device that is not run must be closed by Close.
func New(cfg Config) (_ *Device, err error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	closed, err := keys.PrivateFolder(cfg.StateDir)
	if err != nil {
		return nil, fmt.Errorf("state folder: %w", err)
	}
	if closed {
		cfg.Log.Warn("other users could look into the state folder, and cannot any more", "folder", cfg.StateDir)
	}
	unlock, err := app.Lock(cfg.StateDir)
	if err != nil {
		return nil, err
	}
	d := &Device{cfg: cfg, log: cfg.Log, started: time.Now(), unlock: unlock, ready: make(chan struct{}), ending: make(chan struct{})}
	defer func() {
		if err != nil {
			d.Close()
		}
	}()
	if err := keepSecret(cfg.StateDir, cfg.Secret, cfg.Log); err != nil {
		return nil, err
	}
	if d.machine, err = machine.New(machine.Config{CPUs: cfg.CPUs, Memory: cfg.Memory, Dir: cfg.StateDir}); err != nil {
		return nil, err
	}
	d.logLent()
	if err := d.lends(); err != nil {
		d.log.Warn("less is lent than was asked for", "err", err)
	}
	if err := d.buildMesh(); err != nil {
		return nil, err
	}
	d.view = sched.NewView(d.id, d.clock, sched.DefaultParams())
	d.view.Joined(d.id, cfg.Name, "")
	if err := d.buildRuntime(); err != nil {
		return nil, err
	}
	if err := d.openJournal(); err != nil {
		return nil, err
	}
	d.orch = sched.New(sched.Config{
		Self: d.id, Name: cfg.Name, View: d.view, Clock: d.clock, Now: time.Now,
		Rand:     rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())),
		Executor: d.executor, Inspect: d.imageFacts(), ImageID: d.imageID(), Journal: d.journal, Params: sched.DefaultParams(), Log: cfg.Log,
	})
	if err := d.buildStacks(); err != nil {
		return nil, err
	}
	d.buildPorts()
	d.requests = d.meshRequests()
	if d.app, err = app.New(app.Config{StateDir: cfg.StateDir, Handle: d.serveApp, Log: cfg.Log}); err != nil {
		return nil, err
	}
	d.buildDoors()
	return d, nil
}

// logLent says where there is less to lend than was asked.
func (d *Device) logLent() {
	if m := d.machine; d.cfg.CPUs > m.TotalCPUs {
		d.log.Warn("this device has fewer cores than --cpus says: it lends all that it has", "cpus", d.cfg.CPUs, "lends", m.CPUs)
	}
	if m := d.machine; d.cfg.Memory > m.TotalMemory {
		d.log.Warn("this device has less memory than --memory says: it lends all that it has", "memory", d.cfg.Memory, "lends", m.Memory)
	}
}

// buildMesh makes the device's identity and its place in the mesh.
func (d *Device) buildMesh() error {
	seed, err := keys.LoadSeed(d.cfg.StateDir)
	if err != nil {
		return fmt.Errorf("identity: %w", err)
	}
	key, err := keys.Identity(d.cfg.Secret, seed)
	if err != nil {
		return fmt.Errorf("identity: %w", err)
	}
	id, err := peer.IDFromPrivateKey(key)
	if err != nil {
		return fmt.Errorf("identity: %w", err)
	}
	d.id = protocol.PeerID(id.String())
	d.gossip = newGossip(d)
	d.mesh, err = p2p.New(p2p.Config{
		Secret: d.cfg.Secret, Key: key, Name: d.cfg.Name, ProtectedNames: d.cfg.Policy.Askers(), StateDir: d.cfg.StateDir,
		Listen: d.cfg.Listen, Interfaces: d.cfg.Interfaces, Peers: d.cfg.Peers, Discovery: !d.cfg.NoDiscovery,
		OnStatus: d.statusCame, OnPeer: d.peerChanged,
		OnRTT: func(id protocol.PeerID, rtt time.Duration) { d.view.RTT(id, rtt) }, Log: d.cfg.Log,
	})
	if err == nil {
		d.mesh.Handle(protocol.ExecuteProtocol, d.serveExecute)
	}
	return err
}

// buildRuntime makes the part that runs work, where there is a driver.
func (d *Device) buildRuntime() (err error) {
	if d.cfg.Driver == nil {
		return nil
	}
	if d.driver, err = d.cfg.Driver(d.cfg.Secret.Fingerprint(), d.id); err != nil {
		return fmt.Errorf("driver: %w", err)
	}
	private, err := privatePaths(d.cfg.StateDir)
	if err != nil {
		return err
	}
	d.runtime, err = runtime.New(runtime.Config{
		Node: d.id, Name: d.cfg.Name, Driver: d.driver, CPUs: d.machine.CPUs, Memory: d.machine.Memory,
		Policy: d.cfg.Policy, NameOf: d.mesh.NameOf, Accelerators: d.machine.Accelerators, Private: private,
		Check:    d.checkMatch,
		Estimate: d.view.EstimateHere, Expected: d.view.ExpectedHere, Changed: d.gossip.changed, Finished: d.learn,
		Instance: d.instance, Publishes: d.publishes,
		Renew: d.renew, Leases: d.keepLeases(),
		Dir: d.cfg.StateDir, Log: d.cfg.Log,
	})
	return err
}

// learn takes in what an execution on this device really took.
func (d *Device) learn(s protocol.Service, end protocol.Event, ran time.Duration) {
	if ran > 0 && (end.State == protocol.StateSucceeded || end.State == protocol.StateFailed) {
		d.view.RecordRun(&s, d.id, ran)
	}
}

// imageFacts returns who tells of images; nil where there is no engine to ask.
func (d *Device) imageFacts() func(context.Context, string) (sched.ImageFacts, error) {
	if d.driver == nil {
		return nil
	}
	return func(ctx context.Context, image string) (sched.ImageFacts, error) {
		told, err := d.driver.Inspect(ctx, image)
		if err != nil {
			d.log.Debug("nothing is known of an image", "image", image, "err", err)
			return sched.ImageFacts{}, err
		}
		facts := sched.ImageFacts{Present: told.Present, Size: told.Size, Platforms: told.Platforms}
		if told.Compressed {
			facts.Fetch, facts.Size = told.Size, 0
		}
		return facts, nil
	}
}

// imageID returns who tells which image is meant by a name; nil where there is
// no engine that could have it.
func (d *Device) imageID() func(context.Context, string) protocol.ImageID {
	if d.runtime == nil {
		return nil
	}
	return d.runtime.ImageID
}

// ID returns the device's ID.
func (d *Device) ID() protocol.PeerID { return d.id }

// Ready is closed when the device listens and serves its apps.
func (d *Device) Ready() <-chan struct{} { return d.ready }

// Addresses returns the multiaddrs that others can dial, once Ready.
func (d *Device) Addresses() []string { return d.mesh.Addresses() }

// Close lets go of what New took; Run does it by itself.
func (d *Device) Close() {
	if d.driver != nil {
		_ = d.driver.Close()
	}
	if d.journal != nil {
		if err := d.journal.Close(); err != nil {
			d.log.Error("the journal could not be closed in order", "err", err)
		}
	}
	d.unlock()
}

// Run runs the device until ctx or Down ends it or a part fails, and returns when all
// parts have ended. Containers that run here go on.
func (d *Device) Run(ctx context.Context) error {
	defer d.Close()
	if err := d.openDoors(); err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	run := func(what string, f func(context.Context) error) {
		g.Go(func() error {
			if err := f(ctx); err != nil && !errors.Is(err, context.Canceled) {
				return fmt.Errorf("%s: %w", what, err)
			}
			return nil
		})
	}
	if d.runtime != nil {
		run("runtime", d.runtime.Run)
	}
	if d.stacks.keeper != nil {
		run("keeper of stacks", d.stacks.keeper.Run)
	}
	run("stacks", d.stacks.holder.Run)
	run("ports of stacks", d.ports.open.Run)
	run("names of stacks", d.stacks.names.Run)
	run("orchestrator", d.orch.Run)
	run("mesh", d.mesh.Run)
	run("gossip", d.gossip.run)
	run("benchmark", d.gossip.measure)
	run("app endpoint", d.app.Run)
	run("http", d.http.Run)
	if d.edge != nil {
		run("edge API", d.runEdge)
	}
	run("outbox", d.outbox.Run)
	g.Go(func() error {
		for _, part := range []<-chan struct{}{d.mesh.Ready(), d.app.Ready()} {
			select {
			case <-part:
			case <-ctx.Done():
				return nil
			}
		}
		close(d.ready)
		return nil
	})
	g.Go(func() error {
		select {
		case <-d.ending:
			return errDown
		case <-ctx.Done():
			return nil
		}
	})
	if err := g.Wait(); !errors.Is(err, errDown) {
		return err
	}
	return nil
}

// errDown ends Run as the owner wished.
var errDown = errors.New("the owner ends this device")

// clock is the monotonic time since New.
func (d *Device) clock() time.Duration { return time.Since(d.started) }

// peerChanged puts what the mesh tells of its members into the view.
func (d *Device) peerChanged(p p2p.Peer, joined bool, how p2p.Departure) {
	if joined {
		if old := d.view.Name(p.ID); old != "" && old != p.Name {
			d.log.Info("device has another name", "peer", p.ID, "name", p.Name, "was", old)
			d.view.Joined(p.ID, p.Name, p.Address)
			return
		}
		d.view.Joined(p.ID, p.Name, p.Address)
		d.log.Info("device joined", "peer", p.ID, "name", p.Name, "address", p.Address)
		return
	}
	d.stacks.names.Left(p.ID)
	d.ports.left(p.ID)
	d.view.Left(p.ID)
	d.log.Info("device is gone", "peer", p.ID, "name", p.Name, "how", how.String())
}

// keepSecret stores the secret for later starts. Another one than before means
// that the device moves to another mesh: whom it knew is then forgotten. Its
// journal is left where it is: see JournalFile.
func keepSecret(dir string, secret keys.Secret, log *slog.Logger) error {
	path := filepath.Join(dir, SecretFile)
	old, err := keys.ReadSecretFile(path)
	switch {
	case err == nil && old.Equal(secret):
		return nil
	case err == nil:
		log.Warn("this device moves to another mesh", "from", old.Fingerprint(), "to", secret.Fingerprint())
		for _, file := range []string{p2p.PeersFile, p2p.NamesFile} {
			if err := os.Remove(filepath.Join(dir, file)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	case !errors.Is(err, fs.ErrNotExist):
		log.Warn("the kept secret is replaced", "err", err)
	}
	if err := keys.ReplaceSecretFile(path, secret); err != nil {
		return fmt.Errorf("keep the secret: %w", err)
	}
	return nil
}
