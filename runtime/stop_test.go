package runtime_test

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime/fake"
)

func TestStopWhileQueued(t *testing.T) {
	inBubble(t, func(b *bed) {
		b.run()
		b.offer(offer("0", "sleep=1h")).Close()
		b.offer(offer("1", "sleep=1h")).Close()
		first, second := b.offer(forced("2", "sleep=1h")), b.offer(forced("3", "sleep=1h"))
		first.Stop(time.Minute)
		if got := listen(first); got.end().State != protocol.StateCancelled || got.end().Code != protocol.CodeCancelled {
			t.Errorf("ended as %+v", got.end())
		}
		if e := until(t, second, protocol.StatePlacing); e.QueuePlace != 3 {
			t.Errorf("at first: %+v", e)
		}
		if e := until(t, second, protocol.StatePlacing); e.QueuePlace != 2 {
			t.Errorf("it did not move: %+v", e)
		}
		if load := b.node.State().Load; load.Queued != 1 || load.Running != 2 {
			t.Errorf("load %+v", load)
		}
	})
}

// A large one at the head that is stopped lets the small ones behind it in.
func TestStopOfTheHeadMovesTheQueue(t *testing.T) {
	inBubble(t, func(b *bed) {
		b.run()
		b.offer(offer("0", "sleep=1h")).Close()
		large := forced("1")
		large.Service.CPUs = 2
		head := b.offer(large)
		small := b.offer(forced("2", "out=x"))
		head.Stop(0)
		if got := listen(small); got.stdout != "x" {
			t.Errorf("%+v", got)
		}
	})
}

func TestStopWhilePulling(t *testing.T) {
	inBubble(t, func(b *bed) {
		b.run()
		o := offer("a")
		o.Service.Image = "absent"
		s := b.offer(o)
		until(t, s, protocol.StatePulling)
		start := time.Now()
		s.Stop(time.Hour)
		if got := listen(s); got.end().State != protocol.StateCancelled || time.Since(start) != 0 {
			t.Errorf("after %v: %+v", time.Since(start), got.end())
		}
		b.idle()
		if len(b.starts()) != 0 {
			t.Error("it was started")
		}
	})
}

func TestStopAtOnce(t *testing.T) {
	inBubble(t, func(b *bed) {
		b.run()
		s := b.offer(offer("a", "sleep=1h"))
		s.Stop(0)
		if got := listen(s); got.end().State != protocol.StateCancelled {
			t.Errorf("ended as %+v", got.end())
		}
		b.idle()
	})
}

func TestStopWhileRunning(t *testing.T) {
	tests := map[string]struct {
		script []string
		stops  []time.Duration // a second apart
		takes  time.Duration
		exit   int
		reason string
	}{
		"it obeys TERM":      {nil, []time.Duration{time.Minute}, 0, 143, "stopped"},
		"it ignores TERM":    {[]string{"ignore-term"}, []time.Duration{time.Minute}, time.Minute, 137, "stopped: it did not end in time, and was killed"},
		"no grace":           {[]string{"ignore-term"}, []time.Duration{0}, 0, 137, "killed"},
		"less than no grace": {nil, []time.Duration{-time.Minute}, 0, 137, "killed"},
		"hurried":            {[]string{"ignore-term"}, []time.Duration{time.Minute, 0}, time.Second, 137, "stopped: it did not end in time, and was killed"},
		"not slowed down":    {[]string{"ignore-term"}, []time.Duration{3 * time.Second, time.Minute}, 3 * time.Second, 137, "stopped: it did not end in time, and was killed"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(b *bed) {
				b.run()
				s := b.offer(offer("a", append(test.script, "out=before", "sleep=1h")...))
				synctest.Wait()
				start := time.Now()
				for i, grace := range test.stops {
					time.AfterFunc(time.Duration(i)*time.Second, func() { s.Stop(grace) })
				}
				got := listen(s)
				if got.end().State != protocol.StateCancelled || got.end().ExitCode != test.exit || got.end().Reason != test.reason || !got.end().Exited || time.Since(start) != test.takes {
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

// TestStopSignalOfTheImage: a stop and a time limit send what the image names.
func TestStopSignalOfTheImage(t *testing.T) {
	for what, timeout := range map[string]time.Duration{"stop": 0, "time limit": time.Minute} {
		t.Run(what, func(t *testing.T) {
			inBubble(t, func(b *bed) {
				b.engine.AddImage("database", fake.Image{StopSignal: "INT"})
				b.run()
				o := offer("a", "sleep=1h")
				o.Service.Image, o.Service.Timeout = "database", timeout
				s := b.offer(o)
				synctest.Wait()
				state := protocol.StateTimedOut
				if timeout == 0 {
					state = protocol.StateCancelled
					s.Stop(time.Minute)
				}
				if end := listen(s).end(); end.State != state || end.ExitCode != 130 || !end.Exited {
					t.Errorf("%+v", end)
				}
			})
		})
	}
}

func TestStopAfterTheEnd(t *testing.T) {
	inBubble(t, func(b *bed) {
		b.run()
		s := b.offer(offer("a"))
		synctest.Wait()
		s.Stop(0)
		s.Stop(0)
		if got := listen(s); got.end().State != protocol.StateSucceeded {
			t.Errorf("ended as %+v", got.end())
		}
	})
}

// Nobody reads the session: the container waits, and is stopped all the same.
func TestStopWhenNobodyReads(t *testing.T) {
	inBubble(t, func(b *bed) {
		b.run()
		s := b.offer(offer("a", "bytes=10000000"))
		synctest.Wait()
		if load := b.node.State().Load; load.Running != 1 {
			t.Errorf("a container that nobody reads has ended: %+v", load)
		}
		s.Stop(time.Second)
		time.Sleep(time.Minute)
		b.idle()
		got := listen(s)
		if got.end().State != protocol.StateCancelled || len(got.stdout) == 0 || got.cut == 0 {
			t.Errorf("%d bytes, %d cut, %+v", len(got.stdout), got.cut, got.end())
		}
		if !strings.HasPrefix(got.stdout, "0123456789abcde\n0123456789abcde\n") {
			t.Error("the beginning is not what was written")
		}
	})
}

func TestTimeoutWhenNobodyReads(t *testing.T) {
	inBubble(t, func(b *bed) {
		b.run()
		o := offer("a", "bytes=10000000")
		o.Service.Timeout = time.Minute
		s := b.offer(o)
		time.Sleep(2 * time.Minute)
		b.idle()
		if got := listen(s); got.end().State != protocol.StateTimedOut {
			t.Errorf("ended as %+v", got.end())
		}
	})
}

// The container has ended, and its last output waits for a slow reader: none of
// it is lost, whoever comes next has the slot, and a stop ends the waiting.
func TestSlowReader(t *testing.T) {
	const size = 320_000 // more than the feed keeps, less than with the engine's own window
	inBubble(t, func(b *bed) {
		b.run()
		s := b.offer(offer("a", "bytes=320000", "exit=4"))
		time.Sleep(time.Hour)
		if load := b.node.State().Load; load.Running != 0 {
			t.Errorf("an ended container still counts: %+v", load)
		}
		got := &said{}
		for {
			u, err := s.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			got.add(u)
			time.Sleep(10 * time.Second)
		}
		if len(got.stdout) != size || got.cut != 0 || got.end().ExitCode != 4 {
			t.Errorf("%d of %d bytes, %d cut, %+v", len(got.stdout), size, got.cut, got.end())
		}

		s = b.offer(offer("b", "bytes=320000", "exit=4"))
		time.Sleep(time.Hour)
		s.Stop(time.Second)
		time.Sleep(time.Minute)
		if got := listen(s); uint64(len(got.stdout))+got.cut != size || got.cut == 0 || got.end().ExitCode != 4 {
			t.Errorf("%d bytes and %d cut of %d, %+v", len(got.stdout), got.cut, size, got.end())
		}
		b.idle()
	})
}

func TestLostReaderDoesNotStop(t *testing.T) {
	inBubble(t, func(b *bed) {
		b.run()
		s := b.offer(offer("a", "bytes=1000000", "exit=5"))
		synctest.Wait()
		s.Close()
		time.Sleep(time.Second)
		again, err := b.node.Attach(b.t.Context(), protocol.Attach{Request: "a", Attempt: 1})
		if err != nil {
			t.Fatal(err)
		}
		if got := listen(again); got.end().ExitCode != 5 || uint64(len(got.stdout))+got.cut != 1_000_000 {
			t.Errorf("%d bytes, %d cut, %+v", len(got.stdout), got.cut, got.end())
		}
		b.idle()
	})
}
