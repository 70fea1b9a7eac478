package protocol

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hearth-edge/hearth/protocol/protocoltest"
)

func TestOfferIsCarriedToItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript()
		var got Offer
		d := running(s)
		d.offer = func(_ context.Context, o Offer) (Session, error) { got = o; return s, nil }
		c, l := executeLink(t, d)
		offer := Offer{Request: "r-1", Attempt: 2, Service: sampleService(), Bound: time.Second, Forced: true, Orchestrator: nodeA}
		sess, err := c.Offer(t.Context(), offer)
		if err != nil {
			t.Fatal(err)
		}
		if got.Orchestrator != nodeB || got.Request != "r-1" || got.Service.Image != offer.Service.Image {
			t.Errorf("the node was offered %+v", got)
		}
		go func() {
			in, _ := io.ReadAll(s.stdin)
			s.Event(Event{State: StateRunning})
			s.Decision(Decision{Places: 1})
			s.Output(context.Background(), Stdout, bytes.ToUpper(in))
			s.Output(context.Background(), Stderr, []byte("bad"))
			s.Cut(Stdout, 10)
			s.finish(StateFailed)
		}()
		if _, err := sess.Write([]byte("in")); err != nil {
			t.Error(err)
		}
		if err := sess.CloseWrite(); err != nil {
			t.Error(err)
		}
		updates, err := readAll(sess)
		if !errors.Is(err, io.EOF) {
			t.Errorf("ended with %v", err)
		}
		expect(t, updates, "event 5", "decision 1", `out 1 @0 cut 0 "IN"`, `out 2 @0 cut 0 "bad"`, `out 1 @12 cut 10 ""`, "event 7")
		if _, err := sess.Write([]byte("late")); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("Write after the end: %v", err)
		}
		if err := sess.Stop(0); err != nil {
			t.Errorf("Stop after the end: %v", err)
		}
		sess.Close()
		wantServed(t, l, nil)
		<-s.closed
	})
}

func TestAttachContinuesOutput(t *testing.T) {
	s := newScript()
	s.Output(t.Context(), Stdout, []byte("0123456789"))
	s.finish(StateSucceeded)
	d := running(s)
	d.attach = func(_ context.Context, a Attach) (Session, error) {
		s.reader = s.Reader(a.Stdout, a.Stderr)
		return s, nil
	}
	c, _ := executeLink(t, d)
	sess, err := c.Attach(t.Context(), Attach{Request: "r", Attempt: 1, Stdout: 7, Stderr: 5})
	if err != nil {
		t.Fatal(err)
	}
	defer sess.Close()
	updates, err := readAll(sess)
	if !errors.Is(err, io.EOF) {
		t.Error(err)
	}
	expect(t, updates, `out 1 @7 cut 0 "789"`, "event 6")
}

func TestInputThatNobodyReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript()
		c, _ := executeLink(t, running(s))
		sess := mustOffer(t, c)
		written := make(chan error)
		go func() {
			_, err := sess.Write(make([]byte, 1<<20))
			written <- err
		}()
		synctest.Wait()
		select {
		case err := <-written:
			t.Fatalf("Write did not wait for the container: %v", err)
		default:
		}
		// Neither output nor a wish to stop waits for it.
		s.Output(t.Context(), Stdout, []byte("out"))
		if u, err := sess.Next(); err != nil || describe(u) != `out 1 @0 cut 0 "out"` {
			t.Errorf("%v, %v", u, err)
		}
		if err := sess.Stop(time.Second); err != nil {
			t.Error(err)
		}
		if g := <-s.stopped; g != time.Second {
			t.Errorf("stopped with %v", g)
		}
		s.stdin.Close()
		if err := <-written; !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("Write after the input was closed there: %v", err)
		}
	})
}

// Input of any size goes through while nobody reads updates.
func TestInputWithoutNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript()
		c, _ := executeLink(t, running(s))
		sess := mustOffer(t, c)
		want := bytes.Repeat([]byte("0123456789abcdef"), 64<<10)
		got := make(chan []byte)
		go func() {
			b, _ := io.ReadAll(s.stdin)
			got <- b
		}()
		if n, err := sess.Write(want); n != len(want) || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		sess.CloseWrite()
		if b := <-got; !bytes.Equal(b, want) {
			t.Errorf("%d bytes arrived, %d were sent, or they differ", len(b), len(want))
		}
		if _, err := sess.Write([]byte("x")); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("Write after CloseWrite: %v", err)
		}
	})
}

// An asker that does not read for an hour slows the container and loses
// nothing; it can stop it all the same.
func TestOutputThatNobodyReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript()
		c, l := executeLink(t, running(s))
		sess := mustOffer(t, c)
		const size = 4 << 20
		written := make(chan error, 1)
		go func() {
			written <- s.Output(context.Background(), Stdout, make([]byte, size))
			s.finish(StateSucceeded)
		}()
		time.Sleep(time.Hour) // in the bubble
		if len(written) > 0 {
			t.Error("the container was not slowed")
		}
		if err := sess.Stop(3); err != nil || <-s.stopped != 3 {
			t.Error("Stop did not get through:", err)
		}
		total := 0
		for {
			u, err := sess.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if u.Output != nil {
				total += len(u.Output.Data)
			}
		}
		if total != size {
			t.Errorf("%d of %d bytes", total, size)
		}
		wantServed(t, l, nil)
	})
}

func TestBrokenStreamIsNoEnd(t *testing.T) {
	breaks := map[string]func(*script, *link){
		"reset":          func(_ *script, l *link) { l.stream.Reset() },
		"node goes away": func(_ *script, l *link) { l.cancel() },
		"ends too early": func(s *script, _ *link) { s.End() },
	}
	for name, breakIt := range breaks {
		synctest.Test(t, func(t *testing.T) {
			s := newScript()
			c, l := executeLink(t, running(s))
			sess := mustOffer(t, c)
			s.Event(Event{State: StateRunning})
			synctest.Wait()
			breakIt(s, l)
			updates, err := readAll(sess)
			expect(t, updates, "event 5")
			if err == nil || errors.Is(err, io.EOF) {
				t.Errorf("%s: Next returned %v", name, err)
			}
			if _, err := sess.Write([]byte("x")); err == nil {
				t.Errorf("%s: Write went through", name)
			}
			<-s.closed
			<-l.served
			if len(s.stopped) > 0 {
				t.Errorf("%s: the execution was stopped", name)
			}
		})
	}
}

func TestResetAfterTheEndIsTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := protocoltest.Pipe()
		sess := newRemoteSession(newWire(a), Attach{})
		defer sess.Close()
		if err := sendUpdate(newWire(b), Update{Event: &Event{State: StateSucceeded}}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		b.Reset()
		updates, err := readAll(sess)
		expect(t, updates, "event 6")
		if !errors.Is(err, io.EOF) {
			t.Error(err)
		}
	})
}

func TestCloseLetsGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript()
		c, l := executeLink(t, running(s))
		sess := mustOffer(t, c)
		ended := make(chan error, 2)
		go func() { _, err := sess.Next(); ended <- err }()
		go func() { _, err := sess.Write(make([]byte, 1<<20)); ended <- err }()
		synctest.Wait()
		if err := sess.Close(); err != nil {
			t.Error(err)
		}
		for range 2 {
			if err := <-ended; err == nil {
				t.Error("Next or Write returned without an error")
			}
		}
		<-s.closed
		wantServed(t, l, nil)
		if len(s.stopped) > 0 {
			t.Error("Close stopped the execution")
		}
	})
}

func TestAnswersCrossIntact(t *testing.T) {
	secret := errors.New("open /etc/hearth/secret: permission denied")
	for _, tc := range []struct {
		is, told error
		logged   error
	}{
		{&Refusal{Code: CodeBusy, Reason: "full", Load: Load{Running: 1, Queued: 2, Slots: 3}}, &Refusal{Code: CodeBusy, Reason: "full", Load: Load{Running: 1, Queued: 2, Slots: 3}}, nil},
		{&Error{Code: CodeEngineDown, Message: "no docker"}, &Error{Code: CodeEngineDown, Message: "no docker"}, nil},
		{secret, &Error{Code: CodeInternal, Message: "internal error"}, secret},
	} {
		d := &device{
			offer:  func(context.Context, Offer) (Session, error) { return nil, tc.is },
			attach: func(context.Context, Attach) (Session, error) { return nil, tc.is },
			run:    func(context.Context, Run) (Session, error) { return nil, tc.is },
		}
		execute, el := executeLink(t, d)
		app, al := appLink(t, d)
		_, err1 := execute.Offer(t.Context(), sampleOffer())
		wantServed(t, el, tc.logged)
		_, err2 := execute.Attach(t.Context(), Attach{Request: "r"})
		wantServed(t, el, tc.logged)
		_, err3 := app.Run(t.Context(), Run{Service: Service{Image: "a"}})
		wantServed(t, al, tc.logged)
		for _, err := range []error{err1, err2, err3} {
			if err == nil || err.Error() != tc.told.Error() || CodeOf(err) != CodeOf(tc.told) {
				t.Errorf("%v was told as %v", tc.is, err)
			}
		}
		if r, ok := errors.AsType[*Refusal](err1); ok && r.Load != (Load{Running: 1, Queued: 2, Slots: 3}) {
			t.Errorf("load %v", r.Load)
		}
	}
}

// What breaks a session at the node is told, but not with its inner text.
func TestSessionBreaksAtTheNode(t *testing.T) {
	secret := errors.New("/etc/hearth/secret")
	for _, tc := range []struct {
		is     error
		code   Code
		logged error
	}{{secret, CodeInternal, secret}, {Errorf(CodeLeaving, "shutting down"), CodeLeaving, nil}} {
		s := &breaking{script: newScript(), err: tc.is}
		c, l := appLink(t, running(s))
		sess, err := c.Run(t.Context(), Run{Service: Service{Image: "a"}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := sess.Next(); CodeOf(err) != tc.code || err.Error() == "/etc/hearth/secret" {
			t.Errorf("told as %v", err)
		}
		sess.Close()
		wantServed(t, l, tc.logged)
		if len(s.stopped) > 0 {
			t.Error("the app had not gone")
		}
	}
}

type breaking struct {
	*script
	err error
}

func (b *breaking) Next() (Update, error) { return Update{}, b.err }

func TestOfferWaitsAsLongAsItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript()
		release := make(chan struct{})
		d := running(s)
		d.offer = func(context.Context, Offer) (Session, error) { <-release; return s, nil }
		c, l := executeLink(t, d)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := c.Offer(ctx, sampleOffer()); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Offer: %v", err)
		}
		close(release)
		<-l.served
		<-s.closed // let go, and not stopped
		if len(s.stopped) > 0 {
			t.Error("an unheard answer stopped the execution")
		}
	})
}

func TestOfferThatWasNeverSent(t *testing.T) {
	c := NewExecuteClient(func(context.Context) (Stream, error) { return nil, errors.New("no route") })
	_, err := c.Offer(t.Context(), sampleOffer())
	if r, ok := errors.AsType[*Refusal](err); !ok || r.Code != CodeNodeLost {
		t.Errorf("unreachable: %v", err)
	}
	if _, err := c.Offer(t.Context(), Offer{Request: "r", Attempt: 1}); CodeOf(err) != CodeInvalid {
		t.Errorf("no image: %v", err)
	}
	c, _ = executeLink(t, running(newScript()))
	_, err = c.Offer(t.Context(), Offer{Request: "", Attempt: 1, Service: Service{Image: "a"}})
	if r, ok := errors.AsType[*Refusal](err); !ok || r.Code != CodeInvalid {
		t.Errorf("no request: %v", err)
	}
}

// A Stop right before Close gets there.
func TestStopThenClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript()
		c, l := executeLink(t, running(s))
		sess := mustOffer(t, c)
		if err := errors.Join(sess.Stop(5), sess.Close()); err != nil {
			t.Error(err)
		}
		wantServed(t, l, nil)
		if len(s.stopped) != 1 {
			t.Error("Stop was lost")
		}
	})
}
