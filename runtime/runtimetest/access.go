package runtimetest

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime"
)

// accesses are the cases of runtime.Access.
var accesses = []testCase{
	{"Exec", testExec},
	{"ExecInput", testExecInput},
	{"ExecTerminal", testExecTerminal},
	{"ExecSignals", testExecSignals},
	{"ExecUnstartable", testExecUnstartable},
	{"ExecBackpressure", testExecBackpressure},
	{"ExecUnderEnd", testExecUnderEnd},
	{"AccessNothing", testAccessNothing},
	{"Dial", testDial},
	{"Copy", testCopy},
	{"CopyRefused", testCopyRefused},
}

// run starts a container that does what args say, and returns what the engine
// calls it; that has written "ready".
func (s suite) run(t *testing.T, spec runtime.Spec) (container string) {
	t.Helper()
	container, stdio, err := s.driver.Create(s.context(t), spec)
	if err != nil {
		t.Fatalf("Create: %v", err)
	}
	s.removeLater(t, spec.ID)
	t.Cleanup(func() { stdio.Output.Close() })
	if err := s.driver.Start(s.context(t), spec.ID); err != nil {
		t.Fatalf("Start: %v", err)
	}
	readUntil(t, stdio.Output, "ready\n")
	return container
}

// sleeper runs a container that does nothing.
func (s suite) sleeper(t *testing.T) (container string, spec runtime.Spec) {
	t.Helper()
	spec = s.spec("sleeper", s.script.Sleep(long))
	return s.run(t, spec), spec
}

func (s suite) exec(t *testing.T, container string, c runtime.Command) runtime.Process {
	t.Helper()
	p, err := s.driver.Exec(s.context(t), container, c)
	if err != nil {
		t.Fatalf("Exec %q: %v", c.Args, err)
	}
	if out := p.Stdio().Output; out != nil {
		t.Cleanup(func() { out.Close() })
	}
	return p
}

func (s suite) exited(t *testing.T, p runtime.Process, code int) runtime.ProcessExit {
	t.Helper()
	exit, err := p.Wait(s.context(t))
	if err != nil || exit.Code != code {
		t.Errorf("Wait: %+v, %v; want code %d", exit, err, code)
	}
	return exit
}

func testExec(t *testing.T, s suite) {
	container, _ := s.sleeper(t)
	p := s.exec(t, container, runtime.Command{Args: s.script.Print("out\n", "err\n")})
	if stdout, stderr := readAll(t, p.Stdio().Output); stdout != "out\n" || stderr != "err\n" {
		t.Errorf("output %q and %q", stdout, stderr)
	}
	if exit := s.exited(t, p, 0); exit.ContainerEnded {
		t.Error("the container is said to have ended")
	}
	for _, code := range []int{1, 126, 127, 137, 255} {
		p := s.exec(t, container, runtime.Command{Args: s.script.Exit(code)})
		readAll(t, p.Stdio().Output)
		if exit := s.exited(t, p, code); exit.ContainerEnded {
			t.Errorf("code %d: the container is said to have ended", code)
		}
	}
	gone := s.exec(t, container, runtime.Command{Args: s.script.Exit(7), Detach: true})
	if stdio := gone.Stdio(); stdio.Output != nil || stdio.Stdin != nil {
		t.Errorf("a detached command has streams: %+v", stdio)
	}
	s.exited(t, gone, 7)
}

func testExecInput(t *testing.T, s suite) {
	container, _ := s.sleeper(t)
	p := s.exec(t, container, runtime.Command{Args: s.script.Echo(), Stdin: true})
	sent := strings.Repeat("0123456789abcde\n", 1<<16)
	go func() {
		_, _ = io.WriteString(p.Stdio().Stdin, sent)
		_ = p.Stdio().Stdin.Close()
	}()
	if stdout, _ := readAll(t, p.Stdio().Output); stdout != sent {
		t.Errorf("%d of %d bytes came back", len(stdout), len(sent))
	}
	s.exited(t, p, 0)
	none := s.exec(t, container, runtime.Command{Args: s.script.Echo()})
	if stdout, _ := readAll(t, none.Stdio().Output); stdout != "" || none.Stdio().Stdin != nil {
		t.Errorf("without an input: %q", stdout)
	}
	s.exited(t, none, 0)
}

func testExecTerminal(t *testing.T, s suite) {
	container, _ := s.sleeper(t)
	p := s.exec(t, container, runtime.Command{Args: s.script.Tell(), TTY: true, Stdin: true, TTYRows: 24, TTYColumns: 80})
	readUntil(t, p.Stdio().Output, "ready")
	for _, size := range [][2]uint16{{40, 100}, {132, 43}} {
		if err := p.Resize(s.context(t), size[0], size[1]); err != nil {
			t.Fatal(err)
		}
		readUntil(t, p.Stdio().Output, fmt.Sprint(size[0], " ", size[1]))
	}
	if err := p.Signal(s.context(t), "TERM"); err != nil {
		t.Fatal(err)
	}
	readAll(t, p.Stdio().Output)
	s.exited(t, p, 143)
	both := s.exec(t, container, runtime.Command{Args: s.script.Print("out\n", "err\n"), TTY: true})
	if stdout, stderr := readAll(t, both.Stdio().Output); strings.ReplaceAll(stdout, "\r", "") != "out\nerr\n" || stderr != "" {
		t.Errorf("on a terminal: %q and %q", stdout, stderr)
	}
}

func testExecSignals(t *testing.T, s suite) {
	container, spec := s.sleeper(t)
	p := s.exec(t, container, runtime.Command{Args: s.script.Tell()})
	readUntil(t, p.Stdio().Output, "ready\n")
	for _, name := range []string{"HUP", "INT", "USR1"} {
		if err := p.Signal(s.context(t), name); err != nil {
			t.Fatalf("Signal %s: %v", name, err)
		}
		readUntil(t, p.Stdio().Output, name+"\n")
	}
	if err := p.Signal(s.context(t), "KILL"); err != nil {
		t.Fatal(err)
	}
	readAll(t, p.Stdio().Output)
	if exit := s.exited(t, p, 137); exit.ContainerEnded {
		t.Error("the container is said to have ended")
	}
	if found, ok := s.find(t, spec.ID); !ok || !found.Running {
		t.Errorf("the signal reached the container: %+v", found)
	}
	if err := p.Signal(s.context(t), "TERM"); err != nil {
		t.Errorf("after the end: %v", err)
	}
}

func testExecUnstartable(t *testing.T, s suite) {
	container, _ := s.sleeper(t)
	for _, code := range []int{127, 126} {
		p, err := s.driver.Exec(s.context(t), container, runtime.Command{Args: s.script.Unstartable(code)})
		if err != nil {
			t.Fatal(err)
		}
		if stdout, stderr := readAll(t, p.Stdio().Output); stdout+stderr != "" {
			t.Errorf("output of what never ran: %q and %q", stdout, stderr)
		}
		exit, err := p.Wait(s.context(t))
		wantCode(t, "Wait", err, protocol.CodeStartFailed)
		if exit.Code != code {
			t.Errorf("exit code %d, want %d", exit.Code, code)
		}
	}
}

// testExecBackpressure: a command whose output nobody reads is held up, and loses
// none of it.
func testExecBackpressure(t *testing.T, s suite) {
	const size = 10 << 20
	container, _ := s.sleeper(t)
	held := s.exec(t, container, runtime.Command{Args: s.script.Bytes(size)})
	read := s.exec(t, container, runtime.Command{Args: s.script.Bytes(size)})
	readAll(t, read.Stdio().Output)
	s.exited(t, read, 0)
	if stdout, _ := readAll(t, held.Stdio().Output); len(stdout) != size {
		t.Errorf("%d bytes came, not %d", len(stdout), size)
	}
	s.exited(t, held, 0)
}

// testExecUnderEnd: the container ends under the command.
func testExecUnderEnd(t *testing.T, s suite) {
	container, spec := s.sleeper(t)
	p := s.exec(t, container, runtime.Command{Args: s.script.Sleep(long)})
	readUntil(t, p.Stdio().Output, "ready\n")
	if err := s.driver.Signal(s.context(t), spec.ID, "KILL"); err != nil {
		t.Fatal(err)
	}
	readAll(t, p.Stdio().Output)
	if exit := s.exited(t, p, 137); !exit.ContainerEnded {
		t.Errorf("the container is not said to have ended: %+v", exit)
	}
	s.wait(t, spec.ID, 137)
	_, err := s.driver.Exec(s.context(t), container, runtime.Command{Args: s.script.Exit(0)})
	wantCode(t, "Exec after the end", err, protocol.CodeConflict)
	_, err = s.driver.Dial(s.context(t), container, 80, false)
	wantCode(t, "Dial after the end", err, protocol.CodeConflict)
}

func testAccessNothing(t *testing.T, s suite) {
	const nobody = "hearth-nobody-has-this"
	_, err := s.driver.Exec(s.context(t), nobody, runtime.Command{Args: s.script.Exit(0)})
	wantNotFound(t, "Exec", err)
	_, err = s.driver.Dial(s.context(t), nobody, 80, false)
	wantNotFound(t, "Dial", err)
	_, err = s.driver.Stat(s.context(t), nobody, "/")
	wantNotFound(t, "Stat", err)
	_, err = s.driver.CopyFrom(s.context(t), nobody, "/")
	wantNotFound(t, "CopyFrom", err)
	wantNotFound(t, "CopyInto", s.driver.CopyInto(s.context(t), nobody, "/", strings.NewReader("")))
}

func wantNotFound(t *testing.T, what string, err error) {
	t.Helper()
	if !errors.Is(err, runtime.ErrNotFound) {
		t.Errorf("%s: %v", what, err)
	}
}

func testDial(t *testing.T, s suite) {
	spec := s.spec("serve", s.script.Serve(7007))
	spec.Network = "bridge"
	container := s.run(t, spec)
	conn, err := s.driver.Dial(s.context(t), container, 7007, false)
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := conn.Write([]byte("ping")); err != nil {
		t.Fatal(err)
	}
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	// What comes back after the half-close, comes whole.
	if back, err := io.ReadAll(conn); err != nil || string(back) != "ping" {
		t.Errorf("%q, %v", back, err)
	}
	_ = conn.Close()
	_, err = s.driver.Dial(s.context(t), container, 7008, false)
	wantCode(t, "Dial where nobody listens", err, protocol.CodePortClosed)
	open, err := s.driver.Dial(s.context(t), container, 7007, false)
	if err != nil {
		t.Fatal(err)
	}
	_ = open.SetDeadline(time.Now().Add(patience))
	if err := s.driver.Signal(s.context(t), spec.ID, "KILL"); err != nil {
		t.Fatal(err)
	}
	if n, err := open.Read(make([]byte, 1)); err == nil {
		t.Errorf("%d bytes of a container that was killed", n)
	}
	_ = open.Reset()
}

// archive makes a tar archive.
func archive(t *testing.T, entries ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	out := tar.NewWriter(&b)
	for _, h := range entries {
		data := strings.Repeat("x", int(h.Size))
		if err := out.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(out, data); err != nil {
			t.Fatal(err)
		}
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func testCopy(t *testing.T, s suite) {
	container, _ := s.sleeper(t)
	in := archive(t,
		tar.Header{Typeflag: tar.TypeDir, Name: "a/", Mode: 0o750},
		tar.Header{Typeflag: tar.TypeReg, Name: "a/file", Mode: 0o640, Size: 100_000},
		tar.Header{Typeflag: tar.TypeSymlink, Name: "a/link", Linkname: "file", Mode: 0o777})
	if err := s.driver.CopyInto(s.context(t), container, "/tmp", bytes.NewReader(in)); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]runtime.PathStat{
		"/tmp/a":      {Mode: fs.ModeDir | 0o750},
		"/tmp/a/file": {Mode: 0o640, Size: 100_000},
		"/tmp/a/link": {Mode: 0o640, Size: 100_000, Link: "/tmp/a/file"},
	} {
		stat, err := s.driver.Stat(s.context(t), container, path)
		if want.Mode.IsDir() {
			stat.Size = 0
		}
		if err != nil || stat != want {
			t.Errorf("%s: %+v, %v; want %+v", path, stat, err, want)
		}
	}
	for path, want := range map[string][]string{
		"/tmp/a":      {"a", "a/file", "a/link"},
		"/tmp/a/file": {"file"},
	} {
		out, err := s.driver.CopyFrom(s.context(t), container, path)
		if err != nil {
			t.Fatal(err)
		}
		got, size := names(t, out)
		if strings.Join(got, " ") != strings.Join(want, " ") || size != 100_000 {
			t.Errorf("%s: %q with %d bytes, want %q", path, got, size, want)
		}
	}
}

// names reads an archive to its end, and closes it.
func names(t *testing.T, from io.ReadCloser) (names []string, size int64) {
	t.Helper()
	defer from.Close()
	for in := tar.NewReader(from); ; {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return names, size
		}
		if err != nil {
			t.Fatal(err)
		}
		names, size = append(names, strings.TrimSuffix(h.Name, "/")), size+h.Size
	}
}

func testCopyRefused(t *testing.T, s suite) {
	container, _ := s.sleeper(t)
	for _, err := range []error{
		func() error { _, err := s.driver.Stat(s.context(t), container, "/nothing"); return err }(),
		func() error { _, err := s.driver.CopyFrom(s.context(t), container, "/nothing"); return err }(),
		s.driver.CopyInto(s.context(t), container, "/nothing", bytes.NewReader(archive(t))),
	} {
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("where there is nothing: %v", err)
		}
	}
	file := archive(t, tar.Header{Typeflag: tar.TypeReg, Name: "x", Mode: 0o600, Size: 1})
	folder := archive(t, tar.Header{Typeflag: tar.TypeDir, Name: "x/", Mode: 0o700})
	for i, order := range [][2][]byte{{file, folder}, {folder, file}} {
		name := "d" + itoa(i)
		dir := archive(t, tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: 0o700})
		for _, in := range []struct {
			to   string
			what []byte
		}{{"/tmp", dir}, {"/tmp/" + name, order[0]}} {
			if err := s.driver.CopyInto(s.context(t), container, in.to, bytes.NewReader(in.what)); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.driver.CopyInto(s.context(t), container, "/tmp/"+name, bytes.NewReader(order[1])); err == nil {
			t.Error("a file took the place of a folder, or the other way")
		}
	}
}
