package docker

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/docker/docker/api/types/container"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime"
	"github.com/hearth-edge/hearth/runtime/runtimetest"
)

// powerCut kills the engine with all that it has running, and removes what does
// not outlive the machine.
func (d *daemon) powerCut() {
	d.t.Helper()
	var doomed []int
	for _, c := range d.containers() {
		if c.State.Running {
			doomed = append(doomed, c.State.Pid, parent(d.t, c.State.Pid))
		}
	}
	d.freeze() // it must not see the end of what is killed
	_, containerd := d.containerd()
	for _, pid := range append([]int{containerd}, doomed...) {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			d.t.Fatal(err)
		}
	}
	d.end(syscall.SIGKILL)
	d.unmount(filepath.Join(d.dir, "exec"))
	if err := os.RemoveAll(filepath.Join(d.dir, "exec")); err != nil {
		d.t.Fatal(err)
	}
}

// parent returns the process that a container's first one is a child of, which
// would tell the engine of its end.
func parent(t *testing.T, pid int) int {
	t.Helper()
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	of, err := strconv.Atoi(strings.Fields(rest)[1])
	if err != nil || of < 2 {
		t.Fatal(string(stat), err)
	}
	return of
}

// TestPowerCut: what was running is lost, what had ended before is told as it
// ended, with a process of hearth that saw it and with one of the next boot.
func TestPowerCut(t *testing.T) {
	for what, rebooted := range map[string]bool{"of the engine": false, "of the device": true} {
		t.Run(what, func(t *testing.T) {
			engine := newDaemon(t, "--live-restore")
			d := newTestDriver(t)
			runs, ended := testSpec(daemonImage, "sleep", "600"), testSpec(daemonImage, "sh", "-c", "exit 137")
			for _, spec := range []runtime.Spec{runs, ended} {
				run(t, d, spec)
			}
			if exit, err := d.Wait(testContext(t), ended.ID); err != nil || exit.Code != 137 || exit.Lost != 0 {
				t.Fatalf("%+v, %v", exit, err)
			}
			waited := make(chan runtime.Exit, 1)
			if !rebooted {
				go func() {
					exit, err := d.Wait(testContext(t), runs.ID)
					if err != nil {
						t.Error(err)
					}
					waited <- exit
				}()
			}
			engine.powerCut()
			engine.start()
			want := protocol.CodeEngineDown
			if rebooted {
				want = protocol.CodeNodeLost
				d = newTestDriver(t)
				d.now = func() instant { return instant{"the next", 1} }
				exit, err := d.Wait(testContext(t), runs.ID)
				if err != nil {
					t.Fatal(err)
				}
				waited <- exit
			}
			if exit := receive(t, waited, "the end"); exit.Lost != want {
				t.Errorf("%+v", exit)
			}
			if rebooted {
				return
			}
			if exit, err := d.Wait(testContext(t), ended.ID); err != nil || exit.Code != 137 || exit.Lost != 0 {
				t.Errorf("what ended before: %+v, %v", exit, err)
			}
		})
	}
}

// TestLost: an exit code is taken for the engine's doing only where there is a
// reason to.
func TestLost(t *testing.T) {
	runtimetest.BusyboxImage(t, engineImage)
	d := newTestDriver(t)
	e, err := d.describe(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		code                  int
		oom, boot, away, live bool
		want                  protocol.Code
	}{
		{code: 137}, {code: 143}, {code: 255}, {code: 0, boot: true, away: true}, {code: 1, boot: true, away: true},
		{code: 137, oom: true, boot: true, away: true},
		{code: 137, boot: true, want: protocol.CodeNodeLost},
		{code: 143, boot: true, away: true, live: true, want: protocol.CodeNodeLost},
		{code: 255, boot: true, want: protocol.CodeNodeLost},
		{code: 137, away: true, want: protocol.CodeEngineDown},
		{code: 143, away: true, want: protocol.CodeEngineDown},
		{code: 143, away: true, live: true},
		{code: 255, away: true, live: true, want: protocol.CodeEngineDown},
	} {
		labels := make(map[string]string)
		now().addTo(labels)
		if c.boot {
			labels[labelBoot] = "another"
		}
		known := *e
		known.liveRestore = c.live
		d.engine.Store(&known)
		ended := container.InspectResponse{
			ContainerJSONBase: &container.ContainerJSONBase{State: &container.State{ExitCode: c.code, OOMKilled: c.oom}},
			Config:            &container.Config{Labels: labels},
		}
		losses := d.losses.Load()
		if c.away {
			d.losses.Add(1)
		}
		if got, err := d.lost(testContext(t), ended, losses); err != nil || got != c.want {
			t.Errorf("%+v: %v, %v", c, got, err)
		}
	}
	remote := newTestDriver(t, func(c *Config) { c.Host = "tcp://127.0.0.1:1" })
	remote.now = func() instant { return instant{"the next", 1} }
	ended := container.InspectResponse{
		ContainerJSONBase: &container.ContainerJSONBase{State: &container.State{ExitCode: 255}},
		Config:            &container.Config{Labels: map[string]string{labelBoot: "this"}},
	}
	if got, err := remote.lost(testContext(t), ended, 0); err != nil || got != 0 {
		t.Errorf("on another machine: %v, %v", got, err)
	}
}

// messages is a log that passes on what is said.
type messages struct {
	slog.Handler
	said chan string
}

func (m *messages) Enabled(context.Context, slog.Level) bool { return true }

func (m *messages) Handle(_ context.Context, r slog.Record) error {
	select {
	case m.said <- r.Message:
	default:
	}
	return nil
}

// TestEngineAboutToEnd: an engine that ends in order still tells how it ended its
// containers, on the connections that it has.
func TestEngineAboutToEnd(t *testing.T) {
	runtimetest.BusyboxImage(t, engineImage)
	waits := make(chan struct{}, 16)
	p := newProxy(t, func(data []byte) {
		if line, _, _ := bytes.Cut(data, []byte("\r\n")); bytes.Contains(line, []byte("/wait?")) {
			waits <- struct{}{}
		}
	})
	said := &messages{Handler: slog.DiscardHandler, said: make(chan string, 64)}
	d, direct := newTestDriver(t, p.host, func(c *Config) { c.Log = slog.New(said) }), newTestDriver(t)
	spec := testSpec(engineImage, "sleep", "600")
	run(t, d, spec)
	waited := make(chan runtime.Exit, 1)
	go func() {
		exit, err := d.Wait(testContext(t), spec.ID)
		if err != nil {
			t.Error(err)
		}
		waited <- exit
	}()
	receive(t, waits, "the call that waits")
	p.mu.Lock()
	p.listener.Close()
	p.mu.Unlock()
	if err := direct.Signal(testContext(t), spec.ID, "TERM"); err != nil {
		t.Fatal(err)
	}
	for receive(t, said.said, "word of the lost engine") != "waiting for a container again" {
	}
	p.resume()
	if exit := receive(t, waited, "the end"); exit.Code != exitTerminated || exit.Lost != protocol.CodeEngineDown {
		t.Errorf("%+v", exit)
	}
}
