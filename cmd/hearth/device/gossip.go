package device

import (
	"context"
	"fmt"
	goruntime "runtime"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime"
	"github.com/hearth-edge/hearth/runtime/machine"
	"github.com/hearth-edge/hearth/sched"
)

const (
	// activeInterval is how often a status is gossiped at least in a small mesh, where
	// the device works or its status changes; quietInterval where neither does.
	activeInterval, quietInterval = time.Second, 5 * time.Second
	// activePerDevice and quietPerDevice stretch the interval, so that what a node sends
	// and receives stays bounded: one message costs each node about 4 KB in and out
	// together, so a second for each device keeps it near 4 KB/s where all are quiet.
	activePerDevice, quietPerDevice = 300 * time.Millisecond, time.Second
	// changeDelay is how long after a change it is gossiped: several close together
	// go out as one, and what is over by then is nobody's business.
	changeDelay = 25 * time.Millisecond
)

// changesPerInterval bounds how often a change is gossiped at once; placement counts
// with it.
func changesPerInterval() time.Duration {
	return time.Duration(sched.DefaultParams().ChangesPerInterval)
}

// statusInterval is the longest time between two statuses of a device in a mesh of that many.
func statusInterval(devices int, quiet bool) time.Duration {
	least, each := activeInterval, activePerDevice
	if quiet {
		least, each = quietInterval, quietPerDevice
	}
	return min(max(least, time.Duration(devices)*each), protocol.MaxStatusInterval)
}

// gossip makes this device's status and publishes it: at its interval, and soon
// after the load, the images or the engine changed. What is measured only when a
// status is made, as the use of the processor by others, its temperature and what
// that takes away, is as old as the interval: nobody is told of each degree.
type gossip struct {
	d         *Device
	notify    chan struct{}
	published protocol.Status // what was published last; run's own

	mu     sync.Mutex // guards speed and status
	speed  float64    // 0 until measured
	status protocol.Status
}

func newGossip(d *Device) *gossip { return &gossip{d: d, notify: make(chan struct{}, 1)} }

// measure finds out the machine's speed, which takes a moment on first start:
// the device is in the mesh meanwhile, and runs work from then on.
func (g *gossip) measure(ctx context.Context) error {
	speed := g.d.cfg.Speed
	if speed == 0 && g.d.runtime != nil {
		var err error
		speed, err = machine.Benchmark(ctx, g.d.cfg.StateDir)
		if speed == 0 {
			return fmt.Errorf("measure this machine's speed: %w", err)
		}
		if err != nil {
			g.d.log.Warn("this machine's speed is measured anew at each start", "err", err)
		}
		debug.FreeOSMemory() // what measuring and starting took is not needed again
	}
	g.mu.Lock()
	g.speed = speed
	g.mu.Unlock()
	g.changed()
	return nil
}

// changed says that the status is out of date. It never blocks.
func (g *gossip) changed() {
	select {
	case g.notify <- struct{}{}:
	default: // a change is noted already
	}
}

// last returns the status composed last.
func (g *gossip) last() protocol.Status {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.status
}

// run publishes until ctx ends.
func (g *gossip) run(ctx context.Context) error {
	select {
	case <-g.d.mesh.Ready():
	case <-ctx.Done():
		return nil
	}
	due, soon := time.NewTimer(0), time.NewTimer(0)
	soon.Stop()
	defer due.Stop()
	defer soon.Stop()
	var last time.Time
	for changing := false; ; {
		select {
		case <-ctx.Done():
			return nil
		case <-g.notify:
			if !changing {
				changing = true
				soon.Reset(max(changeDelay, time.Until(last.Add(g.interval(false)/changesPerInterval()))))
			}
			continue
		case <-soon.C:
			changing = false
			status := g.compose(ctx)
			if status.Alike(&g.published) {
				continue
			}
			g.publish(ctx, status)
		case <-due.C:
			g.publish(ctx, g.compose(ctx))
		}
		last = time.Now()
		due.Reset(g.d.mesh.Tick(g.published.Interval))
	}
}

func (g *gossip) interval(quiet bool) time.Duration { return statusInterval(g.d.mesh.Size(), quiet) }

func (g *gossip) publish(ctx context.Context, status protocol.Status) {
	g.published = status
	if err := g.d.mesh.Publish(status); err != nil && ctx.Err() == nil {
		g.d.log.Warn("the score could not be gossiped", "err", err)
	}
}

// compose makes the status as things are now and puts it into the own view. Its interval
// is that of a device with nothing to tell where it has no work and says what it
// said before.
func (g *gossip) compose(ctx context.Context) protocol.Status {
	d := g.d
	s := protocol.Status{
		Node: d.id, Name: d.cfg.Name, Arch: goruntime.GOARCH, OS: goruntime.GOOS,
		Labels: d.cfg.Labels, Version: d.cfg.Version,
	}
	for _, a := range d.mesh.Addresses() { // whose they are the status says already
		s.Addresses = append(s.Addresses, strings.TrimSuffix(a, "/p2p/"+string(d.id)))
	}
	s.Stacks, s.UnnamedStacks = protocol.Publish(d.stacks.holder.Published())
	g.mu.Lock()
	s.Speed = g.speed
	g.mu.Unlock()
	if d.runtime != nil {
		state := d.runtime.State()
		s.Draining, s.MissingLimits = state.Draining, d.cfg.Policy.MissingLimits(&state.Info)
		s.NotReady = state.Pending || state.Ready && s.Speed == 0
		if state.Ready && s.Speed > 0 {
			g.addWork(ctx, &s, &state)
		}
	}
	s.Interval = g.interval(s.Running+s.Queued == 0 && s.Alike(&g.published))
	g.mu.Lock()
	g.status = s
	g.mu.Unlock()
	d.view.UpdateStatus(s)
	return s
}

// addWork fills in what only a device that runs work has to tell.
func (g *gossip) addWork(ctx context.Context, s *protocol.Status, state *runtime.State) {
	m := g.d.machine
	s.Role = protocol.RoleNode
	s.CPUs, s.MemoryTotal = m.CPUs, m.Memory
	s.Running, s.Queued, s.Slots = state.Load.Running, state.Load.Queued, state.Load.Slots
	s.LongRunning, s.Youngest = state.Load.LongRunning, state.Load.Youngest
	s.CPUFree, s.MemoryFree = state.CPUFree, state.MemoryFree
	s.Drivers, s.Images, s.PullRate = []string{g.d.driver.Name()}, state.Images, state.PullRate
	if len(state.ImageSizes) == len(s.Images) { // of all or of none
		for _, size := range state.ImageSizes {
			s.ImageSizes = append(s.ImageSizes, protocol.SizeCode(size))
		}
	}
	if state.Info.Arch != "" {
		s.Arch, s.OS = state.Info.Arch, state.Info.OS
	}
	if sample, err := m.Sample(ctx, m.CPUs-state.CPUFree); err != nil {
		g.d.log.Debug("the machine could not be measured", "err", err)
	} else {
		s.CPUOthers, s.DiskFree = sample.CPUOthers, sample.DiskFree
		s.MemoryFree = min(s.MemoryFree, sample.MemoryAvailable)
		s.Temperature, s.Throttled = uint32(max(0, sample.Temperature)), sample.Throttled
	}
	s.Accelerators = g.d.cfg.Policy.Accelerators(m.Accelerators())
	s.Score = sched.DefaultParams().Rate(s)
}
