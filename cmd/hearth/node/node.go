package node

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

	"github.com/hearth-edge/hearth/keys"
	"github.com/hearth-edge/hearth/p2p"
	"github.com/hearth-edge/hearth/p2p/app"
	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime"
	"github.com/hearth-edge/hearth/runtime/machine"
	"github.com/hearth-edge/hearth/sched"
	"github.com/hearth-edge/hearth/sched/journal"
)

// Node is one device: New builds it, Run runs it.
type Node struct {
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
	machine  *machine.Machine
	driver   runtime.Driver // nil where no work is run
	runtime  *runtime.Node  // nil where no work is run
	gossip   *gossip
	ready    chan struct{}
	// ending is closed when the device's owner has it end.
	ending  chan struct{}
	endOnce sync.Once
}

// New opens the state folder, which it locks until Run returns, and builds all
// parts; it starts none. A Node that is not run must be closed by Close.
func New(cfg Config) (_ *Node, err error) {
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
	n := &Node{cfg: cfg, log: cfg.Log, started: time.Now(), unlock: unlock, ready: make(chan struct{}), ending: make(chan struct{})}
	defer func() {
		if err != nil {
			n.Close()
		}
	}()
	if err := keepSecret(cfg.StateDir, cfg.Secret, cfg.Log); err != nil {
		return nil, err
	}
	if n.machine, err = machine.New(machine.Config{CPUs: cfg.CPUs, Memory: cfg.Memory, Dir: cfg.StateDir}); err != nil {
		return nil, err
	}
	n.tellWhatIsLent()
	if err := n.lends(); err != nil {
		n.log.Warn("less is lent than was asked for", "err", err)
	}
	if err := n.buildMesh(); err != nil {
		return nil, err
	}
	n.view = sched.NewView(n.id, n.clock, sched.DefaultParams())
	n.view.Joined(n.id, cfg.Name, "")
	if err := n.buildRuntime(); err != nil {
		return nil, err
	}
	if err := n.openJournal(); err != nil {
		return nil, err
	}
	n.orch = sched.New(sched.Config{
		Self: n.id, Name: cfg.Name, View: n.view, Clock: n.clock, Now: time.Now,
		Rand:     rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())),
		Executor: n.executor, Inspect: n.imageFacts(), ImageID: n.imageID(), Journal: n.journal, Params: sched.DefaultParams(), Log: cfg.Log,
	})
	n.requests = n.meshRequests()
	n.app, err = app.New(app.Config{StateDir: cfg.StateDir, Handle: n.serveApp, Log: cfg.Log})
	return n, err
}

// tellWhatIsLent says where there is less to lend than was asked.
func (n *Node) tellWhatIsLent() {
	if m := n.machine; n.cfg.CPUs > m.TotalCPUs {
		n.log.Warn("this device has fewer cores than --cpus says: it lends all that it has", "cpus", n.cfg.CPUs, "lends", m.CPUs)
	}
	if m := n.machine; n.cfg.Memory > m.TotalMemory {
		n.log.Warn("this device has less memory than --memory says: it lends all that it has", "memory", n.cfg.Memory, "lends", m.Memory)
	}
}

// buildMesh makes the device's identity and its place in the mesh.
func (n *Node) buildMesh() error {
	seed, err := keys.LoadSeed(n.cfg.StateDir)
	if err != nil {
		return fmt.Errorf("identity: %w", err)
	}
	key, err := keys.Identity(n.cfg.Secret, seed)
	if err != nil {
		return fmt.Errorf("identity: %w", err)
	}
	id, err := peer.IDFromPrivateKey(key)
	if err != nil {
		return fmt.Errorf("identity: %w", err)
	}
	n.id = protocol.PeerID(id.String())
	n.gossip = newGossip(n)
	n.mesh, err = p2p.New(p2p.Config{
		Secret: n.cfg.Secret, Key: key, Name: n.cfg.Name, KeepNames: n.cfg.Policy.AllowFrom, StateDir: n.cfg.StateDir,
		Listen: n.cfg.Listen, Interfaces: n.cfg.Interfaces, Peers: n.cfg.Peers, Discovery: !n.cfg.NoDiscovery,
		OnScore: func(s protocol.Score) { n.view.Score(s) }, OnPeer: n.peerChanged,
		OnRTT: func(id protocol.PeerID, rtt time.Duration) { n.view.RTT(id, rtt) }, Log: n.cfg.Log,
	})
	if err == nil {
		n.mesh.Handle(protocol.ExecuteProtocol, n.serveExecute)
	}
	return err
}

// buildRuntime makes the part that runs work, where there is a driver.
func (n *Node) buildRuntime() (err error) {
	if n.cfg.Driver == nil {
		return nil
	}
	if n.driver, err = n.cfg.Driver(n.cfg.Secret.Fingerprint(), n.id); err != nil {
		return fmt.Errorf("driver: %w", err)
	}
	private, err := privatePaths(n.cfg.StateDir)
	if err != nil {
		return err
	}
	n.runtime, err = runtime.New(runtime.Config{
		Node: n.id, Name: n.cfg.Name, Driver: n.driver, CPUs: n.machine.CPUs, Memory: n.machine.Memory,
		Policy: n.cfg.Policy, NameOf: n.mesh.NameOf, Accelerators: n.machine.Accelerators, Private: private,
		Check:    n.checkMatch,
		Estimate: n.view.EstimateHere, Expected: n.view.ExpectedHere, Changed: n.gossip.changed, Finished: n.learn,
		Renew: n.renew, Leases: n.keepLeases(),
		Dir: n.cfg.StateDir, Log: n.cfg.Log,
	})
	return err
}

// learn takes in what an execution on this device really took.
func (n *Node) learn(s protocol.Service, end protocol.Event, ran time.Duration) {
	if ran > 0 && (end.State == protocol.StateSucceeded || end.State == protocol.StateFailed) {
		n.view.Ran(&s, n.id, ran)
	}
}

// imageFacts returns who tells of images; nil where there is no engine to ask.
func (n *Node) imageFacts() func(context.Context, string) (sched.ImageFacts, error) {
	if n.driver == nil {
		return nil
	}
	return func(ctx context.Context, image string) (sched.ImageFacts, error) {
		told, err := n.driver.Inspect(ctx, image)
		if err != nil {
			n.log.Debug("nothing is known of an image", "image", image, "err", err)
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
func (n *Node) imageID() func(context.Context, string) protocol.ImageID {
	if n.runtime == nil {
		return nil
	}
	return n.runtime.ImageID
}

// ID returns the device's ID.
func (n *Node) ID() protocol.PeerID { return n.id }

// Ready is closed when the device listens and serves its apps.
func (n *Node) Ready() <-chan struct{} { return n.ready }

// Addresses returns the multiaddrs that others can dial, once Ready.
func (n *Node) Addresses() []string { return n.mesh.Addresses() }

// Close lets go of what New took; Run does it by itself.
func (n *Node) Close() {
	if n.driver != nil {
		_ = n.driver.Close()
	}
	if n.journal != nil {
		if err := n.journal.Close(); err != nil {
			n.log.Error("the journal could not be closed in order", "err", err)
		}
	}
	n.unlock()
}

// Run runs the device until ctx or Down ends it or a part fails, and returns when all
// parts have ended. Containers that run here go on.
func (n *Node) Run(ctx context.Context) error {
	defer n.Close()
	g, ctx := errgroup.WithContext(ctx)
	run := func(what string, f func(context.Context) error) {
		g.Go(func() error {
			if err := f(ctx); err != nil && !errors.Is(err, context.Canceled) {
				return fmt.Errorf("%s: %w", what, err)
			}
			return nil
		})
	}
	if n.runtime != nil {
		run("runtime", n.runtime.Run)
	}
	run("orchestrator", n.orch.Run)
	run("mesh", n.mesh.Run)
	run("gossip", n.gossip.run)
	run("benchmark", n.gossip.measure)
	run("app endpoint", n.app.Run)
	g.Go(func() error {
		for _, part := range []<-chan struct{}{n.mesh.Ready(), n.app.Ready()} {
			select {
			case <-part:
			case <-ctx.Done():
				return nil
			}
		}
		close(n.ready)
		return nil
	})
	g.Go(func() error {
		select {
		case <-n.ending:
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
func (n *Node) clock() time.Duration { return time.Since(n.started) }

// peerChanged puts what the mesh tells of its members into the view.
func (n *Node) peerChanged(p p2p.Peer, joined bool, how p2p.Departure) {
	if joined {
		if old := n.view.Name(p.ID); old != "" && old != p.Name {
			n.log.Info("device has another name", "peer", p.ID, "name", p.Name, "was", old)
			n.view.Joined(p.ID, p.Name, p.Address)
			return
		}
		n.view.Joined(p.ID, p.Name, p.Address)
		n.log.Info("device joined", "peer", p.ID, "name", p.Name, "address", p.Address)
		return
	}
	n.view.Left(p.ID)
	n.log.Info("device is gone", "peer", p.ID, "name", p.Name, "how", how.String())
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
