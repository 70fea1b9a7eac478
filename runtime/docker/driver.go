// Package docker runs executions on a Docker engine, through the Engine API
// and never a shell. It holds no state that matters: a container's name says
// which attempt of which request it is, which is what keeps one from running
// twice, and its labels say the rest, so that a restarted device finds its
// executions again.
//
// The way of one execution: Create (container.go) looks at the image and makes the
// container, as policy.go allows, connects its streams (stream.go) and has its end
// told (ending.go); where the image is not here, Pull (pull.go) fetches it before;
// Start; Wait (wait.go); Remove.
package docker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/registry"
	"github.com/docker/docker/api/types/versions"
	"github.com/docker/docker/client"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime"
)

// Deadlines of single calls to the engine. They only catch an engine that
// hangs: a slow disk may well need seconds to make a container.
const (
	askTimeout    = 10 * time.Second
	changeTimeout = 2 * time.Minute
)

// Config is what a Driver needs to know.
type Config struct {
	// Host is the engine's address, as in DOCKER_HOST; where it is empty that
	// variable counts, and else the default socket.
	Host string
	// ConfigDir holds docker's config.json with the credentials for
	// registries; where it is empty DOCKER_CONFIG counts, and else ~/.docker.
	ConfigDir string
	// Mesh is the mesh's fingerprint and Node this device's ID: containers of
	// others on the same engine are never touched.
	Mesh string
	Node protocol.PeerID
	// MayAsk is runtime.Policy's: which registries may be asked. Nil is that of
	// the default policy.
	MayAsk func(registry string, logins []string) (named bool, err error)
	// MemoryDir is a folder in a file system in memory, for secrets; it is made if
	// need be, and only this user can enter it. Empty: no secrets can be given.
	MemoryDir string
	// Log is where the driver says what nobody waits for.
	Log *slog.Logger
}

// Driver is a runtime.Driver on a Docker engine.
type Driver struct {
	cfg    Config
	client atomic.Pointer[client.Client]
	engine atomic.Pointer[engine]
	pulls  pulls
	// endings are state that may be lost: Wait can ask anew.
	endings endings
	secrets secretStore
	// addresses are those of containers that were dialled.
	addresses addressBook
	// sizes are those of terminals to be told right after the start, by
	// runtime.ExecutionID; see terminal.go.
	sizes sync.Map
	// stall, pause and patience are pullStall, pullPause and sizePatience, but for
	// tests.
	stall, pause, patience time.Duration
	calls                  calls
	bridge                 *bridge
	// renamed holds the IDs of containers that do not have the name of name, by
	// runtime.ExecutionID.
	renamed  sync.Map
	now      func() instant
	lookUp   lookUpAddresses
	warnings seen // of the engine's, when it makes containers
	// losses counts how often the engine was found to have gone away; one time may
	// count as several.
	losses atomic.Uint64
	// buffers are shared by the streams of output; see buffer.
	buffers sync.Pool
	// background holds what must be finished for a caller that went away.
	background sync.WaitGroup
}

var _ runtime.Driver = (*Driver)(nil)

// engine is what of an engine stays the same while it runs.
type engine struct {
	version, dataDir string
	platform         ocispec.Platform
	cpus             int
	registries       registry.ServiceConfig // which it asks in other ways than by default
	liveRestore      bool                   // containers outlive it
	// sizesTerminals says that it makes a terminal with the size that it is told
	// when the container is created; see terminal.go.
	sizesTerminals bool
	noLimits       []string // which it cannot keep
	// configIDs says that an image's ID is the digest of its config; containerd's
	// store has that of its manifest there.
	configIDs bool
}

// New makes a driver. It does not connect: whether the engine answers is for
// Info and Watch to find out.
func New(cfg Config) (*Driver, error) {
	if cfg.Mesh == "" || cfg.Node == "" || cfg.Log == nil {
		return nil, errors.New("docker driver: mesh, node and log must be set")
	}
	if cfg.MayAsk == nil {
		policy := runtime.DefaultPolicy()
		cfg.MayAsk = policy.MayAsk
	}
	d := &Driver{cfg: cfg, calls: newCalls(), now: now, lookUp: net.DefaultResolver.LookupNetIP, stall: pullStall, pause: pullPause, patience: sizePatience, secrets: secretStore{dir: cfg.MemoryDir, ours: make(map[string]struct{})}, pulls: pulls{running: make(map[string]*pull)}, endings: newEndings(), bridge: newBridge(bridgeName, bridgeDevice)}
	if err := d.renew(); err != nil {
		return nil, fmt.Errorf("docker driver: %w", err)
	}
	return d, nil
}

// newClient returns one without a connection.
func (d *Driver) newClient() (*client.Client, error) {
	opts := []client.Opt{client.FromEnv, client.WithAPIVersionNegotiation()}
	if d.cfg.Host != "" {
		opts = append(opts, client.WithHost(d.cfg.Host))
	}
	return client.NewClientWithOpts(opts...)
}

// renew starts over with a fresh client, since the engine that comes back
// after a restart may be one that speaks another version of the API.
func (d *Driver) renew() error {
	c, err := d.newClient()
	if err != nil {
		return err
	}
	d.engine.Store(nil)
	if old := d.client.Swap(c); old != nil {
		return old.Close()
	}
	return nil
}

// Name implements runtime.Driver.
func (d *Driver) Name() string { return "docker" }

// Close implements runtime.Driver. It ends the pulls that are under way, and is
// called once.
func (d *Driver) Close() error {
	d.pulls.cancelAll()
	d.endings.dropAll()
	defer time.AfterFunc(closeTimeout, func() { close(d.calls.closed) }).Stop()
	d.background.Wait()
	return d.client.Load().Close()
}

// Info implements runtime.Driver.
func (d *Driver) Info(ctx context.Context) (runtime.Info, error) {
	e, err := d.ask(ctx)
	if err != nil {
		return runtime.Info{}, err
	}
	var images []image.Summary
	err = d.within(ctx, askTimeout, "list images", func(ctx context.Context) (err error) {
		images, err = d.client.Load().ImageList(ctx, image.ListOptions{})
		return err
	})
	if err != nil {
		return runtime.Info{}, err
	}
	slices.SortStableFunc(images, func(a, b image.Summary) int { return cmp.Compare(b.Created, a.Created) })
	info := runtime.Info{
		Version: e.version,
		Arch:    e.platform.Architecture,
		OS:      e.platform.OS,
		DataDir: e.dataDir,
		Socket:  d.socket(),
		Remote:  d.socket() == "",

		TellsImageIDs: e.configIDs,
		NoLimits:      e.noLimits,
		NoSecrets:     d.noSecrets(),
	}
	for _, i := range images {
		for _, ref := range references(i) {
			info.Images = append(info.Images, ref)
			info.Sizes = append(info.Sizes, protocol.Bytes(max(i.Size, 0)))
			info.Published = append(info.Published, published(ref, i.RepoDigests))
		}
	}
	return info, nil
}

// socket returns the engine's where it is on this machine, else nothing.
func (d *Driver) socket() string {
	path, _ := strings.CutPrefix(d.client.Load().DaemonHost(), "unix://")
	if !strings.HasPrefix(path, "/") {
		return ""
	}
	return path
}

// references returns the names that an image goes by.
func references(i image.Summary) []string {
	var refs []string
	for _, ref := range slices.Concat(i.RepoTags, i.RepoDigests) {
		if !strings.Contains(ref, "<none>") {
			refs = append(refs, ref)
		}
	}
	return refs
}

// describe returns what is known of the engine, and asks where that is nothing.
func (d *Driver) describe(ctx context.Context) (*engine, error) {
	if e := d.engine.Load(); e != nil {
		return e, nil
	}
	return d.ask(ctx)
}

// ask asks the engine what it is. Until it has answered, describe goes by what it
// said before.
func (d *Driver) ask(ctx context.Context) (*engine, error) {
	c := d.client.Load()
	e := &engine{}
	err := d.within(ctx, askTimeout, "ask the engine what it is", func(ctx context.Context) error {
		version, err := c.ServerVersion(ctx)
		if err != nil {
			return err
		}
		info, err := c.Info(ctx)
		if err != nil {
			return err
		}
		e.version = version.Version
		e.sizesTerminals = versions.GreaterThanOrEqualTo(c.ClientVersion(), "1.42")
		e.cpus = info.NCPU
		e.liveRestore = info.LiveRestoreEnabled
		e.noLimits = missingLimits(&info)
		e.configIDs = !slices.ContainsFunc(info.DriverStatus, func(s [2]string) bool {
			return s[0] == "driver-type" && strings.HasPrefix(s[1], "io.containerd.snapshotter")
		})
		if info.RegistryConfig != nil {
			e.registries = *info.RegistryConfig
		}
		e.platform = ocispec.Platform{OS: version.Os, Architecture: version.Arch, Variant: variant(info.Architecture)}
		// An engine behind TCP keeps its images on another machine's disk.
		if strings.HasPrefix(c.DaemonHost(), "unix://") {
			e.dataDir = info.DockerRootDir
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	d.engine.Store(e)
	return e, nil
}
