package runtime_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime"
)

func TestRunsToTheEnd(t *testing.T) {
	inBubble(t, func(b *bed) {
		type finish struct {
			state protocol.State
			ran   time.Duration
		}
		var finished []finish
		b.cfg.Finished = func(_ protocol.Service, e protocol.Event, ran time.Duration) {
			finished = append(finished, finish{e.State, ran})
		}
		b.run()
		got := listen(b.offer(offer("a", "out=hello", "err=oops", "sleep=2s", "exit=3")))
		want := []protocol.State{protocol.StateStarting, protocol.StateRunning, protocol.StateFailed}
		if !slices.Equal(got.states(), want) || got.err != nil {
			t.Errorf("states %v, want %v; %v", got.states(), want, got.err)
		}
		if got.stdout != "hello" || got.stderr != "oops" || got.end().ExitCode != 3 {
			t.Errorf("%q, %q, exit %d", got.stdout, got.stderr, got.end().ExitCode)
		}
		for _, e := range got.events {
			if e.Request != "a" || e.Attempt != 1 || e.Node != self || e.NodeName != "me" || e.Container == "" {
				t.Errorf("incomplete event: %+v", e)
			}
		}
		if got := listen(b.offer(offer("b"))); got.end().State != protocol.StateSucceeded {
			t.Errorf("ended as %+v", got.end())
		}
		b.idle()
		if want := []finish{{protocol.StateFailed, 2 * time.Second}, {protocol.StateSucceeded, 0}}; !reflect.DeepEqual(finished, want) {
			t.Errorf("finished %v, want %v", finished, want)
		}
	})
}

func TestCannotStart(t *testing.T) {
	tests := map[string]struct {
		image string
		args  []string
		code  protocol.Code
		exit  int
	}{
		"unknown image":   {"nowhere", nil, protocol.CodeImageNotFound, 0},
		"pull breaks off": {"broken", nil, protocol.CodePullFailed, 0},
		"no such command": {image, []string{"unstartable=127"}, protocol.CodeStartFailed, 127},
		"not executable":  {image, []string{"unstartable=126"}, protocol.CodeStartFailed, 126},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(b *bed) {
				b.run()
				o := offer("a", test.args...)
				o.Service.Image = test.image
				end := listen(b.offer(o)).end()
				if end.State != protocol.StateFailed || end.Code != test.code || end.Reason == "" || end.ExitCode != test.exit || end.Exited != (test.exit != 0) {
					t.Errorf("ended as %+v, want failed with %v", end, test.code)
				}
				b.idle()
				if len(b.starts()) != 0 {
					t.Errorf("started %v", b.starts())
				}
			})
		})
	}
}

func TestOutOfMemoryIsSaid(t *testing.T) {
	inBubble(t, func(b *bed) {
		b.run()
		end := listen(b.offer(offer("a", "oom"))).end()
		if end.State != protocol.StateFailed || end.ExitCode != 137 || !end.Exited {
			t.Errorf("ended as %+v", end)
		}
		contains(t, end.Reason, "out of memory")
		contains(t, end.Reason, "1 MiB")
	})
}

// TestChildOutOfMemoryIsNoted: what the container exits with is its answer; that a
// process in it was killed is told beside it.
func TestChildOutOfMemoryIsNoted(t *testing.T) {
	for script, want := range map[string]struct {
		state protocol.State
		code  int
		note  string
	}{
		"exit=0": {protocol.StateSucceeded, 0, "a process in it ran out of memory: it may use 1 MiB"},
		"exit=3": {protocol.StateFailed, 3, "out of memory: it may use 1 MiB"},
	} {
		inBubble(t, func(b *bed) {
			b.run()
			end := listen(b.offer(offer("a", "oom-child", script))).end()
			if end.State != want.state || end.Code != protocol.CodeNone || end.ExitCode != want.code || !end.Exited {
				t.Errorf("%s: ended as %+v", script, end)
			}
			contains(t, end.Reason, want.note)
		})
	}
}

func TestOneContainerForOneID(t *testing.T) {
	inBubble(t, func(b *bed) {
		b.run()
		var wg sync.WaitGroup
		answers := make([]*said, 100)
		for i := range answers {
			wg.Go(func() { answers[i] = listen(b.offer(offer("a", "out=once", "sleep=1s", "exit=7"))) })
		}
		wg.Wait()
		for _, a := range answers {
			if a.stdout != "once" || a.end().ExitCode != 7 || a.err != nil {
				t.Fatalf("one of the answers: %+v", a)
			}
		}
		// Once more, after its end.
		if again := listen(b.offer(offer("a", "out=once", "sleep=1s", "exit=7"))); again.stdout != "once" || again.end().ExitCode != 7 {
			t.Errorf("after the end: %+v", again)
		}
		if n := len(b.starts()); n != 1 {
			t.Errorf("%d containers", n)
		}
		b.refused(offer("a", "out=different"), protocol.CodeConflict)
		b.idle()
	})
}

func TestEndedIsForgottenInTime(t *testing.T) {
	inBubble(t, func(b *bed) {
		b.run()
		listen(b.offer(offer("a", "out=x")))
		time.Sleep(runtime.EndedTTL - time.Second)
		s, err := b.node.Attach(b.t.Context(), protocol.Attach{Request: "a", Attempt: 1})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		if got := listen(s); got.stdout != "x" {
			t.Errorf("an open session lost its output: %+v", got)
		}
		if _, err := b.node.Attach(b.t.Context(), protocol.Attach{Request: "a", Attempt: 1}); protocol.CodeOf(err) != protocol.CodeNotFound {
			t.Errorf("attach: %v", err)
		}
	})
}

// TestForgetDropsTheExecution: one that has ended at once, one that runs when it was
// stopped; an offer of it that comes late starts nothing.
func TestForgetDropsTheExecution(t *testing.T) {
	inBubble(t, func(b *bed) {
		b.run()
		listen(b.offer(offer("ended", "out=x")))
		b.offer(offer("runs", "sleep=1h"))
		synctest.Wait()
		for _, id := range []protocol.RequestID{"ended", "runs"} {
			s, err := b.node.Attach(b.t.Context(), protocol.Attach{Request: id, Attempt: 1, NoOutput: true, Forget: true})
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Stop(0); err != nil {
				t.Fatal(err)
			}
			if got := listen(s); !got.end().State.Ended() || got.stdout != "" {
				t.Errorf("%s: %+v", id, got)
			}
			synctest.Wait()
			if _, err := b.node.Attach(b.t.Context(), protocol.Attach{Request: id, Attempt: 1}); protocol.CodeOf(err) != protocol.CodeNotFound {
				t.Errorf("%s is still there: %v", id, err)
			}
			b.refused(offer(string(id), "out=x"), protocol.CodeNotFound)
		}
		if n := b.containers(); n != 0 {
			t.Errorf("%d containers are left", n)
		}
		b.idle()
	})
}

func TestAttachFromOffsets(t *testing.T) {
	inBubble(t, func(b *bed) {
		b.run()
		first := b.offer(offer("a", "out=0123", "err=ab", "sleep=1s", "out=456789", "err=cd", "exit=1"))
		synctest.Wait()
		first.Close()
		if _, err := first.Next(); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("after Close: %v", err)
		}
		time.Sleep(2 * time.Second)
		s, err := b.node.Attach(b.t.Context(), protocol.Attach{Request: "a", Attempt: 1, Stdout: 3, Stderr: 2})
		if err != nil {
			t.Fatal(err)
		}
		if got := listen(s); got.stdout != "3456789" || got.stderr != "cd" || got.end().ExitCode != 1 {
			t.Errorf("%+v", got)
		}
		if _, err := b.node.Attach(b.t.Context(), protocol.Attach{Request: "a", Attempt: 2}); protocol.CodeOf(err) != protocol.CodeNotFound {
			t.Errorf("another attempt: %v", err)
		}
	})
}

func TestInput(t *testing.T) {
	inBubble(t, func(b *bed) {
		b.run()
		o := offer("a", "echo")
		o.Service.Image, o.Service.Stdin = "absent", true // writes wait for the pull
		s := b.offer(o)
		text := strings.Repeat("0123456789", 100_000)
		go func() {
			if n, err := io.WriteString(s, text); n != len(text) || err != nil {
				t.Errorf("wrote %d, %v", n, err)
			}
			s.CloseWrite()
		}()
		got := listen(s)
		if got.stdout != text || got.end().State != protocol.StateSucceeded {
			t.Errorf("%d of %d bytes, %+v", len(got.stdout), len(text), got.end())
		}
		if _, err := s.Write([]byte("x")); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("after the end: %v", err)
		}
	})
}

func TestInputWaitsForTheContainer(t *testing.T) {
	inBubble(t, func(b *bed) {
		b.run()
		o := offer("a", "sleep=1h")
		o.Service.Stdin = true
		s := b.offer(o)
		wrote := make(chan error, 1)
		go func() {
			_, err := s.Write(make([]byte, 10<<20))
			wrote <- err
		}()
		synctest.Wait()
		select {
		case err := <-wrote:
			t.Errorf("wrote to one that does not read: %v", err)
		default:
		}
		s.Stop(0)
		if err := <-wrote; !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("after its end: %v", err)
		}
		listen(s)
		without := b.offer(offer("b", "sleep=1s"))
		if _, err := without.Write([]byte("x")); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("without input: %v", err)
		}
		listen(without)
		b.idle()
	})
}

func TestTimeout(t *testing.T) {
	for _, stubborn := range []bool{false, true} {
		t.Run(fmt.Sprintf("ignores TERM: %v", stubborn), func(t *testing.T) {
			inBubble(t, func(b *bed) {
				b.run()
				o := offer("a", "out=before", "sleep=1h")
				want := 3 * time.Second
				if stubborn {
					o.Service.Args = slices.Insert(o.Service.Args, 0, "ignore-term")
					want += 5 * time.Second
				}
				o.Service.Timeout = 3 * time.Second
				start := time.Now()
				got := listen(b.offer(o))
				if got.end().State != protocol.StateTimedOut || got.end().Code != protocol.CodeTimeout || time.Since(start) != want {
					t.Errorf("after %v: %+v", time.Since(start), got.end())
				}
				if got.stdout != "before" {
					t.Errorf("output %q", got.stdout)
				}
				b.idle()
			})
		})
	}
}

func TestTimeoutCountsFromTheStart(t *testing.T) {
	inBubble(t, func(b *bed) {
		b.run()
		o := offer("a", "sleep=2s")
		o.Service.Image, o.Service.Timeout = "absent", 3*time.Second
		if end := listen(b.offer(o)).end(); end.State != protocol.StateSucceeded {
			t.Errorf("ended as %+v", end)
		}
	})
}

func TestLeaving(t *testing.T) {
	inBubble(t, func(b *bed) {
		b.run()
		running := b.offer(offer("running", "sleep=1h"))
		other := b.offer(offer("other", "sleep=1h"))
		queued := b.offer(forced("queued", "sleep=1h"))
		synctest.Wait()
		b.stop()
		if got := listen(queued); got.end().State != protocol.StateFailed || got.end().Code != protocol.CodeLeaving {
			t.Errorf("the queued one ended as %+v, %v", got.end(), got.err)
		}
		for _, s := range []protocol.Session{running, other} {
			if got := listen(s); protocol.CodeOf(got.err) != protocol.CodeLeaving {
				t.Errorf("a running one ended as %+v, %v", got.end(), got.err)
			}
		}
		b.refused(offer("late"), protocol.CodeLeaving)
		if s := b.node.State(); s.Ready || s.Reason == "" {
			t.Errorf("state after leaving: %+v", s)
		}
		found, err := b.cfg.Driver.Recover(context.Background())
		if err != nil || len(found) != 2 || !found[0].Running {
			t.Errorf("containers did not go on: %+v, %v", found, err)
		}
	})
}

func TestLeavingDuringPull(t *testing.T) {
	inBubble(t, func(b *bed) {
		b.run()
		o := offer("a")
		o.Service.Image = "absent"
		s := b.offer(o)
		until(t, s, protocol.StatePulling)
		b.stop()
		if got := listen(s); got.end().State != protocol.StateFailed || got.end().Code != protocol.CodeLeaving {
			t.Errorf("ended as %+v, %v", got.end(), got.err)
		}
	})
}

func TestAttachToWhatThereIsNow(t *testing.T) {
	inBubble(t, func(b *bed) {
		b.run()
		b.offer(offer("a", "out=x", "sleep=1h"))
		synctest.Wait()
		now := attach("a")
		now.NoFollow = true
		events := now
		events.NoOutput = true
		for _, a := range []protocol.Attach{now, events} {
			s, err := b.node.Attach(b.t.Context(), a)
			if err != nil {
				t.Fatal(err)
			}
			got := listen(s)
			if got.end().State != protocol.StateRunning || got.err != nil || (got.stdout == "x") == a.NoOutput {
				t.Errorf("%+v: %+v", a, got)
			}
		}
		time.Sleep(2 * time.Hour)
		if n := b.containers(); n != 0 {
			t.Errorf("%d containers, though nobody can come for the end any more", n)
		}
	})
}
