package runtime_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime"
)

// up runs what is reached into, and returns its target as its orchestrator names
// it.
func (b *bed) up(id string, args ...string) protocol.Target {
	b.t.Helper()
	s := b.offer(offer(id, append(args, "sleep=1h")...))
	until(b.t, s, protocol.StateRunning)
	b.t.Cleanup(func() { s.Close() })
	return protocol.Target{Request: protocol.RequestID(id), Attempt: 1}
}

func (b *bed) exec(e protocol.Exec) protocol.Session {
	b.t.Helper()
	s, err := b.node.Containers(self).Exec(b.t.Context(), e)
	if err != nil {
		b.t.Fatalf("exec: %v", err)
	}
	return s
}

func TestExecTellsHowTheCommandEnds(t *testing.T) {
	inBubble(t, func(b *bed) {
		b.run()
		target := b.up("a")
		for name, c := range map[string]struct {
			args []string
			want protocol.Event
		}{
			"succeeds": {[]string{"out=hello", "err=oops"}, protocol.Event{State: protocol.StateSucceeded, Exited: true}},
			"fails":    {[]string{"out=hello", "err=oops", "exit=3"}, protocol.Event{State: protocol.StateFailed, Exited: true, ExitCode: 3}},
			"is none": {[]string{"unstartable=127"}, protocol.Event{
				State: protocol.StateFailed, Exited: true, ExitCode: 127, Code: protocol.CodeStartFailed, Reason: "the command could not be run: its script says so",
			}},
		} {
			got := listen(b.exec(protocol.Exec{Target: target, Args: c.args}))
			if !slices.Equal(got.states(), []protocol.State{protocol.StateRunning, c.want.State}) || got.err != nil {
				t.Errorf("%s: states %v, %v", name, got.states(), got.err)
			}
			end := got.end()
			if end.Exited != c.want.Exited || end.ExitCode != c.want.ExitCode || end.Code != c.want.Code || end.Reason != c.want.Reason {
				t.Errorf("%s: %+v", name, end)
			}
			if c.want.Code == 0 && (got.stdout != "hello" || got.stderr != "oops") {
				t.Errorf("%s: %q and %q", name, got.stdout, got.stderr)
			}
			if end.Request != "a" || end.NodeName != "me" || end.Container == "" {
				t.Errorf("%s: incomplete event: %+v", name, end)
			}
		}
	})
}

// A command whose container ends says so.
func TestExecTellsThatTheContainerEnded(t *testing.T) {
	inBubble(t, func(b *bed) {
		b.run()
		container := b.offer(offer("a", "out=up", "sleep=1m"))
		until(t, container, protocol.StateRunning)
		defer container.Close()
		s := b.exec(protocol.Exec{Target: protocol.Target{Request: "a", Attempt: 1}, Args: []string{"sleep=1h"}})
		got := listen(s)
		if end := got.end(); end.State != protocol.StateFailed || end.ExitCode != 137 || end.Reason != "the container ended" {
			t.Errorf("%+v, %v", end, got.err)
		}
		synctest.Wait()
		_, err := b.node.Containers(self).Exec(b.t.Context(), protocol.Exec{Target: protocol.Target{Request: "a", Attempt: 1}, Args: []string{"out=x"}})
		if protocol.CodeOf(err) != protocol.CodeConflict {
			t.Errorf("after the end: %v", err)
		}
	})
}

// Whoever goes takes the command along: it is told to end, and killed where it
// does not.
func TestExecEndsWithItsSession(t *testing.T) {
	inBubble(t, func(b *bed) {
		b.run()
		target := b.up("a")
		for name, c := range map[string]struct {
			args  []string
			tty   bool
			after time.Duration
		}{
			"obeys":       {[]string{"sleep=1h"}, false, 0},
			"is hung up":  {[]string{"sleep=1h"}, true, 0},
			"is stubborn": {[]string{"ignore-term", "sleep=1h"}, false, 5 * time.Second},
		} {
			s := b.exec(protocol.Exec{Target: target, Args: c.args, TTY: c.tty})
			until(t, s, protocol.StateRunning)
			synctest.Wait()
			s.Close()
			if _, err := s.Next(); !errors.Is(err, io.ErrClosedPipe) {
				t.Errorf("%s: %v", name, err)
			}
			begun := time.Now()
			b.engine.WaitCommands()
			if took := time.Since(begun); took != c.after {
				t.Errorf("%s: it ended after %v, want %v", name, took, c.after)
			}
		}
		// One that is detached goes on.
		s := b.exec(protocol.Exec{Target: target, Args: []string{"sleep=1m"}, Detach: true})
		if got := listen(s); got.err != nil || !slices.Equal(got.states(), []protocol.State{protocol.StateRunning}) {
			t.Errorf("detached: %+v", got)
		}
		begun := time.Now()
		b.engine.WaitCommands()
		if took := time.Since(begun); took != time.Minute {
			t.Errorf("a detached command ended after %v", took)
		}
	})
}

func TestExecCanBeSteered(t *testing.T) {
	inBubble(t, func(b *bed) {
		b.run()
		target := b.up("a")
		echo := b.exec(protocol.Exec{Target: target, Args: []string{"echo"}, Stdin: true})
		go func() {
			_, _ = echo.Write([]byte("typed"))
			_ = echo.CloseWrite()
		}()
		if got := listen(echo); got.stdout != "typed" {
			t.Errorf("echo: %+v", got)
		}
		if _, err := echo.Write([]byte("more")); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("input after the end: %v", err)
		}
		tell := b.exec(protocol.Exec{Target: target, Args: []string{"tell"}, TTY: true})
		read := func(want string) {
			t.Helper()
			for got := ""; got != want; {
				u, err := tell.Next()
				if err != nil {
					t.Fatalf("%v after %q, want %q", err, got, want)
				}
				if u.Output != nil {
					got += string(u.Output.Data)
				}
			}
		}
		read("ready\n")
		if err := errors.Join(tell.Signal("USR1"), tell.Resize(24, 80), tell.Resize(0, 0)); err != nil {
			t.Error(err)
		}
		read("USR1\n24 80\n")
		if err := tell.Signal("NOSUCH"); protocol.CodeOf(err) != protocol.CodeInvalid {
			t.Errorf("a signal that is none: %v", err)
		}
		_ = tell.Stop(time.Second)
		if got := listen(tell); got.end().ExitCode != 143 {
			t.Errorf("tell: %+v", got)
		}
		stubborn := b.exec(protocol.Exec{Target: target, Args: []string{"ignore-term", "sleep=1h"}})
		until(t, stubborn, protocol.StateRunning)
		synctest.Wait()
		begun := time.Now()
		_ = stubborn.Stop(3 * time.Second)
		if got := listen(stubborn); got.end().ExitCode != 137 || time.Since(begun) != 3*time.Second {
			t.Errorf("stubborn: %+v after %v", got.end(), time.Since(begun))
		}
	})
}

func TestContainersAreFound(t *testing.T) {
	inBubble(t, func(b *bed) {
		b.run()
		target := b.up("a")
		queued := b.offer(forced("big", "sleep=1h"))
		defer queued.Close()
		for name, c := range map[string]struct {
			from   protocol.PeerID
			target protocol.Target
			code   protocol.Code
		}{
			"here":               {self, target, protocol.CodeNone},
			"another's":          {"desk", target, protocol.CodeNotFound},
			"unknown":            {self, protocol.Target{Request: "b", Attempt: 1}, protocol.CodeNotFound},
			"another attempt":    {self, protocol.Target{Request: "a", Attempt: 2}, protocol.CodeNotFound},
			"without an attempt": {self, protocol.Target{Request: "a"}, protocol.CodeNotFound},
		} {
			s, err := b.node.Containers(c.from).Exec(b.t.Context(), protocol.Exec{Target: c.target, Args: []string{"out=x"}})
			if protocol.CodeOf(err) != c.code {
				t.Errorf("%s: %v", name, err)
			}
			if err == nil {
				listen(s)
			}
		}
	})
}

// What the owner does not allow is refused with the key that would allow it.
func TestContainersAskThePolicy(t *testing.T) {
	inBubble(t, func(b *bed) {
		b.cfg.Policy.Exec, b.cfg.Policy.Forward, b.cfg.Policy.Copy = []string{}, []string{"desk"}, []string{"desk"}
		b.run()
		target := b.up("a")
		c := b.node.Containers(self)
		_, exec := c.Exec(b.t.Context(), protocol.Exec{Target: target, Args: []string{"out=x"}})
		_, dial := c.Dial(b.t.Context(), protocol.Dial{Target: target, Port: 1})
		_, copied := c.Copy(b.t.Context(), protocol.Copy{Target: target, Path: "/"})
		for key, err := range map[string]error{"exec": exec, "forward": dial, "copy": copied} {
			if protocol.CodeOf(err) != protocol.CodePolicy {
				t.Errorf("%s: %v", key, err)
				continue
			}
			contains(t, err.Error(), "("+key+" in its owner's policy)")
			contains(t, err.Error(), `me lets "me"`)
		}
		b.stop()
		b.cfg.Policy.Exec, b.cfg.Policy.RunAsNonRoot = []string{"me"}, true
		b.run()
		c = b.node.Containers(self)
		_, err := c.Exec(b.t.Context(), protocol.Exec{Target: target, Args: []string{"out=x"}, User: "root"})
		if protocol.CodeOf(err) != protocol.CodePolicy {
			t.Errorf("root: %v", err)
		}
		s, err := c.Exec(b.t.Context(), protocol.Exec{Target: target, Args: []string{"out=x"}, User: "1000:1000"})
		if err != nil {
			t.Fatalf("by the owner's list: %v", err)
		}
		listen(s)
	})
}

func TestContainersBoundWhatReachesIntoThem(t *testing.T) {
	inBubble(t, func(b *bed) {
		b.run()
		target := b.up("a", "serve=80")
		c := b.node.Containers(self)
		var open []protocol.Session
		for {
			s, err := c.Exec(b.t.Context(), protocol.Exec{Target: target, Args: []string{"sleep=1h"}})
			if err != nil {
				if protocol.CodeOf(err) != protocol.CodeOverloaded || len(open) != 64 {
					t.Errorf("%d commands, then %v", len(open), err)
				}
				break
			}
			open = append(open, s)
		}
		for _, s := range open {
			s.Close()
		}
		b.engine.WaitCommands()
		synctest.Wait()
		listen(b.exec(protocol.Exec{Target: target, Args: []string{"out=x"}}))
		var conns []protocol.Stream
		for {
			s, err := c.Dial(b.t.Context(), protocol.Dial{Target: target, Port: 80})
			if err != nil {
				if protocol.CodeOf(err) != protocol.CodeOverloaded || len(conns) != 512 {
					t.Errorf("%d connections, then %v", len(conns), err)
				}
				break
			}
			conns = append(conns, s)
		}
		_ = conns[0].Close()
		_ = conns[1].Reset()
		_ = conns[1].Reset() // counts once
		for _, s := range conns[2:] {
			_ = s.Reset()
		}
		if s, err := c.Dial(b.t.Context(), protocol.Dial{Target: target, Port: 80}); err != nil {
			t.Errorf("when the others have ended: %v", err)
		} else {
			_ = s.Reset()
		}
		if _, err := c.Dial(b.t.Context(), protocol.Dial{Target: target, Port: 81}); protocol.CodeOf(err) != protocol.CodePortClosed {
			t.Errorf("where nobody listens: %v", err)
		}
	})
}

// A stack's service is reached by every device that may ask, its published ports
// also where the owner lets nobody forward.
func TestServicesAreReached(t *testing.T) {
	inBubble(t, func(b *bed) {
		b.cfg.Policy.Forward = []string{}
		b.cfg.Instance = func(stack protocol.StackName, service string) (string, error) {
			if stack != "media" || service != "db" {
				return "", protocol.Errorf(protocol.CodeNotFound, "no stack %s/%s", stack, service)
			}
			return "fake-00000001", nil
		}
		b.cfg.Publishes = func(_ protocol.StackName, port uint16, udp bool) (string, uint16, error) {
			if port != 8080 || udp {
				return "", 0, protocol.Errorf(protocol.CodePortClosed, "nobody publishes it")
			}
			return "db", 80, nil
		}
		b.run()
		b.up("a", "serve=80")
		db := protocol.Target{Stack: "media", Service: "db"}
		for _, from := range []protocol.PeerID{self, "desk"} {
			c := b.node.Containers(from)
			s, err := c.Exec(b.t.Context(), protocol.Exec{Target: db, Args: []string{"out=hello"}})
			if err != nil {
				t.Fatal(err)
			}
			if got := listen(s); got.stdout != "hello" || got.end().NodeName != "me" {
				t.Errorf("%s: %+v", from, got)
			}
			_, err = c.Exec(b.t.Context(), protocol.Exec{Target: protocol.Target{Stack: "media", Service: "web"}, Args: []string{"out=x"}})
			if protocol.CodeOf(err) != protocol.CodeNotFound {
				t.Errorf("%s: %v", from, err)
			}
			if _, err := c.Dial(b.t.Context(), protocol.Dial{Target: db, Port: 80}); protocol.CodeOf(err) != protocol.CodePolicy {
				t.Errorf("%s: a port that nobody publishes: %v", from, err)
			}
			conn, err := c.Dial(b.t.Context(), protocol.Dial{Target: protocol.Target{Stack: "media"}, Port: 8080, Published: true})
			if err != nil {
				t.Fatal(err)
			}
			_ = conn.Reset()
			_, err = c.Dial(b.t.Context(), protocol.Dial{Target: protocol.Target{Stack: "media"}, Port: 81, Published: true})
			if protocol.CodeOf(err) != protocol.CodePortClosed {
				t.Errorf("%s: %v", from, err)
			}
		}
	})
}

// entry is a file of an archive; a name that ends with / is a folder's.
type entry struct{ name, data string }

func tarOf(t *testing.T, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		h := tar.Header{Typeflag: tar.TypeReg, Name: e.name, Mode: 0o644, Size: int64(len(e.data))}
		if strings.HasSuffix(e.name, "/") {
			h.Typeflag, h.Mode = tar.TypeDir, 0o755
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, e.data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func untar(t *testing.T, archive string) (entries []entry) {
	t.Helper()
	for r := tar.NewReader(strings.NewReader(archive)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return entries
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, entry{h.Name, string(data)})
	}
}

func (b *bed) copyIn(target protocol.Target, path string, contents bool, archive []byte) protocol.Event {
	b.t.Helper()
	s, err := b.node.Containers(self).Copy(b.t.Context(), protocol.Copy{Target: target, Path: path, Into: true, Contents: contents})
	if err != nil {
		return protocol.Event{Code: protocol.CodeOf(err), Reason: err.Error()}
	}
	go func() {
		_, _ = s.Write(archive)
		_ = s.CloseWrite()
	}()
	return listen(s).end()
}

func (b *bed) copyOut(target protocol.Target, path string, follow bool) (entries []entry, end protocol.Event) {
	b.t.Helper()
	s, err := b.node.Containers(self).Copy(b.t.Context(), protocol.Copy{Target: target, Path: path, FollowLink: follow})
	if err != nil {
		return nil, protocol.Event{Code: protocol.CodeOf(err), Reason: err.Error()}
	}
	got := listen(s)
	return untar(b.t, got.stdout), got.end()
}

// Files go where docker cp puts them.
func TestCopyPlacesFiles(t *testing.T) {
	inBubble(t, func(b *bed) {
		b.run()
		target := b.up("a")
		file := tarOf(t, entry{"f", "one"})
		folder := tarOf(t, entry{"d/", ""}, entry{"d/f", "two"})
		for _, c := range []struct {
			path     string
			contents bool
			archive  []byte
			code     protocol.Code
			at       string // where it is then
			want     []entry
		}{
			{"/tmp", false, file, 0, "/tmp/f", []entry{{"f", "one"}}},
			{"/tmp/g", false, file, 0, "/tmp/g", []entry{{"g", "one"}}},
			{"/tmp/g", false, tarOf(t, entry{"f", "anew"}), 0, "/tmp/g", []entry{{"g", "anew"}}},
			{"/tmp", false, folder, 0, "/tmp/d", []entry{{"d/", ""}, {"d/f", "two"}}},
			{"/tmp/e", false, folder, 0, "/tmp/e", []entry{{"e/", ""}, {"e/f", "two"}}},
			{"/tmp/e", false, folder, 0, "/tmp/e/d", []entry{{"d/", ""}, {"d/f", "two"}}},
			{"/tmp/e", true, tarOf(t, entry{"x", "1"}, entry{"y", "2"}), 0, "/tmp/e/y", []entry{{"y", "2"}}},
			{"/tmp/new/", false, folder, 0, "/tmp/new", []entry{{"new/", ""}, {"new/f", "two"}}},
			{"/tmp/other/", false, file, protocol.CodeConstraint, "", nil},
			{"/tmp/g/", false, file, protocol.CodeConflict, "", nil},
			{"/tmp/g", false, folder, protocol.CodeConflict, "", nil},
			{"/tmp/g", true, file, protocol.CodeConflict, "", nil},
			{"/tmp/made", true, file, 0, "/tmp/made", []entry{{"made/", ""}, {"made/f", "one"}}},
			{"/none/made", true, file, protocol.CodeConstraint, "", nil},
			{"/none/f", false, file, protocol.CodeConstraint, "", nil},
			{"/tmp/g/f", false, file, protocol.CodeConflict, "", nil},
			{"/tmp/two", false, tarOf(t, entry{"x", "1"}, entry{"y", "2"}), protocol.CodeInvalid, "", nil},
			{"/tmp/empty", false, tarOf(t), protocol.CodeInvalid, "", nil},
			{"/tmp", true, tarOf(t, entry{"../x", "1"}), protocol.CodeInvalid, "", nil},
			{"/tmp", true, tarOf(t, entry{"/etc/x", "1"}), protocol.CodeInvalid, "", nil},
			{"/tmp", true, []byte(strings.Repeat("no archive", 100)), protocol.CodeInvalid, "", nil},
			{"/tmp", true, tarOf(t, entry{"cut", strings.Repeat("x", 5000)})[:2000], protocol.CodeInvalid, "", nil},
		} {
			end := b.copyIn(target, c.path, c.contents, c.archive)
			if end.Code != c.code {
				t.Errorf("to %s: %v %s", c.path, end.Code, end.Reason)
			}
			if c.at == "" {
				continue
			}
			got, end := b.copyOut(target, c.at, false)
			if end.State != protocol.StateSucceeded || !slices.Equal(got, c.want) {
				t.Errorf("%s: %q, %+v; want %q", c.at, got, end, c.want)
			}
		}
		if got, end := b.copyOut(target, "/", false); end.State != protocol.StateSucceeded || got[0].name != "rootfs/" || !slices.Contains(got, entry{"rootfs/tmp/f", "one"}) {
			t.Errorf("/: %q, %+v", got, end)
		}
		if _, end := b.copyOut(target, "/nothing", false); end.Code != protocol.CodeConstraint {
			t.Errorf("out of nothing: %+v", end)
		}
	})
}

func TestCopyRefusesDevicesAndFollowsLinks(t *testing.T) {
	inBubble(t, func(b *bed) {
		b.run()
		target := b.up("a")
		var archive bytes.Buffer
		w := tar.NewWriter(&archive)
		_ = w.WriteHeader(&tar.Header{Typeflag: tar.TypeBlock, Name: "sda", Devmajor: 8, Mode: 0o666})
		_ = w.Close()
		if end := b.copyIn(target, "/tmp", true, archive.Bytes()); end.Code != protocol.CodePolicy {
			t.Errorf("a device file: %+v", end)
		}
		archive.Reset()
		w = tar.NewWriter(&archive)
		_ = w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "f", Mode: 0o644, Size: 1})
		_, _ = w.Write([]byte("x"))
		_ = w.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: "l", Linkname: "f"})
		_ = w.Close()
		if end := b.copyIn(target, "/tmp", true, archive.Bytes()); end.State != protocol.StateSucceeded {
			t.Errorf("%+v", end)
		}
		if got, _ := b.copyOut(target, "/tmp/l", false); !slices.Equal(got, []entry{{"l", ""}}) {
			t.Errorf("a link: %q", got)
		}
		if got, _ := b.copyOut(target, "/tmp/l", true); !slices.Equal(got, []entry{{"l", "x"}}) {
			t.Errorf("what a link leads to: %q", got)
		}
	})
}

// A copy that its asker leaves ends.
func TestCopyEndsWithItsSession(t *testing.T) {
	inBubble(t, func(b *bed) {
		b.run()
		target := b.up("a")
		s, err := b.node.Containers(self).Copy(b.t.Context(), protocol.Copy{Target: target, Path: "/tmp", Into: true})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Write(tarOf(t, entry{"f", strings.Repeat("x", 5000)})[:2000]); err != nil {
			t.Error(err)
		}
		s.Close()
		synctest.Wait()
		if got, _ := b.copyOut(target, "/tmp", false); len(got) != 1 {
			t.Errorf("half a file was kept: %q", got)
		}
	})
}

var _ runtime.Access = runtime.Driver(nil)
