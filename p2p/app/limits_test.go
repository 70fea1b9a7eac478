package app

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

func TestPanicEndsItsStreamOnly(t *testing.T) {
	dir := t.TempDir()
	var calls atomic.Int32
	var log bytes.Buffer
	stop := start(t, dir, func(ctx context.Context, s protocol.Stream) {
		if calls.Add(1) == 2 {
			_, _ = s.Read(make([]byte, 1)) // the stream is open on both sides
			panic("boom")
		}
		echo(ctx, s)
	}, &log)
	c := dial(t, dir)
	first := open(t, c)
	say2 := func(text string) {
		if _, err := io.WriteString(first, text); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(first, make([]byte, len(text))); err != nil {
			t.Fatal(err)
		}
	}
	say2("before")
	second := open(t, c)
	if _, err := io.WriteString(second, "x"); err != nil {
		t.Fatal(err)
	}
	if _, err := second.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("the panicking stream was not reset: %v", err)
	}
	say2("after")
	say(t, open(t, c), "hello")
	_ = first.Close()
	stop()
	if !strings.Contains(log.String(), "boom") {
		t.Errorf("the log is %s", &log)
	}
}

// eventually calls f until it has no error, at most for some seconds.
func eventually(t *testing.T, f func() error) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	for {
		err := f()
		if err == nil {
			return
		}
		select {
		case <-deadline:
			t.Fatal(err)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// greet has a stream say one byte, and waits until it comes back.
func greet(t *testing.T, s protocol.Stream) {
	t.Helper()
	if err := ping(s); err != nil {
		t.Fatal(err)
	}
}

func ping(s protocol.Stream) error {
	one := []byte{1}
	if _, err := s.Write(one); err != nil {
		return err
	}
	_, err := io.ReadFull(s, one)
	return err
}

// try opens a stream, uses it and leaves it open; or it says why not.
func try(t *testing.T, c *Conn) error {
	s, err := c.Open(t.Context())
	if err != nil {
		return err
	}
	return ping(s)
}

func TestStreamsOfOneAppAreBounded(t *testing.T) {
	dir := t.TempDir()
	start(t, dir, echo, io.Discard)
	c := dial(t, dir)
	streams := make([]protocol.Stream, maxStreamsPerConn)
	for i := range streams {
		streams[i] = open(t, c)
		greet(t, streams[i])
	}
	if err := try(t, c); err == nil {
		t.Fatal("one stream too many was let in")
	}
	say(t, open(t, dial(t, dir)), "another app is not concerned")
	greet(t, streams[0])
	_ = streams[0].Close()
	eventually(t, func() error { return try(t, c) })
}

func TestStreamsOfAllAppsAreBounded(t *testing.T) {
	dir := t.TempDir()
	start(t, dir, echo, io.Discard, func(e *Endpoint) { e.maxStreams = 2 })
	a, b := dial(t, dir), dial(t, dir)
	one, two := open(t, a), open(t, b)
	greet(t, one)
	greet(t, two)
	if err := try(t, a); err == nil {
		t.Fatal("one stream too many was let in")
	}
	say(t, one, "x")
	say(t, two, "y")
	eventually(t, func() error { return try(t, a) })
}

func TestConnectionsAreBounded(t *testing.T) {
	dir := t.TempDir()
	start(t, dir, echo, io.Discard)
	conns := make([]*Conn, maxConns)
	for i := range conns {
		conns[i] = dial(t, dir)
	}
	// The socket has no place left; the port has.
	c := dial(t, dir)
	if a := c.conn.RemoteMultiaddr().String(); !strings.HasPrefix(a, "/ip4/") {
		t.Errorf("connected to %s", a)
	}
	_ = conns[0].Close()
	eventually(t, func() error {
		c, err := Dial(t.Context(), dir)
		if err != nil {
			return err
		}
		defer c.Close()
		if a := c.conn.RemoteMultiaddr().String(); !strings.HasPrefix(a, "/unix/") {
			return errors.New("connected to " + a)
		}
		return nil
	})
}

// What a handler still has to say when the device ends reaches the app.
func TestFarewell(t *testing.T) {
	dir := t.TempDir()
	begun := make(chan struct{})
	stop := start(t, dir, func(ctx context.Context, s protocol.Stream) {
		close(begun)
		<-ctx.Done()
		_, _ = io.WriteString(s, "bye")
		_ = s.Close()
	}, io.Discard)
	s := open(t, dial(t, dir))
	if _, err := io.WriteString(s, "hello"); err != nil {
		t.Fatal(err)
	}
	<-begun
	stop()
	if got, err := io.ReadAll(s); string(got) != "bye" {
		t.Errorf("got %q, %v", got, err)
	}
}

// Neither a silent client nor one that reads nothing holds up the end.
func TestEndIsPrompt(t *testing.T) {
	dir := t.TempDir()
	stop := start(t, dir, func(_ context.Context, s protocol.Stream) {
		for {
			if _, err := s.Write(make([]byte, 1<<16)); err != nil {
				return
			}
		}
	}, io.Discard)
	silent, err := net.Dial("unix", filepath.Join(dir, socketFile))
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	open(t, dial(t, dir))
	began := time.Now()
	stop()
	if d := time.Since(began); d > closeTimeout+2*time.Second {
		t.Errorf("took %v", d)
	}
}

func TestGarbageIsCutOff(t *testing.T) {
	dir := t.TempDir()
	start(t, dir, echo, io.Discard)
	c, err := net.Dial("unix", filepath.Join(dir, socketFile))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write(bytes.Repeat([]byte("GET / HTTP/1.1\r\n"), 100)); err != nil {
		t.Fatal(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(2 * handshake))
	if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the connection was kept")
	}
	say(t, open(t, dial(t, dir)), "hello")
}
