package runtime_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime"
)

func attach(id string) protocol.Attach {
	return protocol.Attach{Request: protocol.RequestID(id), Attempt: 1}
}

func TestRestartAdopts(t *testing.T) {
	inBubble(t, func(b *bed) {
		b.run()
		first := b.offer(offer("ends meanwhile", "out=one", "sleep=10s", "out=two", "exit=3"))
		second := b.offer(offer("goes on", "out=three", "sleep=1h", "exit=4"))
		synctest.Wait()
		b.stop()
		listen(first)
		listen(second)
		time.Sleep(time.Minute)

		b.run()
		if load := b.node.State().Load; load.Running != 1 {
			t.Errorf("load after the restart: %+v", load)
		}
		s, err := b.node.Attach(b.t.Context(), attach("ends meanwhile"))
		if err != nil {
			t.Fatal(err)
		}
		if got := listen(s); got.stdout != "onetwo" || got.end().ExitCode != 3 || got.end().State != protocol.StateFailed {
			t.Errorf("the ended one: %+v", got)
		}
		// The same offer again is no second start.
		s = b.offer(offer("goes on", "out=three", "sleep=1h", "exit=4"))
		if got := listen(s); got.stdout != "three" || got.end().ExitCode != 4 {
			t.Errorf("the running one: %+v", got)
		}
		if n := len(b.starts()); n != 2 {
			t.Errorf("%d starts", n)
		}
		b.idle()
	})
}

func TestRestartKeepsTheLimit(t *testing.T) {
	inBubble(t, func(b *bed) {
		b.run()
		for _, id := range []string{"a", "b"} {
			b.offer(offer(id, "sleep=1m"))
		}
		synctest.Wait()
		b.stop()
		b.cfg.CPUs = 1 // less is lent now than runs already
		b.run()
		if s := b.node.State(); s.Load.Running != 2 || s.CPUFree != 0 {
			t.Errorf("%+v", s)
		}
		b.refused(offer("c"), protocol.CodeBusy)
		s := b.offer(forced("c", "out=x"))
		start := time.Now()
		if got := listen(s); got.stdout != "x" || time.Since(start) != time.Minute {
			t.Errorf("after %v: %+v", time.Since(start), got)
		}
		b.idle()
	})
}

func TestRestartKeepsTheTimeout(t *testing.T) {
	inBubble(t, func(b *bed) {
		b.run()
		for _, id := range []string{"runs", "overruns"} {
			o := offer(id, "sleep=1h")
			o.Service.Timeout = time.Minute
			if id == "overruns" { // it ends while no process is there
				o.Service.Args, o.Service.Timeout = []string{"sleep=15s", "exit=9"}, 14*time.Second
			}
			b.offer(o)
		}
		synctest.Wait()
		time.Sleep(10 * time.Second)
		b.stop()
		time.Sleep(10 * time.Second)
		b.run()
		start := time.Now()
		for id, want := range map[string]time.Duration{"overruns": 0, "runs": 40 * time.Second} {
			s, err := b.node.Attach(b.t.Context(), attach(id))
			if err != nil {
				t.Fatal(err)
			}
			got := listen(s)
			if got.end().State != protocol.StateTimedOut || got.end().Code != protocol.CodeTimeout || time.Since(start) < want {
				t.Errorf("%s after %v: %+v", id, time.Since(start), got.end())
			}
		}
		if took := time.Since(start); took != 40*time.Second {
			t.Errorf("after %v", took)
		}
		b.idle()
	})
}

// What nobody read before the process went is told by the next one, and the
// container goes once it was read; what was read is not kept.
func TestRestartKeepsTheEnd(t *testing.T) {
	inBubble(t, func(b *bed) {
		b.run()
		unread := b.offer(offer("unread", "out=text", "err=more", "exit=3"))
		listen(b.offer(offer("read", "out=x")))
		synctest.Wait()
		if n := b.containers(); n != 1 {
			t.Errorf("%d containers while one end was not read", n)
		}
		b.stop()
		if got := listen(unread); got.end().ExitCode != 3 || got.err != nil {
			t.Errorf("%+v", got)
		}
		for range 2 { // the second process does not get to tell it either
			b.run()
			if load := b.node.State().Load; load.Running != 0 {
				t.Errorf("load %+v", load)
			}
			b.stop()
		}
		b.run()
		s, err := b.node.Attach(b.t.Context(), attach("unread"))
		if err != nil {
			t.Fatal(err)
		}
		if got := listen(s); got.stdout != "text" || got.stderr != "more" || got.end().ExitCode != 3 {
			t.Errorf("%+v", got)
		}
		synctest.Wait()
		if n := b.containers(); n != 0 {
			t.Errorf("%d containers after all was read", n)
		}
		b.idle()
	})
}

func TestRestartRemovesWhatNeverStarted(t *testing.T) {
	inBubble(t, func(b *bed) {
		spec := runtime.Spec{ID: runtime.ExecutionID{Orchestrator: self, Request: "a", Attempt: 1}, Image: image, CPUs: 1, Memory: 1 << 20, Pids: 1}
		if _, _, err := b.cfg.Driver.Create(b.t.Context(), spec); err != nil {
			t.Fatal(err)
		}
		b.run()
		b.idle()
		if _, err := b.node.Attach(b.t.Context(), attach("a")); protocol.CodeOf(err) != protocol.CodeNotFound {
			t.Errorf("attach: %v", err)
		}
		again := offer("a", "out=x")
		again.Attempt = 2 // the first was denied
		if got := listen(b.offer(again)); got.stdout != "x" {
			t.Errorf("%+v", got)
		}
	})
}

// As long as it is not known what runs, nothing is denied.
func TestStartWithTheEngineDown(t *testing.T) {
	inBubble(t, func(b *bed) {
		b.run()
		listen(b.offer(offer("before"))) // so that there is an engine with a past
		b.offer(offer("a", "sleep=1m", "exit=6"))
		synctest.Wait()
		b.stop()
		b.engine.SetDown(true)
		b.run()
		if s := b.node.State(); s.Ready || s.Reason == "" {
			t.Errorf("%+v", s)
		}
		b.refused(offer("b"), protocol.CodeEngineDown)
		ctx, cancel := context.WithTimeout(b.t.Context(), time.Second)
		defer cancel()
		if _, err := b.node.Attach(ctx, attach("a")); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("attach: %v", err)
		}
		time.AfterFunc(10*time.Second, func() { b.engine.SetDown(false) })
		s, err := b.node.Attach(b.t.Context(), attach("a"))
		if err != nil {
			t.Fatal(err)
		}
		if got := listen(s); got.end().ExitCode != 6 {
			t.Errorf("%+v", got)
		}
		b.idle()
	})
}

func TestEngineGoesDownAndUp(t *testing.T) {
	inBubble(t, func(b *bed) {
		told := make(chan struct{}, 100)
		b.cfg.Changed = func() { told <- struct{}{} }
		b.run()
		s := b.offer(offer("a", "sleep=10s", "out=x", "exit=3"))
		synctest.Wait()
		for len(told) > 0 {
			<-told
		}
		b.engine.SetDown(true)
		<-told
		if b.node.State().Ready {
			t.Error("ready with the engine down")
		}
		b.refused(offer("b"), protocol.CodeEngineDown)
		time.Sleep(time.Minute)
		b.engine.SetDown(false)
		for !b.node.State().Ready {
			<-told // or the bubble fails, as all is blocked
		}
		if got := listen(s); got.stdout != "x" || got.end().ExitCode != 3 {
			t.Errorf("%+v", got)
		}
		b.idle()
	})
}

func TestEngineRestartKills(t *testing.T) {
	inBubble(t, func(b *bed) {
		b.run()
		s := b.offer(offer("a", "out=x", "sleep=1h"))
		synctest.Wait()
		b.engine.Restart()
		if got := listen(s); got.stdout != "x" || got.end().State != protocol.StateLost || got.end().Code != protocol.CodeEngineDown || got.end().ExitCode != 0 {
			t.Errorf("%+v", got)
		}
		if n := len(b.starts()); n != 1 {
			t.Errorf("%d starts", n)
		}
		b.idle()
	})
}

// The kill cannot be sent while the engine is down; it is when it is back.
func TestStopWithTheEngineDown(t *testing.T) {
	inBubble(t, func(b *bed) {
		b.run()
		s := b.offer(offer("a", "ignore-term", "sleep=1h"))
		synctest.Wait()
		b.engine.SetDown(true)
		s.Stop(time.Second)
		time.Sleep(time.Minute)
		if load := b.node.State().Load; load.Running != 1 {
			t.Errorf("nobody knows that it ended: %+v", load)
		}
		b.engine.SetDown(false)
		start := time.Now()
		if got := listen(s); got.end().State != protocol.StateCancelled || time.Since(start) > 10*time.Second {
			t.Errorf("after %v: %+v", time.Since(start), got.end())
		}
		b.idle()
	})
}

func TestContainerRemovedByOthers(t *testing.T) {
	inBubble(t, func(b *bed) {
		b.run()
		s := b.offer(offer("a", "sleep=1h"))
		synctest.Wait()
		if err := b.cfg.Driver.Remove(b.t.Context(), runtime.ExecutionID{Orchestrator: self, Request: "a", Attempt: 1}); err != nil {
			t.Fatal(err)
		}
		if got := listen(s); got.end().State != protocol.StateLost || got.end().Reason == "" {
			t.Errorf("ended as %+v", got.end())
		}
		b.idle()
	})
}

// breaking is a driver whose streams break off after a few pieces.
type breaking struct {
	runtime.Driver
}

func (d breaking) Create(ctx context.Context, spec runtime.Spec) (string, runtime.Stdio, error) {
	id, stdio, err := d.Driver.Create(ctx, spec)
	if err == nil {
		stdio.Output = &brittle{OutputReader: stdio.Output, left: 2}
	}
	return id, stdio, err
}

func (d breaking) Attach(ctx context.Context, id runtime.ExecutionID) (runtime.Stdio, error) {
	stdio, err := d.Driver.Attach(ctx, id)
	if err == nil {
		stdio.Output = &brittle{OutputReader: stdio.Output, left: 5}
	}
	return stdio, err
}

type brittle struct {
	runtime.OutputReader
	left int
}

func (r *brittle) Next() (protocol.Channel, []byte, error) {
	if r.left--; r.left < 0 {
		return 0, nil, errors.New("the connection broke")
	}
	return r.OutputReader.Next()
}

func TestBrokenOutputGoesOnWhereItWas(t *testing.T) {
	inBubble(t, func(b *bed) {
		b.cfg.Driver = breaking{b.cfg.Driver}
		b.run()
		got := listen(b.offer(offer("a", "out=1", "err=a", "out=2", "err=b", "exit=2")))
		if got.stdout != "12" || got.stderr != "ab" || got.cut != 0 || got.end().ExitCode != 2 || got.end().Reason != "" {
			t.Errorf("%+v", got)
		}
	})
}

// It can be attached to, but never as far as its end: that is said.
func TestOutputThatCannotBeRead(t *testing.T) {
	inBubble(t, func(b *bed) {
		b.cfg.Driver = breaking{b.cfg.Driver}
		b.run()
		got := listen(b.offer(offer("a", "out=1", "out=2", "out=3", "out=4", "out=5", "out=6", "exit=2")))
		if got.stdout != "12345" || got.end().ExitCode != 2 {
			t.Errorf("%+v", got)
		}
		contains(t, got.end().Reason, "could not be read")
		b.idle()
	})
}
