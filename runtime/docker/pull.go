package docker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/distribution/reference"
	"github.com/docker/docker/api/types/image"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime"
)

const (
	// pullStall is for how long a pull may make no progress.
	pullStall = 60 * time.Second
	// progressPause is the least time between two reports of progress.
	progressPause = 100 * time.Millisecond
	// pullTries is how often a fetch is tried whose failure may pass. The first
	// pause is pullPause, the next twice that. No try begins later than
	// pullPatience after something came last. The engine itself tries single
	// layers again.
	pullTries    = 3
	pullPause    = 2 * time.Second
	pullPatience = 30 * time.Second
)

var errStalled = errors.New("no progress")

// pulls are the fetches under way, by image: whoever asks for an image that is
// being fetched joins in.
type pulls struct {
	mu      sync.Mutex
	running map[string]*pull
}

// pull is one fetch. It goes on while somebody waits for it.
type pull struct {
	cancel  context.CancelCauseFunc
	waiters int           // guarded by pulls.mu
	done    chan struct{} // closed when err is set
	err     error

	// These belong to the goroutine that fetches.
	layers map[string]*layer
	moved  time.Time // when something came last

	mu   sync.Mutex // guards the rest
	step runtime.PullStep
	news chan struct{} // closed when step has changed
}

// Pull implements runtime.Driver.
func (d *Driver) Pull(ctx context.Context, ref string, progress func(runtime.PullStep)) error {
	_, present, err := d.checkLocal(ctx, ref)
	if present || err != nil {
		return err
	}
	return d.PullAlways(ctx, ref, progress)
}

// PullAlways implements runtime.Driver.
func (d *Driver) PullAlways(ctx context.Context, ref string, progress func(runtime.PullStep)) error {
	named, err := pullable(ref)
	if err != nil {
		return err
	}
	if err := d.mayAsk(ctx, named); err != nil {
		return err
	}
	p := d.joinPull(ctx, named)
	defer d.leavePull(named, p)
	return p.await(ctx, progress)
}

// await reports progress until the fetch ends, or ctx.
func (p *pull) await(ctx context.Context, progress func(runtime.PullStep)) error {
	var seen runtime.PullStep
	look := func() <-chan struct{} {
		now, news := p.look()
		if now != seen && progress != nil {
			progress(now)
		}
		seen = now
		return news
	}
	pause := time.NewTicker(progressPause)
	defer pause.Stop()
	for {
		var moment <-chan time.Time
		news := look()
		select {
		case <-news:
			moment = pause.C
		case <-p.done:
		case <-ctx.Done():
		}
		select {
		case <-moment:
		case <-p.done:
			look()
			return p.err
		case <-ctx.Done():
			return fmt.Errorf("pull image: %w", ctx.Err())
		}
	}
}

// pullable returns ref in full, where it names something in a registry.
func pullable(ref string) (reference.Named, error) {
	any, err := reference.ParseAnyReference(ref)
	if err != nil {
		return nil, protocol.Errorf(protocol.CodeInvalid, "%q is not an image's name: write it as NAME[:TAG], REGISTRY/NAME[:TAG] or NAME@sha256:DIGEST, in small letters", ref)
	}
	named, ok := any.(reference.Named)
	if !ok {
		return nil, protocol.Errorf(protocol.CodeImageNotFound, "no image with the ID %s is on this node, and an ID alone cannot be fetched: name the image as NAME:TAG or NAME@sha256:DIGEST", ref)
	}
	return reference.TagNameOnly(named), nil
}

// local returns the engine's own image; ok is false where there is none.
func (d *Driver) local(ctx context.Context, ref string) (found image.InspectResponse, ok bool, err error) {
	err = d.within(ctx, askTimeout, "look for image", func(ctx context.Context) error {
		var err error
		found, err = d.client.Load().ImageInspect(ctx, ref)
		ok = err == nil
		if cerrdefs.IsNotFound(err) || cerrdefs.IsInvalidArgument(err) {
			return nil
		}
		return err
	})
	return found, ok && err == nil, err
}

// checkLocal reports whether the image is present, and checks its platform.
func (d *Driver) checkLocal(ctx context.Context, ref string) (found image.InspectResponse, present bool, err error) {
	found, present, err = d.local(ctx, ref)
	if err != nil || !present {
		return found, false, err
	}
	e, err := d.describe(ctx)
	if err != nil {
		return found, false, err
	}
	made := ocispec.Platform{OS: found.Os, Architecture: found.Architecture, Variant: found.Variant}
	if !runs(e.platform, made) {
		return found, true, protocol.Errorf(protocol.CodeImagePlatform,
			"the image %q is made for %s and this node is %s: use an image for that platform, or a node for this image (--constraint arch=%s)",
			ref, platformName(made), platformName(e.platform), made.Architecture)
	}
	return found, true, nil
}

// Image implements runtime.Driver.
func (d *Driver) Image(ctx context.Context, ref string) (runtime.LocalImage, error) {
	found, ok, err := d.local(ctx, ref)
	if err != nil || !ok {
		return runtime.LocalImage{}, cmp.Or(err, runtime.ErrNotFound)
	}
	_, err = d.describe(ctx)
	return runtime.LocalImage{ID: d.imageID(found.ID), Published: published(ref, found.RepoDigests)}, err
}

// imageID returns an image's ID where the engine is known to tell the digest of
// its config.
func (d *Driver) imageID(id string) protocol.ImageID {
	if e := d.engine.Load(); e == nil || !e.configIDs {
		return ""
	}
	parsed, err := protocol.ParseImageID(id)
	if err != nil {
		return ""
	}
	return parsed
}

// published reports whether a registry is known to have what goes by the
// reference: digests are those that registries have told.
func published(ref string, digests []string) bool {
	named, err := reference.ParseNormalizedNamed(ref)
	if err != nil {
		return false
	}
	return slices.ContainsFunc(digests, func(digest string) bool {
		at, err := reference.ParseNormalizedNamed(digest)
		return err == nil && at.Name() == named.Name()
	})
}

// joinPull returns the fetch of the image, and starts it where there is none.
func (d *Driver) joinPull(ctx context.Context, named reference.Named) *pull {
	d.pulls.mu.Lock()
	defer d.pulls.mu.Unlock()
	p := d.pulls.running[named.String()]
	if p == nil {
		p = &pull{done: make(chan struct{}), news: make(chan struct{}), layers: make(map[string]*layer)}
		var pullCtx context.Context
		pullCtx, p.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
		d.pulls.running[named.String()] = p
		d.background.Go(func() {
			p.err = d.fetch(pullCtx, named, p)
			d.forgetPull(named, p)
			close(p.done)
		})
	}
	p.waiters++
	return p
}

// leavePull ends the fetch when nobody waits for it any more.
func (d *Driver) leavePull(named reference.Named, p *pull) {
	d.pulls.mu.Lock()
	p.waiters--
	unwanted := p.waiters == 0
	d.pulls.mu.Unlock()
	if unwanted {
		d.forgetPull(named, p)
		p.cancel(context.Canceled)
	}
}

// forgetPull makes the next one who asks start anew.
func (d *Driver) forgetPull(named reference.Named, p *pull) {
	d.pulls.mu.Lock()
	defer d.pulls.mu.Unlock()
	if d.pulls.running[named.String()] == p {
		delete(d.pulls.running, named.String())
	}
}

func (s *pulls) cancelAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.running {
		p.cancel(context.Canceled)
	}
}

func (p *pull) look() (runtime.PullStep, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.step, p.news
}

func (p *pull) report(progress protocol.Progress) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if progress == p.step.Progress {
		return
	}
	p.moved = time.Now()
	p.tell(runtime.PullStep{Progress: progress})
}

func (p *pull) retry(why string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tell(runtime.PullStep{Progress: p.step.Progress, Retry: why})
}

// tell wakes who waits for news; p.mu is held.
func (p *pull) tell(step runtime.PullStep) {
	p.step = step
	close(p.news)
	p.news = make(chan struct{})
}

// fetch has the engine pull the image. What may pass is tried again.
func (d *Driver) fetch(ctx context.Context, named reference.Named, p *pull) error {
	p.moved = time.Now()
	for try := 1; ; try++ {
		err := d.fetchOnce(ctx, named, p)
		passing, ok := errors.AsType[*passingError](err)
		if !ok {
			return err
		}
		pause := d.pause << (try - 1)
		if try == pullTries || time.Since(p.moved)+pause > pullPatience {
			return protocol.Errorf(passing.public.Code, "%s (tries: %d)", passing.public.Message, try)
		}
		d.cfg.Log.Warn("image is to be fetched again", "image", named.String(), "try", try+1, "err", err)
		p.retry(fmt.Sprintf("try %d of %d: %s", try+1, pullTries, passing.public.Message))
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return fmt.Errorf("pull image: %w", ctx.Err())
		}
	}
}

// fetchOnce has the engine pull the image and follows its account of that. An
// error that may be gone in a moment is a *passingError.
func (d *Driver) fetchOnce(ctx context.Context, named reference.Named, p *pull) error {
	auth := d.authorization(ctx, named)
	// It may last, so it has no deadline; but it, too, ends when the engine hangs.
	defer d.calls.remove(d.calls.add(p.cancel))
	stall := time.AfterFunc(d.stall, func() { p.cancel(errStalled) })
	defer stall.Stop()
	stream, err := d.client.Load().ImagePull(ctx, named.String(), image.PullOptions{RegistryAuth: auth})
	if err == nil {
		defer stream.Close()
		err = follow(stream, p.layers, func(progress protocol.Progress) {
			stall.Reset(d.stall)
			p.report(progress)
		})
	}
	stall.Stop()
	if err != nil {
		return d.explainPull(ctx, named, err)
	}
	_, present, err := d.checkLocal(ctx, named.String())
	if err == nil && !present {
		return protocol.Errorf(protocol.CodePullFailed, "the image %q was fetched and is gone again: is something removing images on this node?", reference.FamiliarString(named))
	}
	return err
}
