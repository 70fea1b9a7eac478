package protocol

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/hearth-edge/hearth/protocol/protocoltest"
)

// reaches returns both ways to the containers of a device.
func reaches(t *testing.T, d *device) map[string]Containers {
	app, _ := appLink(t, d)
	l := newLink(t, func(ctx context.Context, s Stream) error { return ServeExecute(ctx, s, d, d, d, nodeB) })
	return map[string]Containers{"app": app, "execute": NewContainersClient(l.open)}
}

func TestExecIsCarriedToItsEnd(t *testing.T) {
	var got Exec
	want := Exec{Target: Target{Request: "r-1"}, Args: []string{"sh"}, Stdin: true, TTY: true, TTYRows: 24, TTYColumns: 80}
	d := new(device)
	for name, c := range reaches(t, d) {
		s := newScript()
		d.exec = func(_ context.Context, e Exec) (Session, error) { got = e; return s, nil }
		sess, err := c.Exec(t.Context(), want)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: asked to run %+v", name, got)
		}
		if err := sess.Resize(40, 100); err != nil {
			t.Error(err)
		}
		if wished := <-s.wished; wished != "40x100" {
			t.Errorf("%s: wished %q", name, wished)
		}
		s.Event(Event{State: StateRunning})
		_ = s.Output(context.Background(), Stdout, []byte("hello"))
		s.finish(StateSucceeded)
		updates, err := readAll(sess)
		if !errors.Is(err, io.EOF) {
			t.Errorf("%s: %v", name, err)
		}
		expect(t, updates, "event 5", `out 1 @0 cut 0 "hello"`, "event 6")
		_ = sess.Close()
	}
}

// A detached command goes on: its session ends before it does.
func TestDetachedExecIsComplete(t *testing.T) {
	for name, c := range reaches(t, &device{exec: func(context.Context, Exec) (Session, error) {
		s := newScript()
		s.Event(Event{State: StateRunning})
		s.End()
		return s, nil
	}}) {
		sess, err := c.Exec(t.Context(), Exec{Target: Target{Stack: "s", Service: "a"}, Args: []string{"true"}, Detach: true})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := readAll(sess); !errors.Is(err, io.EOF) {
			t.Errorf("%s: %v", name, err)
		}
		_ = sess.Close()
	}
}

func TestCopyIsCarriedBothWays(t *testing.T) {
	for name, c := range reaches(t, &device{copies: func(_ context.Context, v Copy) (Session, error) {
		s := newScript()
		go func() {
			s.Event(Event{State: StateRunning})
			if v.Into {
				read, _ := io.ReadAll(s.stdin)
				_ = s.Output(context.Background(), Stdout, read)
			}
			s.finish(StateSucceeded)
		}()
		return s, nil
	}}) {
		sess, err := c.Copy(t.Context(), Copy{Target: Target{Request: "r"}, Path: "/etc", Into: true})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(sess, "an archive"); err != nil {
			t.Error(err)
		}
		_ = sess.CloseWrite()
		updates, _ := readAll(sess)
		if len(updates) != 3 || !strings.Contains(updates[1], "an archive") {
			t.Errorf("%s: %q", name, updates)
		}
		_ = sess.Close()
	}
}

// A connection is bytes both ways; the end of one direction leaves the other.
func TestDialKeepsHalfCloses(t *testing.T) {
	for name, c := range reaches(t, running(newScript())) {
		conn, err := c.Dial(t.Context(), Dial{Target: Target{Request: "r"}, Port: 80})
		if err != nil {
			t.Fatal(err)
		}
		sent := bytes.Repeat([]byte("0123456789abcde\n"), 1<<17)
		go func() {
			_, _ = conn.Write(sent)
			_ = conn.CloseWrite()
		}()
		got, err := io.ReadAll(conn)
		if err != nil || !bytes.Equal(got, sent) {
			t.Errorf("%s: %d of %d bytes, %v", name, len(got), len(sent), err)
		}
		_ = conn.Close()
	}
}

// What breaks on one side breaks on the other.
func TestDialIsResetWithItsEnds(t *testing.T) {
	far := make(chan *protocoltest.End, 1)
	d := &device{dial: func(context.Context, Dial) (Stream, error) {
		a, b := protocoltest.Pipe()
		far <- b
		return a, nil
	}}
	c, l := appLink(t, d)
	dial := func() (Stream, *protocoltest.End) {
		conn, err := c.Dial(t.Context(), Dial{Target: Target{Request: "r"}, Port: 80})
		if err != nil {
			t.Fatal(err)
		}
		return conn, <-far
	}
	conn, end := dial()
	_ = end.Reset()
	if _, err := io.ReadAll(conn); err == nil {
		t.Error("the container reset the connection, and it ended in order")
	}
	<-l.served
	conn, end = dial()
	_ = conn.Reset()
	if _, err := io.ReadAll(end); err == nil {
		t.Error("the asker reset the connection, and it ended in order")
	}
	<-l.served
	conn, _ = dial()
	l.cancel() // the device ends
	if _, err := io.ReadAll(conn); err == nil {
		t.Error("the device went, and the connection ended in order")
	}
	wantServed(t, l, context.Canceled)
}

func TestContainersTellErrors(t *testing.T) {
	refused := Errorf(CodePolicy, "attic lets \"desk\" run no commands")
	d := &device{
		exec:   func(context.Context, Exec) (Session, error) { return nil, refused },
		dial:   func(context.Context, Dial) (Stream, error) { return nil, refused },
		copies: func(context.Context, Copy) (Session, error) { return nil, refused },
	}
	for name, c := range reaches(t, d) {
		_, err1 := c.Exec(t.Context(), Exec{Target: Target{Request: "r"}, Args: []string{"a"}})
		_, err2 := c.Dial(t.Context(), Dial{Target: Target{Request: "r"}, Port: 1})
		_, err3 := c.Copy(t.Context(), Copy{Target: Target{Request: "r"}, Path: "/"})
		for _, err := range []error{err1, err2, err3} {
			if !reflect.DeepEqual(err, error(refused)) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	gone := NewContainersClient(func(context.Context) (Stream, error) { return nil, errors.New("no route") })
	_, err := gone.Dial(t.Context(), Dial{Target: Target{Request: "r"}, Port: 1})
	if CodeOf(err) != CodeNodeLost {
		t.Errorf("a device that cannot be reached: %v", err)
	}
}

func TestContainersRefuseWhatIsMalformed(t *testing.T) {
	request, service := Target{Request: "r"}, Target{Stack: "s", Service: "a"}
	long := strings.Repeat("x", 5000)
	for name, v := range map[string]interface{ Validate() error }{
		"exec of nothing":    &Exec{Args: []string{"a"}},
		"exec of both":       &Exec{Target: Target{Request: "r", Stack: "s", Service: "a"}, Args: []string{"a"}},
		"no command":         &Exec{Target: request},
		"an empty command":   &Exec{Target: request, Args: []string{""}},
		"relative folder":    &Exec{Target: request, Args: []string{"a"}, WorkDir: "tmp"},
		"size, no terminal":  &Exec{Target: request, Args: []string{"a"}, TTYRows: 1},
		"detached and read":  &Exec{Target: request, Args: []string{"a"}, Stdin: true, Detach: true},
		"malformed variable": &Exec{Target: request, Args: []string{"a"}, Env: []string{"A"}},
		"NUL":                &Exec{Target: request, Args: []string{"a\x00"}},
		"a service's number": &Exec{Target: Target{Stack: "s", Service: "a", Attempt: 1}, Args: []string{"a"}},
		"no stack":           &Exec{Target: Target{Service: "a"}, Args: []string{"a"}},
		"a path for a name":  &Exec{Target: Target{Stack: "..", Service: "a"}, Args: []string{"a"}},
		"attempt and device": &Exec{Target: Target{Request: "r@d", Attempt: 1}, Args: []string{"a"}},
		"no port":            &Dial{Target: request},
		"published, service": &Dial{Target: service, Port: 1, Published: true},
		"no path":            &Copy{Target: service},
		"relative path":      &Copy{Target: service, Path: "etc"},
		"long path":          &Copy{Target: service, Path: "/" + long},
		"contents out":       &Copy{Target: service, Path: "/", Contents: true},
		"links in":           &Copy{Target: service, Path: "/", Into: true, FollowLink: true},
	} {
		if err := v.Validate(); CodeOf(err) != CodeInvalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestParseTarget(t *testing.T) {
	for text, want := range map[string]Target{
		"k3v": {Request: "k3v"}, "k3v@attic": {Request: "k3v@attic"}, "media/db": {Stack: "media", Service: "db"},
	} {
		got, err := ParseTarget(text)
		if err != nil || got != want || got.String() != text {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "/", "a/", "/b", "a/b/c", "../x", "a b/c", "@d"} {
		if got, err := ParseTarget(text); err == nil {
			t.Errorf("%q is taken for %+v", text, got)
		}
	}
}

// Datagrams keep their bounds over a stream of bytes, whatever their size.
func TestDatagramsKeepTheirBounds(t *testing.T) {
	near, far := protocoltest.Pipe()
	end, peer := net.Pipe() // a write is a read
	go func() { _ = Join(context.Background(), far, FrameDatagrams(NetStream(end))) }()
	u := UnframeDatagrams(near)
	for _, size := range []int{1, 3000, maxDatagram, 0} {
		sent := bytes.Repeat([]byte{byte(size)}, size)
		if _, err := u.Write(sent); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, maxDatagram)
		n, err := peer.Read(buf)
		if err != nil || n != size {
			t.Fatalf("%d bytes became %d, %v", size, n, err)
		}
		go func() { _, _ = peer.Write(sent) }()
		_ = near.SetReadDeadline(time.Now().Add(10 * time.Second))
		if n, err := u.Read(buf); err != nil || n != size {
			t.Fatalf("%d bytes came back as %d, %v", size, n, err)
		}
	}
	if _, err := u.Write(make([]byte, maxDatagram+1)); CodeOf(err) != CodeInvalid {
		t.Errorf("a datagram that is too long: %v", err)
	}
	_ = near.Reset()
}

// What is framed in any pieces comes as it was.
func FuzzDatagrams(f *testing.F) {
	f.Add([]byte{0, 1, 'a', 0, 0, 0, 2, 'b', 'c', 0}, 3)
	f.Fuzz(func(t *testing.T, b []byte, piece int) {
		u := UnframeDatagrams(received(b))
		var want [][]byte
		buf := make([]byte, maxDatagram)
		for {
			n, err := u.Read(buf)
			if err != nil {
				break
			}
			want = append(want, bytes.Clone(buf[:n]))
		}
		var got recorder
		framed := FrameDatagrams(&got)
		for rest := b; len(rest) > 0; {
			n := min(len(rest), max(1, piece))
			if _, err := framed.Write(rest[:n]); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		if len(got.writes) != len(want) {
			t.Fatalf("%d datagrams, not %d", len(got.writes), len(want))
		}
		for i := range want {
			if !bytes.Equal(got.writes[i], want[i]) {
				t.Fatalf("datagram %d: %q, not %q", i, got.writes[i], want[i])
			}
		}
	})
}

// recorder is a stream that keeps what is written.
type recorder struct {
	Stream
	writes [][]byte
}

func (r *recorder) Write(p []byte) (int, error) {
	r.writes = append(r.writes, bytes.Clone(p))
	return len(p), nil
}
