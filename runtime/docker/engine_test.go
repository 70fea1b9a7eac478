package docker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime"
	"github.com/hearth-edge/hearth/runtime/runtimetest"
)

const engineImage = "hearth-drivertest:engine"

// testSpec is an execution of busybox with small limits.
func testSpec(image string, args ...string) runtime.Spec {
	return runtime.Spec{
		ID:      runtime.ExecutionID{Request: protocol.RequestID(unique()), Attempt: 1},
		Image:   image,
		Args:    args,
		CPUs:    64, // more than there are: the engine must not mind
		Memory:  64 << 20,
		Pids:    64,
		Network: "none",
	}
}

// run creates and starts, and removes when the test ends.
func run(t *testing.T, d *Driver, spec runtime.Spec) runtime.Stdio {
	t.Helper()
	_, stdio, err := d.Create(testContext(t), spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdio.Output.Close()
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := newTestDriver(t).Remove(ctx, spec.ID); err != nil {
			t.Error(err)
		}
	})
	if err := d.Start(testContext(t), spec.ID); err != nil {
		t.Fatal(err)
	}
	return stdio
}

func output(t *testing.T, out runtime.OutputReader) string {
	t.Helper()
	var text strings.Builder
	for {
		_, data, err := out.Next()
		if errors.Is(err, io.EOF) {
			return text.String()
		}
		if err != nil {
			t.Fatal(err)
		}
		text.Write(data)
	}
}

// TestStopAndContinue: STOP reaches the program, not only the init process.
func TestStopAndContinue(t *testing.T) {
	runtimetest.BusyboxImage(t, engineImage)
	d := newTestDriver(t)
	spec := testSpec(engineImage, "sleep", "600")
	run(t, d, spec)
	for _, signal := range []string{"STOP", "CONT"} {
		if err := d.Signal(testContext(t), spec.ID, signal); err != nil {
			t.Fatal(err)
		}
		c, err := d.look(testContext(t), d.name(spec.ID))
		if err != nil || c.State.Paused != (signal == "STOP") {
			t.Errorf("after %s: %+v, %v", signal, c.State, err)
		}
	}
}

func TestUnstartableNamesTheCommand(t *testing.T) {
	runtimetest.BusyboxImage(t, engineImage)
	d := newTestDriver(t)
	spec := testSpec(engineImage, "no-such-command", "x")
	run(t, d, spec)
	_, err := d.Wait(testContext(t), spec.ID)
	wantError(t, err, protocol.CodeStartFailed, "no-such-command", "No such file or directory")

	spec = testSpec(engineImage, "true")
	spec.User = "nobody-known"
	_, stdio, err := d.Create(testContext(t), spec)
	if err != nil {
		t.Fatal(err)
	}
	defer stdio.Output.Close()
	defer d.Remove(testContext(t), spec.ID)
	wantError(t, d.Start(testContext(t), spec.ID), protocol.CodeStartFailed, "nobody-known")
}

func TestRecoverKeepsToItsOwn(t *testing.T) {
	runtimetest.BusyboxImage(t, engineImage)
	mine := newTestDriver(t)
	spec := testSpec(engineImage, "sleep", "600")
	run(t, mine, spec)
	for what, change := range map[string]func(*Config){
		"another mesh": func(c *Config) { c.Mesh = "other" },
		"another node": func(c *Config) { c.Node = "other" },
	} {
		found, err := newTestDriver(t, change).Recover(testContext(t))
		if err != nil || len(found) != 0 {
			t.Errorf("%s: %+v, %v", what, found, err)
		}
	}
	found, err := newTestDriver(t).Recover(testContext(t))
	if err != nil || len(found) != 1 || found[0].ID != spec.ID || found[0].CPUs >= spec.CPUs {
		t.Errorf("%+v, %v", found, err)
	}
}

// TestRecoverByAnotherName: what an older hearth started under a name of its own is
// taken up, not started again, and is gone when it is removed.
func TestRecoverByAnotherName(t *testing.T) {
	runtimetest.BusyboxImage(t, engineImage)
	before := newTestDriver(t)
	spec := testSpec(engineImage, "sh", "-c", "echo ready; sleep 600")
	run(t, before, spec)
	old := fmt.Sprintf("hearth-%s-%s-%d", "ivertest", spec.ID.Request, spec.ID.Attempt)
	if err := before.client.Load().ContainerRename(testContext(t), before.name(spec.ID), old); err != nil {
		t.Fatal(err)
	}
	d := newTestDriver(t)
	if found, err := d.Recover(testContext(t)); err != nil || len(found) != 1 || found[0].ID != spec.ID || !found[0].Running {
		t.Fatalf("%+v, %v", found, err)
	}
	if _, _, err := d.Create(testContext(t), spec); !errors.Is(err, runtime.ErrExists) {
		t.Errorf("a second container: %v", err)
	}
	again, err := d.Attach(testContext(t), spec.ID)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Output.Close()
	if err := d.Signal(testContext(t), spec.ID, "KILL"); err != nil {
		t.Fatal(err)
	}
	if exit, err := d.Wait(testContext(t), spec.ID); err != nil || exit.Code != 137 {
		t.Errorf("%+v, %v", exit, err)
	}
	if text := output(t, again.Output); text != "ready\n" {
		t.Errorf("output %q", text)
	}
	if err := d.Remove(testContext(t), spec.ID); err != nil {
		t.Fatal(err)
	}
	if found, err := d.Recover(testContext(t)); err != nil || len(found) != 0 {
		t.Errorf("left behind: %+v, %v", found, err)
	}
}

func TestWatch(t *testing.T) {
	p := newProxy(t)
	d := newTestDriver(t, p.host)
	ctx, cancel := context.WithCancel(testContext(t))
	up, changed, ended := make(chan bool, 16), make(chan struct{}, 16), make(chan error, 1)
	go func() {
		ended <- d.Watch(ctx, func(is bool) { up <- is }, func() { changed <- struct{}{} })
	}()
	if !receive(t, up, "up") {
		t.Error("down at first")
	}
	receive(t, changed, "the first change")
	runtimetest.BusyboxImage(t, "hearth-drivertest:watch")
	receive(t, changed, "news of an image")

	p.cut()
	if receive(t, up, "down") {
		t.Error("up though the engine is gone")
	}
	_, err := d.Info(testContext(t))
	wantError(t, err, protocol.CodeEngineDown, p.path, "start it")
	p.resume()
	if !receive(t, up, "up again") {
		t.Error("down twice")
	}

	p.frozen.Lock()
	if receive(t, up, "down by silence") {
		t.Error("up though the engine is silent")
	}
	p.frozen.Unlock()
	if !receive(t, up, "up after the silence") {
		t.Error("down twice")
	}
	cancel()
	if err := receive(t, ended, "the end of Watch"); err != nil {
		t.Error(err)
	}
}

func TestWaitOutlivesTheConnection(t *testing.T) {
	runtimetest.BusyboxImage(t, engineImage)
	p := newProxy(t)
	d, direct := newTestDriver(t, p.host), newTestDriver(t)
	spec := testSpec(engineImage, "sh", "-c", "echo ready; sleep 600")
	stdio := run(t, d, spec)
	if _, data, err := stdio.Output.Next(); err != nil || string(data) != "ready\n" {
		t.Fatalf("%q, %v", data, err)
	}
	type result struct {
		exit runtime.Exit
		err  error
	}
	waited := make(chan result, 1)
	go func() {
		exit, err := d.Wait(testContext(t), spec.ID)
		waited <- result{exit, err}
	}()
	p.cut()
	if _, _, err := stdio.Output.Next(); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("the output that was cut off ended with %v", err)
	}
	if err := direct.Signal(testContext(t), spec.ID, "HUP"); err != nil {
		t.Fatal(err)
	}
	p.resume()
	if r := receive(t, waited, "the end"); r.err != nil || r.exit.Code != 128+int(syscall.SIGHUP) || r.exit.Lost != 0 {
		t.Errorf("%+v", r)
	}
	again, err := d.Attach(testContext(t), spec.ID)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Output.Close()
	if got := output(t, again.Output); got != "ready\n" {
		t.Errorf("kept: %q", got)
	}
}

// TestSilentEngine: every call ends when its context does, and a container
// that was made all the same is removed.
func TestSilentEngine(t *testing.T) {
	runtimetest.BusyboxImage(t, engineImage)
	p := newProxy(t)
	d := newTestDriver(t, p.host)
	if _, err := d.Info(testContext(t)); err != nil {
		t.Fatal(err)
	}
	spec := testSpec(engineImage, "true")
	p.frozen.Lock()
	for what, call := range map[string]func(context.Context) error{
		"Info":    func(ctx context.Context) error { _, err := d.Info(ctx); return err },
		"Pull":    func(ctx context.Context) error { return d.Pull(ctx, engineImage, nil) },
		"Create":  func(ctx context.Context) error { _, err := d.create(ctx, spec, ""); return err },
		"expect":  func(ctx context.Context) error { _, err := d.expect(ctx, "x"); return err },
		"Start":   func(ctx context.Context) error { return d.Start(ctx, spec.ID) },
		"Attach":  func(ctx context.Context) error { _, err := d.Attach(ctx, spec.ID); return err },
		"attach":  func(ctx context.Context) error { _, _, err := d.attach(ctx, spec, "x"); return err },
		"Wait":    func(ctx context.Context) error { _, err := d.Wait(ctx, spec.ID); return err },
		"Signal":  func(ctx context.Context) error { return d.Signal(ctx, spec.ID, "TERM") },
		"Remove":  func(ctx context.Context) error { return d.Remove(ctx, spec.ID) },
		"Recover": func(ctx context.Context) error { _, err := d.Recover(ctx); return err },
	} {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
		if err := call(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v", what, err)
		}
		cancel()
	}
	p.frozen.Unlock()
	if err := d.Close(); err != nil { // waits for what is to be cleaned up
		t.Error(err)
	}
	found, err := newTestDriver(t).Recover(testContext(t))
	if err != nil || len(found) != 0 {
		t.Errorf("left behind: %+v, %v", found, err)
	}
}

func TestExplain(t *testing.T) {
	d := newTestDriver(t)
	for _, c := range []struct {
		err   error
		code  protocol.Code
		words string
	}{
		{&net.OpError{Op: "dial", Err: syscall.EACCES}, protocol.CodeEngineDown, "group"},
		{&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, protocol.CodeEngineDown, "systemctl start docker"},
		{context.DeadlineExceeded, protocol.CodeEngineDown, "does not answer"},
		{errors.New("write /x: no space left on device"), protocol.CodeDiskFull, "free some room"},
		{errors.New("whatever"), protocol.CodeInternal, "whatever"},
	} {
		wantError(t, d.explain(context.Background(), "do", c.err), c.code, c.words)
	}
	if got := message(errors.New("Error response from daemon: a\x1b[31m\nb")); got != "a [31m b" {
		t.Errorf("%q", got)
	}
}
