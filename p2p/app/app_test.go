package app

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/peer"
	libp2pproto "github.com/libp2p/go-libp2p/core/protocol"
	ma "github.com/multiformats/go-multiaddr"
	"go.uber.org/goleak"

	"github.com/hearth-edge/hearth/protocol"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// echo answers with what it reads, and takes every app for one that has shown the token.
func echo(_ context.Context, s protocol.Stream) {
	s.(protocol.Guarded).Proved()
	if _, err := io.Copy(s, s); err != nil {
		_ = s.Reset()
		return
	}
	_ = s.Close()
}

// start runs an endpoint until the test ends, or until stop, which waits for it.
func start(tb testing.TB, dir string, handle func(context.Context, protocol.Stream), log io.Writer, change ...func(*Endpoint)) (stop func()) {
	tb.Helper()
	e, err := New(Config{StateDir: dir, Handle: handle, Log: slog.New(slog.NewTextHandler(log, nil))})
	if err != nil {
		tb.Fatal(err)
	}
	for _, c := range change {
		c(e)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	var stopped bool
	stop = func() {
		cancel()
		if !stopped {
			stopped = true
			if err := <-done; err != nil {
				tb.Errorf("Run: %v", err)
			}
		}
	}
	tb.Cleanup(stop)
	select {
	case <-e.Ready():
	case err := <-done:
		tb.Fatalf("Run ended: %v", err)
	}
	return stop
}

func dial(tb testing.TB, dir string) *Conn {
	tb.Helper()
	c, err := Dial(tb.Context(), dir)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = c.Close() })
	return c
}

func open(tb testing.TB, c *Conn) protocol.Stream {
	tb.Helper()
	s, err := c.Open(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// say checks that a stream echoes.
func say(tb testing.TB, s protocol.Stream, text string) {
	tb.Helper()
	sent := make(chan error, 1)
	go func() {
		_, err := io.WriteString(s, text)
		sent <- errors.Join(err, s.CloseWrite())
	}()
	got, err := io.ReadAll(s)
	if err := errors.Join(err, <-sent); err != nil || string(got) != text {
		tb.Fatalf("got %q, %v; want %q", got, err, text)
	}
}

func TestSocket(t *testing.T) {
	dir := t.TempDir()
	start(t, dir, echo, io.Discard)
	c := dial(t, dir)
	if a := c.conn.RemoteMultiaddr().String(); a != "/unix"+filepath.Join(dir, socketFile) {
		t.Errorf("connected to %s", a)
	}
	say(t, open(t, c), "hello")
	say(t, open(t, c), strings.Repeat("x", 5<<20))
}

func TestPortWhereThePathIsTooLong(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("d", 100))
	var log bytes.Buffer
	start(t, dir, echo, &log)
	c := dial(t, dir)
	if a := c.conn.RemoteMultiaddr().String(); !strings.HasPrefix(a, "/ip4/127.0.0.1/tcp/") {
		t.Errorf("connected to %s", a)
	}
	say(t, open(t, c), "hello")
	if !strings.Contains(log.String(), "no unix socket for apps") {
		t.Errorf("no warning in %s", &log)
	}
}

func TestPortWhereTheSocketIsGone(t *testing.T) {
	dir := t.TempDir()
	start(t, dir, echo, io.Discard)
	if err := os.Remove(filepath.Join(dir, socketFile)); err != nil {
		t.Fatal(err)
	}
	say(t, open(t, dial(t, dir)), "hello")
}

// Any libp2p must be able to talk to the endpoint: here, go-libp2p as it comes.
func TestStockLibp2p(t *testing.T) {
	dir := t.TempDir()
	start(t, dir, echo, io.Discard)
	in, err := readInfo(dir)
	if err != nil {
		t.Fatal(err)
	}
	full, err := ma.NewMultiaddr(in.Addresses[1])
	if err != nil {
		t.Fatal(err)
	}
	ai, err := peer.AddrInfoFromP2pAddr(full)
	if err != nil {
		t.Fatal(err)
	}
	h, err := libp2p.New(libp2p.NoListenAddrs, libp2p.DisableMetrics())
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	if err := h.Connect(t.Context(), *ai); err != nil {
		t.Fatal(err)
	}
	s, err := h.NewStream(t.Context(), ai.ID, protocol.AppProtocol)
	if err != nil {
		t.Fatal(err)
	}
	say(t, s, "hello")
	known, err := h.Peerstore().GetProtocols(ai.ID)
	if err != nil || !slices.Contains(known, libp2pproto.ID(protocol.AppProtocol)) {
		t.Errorf("identify told of %v, %v", known, err)
	}
	if s, err := h.NewStream(t.Context(), ai.ID, protocol.ExecuteProtocol); err == nil {
		_, err = s.Read(make([]byte, 1))
		if err == nil {
			t.Error("the endpoint serves what it should not")
		}
	}
}

func TestFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	stop := start(t, dir, echo, io.Discard)
	for _, name := range []string{infoFile, socketFile, tokenFile} {
		st, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if st.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", name, st.Mode())
		}
	}
	if st, err := os.Stat(dir); err != nil || st.Mode().Perm() != 0o700 {
		t.Errorf("state folder: %v, %v", st.Mode(), err)
	}
	var got struct {
		PeerID    string   `json:"peer_id"`
		Addresses []string `json:"addresses"`
		PID       int      `json:"pid"`
	}
	text, err := os.ReadFile(filepath.Join(dir, infoFile))
	if err != nil || json.Unmarshal(text, &got) != nil {
		t.Fatalf("%s: %v", text, err)
	}
	if got.PID != os.Getpid() || len(got.Addresses) != 2 || !strings.HasSuffix(got.Addresses[1], "/p2p/"+got.PeerID) {
		t.Errorf("app.json says %s", text)
	}
	token := dial(t, dir).Token()
	stop()
	for _, name := range []string{infoFile, socketFile} {
		if _, err := os.Stat(filepath.Join(dir, name)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is still there: %v", name, err)
		}
	}
	start(t, dir, echo, io.Discard)
	if again := dial(t, dir).Token(); again != token || len(token) != 64 {
		t.Errorf("token was %q and is %q", token, again)
	}
}

func TestBadToken(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, tokenFile), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := New(Config{StateDir: dir, Log: slog.New(slog.DiscardHandler)}); err == nil || !strings.Contains(err.Error(), "remove it") {
		t.Errorf("New: %v", err)
	}
}

// A token that others may know is not taken, by the device or by an app.
func TestOpenToken(t *testing.T) {
	dir := t.TempDir()
	start(t, dir, echo, io.Discard)
	if err := os.Chmod(filepath.Join(dir, tokenFile), 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := Dial(t.Context(), dir); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("Dial: %v", err)
	}
	if _, err := New(Config{StateDir: dir, Log: slog.New(slog.DiscardHandler)}); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("New: %v", err)
	}
}

func TestNotRunning(t *testing.T) {
	dir := t.TempDir()
	check := func(when string) {
		t.Helper()
		_, err := Dial(t.Context(), dir)
		if !errors.Is(err, ErrNotRunning) || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "hearth up") {
			t.Errorf("%s: %v", when, err)
		}
	}
	check("never started")
	stop := start(t, dir, echo, io.Discard)
	path := filepath.Join(dir, infoFile)
	left, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	stop()
	check("ended")
	if err := os.WriteFile(path, left, 0o600); err != nil {
		t.Fatal(err)
	}
	check("ended without removing its file")
	// Another process may listen by now where the one that died did.
	other := t.TempDir()
	start(t, other, echo, io.Discard)
	in, err := readInfo(other)
	if err != nil {
		t.Fatal(err)
	}
	var dead info
	if err := json.Unmarshal(left, &dead); err != nil {
		t.Fatal(err)
	}
	in.PeerID = dead.PeerID
	text, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	check("another one is there")
}

func TestStaleSocketIsReplaced(t *testing.T) {
	dir := t.TempDir()
	l, err := net.Listen("unix", filepath.Join(dir, socketFile))
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	start(t, dir, echo, io.Discard)
	say(t, open(t, dial(t, dir)), "hello")
}

func TestLock(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	unlock, err := Lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Lock(dir); err == nil || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), strconv.Itoa(os.Getpid())) {
		t.Errorf("second Lock: %v", err)
	}
	unlock()
	again, err := Lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	again()
}

func TestDeniedNamesTheOwner(t *testing.T) {
	dir := t.TempDir()
	err := denied(dir, &os.PathError{Op: "open", Path: "token", Err: os.ErrPermission})
	if !errors.Is(err, os.ErrPermission) || !strings.Contains(err.Error(), "run this as "+userName(uint32(os.Getuid()))) {
		t.Errorf("%v", err)
	}
	if other := errors.New("other"); !errors.Is(denied(dir, other), other) || denied(dir, other).Error() != other.Error() {
		t.Error("an error of another kind was changed")
	}
}

func BenchmarkDialAndFirstStream(b *testing.B) {
	dir := b.TempDir()
	start(b, dir, echo, io.Discard)
	for b.Loop() {
		c, err := Dial(b.Context(), dir)
		if err != nil {
			b.Fatal(err)
		}
		say(b, open(b, c), "hello")
		_ = c.Close()
	}
}

func BenchmarkStream(b *testing.B) {
	dir := b.TempDir()
	start(b, dir, echo, io.Discard)
	c := dial(b, dir)
	for b.Loop() {
		s := open(b, c)
		say(b, s, "hello")
		_ = s.Close()
	}
}

// BenchmarkAsk is a conversation as most begin: the app says something, and the
// device answers.
func BenchmarkAsk(b *testing.B) {
	dir := b.TempDir()
	start(b, dir, echo, io.Discard)
	c := dial(b, dir)
	frame := make([]byte, 150)
	b.ReportAllocs()
	for b.Loop() {
		s := open(b, c)
		if _, err := s.Write(frame); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(s, frame); err != nil {
			b.Fatal(err)
		}
		_ = s.Close()
	}
}
