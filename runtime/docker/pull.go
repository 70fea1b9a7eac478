package docker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/distribution/reference"
	"github.com/docker/docker/api/types/image"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/hearth-edge/hearth/protocol"
)

const (
	// pullStall is for how long a pull may make no progress.
	pullStall = 60 * time.Second
	// progressPause is the least time between two reports of progress.
	progressPause = 100 * time.Millisecond
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

	mu       sync.Mutex // guards the rest
	progress protocol.Progress
	news     chan struct{} // closed when progress has changed
}

// Pull implements runtime.Driver.
func (d *Driver) Pull(ctx context.Context, ref string, progress func(protocol.Progress)) error {
	present, err := d.checkLocal(ctx, ref)
	if present || err != nil {
		return err
	}
	named, err := pullable(ref)
	if err != nil {
		return err
	}
	p := d.joinPull(ctx, named)
	defer d.leavePull(named, p)
	return p.await(ctx, progress)
}

// await reports progress until the fetch ends, or ctx.
func (p *pull) await(ctx context.Context, progress func(protocol.Progress)) error {
	var seen protocol.Progress
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

// checkLocal reports whether the image is present, and checks its platform.
func (d *Driver) checkLocal(ctx context.Context, ref string) (present bool, err error) {
	var found image.InspectResponse
	err = d.within(ctx, askTimeout, "look for image", func(ctx context.Context) error {
		var err error
		found, err = d.client.Load().ImageInspect(ctx, ref)
		present = err == nil
		if cerrdefs.IsNotFound(err) || cerrdefs.IsInvalidArgument(err) {
			return nil
		}
		return err
	})
	if err != nil || !present {
		return false, err
	}
	e, err := d.describe(ctx)
	if err != nil {
		return false, err
	}
	made := ocispec.Platform{OS: found.Os, Architecture: found.Architecture, Variant: found.Variant}
	if !runs(e.platform, made) {
		return true, protocol.Errorf(protocol.CodeImagePlatform,
			"the image %q is made for %s and this node is %s: use an image for that platform, or a node for this image (--constraint arch=%s)",
			ref, platformName(made), platformName(e.platform), made.Architecture)
	}
	return true, nil
}

// joinPull returns the fetch of the image, and starts it where there is none.
func (d *Driver) joinPull(ctx context.Context, named reference.Named) *pull {
	d.pulls.mu.Lock()
	defer d.pulls.mu.Unlock()
	p := d.pulls.running[named.String()]
	if p == nil {
		p = &pull{done: make(chan struct{}), news: make(chan struct{})}
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

func (p *pull) look() (protocol.Progress, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.progress, p.news
}

func (p *pull) report(progress protocol.Progress) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if progress == p.progress {
		return
	}
	p.progress = progress
	close(p.news)
	p.news = make(chan struct{})
}

// fetch has the engine pull the image and follows its account of that.
func (d *Driver) fetch(ctx context.Context, named reference.Named, p *pull) error {
	auth, err := d.credentials(ctx, named)
	if err != nil {
		d.cfg.Log.Warn("credentials for a registry not found", "registry", reference.Domain(named), "err", err)
	}
	stall := time.AfterFunc(d.stall, func() { p.cancel(errStalled) })
	defer stall.Stop()
	stream, err := d.client.Load().ImagePull(ctx, named.String(), image.PullOptions{RegistryAuth: auth})
	if err == nil {
		defer stream.Close()
		err = follow(stream, func(progress protocol.Progress) {
			stall.Reset(d.stall)
			p.report(progress)
		})
	}
	stall.Stop()
	if err != nil {
		return d.explainPull(ctx, named, err)
	}
	present, err := d.checkLocal(ctx, named.String())
	if err == nil && !present {
		return protocol.Errorf(protocol.CodePullFailed, "the image %q was fetched and is gone again: is something removing images on this node?", reference.FamiliarString(named))
	}
	return err
}

// explainPull says why an image could not be had. The engine tells it in words
// only, those of its own or of the registry.
func (d *Driver) explainPull(ctx context.Context, named reference.Named, err error) error {
	name, registry := reference.FamiliarString(named), reference.Domain(named)
	text := strings.ToLower(err.Error())
	says := func(words ...string) bool {
		for _, w := range words {
			if strings.Contains(text, w) {
				return true
			}
		}
		return false
	}
	switch {
	case errors.Is(context.Cause(ctx), errStalled):
		return protocol.Errorf(protocol.CodePullFailed, "fetching the image %q from %s came to a halt: no progress for %v. Check the node's network and try again", name, registry, d.stall)
	case ctx.Err() != nil || errors.Is(err, io.ErrUnexpectedEOF) || disconnected(err) || says("no space left on device"):
		return d.explain(ctx, "pull image", err)
	case says("no matching manifest"):
		return d.noPlatform(ctx, name)
	case says("unauthorized", "no basic auth credentials", "authentication required", "incorrect username or password"):
		return protocol.Errorf(protocol.CodePullFailed, "the registry %s wants a login before it hands out the image %q: run \"docker login %s\" on this node, as the user that runs hearth", registry, name, registry)
	case says("toomanyrequests", "too many requests"):
		return protocol.Errorf(protocol.CodePullFailed, "the registry %s has had too many requests from this node: try the image %q later, or log in with \"docker login %s\"", registry, name, registry)
	case says("pull access denied", "manifest unknown", "name unknown", "not found", "does not exist", "denied: "):
		return protocol.Errorf(protocol.CodeImageNotFound, "the image %q is neither on this node nor in the registry %s: check its name and tag; if it is private, run \"docker login %s\" on this node", name, registry, registry)
	case says("dial tcp", "no such host", "i/o timeout", "connection refused", "network is unreachable", "tls handshake", "client.timeout", "deadline exceeded", "request canceled while waiting"):
		return protocol.Errorf(protocol.CodeImageNotFound, "the image %q is not on this node, and the registry %s cannot be reached from it: check the node's network, or load the image there with \"docker load\"", name, registry)
	default:
		return protocol.Errorf(protocol.CodePullFailed, "the image %q could not be fetched from %s: %s", name, registry, message(err))
	}
}

// noPlatform is the error for an image that has no version for this machine.
func (d *Driver) noPlatform(ctx context.Context, name string) error {
	e, err := d.describe(ctx)
	if err != nil {
		return err
	}
	return protocol.Errorf(protocol.CodeImagePlatform, "the image %q has no version for %s, which this node is: use another image, or another node", name, platformName(e.platform))
}
