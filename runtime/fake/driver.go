package fake

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime"
)

// pullSteps is how often a pull reports progress.
const pullSteps = 10

// Driver is a runtime.Driver on an Engine.
type Driver struct {
	engine *Engine
	mesh   string
	node   protocol.PeerID
}

var _ runtime.Driver = (*Driver)(nil)

// Driver connects a node of a mesh to the engine. Two of the same node have
// the same containers.
func (e *Engine) Driver(mesh string, node protocol.PeerID) *Driver {
	return &Driver{engine: e, mesh: mesh, node: node}
}

// Name implements runtime.Driver.
func (d *Driver) Name() string { return "fake" }

// Close implements runtime.Driver.
func (d *Driver) Close() error { return nil }

func (d *Driver) key(id runtime.ExecutionID) key { return key{d.mesh, d.node, id} }

// ask fails where the engine is down or the caller gone.
func (d *Driver) ask(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if state, _ := d.engine.look(); state.down {
		return protocol.Errorf(protocol.CodeEngineDown, "the fake engine does not answer: it was told so")
	}
	return nil
}

// find returns an execution's container.
func (d *Driver) find(ctx context.Context, id runtime.ExecutionID) (*container, error) {
	if err := d.ask(ctx); err != nil {
		return nil, err
	}
	return d.lookUp(id)
}

func (d *Driver) lookUp(id runtime.ExecutionID) (*container, error) {
	d.engine.mu.Lock()
	defer d.engine.mu.Unlock()
	if c := d.engine.containers[d.key(id)]; c != nil {
		return c, nil
	}
	return nil, runtime.ErrNotFound
}

// Info implements runtime.Driver.
func (d *Driver) Info(ctx context.Context) (runtime.Info, error) {
	if err := d.ask(ctx); err != nil {
		return runtime.Info{}, err
	}
	info := runtime.Info{
		Version:       "fake",
		Arch:          d.engine.cfg.Arch,
		OS:            d.engine.cfg.OS,
		TellsImageIDs: !d.engine.cfg.NoImageIDs,
		NoLimits:      d.engine.cfg.NoLimits,
	}
	d.engine.present(&info)
	return info, nil
}

// Watch implements runtime.Driver.
func (d *Driver) Watch(ctx context.Context, up func(bool), changed func()) error {
	was := engineState{down: true}
	for first := true; ; first = false {
		now, news := d.engine.look()
		if now.down && (first || !was.down) {
			up(false)
		}
		if !now.down {
			if !first && !was.down && now.starts != was.starts {
				up(false)
			}
			if was.down || now.starts != was.starts {
				up(true)
				changed()
			} else if now.images != was.images {
				changed()
			}
		}
		was = now
		select {
		case <-news:
		case <-ctx.Done():
			return nil
		}
	}
}

// Logins implements runtime.Driver.
func (d *Driver) Logins() []string { return nil }

// Image implements runtime.Driver.
func (d *Driver) Image(ctx context.Context, ref string) (runtime.LocalImage, error) {
	if err := d.ask(ctx); err != nil {
		return runtime.LocalImage{}, err
	}
	image, ok := d.engine.image(ref)
	if !ok || image.Absent {
		return runtime.LocalImage{}, runtime.ErrNotFound
	}
	found := runtime.LocalImage{Published: image.ID == ""}
	if !d.engine.cfg.NoImageIDs {
		found.ID = image.id(ref)
	}
	return found, nil
}

// id returns the image's ID: one that is made of its name where it has none.
func (i *Image) id(ref string) protocol.ImageID {
	if i.ID != "" {
		return i.ID
	}
	return protocol.ImageID(fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(ref))))
}

// Inspect implements runtime.Driver. It takes no time.
func (d *Driver) Inspect(ctx context.Context, ref string) (runtime.ImageFacts, error) {
	if err := d.ask(ctx); err != nil {
		return runtime.ImageFacts{}, err
	}
	image, ok := d.engine.image(ref)
	if !ok {
		return runtime.ImageFacts{}, errNoImage(ref)
	}
	facts := runtime.ImageFacts{Present: !image.Absent, Size: image.Size, Compressed: image.Absent}
	if image.OS != "" && image.Arch != "" {
		facts.Platforms = []string{image.OS + "/" + image.Arch}
	}
	return facts, nil
}

// Pull implements runtime.Driver. A failure that the image asks for is final:
// the fake engine has tried often enough.
func (d *Driver) Pull(ctx context.Context, ref string, progress func(runtime.PullStep)) error {
	e := d.engine
	var pause time.Duration
	for {
		if err := d.ask(ctx); err != nil {
			return err
		}
		left, image, err := e.pull(ref)
		if err != nil {
			return err
		}
		if left <= 0 {
			return e.checkPlatform(ref, image)
		}
		if pause == 0 {
			pause = max(left/pullSteps, 1)
		} else if progress != nil {
			done := 1 - float64(left)/float64(image.Pull)
			progress(runtime.PullStep{Progress: protocol.Progress{
				Current: protocol.Bytes(max(0, done) * float64(image.Size)),
				Total:   image.Size,
				Layers:  1,
			}})
		}
		select {
		case <-time.After(min(pause, left)):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// PullAlways implements runtime.Driver: what is present is fetched again, by
// whoever comes first.
func (d *Driver) PullAlways(ctx context.Context, ref string, progress func(runtime.PullStep)) error {
	if err := d.ask(ctx); err != nil {
		return err
	}
	d.engine.mu.Lock()
	if image := d.engine.images[ref]; image != nil && !image.Absent {
		image.ready = time.Now().Add(image.Pull)
		image.Absent = true
	}
	d.engine.mu.Unlock()
	return d.Pull(ctx, ref, progress)
}

func errNoImage(ref string) error {
	return protocol.Errorf(protocol.CodeImageNotFound, "the fake engine has no image %q: name one that it was made with", ref)
}

// pull returns how long the fetch of an image still takes, and begins it
// where it is absent. Whoever asks later waits for the same end.
func (e *Engine) pull(ref string) (time.Duration, Image, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	image := e.images[ref]
	switch {
	case image == nil:
		return 0, Image{}, errNoImage(ref)
	case !image.Absent:
		return 0, image.Image, nil
	case image.ready.IsZero():
		image.ready = time.Now().Add(image.Pull)
	}
	if left := time.Until(image.ready); left > 0 {
		return left, image.Image, nil
	}
	image.ready = time.Time{}
	if image.Fail != nil {
		return 0, image.Image, image.Fail
	}
	image.Absent = false
	e.state.images++
	e.announce()
	return 0, image.Image, nil
}

func (e *Engine) checkPlatform(ref string, image Image) error {
	if image.Arch != "" && image.Arch != e.cfg.Arch || image.OS != "" && image.OS != e.cfg.OS {
		return protocol.Errorf(protocol.CodeImagePlatform, "the image %q is made for %s/%s and this node is %s/%s", ref, image.OS, image.Arch, e.cfg.OS, e.cfg.Arch)
	}
	return nil
}

// Create implements runtime.Driver.
func (d *Driver) Create(ctx context.Context, spec runtime.Spec) (string, runtime.Stdio, error) {
	if err := d.ask(ctx); err != nil {
		return "", runtime.Stdio{}, err
	}
	e := d.engine
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.containers[d.key(spec.ID)] != nil {
		return "", runtime.Stdio{}, runtime.ErrExists
	}
	if image := e.images[spec.Image]; image == nil || image.Absent {
		return "", runtime.Stdio{}, protocol.Errorf(protocol.CodeImageNotFound, "the image %q is not on this node", spec.Image)
	}
	if err := e.checkPlatform(spec.Image, e.images[spec.Image].Image); err != nil {
		return "", runtime.Stdio{}, err
	}
	if id := e.images[spec.Image].id(spec.Image); spec.ImageID != "" && !e.cfg.NoImageIDs && spec.ImageID != id {
		return "", runtime.Stdio{}, runtime.ErrImageMismatch(spec.Image, id, spec.ImageID)
	}
	e.created++
	c := newContainer(fmt.Sprintf("fake-%08d", e.created), spec, e.cfg.Speed, e.images[spec.Image].StopSignal)
	e.containers[d.key(spec.ID)] = c
	stdio := runtime.Stdio{Output: c.output.reader(true)}
	if spec.Stdin {
		stdio.Stdin = c.stdinWriter
	}
	return c.name, stdio, nil
}

// Start implements runtime.Driver.
func (d *Driver) Start(ctx context.Context, id runtime.ExecutionID) error {
	c, err := d.find(ctx, id)
	if err != nil {
		return err
	}
	return d.engine.start(c)
}

// Attach implements runtime.Driver. The last MiB of the output is kept.
func (d *Driver) Attach(ctx context.Context, id runtime.ExecutionID) (runtime.Stdio, error) {
	c, err := d.find(ctx, id)
	if err != nil {
		return runtime.Stdio{}, err
	}
	return runtime.Stdio{Output: c.output.reader(false)}, nil
}

// Wait implements runtime.Driver.
func (d *Driver) Wait(ctx context.Context, id runtime.ExecutionID) (runtime.Exit, error) {
	if err := d.engine.available(ctx); err != nil {
		return runtime.Exit{}, err
	}
	c, err := d.lookUp(id)
	if err != nil {
		return runtime.Exit{}, err
	}
	select {
	case <-c.ended:
	case <-c.removed:
		return runtime.Exit{}, runtime.ErrNotFound
	case <-ctx.Done():
		return runtime.Exit{}, ctx.Err()
	}
	// The news comes from an engine that answers.
	if err := d.engine.available(ctx); err != nil {
		return runtime.Exit{}, err
	}
	return c.exit, c.unstartable
}

// Signal implements runtime.Driver.
func (d *Driver) Signal(ctx context.Context, id runtime.ExecutionID, signal string) error {
	c, err := d.find(ctx, id)
	if err != nil {
		return err
	}
	c.signal(cmp.Or(signal, c.stopSignal, "TERM"))
	return nil
}

// Resize implements runtime.Driver.
func (d *Driver) Resize(ctx context.Context, id runtime.ExecutionID, rows, columns uint16) error {
	c, err := d.find(ctx, id)
	if err != nil {
		return err
	}
	c.resize(rows, columns)
	return nil
}

// Written implements runtime.Driver.
func (d *Driver) Written(ctx context.Context, id runtime.ExecutionID) (protocol.Bytes, error) {
	c, err := d.find(ctx, id)
	if err != nil {
		return 0, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.written, nil
}

// Remove implements runtime.Driver.
func (d *Driver) Remove(ctx context.Context, id runtime.ExecutionID) error {
	if err := d.ask(ctx); err != nil {
		return err
	}
	d.engine.mu.Lock()
	c := d.engine.containers[d.key(id)]
	delete(d.engine.containers, d.key(id))
	d.engine.mu.Unlock()
	if c != nil {
		c.remove()
	}
	return nil
}

// Recover implements runtime.Driver.
func (d *Driver) Recover(ctx context.Context) ([]runtime.Recovered, error) {
	if err := d.ask(ctx); err != nil {
		return nil, err
	}
	d.engine.mu.Lock()
	defer d.engine.mu.Unlock()
	var found []runtime.Recovered
	for k, c := range d.engine.containers {
		if k.mesh == d.mesh && k.node == d.node {
			found = append(found, c.recovered())
		}
	}
	slices.SortFunc(found, func(a, b runtime.Recovered) int { return strings.Compare(a.Container, b.Container) })
	return found, nil
}
