package docker

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime"
)

// nodeSuffix is how much of the node's ID goes into a container's name: the
// end, since peer IDs all begin alike.
const nodeSuffix = 8

// name returns the name of the container that is made for id. It is what makes
// the engine refuse a second one for the same attempt. Request IDs have no
// character that the engine's names lack. The attempt and the hash of the
// orchestrator's ID stand last, so no two IDs share a name, and no orchestrator
// can take another's.
func (d *Driver) name(id runtime.ExecutionID) string {
	orchestrator := sha256.Sum256([]byte(id.Orchestrator))
	return fmt.Sprintf("%s%s-%d-%x", d.prefix(), id.Request, id.Attempt, orchestrator[:8])
}

// prefix begins the names of all containers of this node.
func (d *Driver) prefix() string {
	node := string(d.cfg.Node)
	return "hearth-" + node[max(0, len(node)-nodeSuffix):] + "-"
}

// target is what the engine knows the execution's container by: its name, or the
// ID of one that Recover found under another name.
func (d *Driver) target(id runtime.ExecutionID) string {
	if container, ok := d.renamed.Load(id); ok {
		return container.(string) //nolint:forcetypeassert // recall alone stores there
	}
	return d.name(id)
}

// recall keeps what a container that was found is known by. Older versions of
// hearth named them in other ways.
func (d *Driver) recall(id runtime.ExecutionID, c container.Summary) {
	if !slices.Contains(c.Names, "/"+d.name(id)) {
		d.renamed.Store(id, c.ID)
	}
}

// Create implements runtime.Driver. The streams outlive ctx. The engine is asked
// for two things at a time where neither needs the other: whoever waits for the
// start waits for this.
func (d *Driver) Create(ctx context.Context, spec runtime.Spec) (string, runtime.Stdio, error) {
	e, err := d.describe(ctx)
	if err != nil {
		return "", runtime.Stdio{}, err
	}
	if _, found := d.renamed.Load(spec.ID); found {
		return "", runtime.Stdio{}, runtime.ErrExists
	}
	spec.CPUs = clampCPUs(spec.CPUs, e.cpus)
	d.keepSize(e, spec)
	var secrets string // their folder
	if len(spec.Secrets) > 0 {
		if secrets, err = d.secrets.make(d.name(spec.ID)); err != nil {
			return "", runtime.Stdio{}, err
		}
	}
	id, stdio, err := d.createWith(ctx, spec, secrets)
	if err != nil && secrets != "" {
		err = errors.Join(err, d.secrets.drop(secrets))
	}
	return id, stdio, err
}

// createWith makes a container that sees its secrets in that folder.
func (d *Driver) createWith(ctx context.Context, spec runtime.Spec, secrets string) (string, runtime.Stdio, error) {
	id, err := d.createChecked(ctx, spec, secrets)
	if err != nil {
		return "", runtime.Stdio{}, err
	}
	if secrets != "" {
		if err := d.giveSecrets(ctx, &spec, id, secrets); err != nil {
			d.discard(ctx, id)
			return "", runtime.Stdio{}, err
		}
	}
	stdio, err := d.connect(ctx, spec, id)
	if err != nil {
		d.discard(ctx, id)
		return "", runtime.Stdio{}, err
	}
	return id, stdio, nil
}

// createChecked makes the container while it looks at the image and the network,
// which are there and fit in nearly all cases; in the others nothing is left. The
// engine needs the network only when the container starts.
func (d *Driver) createChecked(ctx context.Context, spec runtime.Spec, secrets string) (string, error) {
	looked, networked := make(chan error, 1), make(chan error, 1)
	go func() { looked <- d.checkImage(ctx, spec.Image, spec.ImageID) }()
	go func() { networked <- d.ensureNetwork(ctx, &spec) }()
	id, err := d.create(ctx, spec, secrets)
	unfit := <-looked
	if unreachable := <-networked; unfit == nil {
		unfit = unreachable
	}
	switch {
	case errors.Is(err, runtime.ErrExists), unfit == nil:
		return id, err
	case err == nil:
		d.discard(ctx, id)
	}
	return "", unfit
}

// checkImage returns why a container cannot be made of the image.
func (d *Driver) checkImage(ctx context.Context, ref string, want protocol.ImageID) error {
	found, present, err := d.checkLocal(ctx, ref)
	switch {
	case err != nil:
		return err
	case !present:
		return errImageAbsent(ref)
	}
	if id := d.imageID(found.ID); want != "" && id != "" && id != want {
		return runtime.ErrImageMismatch(ref, id, want)
	}
	return nil
}

func errImageAbsent(ref string) error {
	return protocol.Errorf(protocol.CodeImageNotFound, "the image %q is not on this node", ref)
}

// connect connects to the streams of a container that has not started, and has
// the engine tell its end.
func (d *Driver) connect(ctx context.Context, spec runtime.Spec, container string) (runtime.Stdio, error) {
	var end *ending
	var silent error
	var expecting sync.WaitGroup
	expecting.Go(func() { end, silent = d.expect(ctx, container) })
	out, in, err := d.attach(ctx, spec, container)
	expecting.Wait()
	switch {
	case err == nil && silent == nil:
		d.endings.keep(spec.ID, end)
		out.ended = d.endOf(spec.ID, end)
		return runtime.Stdio{Stdin: in, Output: &initless{reader: out}}, nil
	case err == nil:
		out.Close()
		return runtime.Stdio{}, silent
	case silent == nil:
		end.release()
	}
	return runtime.Stdio{}, err
}

// create makes the container. The engine finishes what it began even when the
// caller goes away, so the call is not cut off then but cleaned up after; for
// that its answer is waited for as long as the connection lasts, as an engine
// that hangs carries the call out when it goes on.
func (d *Driver) create(ctx context.Context, spec runtime.Spec, secrets string) (string, error) {
	type result struct {
		id  string
		err error
	}
	config, host := containerConfig(spec, d.labels(spec))
	if secrets != "" {
		host.Mounts = append(host.Mounts, secretsMount(secrets, true))
	}
	if e := d.engine.Load(); e != nil {
		leaveOut(host, e.noLimits)
	}
	if host.NetworkMode == bridgeName {
		host.NetworkMode = container.NetworkMode(d.bridge.name)
	}
	c := d.client.Load()
	made := make(chan result, 1)
	d.background.Go(func() {
		ctx, cancel := d.untilClose(ctx)
		defer cancel()
		r, err := c.ContainerCreate(ctx, config, host, nil, nil, d.name(spec.ID))
		if err == nil {
			if err = d.checkWarnings(r.Warnings, spec.Limits); err != nil {
				d.discard(ctx, r.ID)
			}
		}
		made <- result{r.ID, err}
	})
	var id string
	err := d.within(ctx, changeTimeout, "create container", func(callCtx context.Context) error {
		select {
		case r := <-made:
			id = r.id
			return d.explainCreate(ctx, spec, r.err)
		case <-callCtx.Done():
			d.background.Go(func() {
				if r := <-made; r.err == nil {
					d.discard(ctx, r.id)
				}
			})
			return callCtx.Err()
		}
	})
	return id, err
}

func (d *Driver) explainCreate(ctx context.Context, spec runtime.Spec, err error) error {
	switch {
	case err == nil:
		return nil
	case cerrdefs.IsConflict(err):
		return runtime.ErrExists
	case cerrdefs.IsNotFound(err):
		return errImageAbsent(spec.Image)
	case len(spec.Secrets) > 0 && strings.Contains(err.Error(), "bind source path does not exist: "+d.secrets.dir):
		return errOtherFolder()
	case cerrdefs.IsInvalidArgument(err):
		return protocol.Errorf(protocol.CodeStartFailed, "the Docker engine refused to create the container: %s", message(err))
	default:
		return d.explain(ctx, "create container", err)
	}
}

// discard removes a container that nobody will ask for.
func (d *Driver) discard(ctx context.Context, id string) {
	ctx, cancel := d.untilClose(ctx)
	defer cancel()
	if err := d.remove(ctx, id); err != nil {
		d.cfg.Log.Warn("container left behind", "container", id, "err", err)
	}
}

// Start implements runtime.Driver.
func (d *Driver) Start(ctx context.Context, id runtime.ExecutionID) error {
	err := d.start(ctx, id)
	if size, ok := d.sizes.LoadAndDelete(id); ok && err == nil {
		d.resizeAtStart(ctx, id, size.(terminalSize))
	}
	return err
}

func (d *Driver) start(ctx context.Context, id runtime.ExecutionID) error {
	return d.within(ctx, changeTimeout, "start container", func(ctx context.Context) error {
		err := d.client.Load().ContainerStart(ctx, d.target(id), container.StartOptions{})
		if err == nil || ctx.Err() != nil || disconnected(err) || cerrdefs.IsNotFound(err) && strings.Contains(err.Error(), "No such container") {
			return err
		}
		return startFailure(err)
	})
}

// startFailure is why the engine could not start a container.
func startFailure(err error) error {
	if strings.Contains(err.Error(), "no space left on device") {
		return err
	}
	return protocol.Errorf(protocol.CodeStartFailed, "the container could not be started: %s", message(err))
}

// Signal implements runtime.Driver.
func (d *Driver) Signal(ctx context.Context, id runtime.ExecutionID, signal string) error {
	target := d.target(id)
	if signal == "" {
		c, err := d.look(ctx, target)
		if err != nil {
			return err
		}
		signal = stopSignal(c.Config.StopSignal)
	}
	return d.within(ctx, askTimeout, "signal container", func(ctx context.Context) error {
		err := d.signal(ctx, target, signal)
		if cerrdefs.IsConflict(err) { // it does not run, or is paused already
			return nil
		}
		return err
	})
}

// stopSignal is the signal that an image names for stopping it, as the engine
// takes it: "SIGQUIT", "SIGRTMIN+3" or a number. What is none is TERM.
func stopSignal(image string) string {
	name := strings.TrimPrefix(strings.ToUpper(image), "SIG")
	if number, err := strconv.Atoi(name); err == nil && number > 0 && number <= maxSignal {
		return strconv.Itoa(number)
	}
	if _, err := protocol.ParseSignal(name); err == nil || realTime.MatchString(name) {
		return name
	}
	return "TERM"
}

// maxSignal is the kernel's highest, minRealTime the first that C libraries leave to
// programs.
const (
	maxSignal   = 64
	minRealTime = 34
)

// linuxSignals are Linux's, from 1 on; the machines that have other numbers run no
// engine.
const linuxSignals = "HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT CHLD CONT STOP TSTP TTIN TTOU URG XCPU XFSZ VTALRM PROF WINCH IO PWR SYS"

// signalNumber is the number, as the engine's events have it, of the signal that
// stops a container; image is what its image says.
func signalNumber(image string) string {
	name := stopSignal(image)
	number := slices.Index(strings.Fields(linuxSignals), name) + 1
	if offset, ok := strings.CutPrefix(name, "RTMIN"); ok {
		n, _ := strconv.Atoi(offset) // "" is 0
		number = minRealTime + n
	} else if offset, ok := strings.CutPrefix(name, "RTMAX"); ok {
		n, _ := strconv.Atoi(offset)
		number = maxSignal + n
	}
	if number == 0 {
		return name // a number already
	}
	return strconv.Itoa(number)
}

var realTime = regexp.MustCompile(`^RTM(IN(\+\d+)?|AX(-\d+)?)$`)

// signal sends a signal. The init process passes on all but STOP, which would
// stop nothing but itself; so the engine stops and continues the whole
// container. It also does the latter for most other signals.
func (d *Driver) signal(ctx context.Context, name, signal string) error {
	c := d.client.Load()
	switch signal {
	case "STOP":
		return c.ContainerPause(ctx, name)
	case "CONT":
		err := c.ContainerUnpause(ctx, name)
		if err == nil || !strings.Contains(err.Error(), "is not paused") {
			return err
		}
	}
	return c.ContainerKill(ctx, name, signal)
}

// Resize implements runtime.Driver.
func (d *Driver) Resize(ctx context.Context, id runtime.ExecutionID, rows, columns uint16) error {
	return d.within(ctx, askTimeout, "resize terminal", func(ctx context.Context) error {
		err := d.client.Load().ContainerResize(ctx, d.target(id), container.ResizeOptions{Height: uint(rows), Width: uint(columns)})
		if cerrdefs.IsConflict(err) { // it does not run
			return nil
		}
		return err
	})
}

// Remove implements runtime.Driver.
func (d *Driver) Remove(ctx context.Context, id runtime.ExecutionID) error {
	err := d.remove(ctx, d.target(id))
	if err == nil {
		d.renamed.Delete(id)
		d.endings.drop(id)
		d.dropSecrets(id)
		d.sizes.Delete(id)
	}
	return err
}

func (d *Driver) remove(ctx context.Context, target string) error {
	return d.within(ctx, changeTimeout, "remove container", func(ctx context.Context) error {
		c := d.client.Load()
		err := c.ContainerRemove(ctx, target, container.RemoveOptions{Force: true, RemoveVolumes: true})
		switch {
		case err == nil || cerrdefs.IsNotFound(err):
			return nil
		case cerrdefs.IsConflict(err): // it is being removed
			return d.awaitRemoval(ctx, target)
		default:
			return err
		}
	})
}

// awaitRemoval blocks until another's removal of the container is done.
func (d *Driver) awaitRemoval(ctx context.Context, name string) error {
	removed, failed := d.client.Load().ContainerWait(ctx, name, container.WaitConditionRemoved)
	select {
	case <-removed:
		return nil
	case err := <-failed:
		if cerrdefs.IsNotFound(err) {
			return nil
		}
		return err
	}
}
