package sched

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

// ImageFacts is what can be known of an image without fetching it.
type ImageFacts struct {
	// Present says that this device's own engine has it: then all else is said
	// of that copy, and the registry may have others.
	Present bool
	// Fetch is how much a fetch moves, and Size how much the image takes on a
	// disk; 0 is not known.
	Fetch, Size protocol.Bytes
	// Platforms that it is made for: "linux/amd64", "linux/arm/v7". Empty is not
	// known, or any.
	Platforms []string
}

// runsOn reports whether the peer runs the image. If nobody knows, it may try.
// The registry says nothing about a copy on the node, and the copy here says
// nothing about a later fetch.
func (d *Demand) runsOn(peer *Peer) bool {
	f := &d.Facts
	if len(f.Platforms) == 0 || f.Present && !peer.Self || !f.Present && hasImage(peer.Status, d.Image) {
		return true
	}
	return slices.ContainsFunc(f.Platforms, func(platform string) bool { return runs(peer.Status, platform) })
}

// runs reports whether the device runs what is made for the platform. As docker
// does, it takes 386 on amd64 and arm on arm64. Statuses tell no variants of arm, so
// none is an obstacle: the node's own engine has the last word.
func runs(s *protocol.Status, platform string) bool {
	os, rest, _ := strings.Cut(platform, "/")
	arch, _, _ := strings.Cut(rest, "/")
	if os != s.OS {
		return false
	}
	switch arch {
	case s.Arch:
		return true
	case "386":
		return s.Arch == "amd64"
	case "arm":
		return s.Arch == "arm64"
	}
	return false
}

// platformsNamed is how many platforms a text names.
const platformsNamed = 4

// otherPlatform says why a device of another platform was left out.
func (f *ImageFacts) otherPlatform(s *protocol.Status) string {
	named := f.Platforms[:min(len(f.Platforms), platformsNamed)]
	text := fmt.Sprintf("is %s/%s, and the image is made for %s", s.OS, s.Arch, strings.Join(named, ", "))
	if more := len(f.Platforms) - len(named); more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// imageTable remembers what the engine and the registry tell of images. Its
// methods may be called concurrently.
type imageTable struct {
	inspect func(ctx context.Context, image string) (ImageFacts, error)
	clock   Clock
	params  *Params

	mu      sync.Mutex // guards known; never held across I/O
	lookups map[string]*imageLookup
}

// imageLookup is one question, with its answer once done is closed.
type imageLookup struct {
	done  chan struct{}
	facts ImageFacts
	// until is how long the answer counts; zero while there is none.
	until time.Duration
}

func newImageTable(cfg *Config) *imageTable {
	return &imageTable{inspect: cfg.Inspect, clock: cfg.Clock, params: &cfg.Params, lookups: make(map[string]*imageLookup)}
}

// facts returns what is known of the image, or can be found out soon: nothing
// where ctx ends, or nobody tells in time. Those who ask for the same image at the
// same time wait for one answer.
func (t *imageTable) facts(ctx context.Context, image string) ImageFacts {
	ctx, cancel := context.WithTimeout(ctx, t.params.ImageTimeout)
	defer cancel()
	look, mine := t.lookup(image)
	switch {
	case look == nil:
		return ImageFacts{}
	case mine:
		t.ask(ctx, image, look)
	}
	select {
	case <-look.done:
		return look.facts
	case <-ctx.Done():
		return ImageFacts{}
	}
}

// cached returns the answer that there is already, and that counts still.
func (t *imageTable) cached(image string) (facts ImageFacts, known bool) {
	now := t.clock()
	t.mu.Lock()
	defer t.mu.Unlock()
	if look := t.lookups[image]; look != nil && now < look.until {
		return look.facts, true
	}
	return ImageFacts{}, false
}

// lookup returns the lookup of the image, and whether it is the caller's to ask;
// nil where so many are under way that there is no room for another one.
func (t *imageTable) lookup(image string) (look *imageLookup, mine bool) {
	now := t.clock()
	t.mu.Lock()
	defer t.mu.Unlock()
	if look := t.lookups[image]; look != nil && (look.until == 0 || now < look.until) {
		return look, false
	}
	delete(t.lookups, image)
	if !t.makeRoom() {
		return nil, false
	}
	look = &imageLookup{done: make(chan struct{})}
	t.lookups[image] = look
	return look, true
}

// makeRoom forgets the answer that would be out of date first, where there are
// too many, and reports whether there is room.
func (t *imageTable) makeRoom() bool {
	if len(t.lookups) < t.params.MaxImageFacts {
		return true
	}
	first, oldest := "", time.Duration(0)
	for image, look := range t.lookups {
		if look.until != 0 && (oldest == 0 || look.until < oldest) {
			first, oldest = image, look.until
		}
	}
	delete(t.lookups, first)
	return oldest != 0
}

// ask finds the answer. That of one who did not wait for it is not kept.
func (t *imageTable) ask(ctx context.Context, image string, look *imageLookup) {
	facts, err := t.inspect(ctx, image)
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.clock()
	switch {
	case err == nil:
		look.facts, look.until = facts, now+t.params.ImageFactsTTL
	case errors.Is(ctx.Err(), context.Canceled):
		delete(t.lookups, image)
	default:
		look.until = now + t.params.ImageRetryInterval
	}
	close(look.done)
}

// demand returns what placing the service needs to know of it. It asks the engine
// or the registry about the image, for Params.ImageTimeout at most, where the answer
// can make a difference.
func (o *Orchestrator) demand(ctx context.Context, service *protocol.Service) Demand {
	d, whole := o.demandAtOnce(service)
	if !whole {
		d.learn(o.images.facts(ctx, service.Image), &o.cfg.Params)
	}
	return d
}

// demandAtOnce is demand without asking anybody; whole says that there is nobody
// to ask, or no need to.
func (o *Orchestrator) demandAtOnce(service *protocol.Service) (d Demand, whole bool) {
	d = o.cfg.View.Demand(service)
	if service.Pull == protocol.PullNever {
		// No registry is asked. Where no node is known to have the image, each one
		// is: a status does not tell all images, nor the very latest.
		d.NoFetch = o.cfg.View.holds(d.Image)
		return d, true
	}
	if o.cfg.Inspect == nil || !o.cfg.View.unsure(&d) {
		return d, true
	}
	facts, known := o.images.cached(service.Image)
	if known {
		d.learn(facts, &o.cfg.Params)
	}
	return d, known
}

// learn takes in what is known of the image.
func (d *Demand) learn(f ImageFacts, p *Params) {
	d.Facts = f
	switch {
	case d.Fetch != 0:
	case f.Fetch != 0:
		d.Fetch = f.Fetch
	default:
		d.Fetch = p.moved(f.Size)
	}
}

// holds reports whether some node tells that it has the image.
func (v *View) holds(image uint32) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, dev := range v.list {
		if dev.status != nil && hasImage(dev.status, image) {
			return true
		}
	}
	return false
}

// unsure reports whether more should be known of the image than the statuses tell:
// there is a node that has it not, and either none has it, or none tells its
// size, or the nodes are of several platforms.
func (v *View) unsure(d *Demand) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	var first *protocol.Status
	lacking, several := false, false
	for _, dev := range v.list {
		s := dev.status
		if s == nil || s.Role != protocol.RoleNode {
			continue
		}
		if first == nil {
			first = s
		}
		several = several || s.Arch != first.Arch || s.OS != first.OS
		lacking = lacking || !hasImage(s, d.Image)
	}
	return lacking && (d.Fetch == 0 || several)
}
