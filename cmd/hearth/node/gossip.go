package node

import (
	"context"
	"fmt"
	goruntime "runtime"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime/machine"
	"github.com/hearth-edge/hearth/sched"
)

const (
	// minBeat is how often a score is gossiped in a small mesh.
	minBeat = time.Second
	// beatPerDevice stretches the beat, so that what a node sends and receives
	// stays bounded: one message costs each node about 1.3 KB in and out together,
	// so 0.3 s for each device keeps it near 4 KB/s.
	beatPerDevice = 300 * time.Millisecond
)

// changesPerBeat bounds how often a change is gossiped at once; placement counts
// with it.
func changesPerBeat() time.Duration { return time.Duration(sched.DefaultParams().ChangesPerBeat) }

// beat is the time between two scores of a device in a mesh of that many.
func beat(devices int) time.Duration {
	return max(minBeat, time.Duration(devices)*beatPerDevice)
}

// gossip makes this device's score and publishes it: at its beat, and soon
// after the load, the images or the engine changed. What is measured only when a
// score is made, as the use of the processor by others, its temperature and what
// that takes away, is as old as the beat: nobody is told of each degree.
type gossip struct {
	n    *Node
	poke chan struct{}

	mu    sync.Mutex // guards speed and score
	speed float64    // 0 until measured
	score protocol.Score
}

func newGossip(n *Node) *gossip { return &gossip{n: n, poke: make(chan struct{}, 1)} }

// measure finds out the machine's speed, which takes a moment on first start:
// the device is in the mesh meanwhile, and runs work from then on.
func (g *gossip) measure(ctx context.Context) error {
	speed := g.n.cfg.Speed
	if speed == 0 && g.n.runtime != nil {
		var err error
		speed, err = machine.Benchmark(ctx, g.n.cfg.StateDir)
		if speed == 0 {
			return fmt.Errorf("measure this machine's speed: %w", err)
		}
		if err != nil {
			g.n.log.Warn("this machine's speed is measured anew at each start", "err", err)
		}
		debug.FreeOSMemory() // what measuring and starting took is not needed again
	}
	g.mu.Lock()
	g.speed = speed
	g.mu.Unlock()
	g.changed()
	return nil
}

// changed says that the score is out of date. It never blocks.
func (g *gossip) changed() {
	select {
	case g.poke <- struct{}{}:
	default: // a change is noted already
	}
}

// last returns the score composed last.
func (g *gossip) last() protocol.Score {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.score
}

// run publishes until ctx ends.
func (g *gossip) run(ctx context.Context) error {
	select {
	case <-g.n.mesh.Ready():
	case <-ctx.Done():
		return nil
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	var last time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		case <-g.poke:
			// Several changes close together go out as one.
			if wait := time.Until(last.Add(g.beat() / changesPerBeat())); wait > 0 {
				timer.Reset(wait)
				continue
			}
		}
		last = time.Now()
		g.publish(ctx)
		timer.Reset(g.n.mesh.Tick(g.beat()))
	}
}

func (g *gossip) beat() time.Duration { return beat(len(g.n.mesh.Peers()) + 1) }

func (g *gossip) publish(ctx context.Context) {
	score := g.compose(ctx)
	for _, p := range g.n.mesh.Peers() {
		g.n.view.RTT(p.ID, p.RTT)
	}
	if err := g.n.mesh.Publish(score); err != nil && ctx.Err() == nil {
		g.n.log.Warn("the score could not be gossiped", "err", err)
	}
}

// compose makes the score as things are now and puts it into the own view.
func (g *gossip) compose(ctx context.Context) protocol.Score {
	n := g.n
	s := protocol.Score{
		Node: n.id, Name: n.cfg.Name, Beat: g.beat(), Arch: goruntime.GOARCH, OS: goruntime.GOOS,
		Labels: n.cfg.Labels,
	}
	for _, a := range n.mesh.Addresses() { // whose they are the score says already
		s.Addresses = append(s.Addresses, strings.TrimSuffix(a, "/p2p/"+string(n.id)))
	}
	g.mu.Lock()
	s.Speed = g.speed
	g.mu.Unlock()
	if n.runtime != nil && s.Speed > 0 {
		g.addWork(ctx, &s)
	}
	g.mu.Lock()
	g.score = s
	g.mu.Unlock()
	n.view.Score(s)
	return s
}

// addWork fills in what only a device that runs work has to tell.
func (g *gossip) addWork(ctx context.Context, s *protocol.Score) {
	state := g.n.runtime.State()
	if !state.Ready {
		return
	}
	m := g.n.machine
	s.Role = protocol.RoleNode
	s.CPUs, s.MemoryTotal = m.CPUs, m.Memory
	s.Running, s.Queued, s.Slots = state.Load.Running, state.Load.Queued, state.Load.Slots
	s.CPUFree, s.MemoryFree = state.CPUFree, state.MemoryFree
	s.Drivers, s.Images, s.PullRate = []string{g.n.driver.Name()}, state.Images, state.PullRate
	if len(state.ImageSizes) == len(s.Images) { // of all or of none
		for _, size := range state.ImageSizes {
			s.ImageSizes = append(s.ImageSizes, protocol.SizeCode(size))
		}
	}
	if state.Info.Arch != "" {
		s.Arch, s.OS = state.Info.Arch, state.Info.OS
	}
	if sample, err := m.Sample(ctx, m.CPUs-state.CPUFree); err != nil {
		g.n.log.Debug("the machine could not be measured", "err", err)
	} else {
		s.CPUOthers, s.DiskFree = sample.CPUOthers, sample.DiskFree
		s.MemoryFree = min(s.MemoryFree, sample.MemoryAvailable)
		s.Temperature, s.Throttled = uint32(max(0, sample.Temperature)), sample.Throttled
	}
	s.Accelerators = g.n.cfg.Policy.Accelerators(m.Accelerators())
	s.Rating = sched.DefaultParams().Rate(s)
}
