package docker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime"
)

// addressTimeout is how long a container on this machine has to answer at its
// address. Where that has no route from here, as where hearth runs in a container
// or a network namespace of its own, its loopback is tried then.
const addressTimeout = 2 * time.Second

// maxShared bounds how many containers share a network one through another.
const maxShared = 4

// Dial implements runtime.Access.
func (d *Driver) Dial(ctx context.Context, target string, port uint16, udp bool) (protocol.Stream, error) {
	if d.socket() == "" {
		return nil, protocol.Errorf(protocol.CodeConflict, "the container engine is on another machine than hearth: its containers' ports cannot be reached from here")
	}
	network := "tcp"
	if udp {
		network = "udp"
	}
	if address, ok := d.addresses.find(target); ok {
		conn, err := (&net.Dialer{Timeout: addressTimeout}).DialContext(ctx, network, netip.AddrPortFrom(address, port).String())
		if err == nil {
			return protocol.NetStream(conn), nil
		}
	}
	c, err := d.lookAtNetwork(ctx, target)
	switch {
	case err != nil:
		return nil, err
	case c.HostConfig != nil && c.HostConfig.NetworkMode.IsHost():
		// Its ports are the node's, and so are those of all other programs there.
		return nil, protocol.Errorf(protocol.CodePolicy, "the container has the node's own network: connect to the node's address, as to any program there")
	}
	var last error
	for _, address := range addressesOf(c) {
		conn, err := (&net.Dialer{Timeout: addressTimeout}).DialContext(ctx, network, netip.AddrPortFrom(address, port).String())
		if err == nil {
			d.addresses.keep(target, address)
			return protocol.NetStream(conn), nil
		}
		if last == nil {
			last = err
		}
	}
	if last == nil || !udp { // over UDP nobody says that nobody is there
		conn, err := d.dialInside(ctx, c, network, port)
		if err == nil {
			return protocol.NetStream(conn), nil
		}
		if last == nil || !errors.Is(err, fs.ErrPermission) {
			last = err
		}
	}
	return nil, explainDial(port, last)
}

const (
	// addressTTL is how long the address of a container is believed at which it
	// answered: asking the engine takes longer than the rest of a connection. The
	// caller knows that the container runs, and so still has it.
	addressTTL = 5 * time.Second
	// maxAddresses bounds how many are kept; of more all are asked for anew.
	maxAddresses = 1024
)

// addressBook keeps where containers answered.
type addressBook struct {
	mu   sync.Mutex // guards kept
	kept map[string]answered
}

type answered struct {
	at    netip.Addr
	until time.Time
}

func (b *addressBook) find(container string) (netip.Addr, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	a, ok := b.kept[container]
	return a.at, ok && time.Now().Before(a.until)
}

func (b *addressBook) keep(container string, at netip.Addr) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.kept == nil || len(b.kept) >= maxAddresses {
		b.kept = make(map[string]answered)
	}
	b.kept[container] = answered{at, time.Now().Add(addressTTL)}
}

// lookAtNetwork looks at the running container whose network the target has.
func (d *Driver) lookAtNetwork(ctx context.Context, target string) (container.InspectResponse, error) {
	for range maxShared {
		c, err := d.look(ctx, target)
		switch {
		case err != nil:
			return c, err
		case !c.State.Running:
			return c, protocol.Errorf(protocol.CodeConflict, "the container does not run any more")
		case c.HostConfig == nil || !c.HostConfig.NetworkMode.IsContainer():
			return c, nil
		}
		target = c.HostConfig.NetworkMode.ConnectedContainer()
	}
	return container.InspectResponse{}, errors.New("containers share a network in too many steps")
}

// addressesOf returns the addresses at which this machine reaches a container.
func addressesOf(c container.InspectResponse) []netip.Addr {
	var list []netip.Addr
	if c.NetworkSettings != nil {
		for _, n := range c.NetworkSettings.Networks {
			for _, text := range []string{n.IPAddress, n.GlobalIPv6Address} {
				if a, err := netip.ParseAddr(text); err == nil {
					list = append(list, a)
				}
			}
		}
	}
	slices.SortFunc(list, netip.Addr.Compare)
	return list
}

// dialInside connects to a container's own loopback. That takes the right to
// enter its network (CAP_SYS_ADMIN); without it the error is fs.ErrPermission.
func (d *Driver) dialInside(ctx context.Context, c container.InspectResponse, network string, port uint16) (net.Conn, error) {
	if !isProcessOf(c.State.Pid, c.ID) {
		return nil, fs.ErrPermission
	}
	return dialInNamespace(ctx, fmt.Sprintf("/proc/%d/ns/net", c.State.Pid), network, port)
}

// isProcessOf reports whether a process of this machine belongs to a container:
// the engine may number processes in another namespace.
func isProcessOf(pid int, id string) bool {
	groups, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cgroup")
	return err == nil && pid > 1 && len(id) >= 64 && strings.Contains(string(groups), id)
}

func explainDial(port uint16, err error) error {
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return protocol.Errorf(protocol.CodePortClosed, "nothing in the container listens on port %d", port)
	case errors.Is(err, fs.ErrPermission):
		return protocol.Errorf(protocol.CodeConflict, "the container has no network of its own, and hearth may not enter it there: that takes hearth to run as root with CAP_SYS_ADMIN")
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return protocol.Errorf(protocol.CodePortClosed, "port %d of the container does not answer", port)
	}
	return fmt.Errorf("dial a container: %w", err)
}

// copyIdleTimeout ends a copy that does not move. The engine holds the container
// while it copies: nobody can stop or even look at it until the copy has ended.
const copyIdleTimeout = 30 * time.Second

func errStandstill() error {
	return protocol.Errorf(protocol.CodeTimeout, "the copy did not move for %v and was ended, since its container cannot be stopped meanwhile", copyIdleTimeout)
}

// A standstill ends a copy that does not move.
type standstill struct {
	timer *time.Timer
	over  atomic.Bool
}

func newStandstill(end func()) *standstill {
	s := &standstill{}
	s.timer = time.AfterFunc(copyIdleTimeout, func() {
		s.over.Store(true)
		end()
	})
	return s
}

func (s *standstill) stop() { s.timer.Stop() }

// movingReader tells a standstill that its archive moves.
type movingReader struct {
	io.Reader
	still *standstill
}

// Read implements io.Reader.
func (r *movingReader) Read(p []byte) (int, error) {
	r.still.timer.Reset(copyIdleTimeout)
	n, err := r.Reader.Read(p)
	r.still.timer.Reset(copyIdleTimeout)
	if err != nil && r.still.over.Load() {
		err = errStandstill()
	}
	return n, err
}

// Stat implements runtime.Access.
func (d *Driver) Stat(ctx context.Context, target, path string) (runtime.PathStat, error) {
	told, err := d.statPath(ctx, target, path)
	if err != nil {
		return runtime.PathStat{}, err
	}
	var link string
	if told.Mode&fs.ModeSymlink != 0 {
		link = told.LinkTarget
		if told, err = d.statPath(ctx, target, link); err != nil {
			return runtime.PathStat{}, err
		}
	}
	return runtime.PathStat{Mode: told.Mode, Size: protocol.Bytes(max(told.Size, 0)), Link: link}, nil
}

func (d *Driver) statPath(ctx context.Context, target, path string) (told container.PathStat, err error) {
	missing := false
	err = d.within(ctx, askTimeout, "look at a file", func(ctx context.Context) error {
		told, err = d.client.Load().ContainerStatPath(ctx, target, path)
		if missing = cerrdefs.IsNotFound(err); missing {
			return nil
		}
		return explainPath(path, err)
	})
	if err == nil && missing {
		// The engine does not say what is missing.
		if _, err = d.look(ctx, target); err == nil {
			err = notExist(path)
		}
	}
	return told, err
}

func notExist(path string) error { return fmt.Errorf("%s: %w", path, fs.ErrNotExist) }

// explainPath tells what only a call about a file can fail of.
func explainPath(path string, err error) error {
	switch {
	case err == nil:
		return nil
	case cerrdefs.IsNotFound(err) && !strings.Contains(err.Error(), "No such container"):
		return notExist(path)
	case strings.Contains(err.Error(), "read-only"):
		return protocol.Errorf(protocol.CodeConflict, "%s lies where the container may only read", path)
	case cerrdefs.IsInvalidArgument(err), cerrdefs.IsPermissionDenied(err), strings.Contains(err.Error(), "cannot overwrite"):
		return protocol.Errorf(protocol.CodeConflict, "%s: %s", path, message(err))
	}
	return err
}

// CopyFrom implements runtime.Access. The archive outlives ctx.
func (d *Driver) CopyFrom(ctx context.Context, target, path string) (io.ReadCloser, error) {
	reading, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var archive io.ReadCloser
	var missing error
	err := d.begin(ctx, "read files", cancel, func() (err error) {
		archive, _, err = d.client.Load().CopyFromContainer(reading, target, path)
		if err = explainPath(path, err); errors.Is(err, fs.ErrNotExist) {
			missing, err = err, nil
		}
		return err
	})
	if err == nil {
		err = missing
	}
	if err != nil {
		cancel()
		if archive != nil {
			archive.Close()
		}
		return nil, err
	}
	still := newStandstill(func() { cancel(); archive.Close() })
	return readCloser{&movingReader{archive, still}, closeFunc(func() error {
		still.stop()
		cancel()
		return archive.Close()
	})}, nil
}

type readCloser struct {
	io.Reader
	io.Closer
}

// CopyInto implements runtime.Access. It takes as long as the archive does.
func (d *Driver) CopyInto(ctx context.Context, target, dir string, archive io.Reader) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	still := newStandstill(cancel)
	defer still.stop()
	err := d.client.Load().CopyToContainer(ctx, target, dir, &movingReader{archive, still}, container.CopyToContainerOptions{})
	if still.over.Load() {
		return errStandstill()
	}
	if err = explainPath(dir, err); errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return d.explain(ctx, "write files", err)
}
