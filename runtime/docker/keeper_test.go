package docker

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	goruntime "runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime"
	"github.com/hearth-edge/hearth/runtime/runtimetest"
	"github.com/hearth-edge/hearth/runtime/stack"
)

const keeperImage = "hearth-drivertest:keeper"

// keeperBed is a Keeper on the engine, with a stack of its own name.
type keeperBed struct {
	*testing.T
	cfg    stack.Config
	driver *Driver
	keeper *stack.Keeper
	name   protocol.StackName
	image  string
	stop   func()
}

func newKeeper(t *testing.T, image string) *keeperBed {
	t.Helper()
	d := newTestDriver(t, func(c *Config) { c.MemoryDir = filepath.Join("/dev/shm", "hearth-"+unique()) })
	t.Cleanup(func() { os.RemoveAll(d.cfg.MemoryDir) })
	b := &keeperBed{T: t, driver: d, name: protocol.StackName("t" + unique()), image: image, cfg: stack.Config{
		Node: d.cfg.Node, Name: "me", Engine: d.Stacks(), Policy: runtime.DefaultPolicy(), Dir: filepath.Join(t.TempDir(), "stacks"),
		Here: func() runtime.Here {
			return runtime.Here{Lent: runtime.Lent{CPUs: 2, Memory: 2 << 30}, Look: runtime.LookFile, Has: func(string) bool { return true }}
		},
		Reserve: func(protocol.Cores, protocol.Bytes) {}, Log: slog.New(slog.DiscardHandler),
	}}
	b.run()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := b.keeper.Remove(ctx, b.name, true); err != nil {
			t.Error(err)
		}
		b.stop()
	})
	return b
}

func (b *keeperBed) run(records ...protocol.StackRecord) {
	b.Helper()
	k, err := stack.New(b.cfg)
	if err != nil {
		b.Fatal(err)
	}
	for _, r := range records {
		b.must(k.Apply(b.Context(), r))
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- k.Run(ctx) }()
	b.keeper = k
	b.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			b.Error(err)
		}
	})
}

func (b *keeperBed) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

func (b *keeperBed) service(name string, number uint8, command ...string) protocol.StackService {
	return protocol.StackService{Name: name, Number: number, Image: b.image, Command: command, Restart: protocol.RestartAlways, Init: true}
}

func (b *keeperBed) record(version uint64, services ...protocol.StackService) protocol.StackRecord {
	return protocol.StackRecord{Version: version, Stack: protocol.Stack{Name: b.name, Services: services}}
}

// until waits for a status of the stack.
func (b *keeperBed) until(what string, is func(protocol.StackStatus) bool) (found protocol.StackStatus) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
	defer cancel()
	err := b.keeper.Watch(ctx, b.name, func(s protocol.StackStatus) error {
		if found = s; is(s) {
			return io.EOF
		}
		return nil
	})
	if !errors.Is(err, io.EOF) {
		b.Fatalf("%s: %v, the stack is %+v", what, err, found)
	}
	return found
}

func (b *keeperBed) untilUp() protocol.StackStatus {
	b.Helper()
	return b.until("up", func(s protocol.StackStatus) bool { return s.State == protocol.StackUp })
}

// awaitLines waits until a service has written a line that holds the words so many
// times.
func (b *keeperBed) awaitLines(service, words string, times int) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
	defer cancel()
	err := b.keeper.Logs(ctx, b.name, stack.LogQuery{Services: []string{service}, Follow: true}, func(l protocol.LogLine) error {
		if strings.Contains(l.Text, words) {
			if times--; times == 0 {
				return io.EOF
			}
		}
		return nil
	})
	if !errors.Is(err, io.EOF) {
		b.Fatalf("%q did not come: %v, the output is\n%s", words, err, b.output(service))
	}
}

// output returns what a service wrote.
func (b *keeperBed) output(service string) string {
	b.Helper()
	var text strings.Builder
	b.must(b.keeper.Logs(b.Context(), b.name, stack.LogQuery{Services: []string{service}}, func(l protocol.LogLine) error {
		text.WriteString(l.Text + "\n")
		return nil
	}))
	return text.String()
}

// folder is an archive with one file.
func folder(t *testing.T, name, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range []*tar.Header{{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(text))}, {Typeflag: tar.TypeSymlink, Name: "link", Linkname: "/etc"}} {
		if err := w.WriteHeader(f); err != nil {
			t.Fatal(err)
		}
		if f.Size > 0 {
			w.Write([]byte(text))
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestStackOnEngine: services of one stack reach each other by name and alias, in
// order, with volumes, folders of volumes, files, secrets and the capabilities that
// an entrypoint needs.
func TestStackOnEngine(t *testing.T) {
	runtimetest.BusyboxImage(t, keeperImage)
	b := newKeeper(t, keeperImage)
	web := b.service("web", 1, "sh", "-c", "mkdir -p /www && echo served >/www/index.html && exec httpd -f -p 80 -h /www")
	web.Aliases = []string{"front"}
	web.Health = &protocol.HealthCheck{Test: []string{"CMD", "wget", "-q", "-O", "/dev/null", "http://127.0.0.1/"}, Interval: 200, Timeout: 2000, Retries: 20}
	client := b.service("client", 2, "sh", "-c", `set -e
echo name $(wget -q -O - http://web/) alias $(wget -q -O - http://front/)
nslookup web | tail -n 2 | head -n 1
touch /mine && chown 5:5 /mine && echo owner $(stat -c %u:%g /mine)
echo secret $(cat /run/secrets/key) $(stat -c %a:%u /run/secrets/key)
echo config $(cat /etc/app/conf) inner $(cat /site/deep/page) $(ls -A /site)
echo kept >/data/sub/file && echo whole $(cat /all/sub/file)
echo more $(cat /ro/conf) $(df -k /cache | tail -n 1 | awk '{print $2}')
exec sleep 1000`)
	client.Restart = protocol.RestartNo
	client.DependsOn = []protocol.Dependency{{Service: "web", Condition: protocol.ConditionHealthy}}
	client.Mounts = []protocol.StackMount{
		{Kind: protocol.MountVolume, Source: "data", Subpath: "a/sub", Target: "/data/sub"},
		{Kind: protocol.MountVolume, Source: "data", Subpath: "a", Target: "/all"},
		{Kind: protocol.MountFile, Source: "key", Target: "/run/secrets/key"},
		{Kind: protocol.MountFile, Source: "conf", Target: "/etc/app/conf"},
		{Kind: protocol.MountFile, Source: "site", Target: "/site"},
		{Kind: protocol.MountTmpfs, Target: "/ro"},
		{Kind: protocol.MountFile, Source: "conf", Target: "/ro/conf"},
		{Kind: protocol.MountTmpfs, Target: "/cache", Size: 1 << 20},
	}
	r := b.record(1, web, client)
	r.Stack.Volumes = []protocol.StackVolume{{Name: "data"}}
	r.Stack.Files = []protocol.StackFile{
		{Name: "key", Secret: true, Data: []byte("s3cret")}, {Name: "conf", Data: []byte("x=1")},
		{Name: "site", Folder: true, Data: folder(t, "deep/page", "page")},
	}
	b.must(b.keeper.Apply(t.Context(), r))
	b.untilUp()
	b.awaitLines("client", "more ", 1)
	got := b.output("client")
	for _, want := range []string{
		"name served alias served\n", "owner 5:5\n", "secret s3cret 400:0\n", "config x=1 inner page deep\n", "whole kept\n", "more x=1 1024\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing in\n%s", want, got)
		}
	}
}

// TestKilledInstanceAnswersAgain measures what a user waits for, beside what the
// engine's own restart policy takes for the same.
func TestKilledInstanceAnswersAgain(t *testing.T) {
	runtimetest.BusyboxImage(t, keeperImage)
	b := newKeeper(t, keeperImage)
	web := b.service("web", 1, "httpd", "-f", "-p", "8080", "-h", "/")
	port := freePort(t)
	web.Ports = []protocol.StackPort{{Published: port, Target: 8080}}
	b.must(b.keeper.Apply(t.Context(), b.record(1, web)))
	b.untilUp()
	own, plain := b.plain(freePort(t))
	var ours, theirs []time.Duration
	for range 3 {
		id, err := b.keeper.Container(b.name, "web")
		b.must(err)
		ours = append(ours, b.killed(port, func() {
			b.must(b.driver.client.Load().ContainerKill(t.Context(), id, "KILL"))
		}))
		b.untilUp()
		theirs = append(theirs, b.killed(plain, func() { // the engine does not restart what it was told to kill
			c, err := b.driver.look(t.Context(), own)
			b.must(err)
			b.must(syscall.Kill(c.State.Pid, syscall.SIGKILL))
		}))
	}
	t.Logf("killed to answering: %v; with the engine's own restart policy %v", ours, theirs)
	if slices.Min(ours) > slices.Min(theirs)+1500*time.Millisecond {
		t.Errorf("it took %v, the engine by itself %v", ours, theirs)
	}
}

// plain starts the same without Hearth, for the engine to keep up.
func (b *keeperBed) plain(port uint16) (id string, at uint16) {
	b.Helper()
	c := b.driver.client.Load()
	exposed, bound := portBindings([]stack.Port{{Address: netip.IPv4Unspecified(), StackPort: protocol.StackPort{Published: port, Target: 8080}}})
	made, err := c.ContainerCreate(b.Context(), &container.Config{Image: b.image, Cmd: []string{"httpd", "-f", "-p", "8080", "-h", "/"}, ExposedPorts: exposed},
		&container.HostConfig{PortBindings: bound, RestartPolicy: container.RestartPolicy{Name: container.RestartPolicyAlways}}, nil, nil, "")
	b.must(err)
	b.Cleanup(func() { c.ContainerRemove(context.Background(), made.ID, container.RemoveOptions{Force: true}) })
	b.must(c.ContainerStart(b.Context(), made.ID, container.StartOptions{}))
	return made.ID, port
}

// killed returns how long it takes from a kill until the port answers again.
func (b *keeperBed) killed(port uint16, kill func()) time.Duration {
	b.Helper()
	answers := func() bool {
		c := http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
		resp, err := c.Get(fmt.Sprintf("http://127.0.0.1:%d/bin/sh", port))
		if err == nil {
			resp.Body.Close()
		}
		return err == nil
	}
	await := func() {
		for began := time.Now(); !answers(); time.Sleep(5 * time.Millisecond) {
			if time.Since(began) > 30*time.Second {
				b.Fatal("it does not answer")
			}
		}
	}
	await()
	began := time.Now()
	kill()
	for answers() { // until the connections of the old one are gone
		time.Sleep(time.Millisecond)
	}
	await()
	return time.Since(began)
}

func freePort(t *testing.T) uint16 {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return uint16(l.Addr().(*net.TCPAddr).Port)
}

// TestVolumesOutliveTheirStack: data is there again, and a volume that was lost is
// not replaced.
func TestVolumesOutliveTheirStack(t *testing.T) {
	runtimetest.BusyboxImage(t, keeperImage)
	b := newKeeper(t, keeperImage)
	db := b.service("db", 1, "sh", "-c", "echo found $(cat /data/x); echo 1 >/data/x; exec sleep 1000")
	db.Mounts = []protocol.StackMount{{Kind: protocol.MountVolume, Source: "data", Target: "/data"}}
	r := b.record(1, db)
	r.Stack.Volumes = []protocol.StackVolume{{Name: "data"}}
	up := func(want string) {
		t.Helper()
		b.must(b.keeper.Apply(t.Context(), r))
		b.untilUp()
		b.awaitLines("db", want, 1)
	}
	up("found")
	b.must(b.keeper.Remove(t.Context(), b.name, false))
	up("found 1")
	b.must(b.keeper.Remove(t.Context(), b.name, false))
	b.must(b.cfg.Engine.RemoveVolume(t.Context(), "hearth_"+string(b.name)+"_data"))
	b.must(b.keeper.Apply(t.Context(), r))
	s := b.until("the refusal", func(s protocol.StackStatus) bool { return strings.Contains(s.Instances[0].Reason, "missing") })
	if i := s.Instances[0]; i.State != protocol.InstanceWaiting || !strings.Contains(i.Reason, "is missing") {
		t.Errorf("%+v", i)
	}
}

// TestKeeperComesBack: the next process takes up the same containers, and nothing is
// started again.
func TestKeeperComesBack(t *testing.T) {
	runtimetest.BusyboxImage(t, keeperImage)
	b := newKeeper(t, keeperImage)
	r := b.record(1, b.service("a", 1, "sleep", "1000"), b.service("b", 2, "sleep", "1000"))
	b.must(b.keeper.Apply(t.Context(), r))
	before := b.untilUp()
	b.stop()
	b.run(r)
	after := b.untilUp()
	for i := range after.Instances {
		if after.Instances[i].Container != before.Instances[i].Container || !after.Instances[i].Since.Equal(before.Instances[i].Since) {
			t.Errorf("%+v\nbefore %+v", after.Instances[i], before.Instances[i])
		}
	}
}

// TestEngineIsKilledUnderStack: what the engine took down with it runs again when
// it is back, in the same containers, secrets included.
func TestEngineIsKilledUnderStack(t *testing.T) {
	daemon := newDaemon(t)
	b := newKeeper(t, daemonImage)
	web := b.service("web", 1, "sh", "-c", "cat /run/secrets/key; exec sleep 1000")
	web.Restart = protocol.RestartOnFailure
	web.Mounts = []protocol.StackMount{{Kind: protocol.MountFile, Source: "key", Target: "/run/secrets/key"}}
	r := b.record(1, web)
	r.Stack.Files = []protocol.StackFile{{Name: "key", Secret: true, Data: []byte("s3cret\n")}}
	b.must(b.keeper.Apply(t.Context(), r))
	before := b.untilUp()
	for _, signal := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM} {
		daemon.end(signal)
		b.until("the engine's end", func(s protocol.StackStatus) bool { return s.State == protocol.StackDegraded })
		os.RemoveAll(filepath.Join(b.driver.cfg.MemoryDir, stackMemory)) // as a reboot does
		began := time.Now()
		daemon.start()
		after := b.untilUp()
		t.Logf("after %v: up %v after the engine's start began", signal, time.Since(began))
		if after.Instances[0].Container != before.Instances[0].Container {
			t.Errorf("%+v", after)
		}
	}
	b.awaitLines("web", "s3cret", 3)
}

// TestIdleInstancesCostNearlyNothing: 20 of them, beside a Keeper that has none.
func TestIdleInstancesCostNearlyNothing(t *testing.T) {
	runtimetest.BusyboxImage(t, keeperImage)
	b := newKeeper(t, keeperImage)
	heap := func() uint64 {
		goruntime.GC()
		goruntime.GC()
		var m goruntime.MemStats
		goruntime.ReadMemStats(&m)
		return m.HeapAlloc + m.StackInuse
	}
	const idle = 5 * time.Second
	spent := func() time.Duration {
		goruntime.GC()
		time.Sleep(2 * time.Second) // what was started before is tidied up
		busy := busyTime(t)
		time.Sleep(idle)
		return busyTime(t) - busy
	}
	before, without := heap(), spent()
	var services []protocol.StackService
	for n := range 20 {
		services = append(services, b.service(fmt.Sprint("s", n), uint8(n+1), "sleep", "1000"))
	}
	b.must(b.keeper.Apply(t.Context(), b.record(1, services...)))
	b.untilUp()
	written := writtenBytes(t)
	cpu := spent()
	disk := writtenBytes(t) - written
	grown := int64(heap()) - int64(before)
	t.Logf("20 idle instances: %d KiB of memory, %v of processor in %v (%v without), %d bytes written", grown>>10, cpu, idle, without, disk)
	if grown > 2<<20 || cpu > without+idle/1000 || disk != 0 {
		t.Error("that is too much")
	}
}

// writtenBytes is how much this process has had written to disks.
func writtenBytes(t *testing.T) (n int64) {
	t.Helper()
	text, err := os.ReadFile("/proc/self/io")
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(text), "\nwrite_bytes: ")
	if _, err := fmt.Sscan(after, &n); err != nil {
		t.Fatal(err)
	}
	return n
}

func busyTime(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
