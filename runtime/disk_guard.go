package runtime

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

// How the disk that the engine writes to is watched while something runs or is
// fetched. What is free costs a system call to find out; what one container has
// written means walking through its files, so that is only asked where the disk
// became fuller.
const (
	// diskInterval is the longest time between two looks, minDiskInterval the
	// shortest; limitedInterval is the longest where the owner limits what one
	// container may write.
	diskInterval    = 2 * time.Second
	limitedInterval = 500 * time.Millisecond
	minDiskInterval = 100 * time.Millisecond
	// fastestWriter is what a container is taken to write in a second at most:
	// the next look comes before it could reach the reserve.
	fastestWriter protocol.Bytes = 1 << 30
	// minFell is by how much the disk became fuller before it is asked who wrote
	// that, and minGrown what one must have written to be ended for it: the rest
	// may be anybody's.
	minFell  protocol.Bytes = 64 << 20
	minGrown protocol.Bytes = 16 << 20
	// growthWindow is over how long what one has written counts as its growth.
	growthWindow = time.Minute
	// remeasureInterval is after how long it is asked again where the owner limits what one
	// may write, should the disk be as full as before: another may have freed as
	// much.
	remeasureInterval = 30 * time.Second
	// measureTimeout bounds one round of measuring, and minMeasurePause is how many
	// times as long as a round took it rests before the next.
	measureTimeout  = 30 * time.Second
	minMeasurePause = 4
	// cleanupTimeout is how long the engine has to remove what was ended before
	// another container is ended, while half of the reserve is left.
	cleanupTimeout = 5 * time.Second
)

// guardDisk keeps what runs and what is fetched here from filling the engine's
// disk, until ctx ends.
func (n *Node) guardDisk(ctx context.Context) {
	for {
		select {
		case <-n.notifyDisk:
			g := diskGuard{node: n, written: make(map[*execution]*written)}
			g.watch(ctx)
		case <-ctx.Done():
			return
		}
	}
}

// diskGuard is the watch over one time in which something runs.
type diskGuard struct {
	node     *Node
	measured protocol.Bytes // free when it was last asked who wrote
	when     time.Time      // that was
	rest     time.Time      // until when nothing is measured
	cleanup  time.Time      // until when what was fetched may be removed
	written  map[*execution]*written
	noted    bool // that nobody here fills the disk was logged
}

// written is what one container has on the disk.
type written struct {
	base, latest protocol.Bytes
	since        time.Time // when base was
}

// watch returns when nothing runs any more.
func (g *diskGuard) watch(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		fetching, running := g.node.writers()
		if len(fetching)+len(running) == 0 {
			return
		}
		free := g.node.room(ctx)
		if free == unbounded { // elsewhere, or it does not tell
			timer.Reset(diskInterval)
			continue
		}
		g.look(ctx, free.Bytes, fetching, running)
		timer.Reset(g.pause(free.Bytes))
	}
}

// pause returns when to look again: before the reserve could be reached.
func (g *diskGuard) pause(free protocol.Bytes) time.Duration {
	longest := diskInterval
	if g.node.cfg.Policy.MaxDisk > 0 {
		longest = limitedInterval
	}
	if free <= DiskReserve {
		return minDiskInterval
	}
	seconds := float64(free-DiskReserve) / float64(fastestWriter)
	return max(min(time.Duration(seconds*float64(time.Second)), longest), minDiskInterval)
}

// look ends what would fill the disk.
func (g *diskGuard) look(ctx context.Context, free protocol.Bytes, fetching, running []*execution) {
	now, limit := time.Now(), g.node.cfg.Policy.MaxDisk
	low := free < DiskReserve
	if low && len(fetching) > 0 {
		for _, e := range fetching {
			e.cancelFetch(protocol.Errorf(protocol.CodeDiskFull, "fetching the image %q was ended: it left %v where the container engine keeps images, and %v are kept free: make room, for example with \"docker system prune\"",
				e.spec.Image, free, DiskReserve))
		}
		g.cleanup = now.Add(cleanupTimeout)
		return
	}
	if g.measured == 0 || free > g.measured {
		g.measured = free
	}
	step := minFell
	if limit > 0 {
		step = min(step, limit/8)
	}
	fell := g.measured-free >= step || limit > 0 && (now.Sub(g.when) >= remeasureInterval && free != g.measured ||
		slices.ContainsFunc(running, func(e *execution) bool { return g.written[e] == nil }))
	if !fell && !low || now.Before(g.rest) || now.Before(g.cleanup) && free > DiskReserve/2 {
		return
	}
	if low && g.noted && !fell { // as before: nothing here fills it
		return
	}
	g.measure(ctx, running)
	g.measured, g.when = free, now
	g.rest = time.Now().Add(minMeasurePause * time.Since(now))
	if limit > 0 {
		g.endLarge(running, limit)
	}
	if low {
		if g.endGrown(running, free) {
			g.cleanup = time.Now().Add(cleanupTimeout)
		}
	} else {
		g.noted = false
	}
}

// measure asks what each has written.
func (g *diskGuard) measure(ctx context.Context, running []*execution) {
	ctx, cancel := context.WithTimeout(ctx, measureTimeout)
	defer cancel()
	now := time.Now()
	all := make(map[*execution]*written, len(running))
	for _, e := range running {
		size, err := g.node.cfg.Driver.Written(ctx, e.spec.ID)
		w := g.written[e]
		switch {
		case err != nil:
			if !errors.Is(err, ErrNotFound) {
				g.node.cfg.Log.Debug("what a container has written is not known", "request", e.spec.ID.Request, "err", err)
			}
			continue
		case w == nil && now.Sub(e.writingSince()) > growthWindow: // how fast it grew is not known
			w = &written{base: size, since: now}
		case w == nil:
			w = &written{since: now}
		case now.Sub(w.since) > growthWindow:
			w.base, w.since = w.latest, now
		}
		w.latest = size
		all[e] = w
	}
	g.written = all
}

// endLarge ends what has written more than its owner allows.
func (g *diskGuard) endLarge(running []*execution, limit protocol.Bytes) {
	for _, e := range running {
		if w := g.written[e]; w != nil && w.latest > limit {
			e.endForDisk(protocol.Errorf(protocol.CodeDiskFull, "ended: it has written %v, and this node allows a container %v (max_disk in its owner's policy)", w.latest, limit))
		}
	}
}

// endGrown ends what grew most, and reports whether anything did. Where nothing here did, the disk is filled by
// something else, and nothing is ended.
func (g *diskGuard) endGrown(running []*execution, free protocol.Bytes) bool {
	var most *execution
	var grown protocol.Bytes
	for _, e := range running {
		if w := g.written[e]; w != nil && w.latest > w.base && w.latest-w.base > grown {
			most, grown = e, w.latest-w.base
		}
	}
	if grown < minGrown {
		if !g.noted {
			g.noted = true
			g.node.cfg.Log.Warn("the disk of the container engine is nearly full, and no container here fills it", "free", free)
		}
		return false
	}
	e := most
	g.node.cfg.Log.Warn("ended, since it fills the disk of the container engine", "request", e.spec.ID.Request, "attempt", e.spec.ID.Attempt,
		"written", g.written[e].latest, "free", free)
	e.endForDisk(protocol.Errorf(protocol.CodeDiskFull, "ended: it has written %v, and %v are left on the disk of the container engine, of which %v are kept free",
		g.written[e].latest, free, DiskReserve))
	return true
}

// writers returns the executions whose images are being fetched, and those whose
// containers may run.
func (n *Node) writers() (fetching, running []*execution) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, e := range n.executions {
		switch e.writes() {
		case writesImage:
			fetching = append(fetching, e)
		case writesFiles:
			running = append(running, e)
		}
	}
	return fetching, running
}

// writing is what an execution writes to the engine's disk.
type writing uint8

const (
	writeNone writing = iota
	writesImage
	writesFiles
)

// diskUse is what the guard knows of an execution; the execution's mutex guards it.
type diskUse struct {
	writing writing
	since   time.Time               // it writes so; zero where it was adopted
	cancel  context.CancelCauseFunc // of the fetch
	full    error                   // why the guard ended it
}

func (e *execution) writes() writing {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.disk.full != nil {
		return writeNone
	}
	return e.disk.writing
}

// setWriting says what the execution writes from now on; cancel is of a fetch.
func (e *execution) setWriting(w writing, cancel context.CancelCauseFunc) {
	e.mu.Lock()
	e.disk.writing, e.disk.cancel = w, cancel
	if !e.adopted {
		e.disk.since = time.Now()
	}
	e.mu.Unlock()
	if w != writeNone {
		notify(e.node.notifyDisk)
	}
}

func (e *execution) writingSince() time.Time {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.disk.since
}

func (e *execution) cancelFetch(why error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.disk.cancel != nil {
		e.disk.cancel(why)
	}
}

// endForDisk kills the container; it then ends with why.
func (e *execution) endForDisk(why error) {
	e.mu.Lock()
	e.disk.full = why
	e.mu.Unlock()
	e.stop(0)
}

// filled returns why the guard ended it, nil where it did not.
func (e *execution) filled() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.disk.full
}
