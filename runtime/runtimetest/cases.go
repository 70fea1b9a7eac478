package runtimetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime"
)

// long is how long a container sleeps that is to be ended by the test.
const long = 10 * time.Minute

func itoa(n int) string { return strconv.Itoa(n) }

func seconds(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', -1, 64) }

func wantCode(t *testing.T, what string, err error, code protocol.Code) {
	t.Helper()
	if err == nil || protocol.CodeOf(err) != code {
		t.Errorf("%s: error %v of code %v, want %v", what, err, protocol.CodeOf(err), code)
	}
}

func testInfo(t *testing.T, s suite) {
	if s.driver.Name() == "" {
		t.Error("the driver has no name")
	}
	info, err := s.driver.Info(s.context(t))
	if err != nil {
		t.Fatal(err)
	}
	if info.Version == "" || info.Arch == "" || info.OS == "" {
		t.Errorf("incomplete: %+v", info)
	}
	if !slices.Contains(info.Images, s.options.Image) {
		t.Errorf("the image %s is not among %q", s.options.Image, info.Images)
	}
	if len(info.Sizes) != len(info.Images) {
		t.Errorf("%d sizes of %d images", len(info.Sizes), len(info.Images))
	}
}

func testInspect(t *testing.T, s suite) {
	info, err := s.driver.Info(s.context(t))
	if err != nil {
		t.Fatal(err)
	}
	facts, err := s.driver.Inspect(s.context(t), s.options.Image)
	if err != nil {
		t.Fatal(err)
	}
	if !facts.Present || facts.Size == 0 || facts.Compressed {
		t.Errorf("an image that is present: %+v", facts)
	}
	if at := slices.Index(info.Images, s.options.Image); at >= 0 && info.Sizes[at] != facts.Size {
		t.Errorf("its size is %d, and %d in the list", facts.Size, info.Sizes[at])
	}
	if len(facts.Platforms) > 0 && !slices.Contains(facts.Platforms, info.OS+"/"+info.Arch) {
		t.Errorf("made for %q, and runs on %s/%s", facts.Platforms, info.OS, info.Arch)
	}
	_, err = s.driver.Inspect(s.context(t), s.options.Missing)
	wantCode(t, "Inspect of an image that nobody has", err, protocol.CodeImageNotFound)
}

func testLife(t *testing.T, s suite) {
	spec := s.spec("life", s.script.Print("out", ""))
	if err := s.driver.Pull(s.context(t), spec.Image, nil); err != nil {
		t.Fatalf("Pull of an image that is present: %v", err)
	}
	stdio := s.create(t, spec)
	if found, ok := s.find(t, spec.ID); !ok || found.Running || found.Started {
		t.Errorf("after Create: found %t, %+v", ok, found)
	}
	if err := s.driver.Start(s.context(t), spec.ID); err != nil {
		t.Fatal(err)
	}
	if stdout, _ := readAll(t, stdio.Output); stdout != "out" {
		t.Errorf("output %q", stdout)
	}
	if exit := s.wait(t, spec.ID, 0); exit.OOMKilled || exit.Ran < 0 || exit.Ran > patience {
		t.Errorf("%+v", exit)
	}
	if again := s.wait(t, spec.ID, 0); again.OOMKilled {
		t.Errorf("the second time: %+v", again)
	}
}

func testExitCode(t *testing.T, s suite) {
	for _, code := range []int{0, 1, 3, 126, 127, 255} {
		spec := s.spec(itoa(code), s.script.Exit(code))
		s.start(t, spec)
		s.wait(t, spec.ID, code)
	}
}

// testDescription: the container finds what its spec says.
func testDescription(t *testing.T, s suite) {
	for name, c := range map[string]struct {
		change func(*runtime.Spec)
		want   string
	}{
		"all": {func(spec *runtime.Spec) {
			spec.ReadOnlyRoot, spec.ShmSize = true, 3<<20
			spec.Tmpfs = []protocol.Tmpfs{{Target: "/run/deep", Size: 2 << 20, Mode: 0o710, Exec: true}, {Target: "/in", Size: 1 << 20, Mode: 0o700}}
			spec.TTYRows, spec.TTYColumns = 43, 132
		}, "hostname web-1\nroot ro\nshm 3072\ntmpfs 2048 710 exec\nsize 43 132\n"},
		"little": {func(spec *runtime.Spec) {
			spec.ShmSize = 64 << 20
			spec.Tmpfs = []protocol.Tmpfs{{Target: "/run/deep", Size: 1 << 20, Mode: 0o1777}}
			spec.TTYRows, spec.TTYColumns = 10, 20
		}, "hostname web-1\nroot rw\nshm 65536\ntmpfs 1024 1777 noexec\nsize 10 20\n"},
	} {
		spec := s.spec(name, s.script.Describe("/run/deep"))
		spec.TTY, spec.Hostname = true, "web-1"
		c.change(&spec)
		stdout, _ := readAll(t, s.start(t, spec).Output)
		if got := strings.ReplaceAll(stdout, "\r\n", "\n"); got != c.want {
			t.Errorf("%s:\n%swant\n%s", name, got, c.want)
		}
	}
}

func testOutputPerChannel(t *testing.T, s suite) {
	out, diagnostics := strings.Repeat("out put\n", 100)+"\r\té end", "one\n\ntwo"
	spec := s.spec("both", s.script.Print(out, diagnostics))
	stdout, stderr := readAll(t, s.start(t, spec).Output)
	if stdout != out || stderr != diagnostics {
		t.Errorf("got %q and %q", stdout, stderr)
	}
}

func testOutputIntact(t *testing.T, s suite) {
	const size = 10 << 20
	spec := s.spec("big", s.script.Bytes(size))
	stdout, stderr := readAll(t, s.start(t, spec).Output)
	if stderr != "" {
		t.Errorf("on standard error: %q", stderr)
	}
	if want := strings.Repeat("0123456789abcde\n", size/16); stdout != want {
		t.Errorf("%d bytes came, not the %d written", len(stdout), size)
	}
	s.wait(t, spec.ID, 0)
}

func testInput(t *testing.T, s suite) {
	spec := s.spec("input", s.script.Echo())
	spec.Stdin = true
	stdio := s.start(t, spec)
	if stdio.Stdin == nil {
		t.Fatal("no standard input")
	}
	if _, err := stdio.Stdin.Write([]byte("first\n")); err != nil {
		t.Fatal(err)
	}
	readUntil(t, stdio.Output, "first\n")
	big := strings.Repeat("more and more of it\n", 10_000)
	var writing sync.WaitGroup
	writing.Go(func() {
		if _, err := stdio.Stdin.Write([]byte(big)); err != nil {
			t.Errorf("Write: %v", err)
		}
		if err := stdio.Stdin.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	defer writing.Wait()
	if stdout, _ := readAll(t, stdio.Output); stdout != big {
		t.Errorf("%d bytes came back, not %d", len(stdout), len(big))
	}
	s.wait(t, spec.ID, 0)
}

func testNoInput(t *testing.T, s suite) {
	spec := s.spec("none", s.script.Echo())
	stdio := s.start(t, spec)
	if stdio.Stdin != nil {
		t.Error("an input though none was asked for")
	}
	s.wait(t, spec.ID, 0)
}

func testSignals(t *testing.T, s suite) {
	for _, c := range []struct {
		name, signal string
		args         []string
		code         int
	}{
		{"term", "TERM", s.script.Sleep(long), 143},
		{"int", "INT", s.script.Sleep(long), 130},
		{"kill", "KILL", s.script.Stubborn(long), 137},
	} {
		spec := s.spec(c.name, c.args)
		stdio := s.start(t, spec)
		readUntil(t, stdio.Output, "ready\n")
		if c.name == "kill" {
			if err := s.driver.Signal(s.context(t), spec.ID, "TERM"); err != nil {
				t.Fatal(err)
			}
			if found, ok := s.find(t, spec.ID); !ok || !found.Running {
				t.Errorf("it died of a signal that it ignores: %+v", found)
			}
		}
		if err := s.driver.Signal(s.context(t), spec.ID, c.signal); err != nil {
			t.Fatal(err)
		}
		s.wait(t, spec.ID, c.code)
		if err := s.driver.Signal(s.context(t), spec.ID, "TERM"); err != nil {
			t.Errorf("signal after the end: %v", err)
		}
	}
}

func testWaitEndsWithContext(t *testing.T, s suite) {
	spec := s.spec("timeout", s.script.Sleep(long))
	stdio := s.start(t, spec)
	readUntil(t, stdio.Output, "ready\n")
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	if _, err := s.driver.Wait(ctx, spec.ID); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Wait: %v, want that the deadline is exceeded", err)
	}
	if found, ok := s.find(t, spec.ID); !ok || !found.Running {
		t.Errorf("the container is not there any more, or does not run: %+v", found)
	}
}

func testEndedContext(t *testing.T, s suite) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	spec := s.spec("ended", s.script.Exit(0))
	s.removeLater(t, spec.ID)
	_, _, create := s.driver.Create(ctx, spec)
	_, inspect := s.driver.Inspect(ctx, s.options.Image)
	for what, err := range map[string]error{
		"Create":  create,
		"Inspect": inspect,
		"Start":   s.driver.Start(ctx, spec.ID),
		"Pull":    s.driver.Pull(ctx, s.options.Image, nil),
		"Signal":  s.driver.Signal(ctx, spec.ID, "TERM"),
		"Remove":  s.driver.Remove(ctx, spec.ID),
	} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v, want that the context is canceled", what, err)
		}
	}
}

func testCreateTwice(t *testing.T, s suite) {
	spec := s.spec("twice", s.script.Exit(0))
	again := func(when string) {
		t.Helper()
		if _, _, err := s.driver.Create(s.context(t), spec); !errors.Is(err, runtime.ErrExists) {
			t.Errorf("Create %s: %v, want %v", when, err, runtime.ErrExists)
		}
	}
	s.create(t, spec)
	again("after Create")
	if err := s.driver.Start(s.context(t), spec.ID); err != nil {
		t.Fatal(err)
	}
	s.wait(t, spec.ID, 0)
	again("after the end")

	next := spec
	next.ID.Attempt++
	s.create(t, next)

	if err := s.driver.Remove(s.context(t), spec.ID); err != nil {
		t.Fatal(err)
	}
	s.create(t, spec)
}

func testShortLived(t *testing.T, s suite) {
	for i := range 5 {
		spec := s.spec(itoa(i), s.script.Exit(i))
		s.create(t, spec)
		ended := make(chan error, 1)
		go func() {
			exit, err := s.driver.Wait(s.context(t), spec.ID)
			if err == nil && exit.Code != i {
				err = fmt.Errorf("exit code %d, want %d", exit.Code, i)
			}
			ended <- err
		}()
		if err := s.driver.Start(s.context(t), spec.ID); err != nil {
			t.Fatal(err)
		}
		if err := <-ended; err != nil {
			t.Errorf("Wait: %v", err)
		}
	}
}

func testRemove(t *testing.T, s suite) {
	spec := s.spec("remove", s.script.Sleep(long))
	stdio := s.start(t, spec)
	readUntil(t, stdio.Output, "ready\n")
	for range 2 {
		if err := s.driver.Remove(s.context(t), spec.ID); err != nil {
			t.Fatal(err)
		}
		if found, ok := s.find(t, spec.ID); ok {
			t.Errorf("still there: %+v", found)
		}
	}
	if stdout, _ := readAll(t, stdio.Output); stdout != "" {
		t.Errorf("more output: %q", stdout)
	}
}

func testRemoveEndsWait(t *testing.T, s suite) {
	spec := s.spec("never-started", s.script.Exit(0))
	s.create(t, spec)
	ended := make(chan error, 1)
	go func() {
		_, err := s.driver.Wait(s.context(t), spec.ID)
		ended <- err
	}()
	if err := s.driver.Remove(s.context(t), spec.ID); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, runtime.ErrNotFound) {
		t.Errorf("Wait: %v, want %v", err, runtime.ErrNotFound)
	}
}

func testNotFound(t *testing.T, s suite) {
	id := s.spec("nobody", nil).ID
	_, attach := s.driver.Attach(s.context(t), id)
	_, wait := s.driver.Wait(s.context(t), id)
	for what, err := range map[string]error{
		"Attach": attach,
		"Wait":   wait,
		"Start":  s.driver.Start(s.context(t), id),
		"Signal": s.driver.Signal(s.context(t), id, "TERM"),
	} {
		if !errors.Is(err, runtime.ErrNotFound) {
			t.Errorf("%s: %v, want %v", what, err, runtime.ErrNotFound)
		}
	}
	if err := s.driver.Remove(s.context(t), id); err != nil {
		t.Errorf("Remove: %v", err)
	}
}

func testRecover(t *testing.T, s suite) {
	running := s.spec("running", s.script.Sleep(long))
	running.CPUs, running.Timeout, running.Lease = 0.5, long, 7*time.Second
	s.start(t, running)
	exited := s.spec("exited", s.script.Exit(7))
	exited.ID.Attempt, exited.Timeout = 3, patience
	s.start(t, exited)
	s.wait(t, exited.ID, 7)

	for _, want := range []struct {
		spec    runtime.Spec
		running bool
	}{{running, true}, {exited, false}} {
		found, ok := s.find(t, want.spec.ID)
		if !ok {
			t.Errorf("%v not found", want.spec.ID)
			continue
		}
		if found.Container == "" {
			t.Error("no container ID")
		}
		if found.Running && found.Ran <= 0 || found.Ran > patience { // engines may tell 0 of what ended at once
			t.Errorf("it is said to run for %v", found.Ran)
		}
		found.Container, found.Ran = "", 0
		if found != (runtime.Recovered{
			ID:      want.spec.ID,
			Running: want.running,
			Started: true,
			CPUs:    want.spec.CPUs,
			Memory:  want.spec.Memory,
			Timeout: want.spec.Timeout,
			Lease:   want.spec.Lease,
		}) {
			t.Errorf("found %+v", found)
		}
	}
	s.wait(t, exited.ID, 7)
}
