package runtime

import (
	"context"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

const (
	// infoTimeout is how long the engine has to tell of itself.
	infoTimeout = 10 * time.Second
	// retryDelay is between two tries of what failed at the engine.
	retryDelay = time.Second
)

// State is what a Node tells of itself.
type State struct {
	// Ready says whether it runs work now; Reason says why not. Pending says that
	// this is not known yet: the engine is still to tell of itself.
	Ready, Pending bool
	Reason         string
	// Info is what the engine last told.
	Info Info
	// Load counts executions; its Slots are those of the default size.
	Load protocol.Load
	// CPUFree and MemoryFree are lent and not taken.
	CPUFree    protocol.Cores
	MemoryFree protocol.Bytes
	// Images holds the hashes of the references present, and ImageSizes how
	// much each takes on the disk.
	Images     []uint32
	ImageSizes []protocol.Bytes
	// Draining: it takes no new work; see Node.Drain.
	Draining bool
	// PullRate is how fast images were fetched lately, in bytes a second,
	// unpacking included; 0 is not known.
	PullRate protocol.Bytes
}

// engine is what is known of the driver's engine; the Node's mutex guards it.
type engine struct {
	// answers is what the driver's Watch last said.
	answers bool
	// losses counts how often it stopped answering.
	losses int
	// ready says that it answers, that what it runs is known, and that info is
	// fresh.
	ready bool
	// recovered stays true once it is known what the engine already ran.
	recovered bool
	// reason says why it is not ready; empty while nothing is known yet.
	reason string
	info   Info
	images []uint32
	// published holds the hashes of the references that a registry is known to
	// have.
	published map[uint32]bool
	// changed is closed, and replaced, whenever any of this changes.
	changed chan struct{}
}

// broadcast wakes who waits for the engine; n.mu is held.
func (n *Node) broadcast() {
	close(n.engine.changed)
	n.engine.changed = make(chan struct{})
}

// State returns a snapshot. The slices in it are not to be changed.
func (n *Node) State() State {
	n.mu.Lock()
	defer n.mu.Unlock()
	free := n.ledger.free()
	s := State{
		Ready:      n.engine.ready && !n.leaving,
		Reason:     n.engine.reason,
		Info:       n.engine.info,
		Load:       n.load(),
		CPUFree:    protocol.Cores(float64(free.cpu) / 1e9),
		MemoryFree: free.memory,
		Images:     n.engine.images,
		ImageSizes: n.engine.info.Sizes[:min(len(n.engine.info.Sizes), len(n.engine.images))],
		PullRate:   n.pulls.rate,
		Draining:   n.draining.on,
	}
	switch {
	case n.leaving:
		s.Reason = "the device shuts down"
	case !s.Ready && s.Reason == "":
		s.Pending = true
		s.Reason = "the container engine has not answered yet"
	}
	return s
}

// watchEngine learns from the driver when the engine comes, goes and changes.
func (n *Node) watchEngine(ctx context.Context) error {
	return n.cfg.Driver.Watch(ctx, n.engineUp, func() { notify(n.notifyEngine) })
}

func (n *Node) engineUp(up bool) {
	n.mu.Lock()
	was := n.engine.answers
	n.engine.answers = up
	n.engine.reason = ""
	if !up {
		n.engine.losses++
		n.engine.ready = false
		n.engine.reason = "the container engine does not answer: is it running?"
	}
	n.broadcast()
	n.mu.Unlock()
	if was != up {
		n.cfg.Log.Info("container engine", "answers", up)
	}
	if up {
		notify(n.notifyEngine)
	} else {
		n.changed()
	}
}

// askEngine keeps what is known of the engine fresh, until ctx ends.
func (n *Node) askEngine(ctx context.Context) {
	retry := time.NewTimer(retryDelay)
	retry.Stop()
	defer retry.Stop()
	for {
		select {
		case <-n.notifyEngine:
		case <-retry.C:
		case <-ctx.Done():
			return
		}
		if err := n.refreshEngine(ctx); err != nil && ctx.Err() == nil {
			n.cfg.Log.Warn("container engine does not tell of itself", "err", err)
			retry.Reset(retryDelay)
		}
	}
}

// refreshEngine asks the engine for what it is and has; when it has come back also for
// the containers there: the first time, those that were started are adopted.
func (n *Node) refreshEngine(ctx context.Context) error {
	n.mu.Lock()
	answering, recovered, ready := n.engine.answers, n.engine.recovered, n.engine.ready
	n.mu.Unlock()
	if !answering {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, infoTimeout)
	defer cancel()
	info, err := n.cfg.Driver.Info(ctx)
	var found []Recovered
	if err == nil && !ready {
		found, err = n.recover(ctx)
	}
	n.mu.Lock()
	switch {
	case err != nil:
		n.engine.ready = false
		n.engine.reason = "the container engine does not answer: " + publicText(err)
	default:
		if !recovered {
			n.adopt(found)
		}
		n.engine.recovered = !n.leaving
		n.engine.ready = n.engine.answers
		n.engine.info = info
		n.engine.images = hashes(info.Images)
		n.engine.published = publishedIn(&info)
		if n.engine.ready {
			n.engine.reason = ""
		}
	}
	n.broadcast()
	n.mu.Unlock()
	n.changed()
	return err
}

// engineBack waits until the engine answers, and at least a moment, so that
// whoever retries in a loop does so slowly. It returns ctx's error.
func (n *Node) engineBack(ctx context.Context) error {
	pause := time.NewTimer(retryDelay)
	defer pause.Stop()
	select {
	case <-pause.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	for {
		n.mu.Lock()
		answering, news := n.engine.answers, n.engine.changed
		n.mu.Unlock()
		if answering {
			return nil
		}
		select {
		case <-news:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// engineLosses returns how often the engine stopped answering.
func (n *Node) engineLosses() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.engine.losses
}

func hashes(images []string) []uint32 {
	images = images[:min(len(images), protocol.MaxStatusImages)]
	hashes := make([]uint32, len(images))
	for i, image := range images {
		hashes[i] = protocol.HashImage(image)
	}
	return hashes
}
