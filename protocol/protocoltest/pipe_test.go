package protocoltest

import (
	"bytes"
	"errors"
	"io"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

func TestPipeCarriesBothWays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := Pipe()
		want := bytes.Repeat([]byte("0123456789"), 50_000)
		for _, dir := range []struct{ from, to *End }{{a, b}, {b, a}} {
			go func() {
				if n, err := dir.from.Write(want); n != len(want) || err != nil {
					t.Errorf("wrote %d, %v", n, err)
				}
				_ = dir.from.CloseWrite()
			}()
			if got, err := io.ReadAll(dir.to); err != nil || !bytes.Equal(got, want) {
				t.Errorf("read %d bytes, %v", len(got), err)
			}
		}
		if _, err := a.Write([]byte("x")); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("Write after CloseWrite: %v", err)
		}
	})
}

func TestPipeBlocksWhenFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := Pipe()
		done := make(chan error, 1)
		go func() { _, err := a.Write(make([]byte, pipeBuffer+1)); done <- err }()
		synctest.Wait()
		if len(done) > 0 {
			t.Error("Write did not block")
		}
		if n, err := b.Read(make([]byte, 1)); n != 1 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestPipeClose(t *testing.T) {
	a, b := Pipe()
	_, _ = a.Write([]byte("last"))
	_ = a.Close()
	if got, err := io.ReadAll(b); err != nil || string(got) != "last" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := a.Read(make([]byte, 1)); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("Read after Close: %v", err)
	}
	if n, err := b.Write(make([]byte, 2*pipeBuffer)); n != 2*pipeBuffer || err != nil {
		t.Errorf("Write to an end that ignores it: %d, %v", n, err)
	}
}

func TestPipeEndsUnblock(t *testing.T) {
	for name, tc := range map[string]struct {
		end         func(a, b *End)
		read, write error
	}{
		"reset here":  {func(a, _ *End) { a.Reset() }, errReset, errReset},
		"reset there": {func(_, b *End) { b.Reset() }, errReset, errReset},
		"close here":  {func(a, _ *End) { a.Close() }, io.ErrClosedPipe, io.ErrClosedPipe},
		"close there": {func(_, b *End) { b.Close() }, io.EOF, nil},
		"deadline":    {func(a, _ *End) { a.SetDeadline(time.Now().Add(time.Second)) }, os.ErrDeadlineExceeded, os.ErrDeadlineExceeded},
		"past":        {func(a, _ *End) { a.SetDeadline(time.Now()) }, os.ErrDeadlineExceeded, os.ErrDeadlineExceeded},
	} {
		synctest.Test(t, func(t *testing.T) {
			a, b := Pipe()
			read, written := make(chan error), make(chan error)
			go func() { _, err := a.Read(make([]byte, 1)); read <- err }()
			go func() { _, err := a.Write(make([]byte, 2*pipeBuffer)); written <- err }()
			synctest.Wait()
			tc.end(a, b)
			if err := <-read; !errors.Is(err, tc.read) {
				t.Errorf("%s: Read: %v", name, err)
			}
			if err := <-written; !errors.Is(err, tc.write) {
				t.Errorf("%s: Write: %v", name, err)
			}
		})
	}
}

func TestPipeDeadlinesCanBeMoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := Pipe()
		_ = a.SetReadDeadline(time.Now().Add(time.Second))
		_ = a.SetReadDeadline(time.Now().Add(time.Minute))
		go func() {
			<-time.After(30 * time.Second)
			_, _ = b.Write([]byte("x"))
		}()
		if _, err := a.Read(make([]byte, 1)); err != nil {
			t.Error(err)
		}
		if _, err := a.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error(err)
		}
		_ = a.SetReadDeadline(time.Time{})
		_, _ = b.Write([]byte("x"))
		if _, err := a.Read(make([]byte, 1)); err != nil {
			t.Errorf("after the deadline was taken back: %v", err)
		}
	})
}
