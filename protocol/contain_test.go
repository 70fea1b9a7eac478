package protocol

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"runtime/debug"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// faulty is a session of which one method panics.
type faulty struct {
	*script
	at string
}

func (f *faulty) fail(method string) {
	if f.at == method {
		panic("boom in " + method)
	}
}

func (f *faulty) Next() (Update, error) {
	if f.at == "Next" {
		<-f.stopped // the asker has its answer
	}
	f.fail("Next")
	return f.script.Next()
}

func (f *faulty) Write(p []byte) (int, error) {
	f.fail("Write")
	return len(p), nil
}

func (f *faulty) Stop(grace time.Duration) error { f.fail("Stop"); return f.script.Stop(grace) }

func (f *faulty) Close() error {
	defer f.fail("Close") // it lets go of what it holds first
	return f.script.Close()
}

// logged makes the default logger write into what it returns, until the test ends.
func logged(t *testing.T) *bytes.Buffer {
	before, out := slog.Default(), new(bytes.Buffer)
	slog.SetDefault(slog.New(slog.NewTextHandler(out, nil)))
	t.Cleanup(func() { slog.SetDefault(before) })
	return out
}

// A panic in any part of a session ends that session, as if its asker had left,
// and is told once; other sessions go on.
func TestPanicEndsOneSession(t *testing.T) {
	for _, method := range []string{"Next", "Write", "Stop", "Close"} {
		t.Run(method, func(t *testing.T) {
			log := logged(t)
			synctest.Test(t, func(t *testing.T) { panicInSession(t, method) })
			if n := strings.Count(log.String(), "boom in "+method); n != 1 && method != "Close" { // which is called twice
				t.Errorf("%d log lines tell of the panic:\n%s", n, log)
			}
			if !strings.Contains(log.String(), "protocol.(*faulty)") {
				t.Errorf("the log has no stack:\n%s", log)
			}
		})
	}
}

func panicInSession(t *testing.T, method string) {
	bad, good := &faulty{script: newScript(), at: method}, newScript()
	d := running(good)
	d.offer = func(_ context.Context, o Offer) (Session, error) {
		if o.Attempt == 2 {
			return bad, nil
		}
		return good, nil
	}
	l := newLink(t, func(ctx context.Context, s Stream) error {
		// As those do who run a conversation: see p2p.Mesh and app.Endpoint.
		defer func() {
			if r := recover(); r != nil {
				slog.Error("panic", "err", r, "stack", string(debug.Stack()))
				_ = s.Reset()
			}
		}()
		return ServeExecute(ctx, s, d, d, d, nodeB)
	})
	c := NewExecuteClient(l.open)
	other := mustOffer(t, c)
	sess, err := c.Offer(t.Context(), Offer{Request: "r", Attempt: 2, Service: Service{Image: "busybox"}})
	if err != nil {
		t.Fatal(err)
	}
	switch method {
	case "Write":
		_, _ = sess.Write([]byte("in"))
	case "Stop", "Next":
		_ = sess.Stop(time.Second)
	case "Close":
		_ = l.stream.Reset()
	}
	if _, err := readAll(sess); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("the session ended with %v", err)
	}
	_ = sess.Close()
	<-bad.closed
	<-l.served

	good.finish(StateSucceeded)
	if _, err := readAll(other); !errors.Is(err, io.EOF) {
		t.Errorf("the other session ended with %v", err)
	}
	_ = other.Close()
	<-l.served
}

// poisoned is a stream whose reading panics after the answer, as a decoder with a
// mistake would.
type poisoned struct {
	Stream
	reads int
}

func (p *poisoned) Read(b []byte) (int, error) {
	if p.reads++; p.reads > 1 {
		panic("boom in Read")
	}
	return p.Stream.Read(b)
}

// A panic over what the other side says ends the asker's session, and no more.
func TestPanicOfAsker(t *testing.T) {
	log := logged(t)
	synctest.Test(t, func(t *testing.T) {
		s := newScript()
		_, l := executeLink(t, running(s))
		c := NewExecuteClient(func(ctx context.Context) (Stream, error) {
			stream, err := l.open(ctx)
			return &poisoned{Stream: stream}, err
		})
		sess := mustOffer(t, c)
		if _, err := sess.Next(); !errors.Is(err, errPanic) {
			t.Errorf("the session ended with %v", err)
		}
		if _, err := sess.Write([]byte("in")); !errors.Is(err, errPanic) {
			t.Errorf("Write after it: %v", err)
		}
		_ = sess.Close()
		<-s.closed // the node was told
		<-l.served
	})
	if n := strings.Count(log.String(), "boom in Read"); n != 1 {
		t.Errorf("%d log lines tell of the panic:\n%s", n, log)
	}
}
