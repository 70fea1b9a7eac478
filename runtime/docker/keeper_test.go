package docker

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	goruntime "runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime/runtimetest"
	"github.com/hearth-edge/hearth/runtime/stack"
)

const keeperImage = "hearth-drivertest:keeper"

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

// TestStackNetworksOnEngine: a service in another's network follows it, a shared
// service is reached from another stack by name, and what is not shared is not.
func TestStackNetworksOnEngine(t *testing.T) {
	runtimetest.BusyboxImage(t, keeperImage)
	b := newKeeper(t, keeperImage)
	serve := func(name string, number uint8) protocol.StackService {
		return b.service(name, number, "sh", "-c", "mkdir /www; echo "+name+" >/www/index.html; exec httpd -f -p 80 -h /www")
	}
	db, inner := serve("db", 1), serve("inner", 2)
	db.Shared = true
	side := b.service("side", 3, "sh", "-c", "until wget -q -O - http://127.0.0.1/; do sleep 0.1; done; exec sleep 1000")
	side.NetworkMode = "service:db"
	b.must(b.keeper.Apply(t.Context(), b.record(1, db, inner, side)))
	b.untilUp()
	b.awaitLines("side", "db", 1)

	user := protocol.StackName(string(b.name) + "-user")
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := b.keeper.Remove(ctx, user, true); err != nil {
			t.Error(err)
		}
	})
	address, err := b.driver.look(t.Context(), b.id("inner"))
	b.must(err)
	var at string
	for _, n := range address.NetworkSettings.Networks {
		at = n.IPAddress
	}
	client := b.service("client", 1, "sh", "-c", "until wget -q -O - http://db/; do sleep 0.1; done; timeout 2 wget -q -O - http://"+at+"/ || echo kept apart; exec sleep 1000")
	r := protocol.StackRecord{Version: 1, Stack: protocol.Stack{Name: user, Uses: []string{string(b.name) + "/db"}, Services: []protocol.StackService{client}}}
	b.must(b.keeper.Apply(t.Context(), r))
	base := b.name
	b.name = user
	b.untilUp()
	b.awaitLines("client", "kept apart", 1)
	if got := b.output("client"); !strings.HasPrefix(got, "db\n") || strings.Contains(got, "inner") {
		t.Errorf("%q", got)
	}
	b.name = base

	first := b.id("side")
	b.must(b.driver.client.Load().ContainerKill(t.Context(), b.id("db"), "KILL"))
	b.awaitLines("side", "db", 2)
	b.untilUp() // its output may come before the engine's word that it runs
	if b.id("side") != first {
		t.Error("it has another container")
	}
}
