package docker

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/hearth-edge/hearth/protocol"
)

func frame(kind byte, data []byte) []byte {
	head := []byte{kind, 0, 0, 0, 0, 0, 0, 0}
	binary.BigEndian.PutUint32(head[4:], uint32(len(data)))
	return append(head, data...)
}

func TestReaderTakesFramesApart(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type piece struct {
			kind byte
			data []byte
		}
		var in []byte
		var want, got [3][]byte
		for range rapid.IntRange(0, 10).Draw(t, "frames") {
			p := piece{rapid.SampledFrom([]byte{frameStdout, frameStderr}).Draw(t, "kind"), make([]byte, rapid.IntRange(0, 3*largeBuffer).Draw(t, "size"))}
			for i := range p.data {
				p.data[i] = byte(i * 7)
			}
			in = append(in, frame(p.kind, p.data)...)
			want[p.kind] = append(want[p.kind], p.data...)
		}
		r := newReader(bytes.NewReader(in), io.NopCloser(nil), &sync.Pool{})
		for {
			channel, data, err := r.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if len(data) == 0 || len(data) > largeBuffer {
				t.Fatalf("a piece of %d bytes", len(data))
			}
			got[channel] = append(got[channel], data...)
		}
		if !slices.EqualFunc(want[:], got[:], bytes.Equal) {
			t.Fatal("the output differs")
		}
	})
}

// TestReaderOfATerminal: there are no frames, whatever the bytes look like.
func TestReaderOfATerminal(t *testing.T) {
	in := bytes.Repeat(frame(frameStderr, []byte("looks like one")), largeBuffer/10)
	r := newReader(bytes.NewReader(in), io.NopCloser(nil), &sync.Pool{})
	r.raw = true
	var got []byte
	for {
		channel, data, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil || channel != protocol.Stdout || len(data) == 0 {
			t.Fatalf("%d bytes on channel %d, %v", len(data), channel, err)
		}
		got = append(got, data...)
	}
	if !bytes.Equal(got, in) {
		t.Errorf("%d of %d bytes, or other ones", len(got), len(in))
	}
}

// TestReaderWaitsWithLittle: the large buffer is there for what comes in one
// go, and not for waiting.
func TestReaderWaitsWithLittle(t *testing.T) {
	near, far := net.Pipe()
	defer far.Close()
	r := newReader(near, near, &sync.Pool{})
	many := frame(frameStdout, make([]byte, 3*largeBuffer))
	var writing sync.WaitGroup
	defer writing.Wait()
	writing.Go(func() {
		for _, p := range [][]byte{many, frame(frameStdout, []byte("x"))} {
			if _, err := far.Write(p); err != nil {
				t.Errorf("Write: %v", err)
			}
		}
	})
	borrowed := false
	for got := 0; got < 3*largeBuffer+1; {
		_, data, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		got += len(data)
		borrowed = borrowed || r.large != nil
	}
	if !borrowed || r.large != nil {
		t.Errorf("borrowed %t, and still there: %t", borrowed, r.large != nil)
	}
}

func TestReaderErrors(t *testing.T) {
	for name, c := range map[string]struct {
		in   []byte
		want string
	}{
		"cut in a header": {frame(frameStdout, []byte("x"))[:5], io.ErrUnexpectedEOF.Error()},
		"cut in the data": {frame(frameStdout, []byte("xyz"))[:8], io.ErrUnexpectedEOF.Error()},
		"unknown kind":    {frame(9, []byte("x")), "the engine sent a frame of unknown kind 9"},
		"engine's error":  {frame(frameError, []byte("broken")), "the engine lost the output: broken"},
	} {
		r := newReader(bytes.NewReader(c.in), io.NopCloser(nil), &sync.Pool{})
		for range 2 {
			if _, _, err := r.Next(); err == nil || err.Error() != c.want {
				t.Errorf("%s: %v, want %s", name, err, c.want)
			}
		}
	}
}

func FuzzReader(f *testing.F) {
	f.Add(frame(frameStdout, []byte("hello")))
	f.Add(frame(frameError, bytes.Repeat([]byte("x"), 1000)))
	f.Fuzz(func(t *testing.T, in []byte) {
		r := newReader(bytes.NewReader(in), io.NopCloser(nil), &sync.Pool{})
		total := 0
		for {
			channel, data, err := r.Next()
			if err != nil {
				break
			}
			if channel != protocol.Stdout && channel != protocol.Stderr || len(data) == 0 {
				t.Fatalf("%d bytes on channel %d", len(data), channel)
			}
			total += len(data)
		}
		if total > len(in) {
			t.Fatalf("%d bytes out of %d", total, len(in))
		}
	})
}

// BenchmarkReader reads frames of the engine's size from a unix socket.
func BenchmarkReader(b *testing.B) {
	listener, err := net.Listen("unix", filepath.Join(b.TempDir(), "socket"))
	if err != nil {
		b.Fatal(err)
	}
	defer listener.Close()
	piece := frame(frameStdout, make([]byte, 32<<10))
	b.SetBytes(32 << 10)
	var writing sync.WaitGroup
	writing.Go(func() {
		conn, err := listener.Accept()
		for err == nil {
			_, err = conn.Write(piece)
		}
	})
	defer writing.Wait()
	conn, err := net.Dial("unix", listener.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	r := newReader(conn, conn, &sync.Pool{})
	for b.Loop() {
		for left := 32 << 10; left > 0; {
			_, data, err := r.Next()
			if err != nil {
				b.Fatal(err)
			}
			left -= len(data)
		}
	}
}
