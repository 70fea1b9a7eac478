package p2p

import (
	"bytes"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/sec"
)

// fakeSecure reads what it is made with.
type fakeSecure struct {
	sec.SecureConn
	in io.Reader
}

func (c *fakeSecure) Read(p []byte) (int, error) { return c.in.Read(p) }

// piped is one end of a pipe.
type piped struct {
	sec.SecureConn
	net.Conn
}

func (p piped) Read(b []byte) (int, error)         { return p.Conn.Read(b) }
func (p piped) Write(b []byte) (int, error)        { return p.Conn.Write(b) }
func (p piped) Close() error                       { return p.Conn.Close() }
func (p piped) LocalAddr() net.Addr                { return p.Conn.LocalAddr() }
func (p piped) RemoteAddr() net.Addr               { return p.Conn.RemoteAddr() }
func (p piped) SetDeadline(t time.Time) error      { return p.Conn.SetDeadline(t) }
func (p piped) SetReadDeadline(t time.Time) error  { return p.Conn.SetReadDeadline(t) }
func (p piped) SetWriteDeadline(t time.Time) error { return p.Conn.SetWriteDeadline(t) }

// An frameEnd of a line echoes all streams, and keeps the pings that it takes.
type frameEnd struct {
	*frameConn
	takes chan []byte
}

// newTestFrames is a line as it is after its opening.
func newTestFrames(c net.Conn, server bool) *frameConn {
	m := newMuxers(muxID, nil)[0].Muxer.(*muxer)
	return newFrameConn(newMemberConn(piped{Conn: c}, nil, "b"), server, &network.NullScope{}, &m.yamux)
}

// joined returns the two ends of a line.
func joined(t *testing.T) (ends [2]*frameEnd) {
	t.Helper()
	var all sync.WaitGroup
	near, far := net.Pipe()
	for i, c := range []net.Conn{near, far} {
		e := &frameEnd{frameConn: newTestFrames(c, i == 1), takes: make(chan []byte, 100)}
		e.handle = func(kind byte, body []byte) error {
			if kind == framePing {
				e.takes <- append([]byte{kind}, body...)
			}
			return nil
		}
		ends[i] = e
		all.Go(func() {
			for {
				s, err := e.AcceptStream()
				if err != nil {
					_ = e.Close()
					return
				}
				all.Go(func() {
					_, _ = io.Copy(s, s)
					_ = s.Close()
				})
			}
		})
	}
	t.Cleanup(func() {
		for _, e := range ends {
			_ = e.Close()
			if !e.IsClosed() {
				t.Error("a closed line is not")
			}
			if _, err := e.OpenStream(t.Context()); err == nil {
				t.Error("a stream was opened on a closed line")
			}
		}
		all.Wait()
	})
	return ends
}

func (e *frameEnd) yamux() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.mux != nil
}

// frames sends frames to the other end, of which each must come.
func (e *frameEnd) frames(t *testing.T, to *frameEnd) {
	t.Helper()
	for i := range 10 {
		body := bytes.Repeat([]byte{byte(i)}, 8)
		if err := e.send(framePing, body); err != nil {
			t.Error(err)
			return
		}
		select {
		case got := <-to.takes:
			if want := append([]byte{framePing}, body...); !slices.Equal(got, want) {
				t.Errorf("%x, want %x", got, want)
			}
		case <-time.After(patient):
			t.Error("a frame did not come")
		}
	}
}

// echoes sends data over a stream, to have it back.
func (e *frameEnd) echoes(t *testing.T, size int) {
	t.Helper()
	s, err := e.OpenStream(t.Context())
	if err != nil {
		t.Error(err)
		return
	}
	data := bytes.Repeat([]byte("hearth"), size/6+1)[:size]
	var sending sync.WaitGroup
	sending.Go(func() {
		_, err := s.Write(data)
		if err := errors.Join(err, s.CloseWrite()); err != nil {
			t.Error(err)
		}
	})
	got, err := io.ReadAll(s)
	if err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d bytes of %d came back, %v", len(got), size, err)
	}
	sending.Wait()
}

// There is no yamux before there is a stream, and frames go on with it.
func TestLine(t *testing.T) {
	ends := joined(t)
	for i, e := range ends {
		e.frames(t, ends[1-i])
		if e.yamux() {
			t.Fatal("there is yamux without a stream")
		}
	}
	ends[1].echoes(t, 10) // opened by the side that was dialled
	var all sync.WaitGroup
	for i, e := range ends {
		all.Go(func() { e.frames(t, ends[1-i]) })
		for range 4 {
			all.Go(func() { e.echoes(t, 3<<20) })
		}
	}
	all.Wait()
	if !ends[0].yamux() || !ends[1].yamux() {
		t.Error("there is no yamux")
	}
}

// Both ends may open the first stream at once.
func TestBothOpen(t *testing.T) {
	for range 50 {
		ends := joined(t)
		var all sync.WaitGroup
		for i, e := range ends {
			all.Go(func() { e.echoes(t, 1000) })
			all.Go(func() { e.frames(t, ends[1-i]) })
		}
		all.Wait()
	}
}

// The end of a line ends what waits on it, with streams or without.
func TestLineEnds(t *testing.T) {
	for _, closes := range []func(*frameEnd) error{
		func(e *frameEnd) error { return e.Close() },
		func(e *frameEnd) error { return e.CloseWithError(1) },
	} {
		ends := joined(t)
		_ = closes(ends[0])
		<-ends[1].done
		ends = joined(t)
		s, err := ends[0].OpenStream(t.Context()) // the other end has not answered
		if err != nil {
			t.Fatal(err)
		}
		_ = closes(ends[0])
		if _, err := s.Read(make([]byte, 1)); err == nil {
			t.Error("a stream outlived its connection")
		}
		<-ends[1].done
	}
}

// What is no frame ends the connection, also where yamux reads.
func TestNoFrame(t *testing.T) {
	for _, streams := range []bool{false, true} {
		ends := joined(t)
		if streams {
			ends[0].echoes(t, 10)
		}
		_ = ends[0].send(framePing, []byte("short"))
		<-ends[1].done
	}
}

// Yamux stays once there was a stream, and serves later ones, whichever side opens them.
func TestYamuxStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ends := joined(t)
		for round := range 4 {
			ends[round%2].echoes(t, 100)
			for range 60 {
				for i, e := range ends {
					e.frames(t, ends[1-i])
				}
				time.Sleep(time.Second)
			}
			if !ends[0].yamux() || !ends[1].yamux() {
				t.Fatal("yamux ended")
			}
		}
	})
}

// Streams that are opened and closed by both ends, long after each other.
func TestStreamsComeAndGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ends := joined(t)
		var all sync.WaitGroup
		for i, e := range ends {
			all.Go(func() {
				for range 300 {
					e.frames(t, ends[1-i])
					time.Sleep(time.Duration(i+1) * 300 * time.Millisecond)
				}
			})
			for k := range 3 {
				all.Go(func() {
					for n := range 40 {
						e.echoes(t, 50)
						time.Sleep(3*time.Second + time.Duration(k*n)*17*time.Millisecond)
					}
				})
			}
		}
		all.Wait()
	})
}

// A connection with stream data to send is not idle: the reader does not wait
// behind it.
func TestBlockedWriteIsNotCalm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		l := newTestFrames(near, false)
		taken := make(chan time.Duration)
		l.handle = func(byte, []byte) error {
			taken <- l.idle
			return nil
		}
		var all sync.WaitGroup
		all.Go(func() { _, _ = l.AcceptStream() })
		ping := func() time.Duration {
			head := make([]byte, headSize)
			putHead(head, framePing, pingSize)
			if _, err := far.Write(append(head, pingBody(0, 0)...)); err != nil {
				t.Error(err)
			}
			return <-taken
		}
		time.Sleep(2 * inlineSendThreshold)
		ping()
		time.Sleep(2 * inlineSendThreshold)
		if still := ping(); still < inlineSendThreshold {
			t.Errorf("idle for %v only, and nothing is sent", still)
		}
		s, err := l.OpenStream(t.Context()) // whose first frame nobody reads
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			time.Sleep(2 * inlineSendThreshold)
			if still := ping(); still > 0 {
				t.Errorf("idle for %v, while a frame of streams waits", still)
			}
		}
		_ = s.Reset()
		_ = far.Close()
		_ = l.Close()
		all.Wait()
	})
}

// A connection that stays full ends.
func TestLineStaysFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe() // which nobody reads
		defer far.Close()
		l := newFrameConn(newMemberConn(piped{Conn: near}, nil, "b"), false, nil, nil)
		var all sync.WaitGroup
		all.Go(func() {
			if _, err := l.AcceptStream(); err == nil {
				t.Error("a stream came")
			}
		})
		began := time.Now()
		if err := l.send(framePing, pingBody(0, 0)); err == nil {
			t.Error("nobody reads, and a frame was sent")
		}
		if took := time.Since(began); took != writeTimeout {
			t.Errorf("ended after %v", took)
		}
		all.Wait()
	})
}
