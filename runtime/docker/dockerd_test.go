package docker

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	goruntime "runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/client"
	"golang.org/x/sys/unix"

	"github.com/hearth-edge/hearth/runtime/runtimetest"
)

// daemonImage is the only image of a daemon.
const daemonImage = "hearth-drivertest:daemon"

// daemon is an engine of one test's own, which may be stopped, killed and
// restarted. It lives in a network namespace of its own: an engine without a
// bridge removes the one that another engine has.
type daemon struct {
	t      *testing.T
	socket string
	dir    string
	args   []string
	cmd    *exec.Cmd // nil while it does not run
	log    *os.File
}

// newDaemon starts an engine with daemonImage; it becomes the default one of
// the test, and is gone after it. Tests that use it cannot run in parallel.
func newDaemon(t *testing.T, args ...string) *daemon {
	t.Helper()
	dir, err := os.MkdirTemp("", "hearth-dockerd-") //nolint:usetesting // sockets have short names, and mounts go first
	if err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	d := &daemon{t: t, dir: dir, log: log, socket: filepath.Join(dir, "docker.sock")}
	d.args = append([]string{
		"--data-root", filepath.Join(dir, "data"), "--exec-root", filepath.Join(dir, "exec"),
		"--pidfile", filepath.Join(dir, "pid"), "--host", "unix://" + d.socket,
		"--bridge=none", "--iptables=false", "--ip6tables=false",
	}, args...)
	t.Cleanup(d.destroy)
	d.start()
	t.Setenv("DOCKER_HOST", "unix://"+d.socket)
	runtimetest.BusyboxImage(t, daemonImage)
	t.Cleanup(d.empty)
	return d
}

// start returns when the engine answers.
func (d *daemon) start() {
	d.t.Helper()
	d.cmd = exec.Command("dockerd", d.args...)
	d.cmd.Stdout, d.cmd.Stderr = d.log, d.log
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Setpgid: true}
	if err := d.cmd.Start(); err != nil {
		d.cmd = nil
		d.t.Fatalf("%v\nThis test starts a Docker engine of its own: install docker.io, and run the test as root.", err)
	}
	c := d.client()
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for {
		if _, err := c.Info(ctx); err == nil {
			return
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
			text, _ := os.ReadFile(d.log.Name())
			d.t.Fatalf("the engine did not start:\n%s", text[max(0, len(text)-4<<10):])
		}
	}
}

func (d *daemon) client() *client.Client {
	d.t.Helper()
	c, err := client.NewClientWithOpts(client.WithHost("unix://"+d.socket), client.WithAPIVersionNegotiation())
	if err != nil {
		d.t.Fatal(err)
	}
	return c
}

// listen listens on the loopback of the engine's network namespace.
func (d *daemon) listen() net.Listener {
	d.t.Helper()
	pid := strconv.Itoa(d.cmd.Process.Pid)
	if out, err := exec.Command("nsenter", "--net", "--target", pid, "ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
		d.t.Fatalf("%v: %s", err, out)
	}
	type result struct {
		listener net.Listener
		err      error
	}
	made := make(chan result)
	go func() { // its thread ends with it, since it is never unlocked
		goruntime.LockOSThread()
		file, err := os.Open("/proc/" + pid + "/ns/net")
		if err == nil {
			defer file.Close()
			err = unix.Setns(int(file.Fd()), unix.CLONE_NEWNET)
		}
		var l net.Listener
		if err == nil {
			l, err = net.Listen("tcp", "127.0.0.1:0")
		}
		made <- result{l, err}
	}()
	r := <-made
	if r.err != nil {
		d.t.Fatal(r.err)
	}
	return r.listener
}

// freeze makes the engine hang: it accepts connections and never answers.
func (d *daemon) freeze() { d.signal(syscall.SIGSTOP) }

func (d *daemon) thaw() { d.signal(syscall.SIGCONT) }

func (d *daemon) signal(s syscall.Signal) {
	d.t.Helper()
	if err := d.cmd.Process.Signal(s); err != nil {
		d.t.Fatal(err)
	}
}

// end ends the engine by the signal, and returns when it has ended.
func (d *daemon) end(s syscall.Signal) {
	d.t.Helper()
	d.signal(s)
	var failed *exec.ExitError
	if err := d.cmd.Wait(); err != nil && !errors.As(err, &failed) {
		d.t.Error(err)
	}
	d.cmd = nil
	if s == syscall.SIGKILL {
		d.endContainerd()
	}
}

// containerd returns the process of that part of the engine, and its file.
func (d *daemon) containerd() (file string, pid int) {
	d.t.Helper()
	file = filepath.Join(d.dir, "exec/containerd/containerd.pid")
	text, err := os.ReadFile(file)
	if err != nil {
		d.t.Fatal(err)
	}
	if pid, err = strconv.Atoi(strings.TrimSpace(string(text))); err != nil {
		d.t.Fatal(err)
	}
	return file, pid
}

// endContainerd returns when the part of the engine that dies with it is gone:
// an engine that finds it still there would wait for it in vain.
func (d *daemon) endContainerd() {
	d.t.Helper()
	file, pid := d.containerd()
	poll, deadline := time.NewTicker(5*time.Millisecond), time.After(time.Minute)
	defer poll.Stop()
	for {
		// A process that has ended has no command line, also before it is reaped.
		if line, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline"); len(line) == 0 {
			break
		}
		select {
		case <-poll.C:
		case <-deadline:
			d.t.Fatal("containerd does not end with its engine")
		}
	}
	if err := os.Remove(file); err != nil {
		d.t.Fatal(err)
	}
}

// containers returns all there are, each with all that the engine tells.
func (d *daemon) containers() []container.InspectResponse {
	d.t.Helper()
	c := d.client()
	defer c.Close()
	list, err := c.ContainerList(testContext(d.t), container.ListOptions{All: true})
	if err != nil {
		d.t.Fatal(err)
	}
	var all []container.InspectResponse
	for _, one := range list {
		info, err := c.ContainerInspect(testContext(d.t), one.ID)
		if cerrdefs.IsNotFound(err) {
			continue
		}
		if err != nil {
			d.t.Fatal(err)
		}
		all = append(all, info)
	}
	return all
}

// empty removes all containers, for which the engine is brought back.
func (d *daemon) empty() {
	if d.cmd == nil {
		d.start()
	}
	d.thaw()
	c := d.client()
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	list, err := c.ContainerList(ctx, container.ListOptions{All: true})
	for _, one := range list {
		err = errors.Join(err, c.ContainerRemove(ctx, one.ID, container.RemoveOptions{Force: true}))
	}
	if err != nil {
		d.t.Error(err)
	}
}

// destroy ends the engine and removes what it had.
func (d *daemon) destroy() {
	if d.cmd != nil {
		d.thaw()
		d.end(syscall.SIGTERM)
	}
	d.log.Close()
	d.unmount(d.dir)
	if err := os.RemoveAll(d.dir); err != nil {
		d.t.Error(err)
	}
}

// unmount removes what is mounted below the folder.
func (d *daemon) unmount(dir string) {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		d.t.Error(err)
	}
	lines := strings.Split(string(mounts), "\n")
	for _, line := range slices.Backward(lines) { // the inner ones came last
		if fields := strings.Fields(line); len(fields) > 4 && strings.HasPrefix(fields[4], dir+"/") {
			if err := syscall.Unmount(fields[4], syscall.MNT_DETACH); err != nil {
				d.t.Errorf("unmount %s: %v", fields[4], err)
			}
		}
	}
}
