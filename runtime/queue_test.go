package runtime_test

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime"
)

func waiting(id string, maxWait time.Duration, args ...string) protocol.Offer {
	o := forced(id, args...)
	o.MaxWait = maxWait
	return o
}

// What found no slot in time is given back, and never started; who comes back for
// it is told so. Who waits without such a bound goes on waiting.
func TestQueuedTooLongIsGivenBack(t *testing.T) {
	inBubble(t, func(b *bed) {
		b.run()
		for i := range 2 {
			b.offer(offer(fmt.Sprint(i), "sleep=20s"))
		}
		short, patient := b.offer(waiting("short", 3*time.Second)), b.offer(waiting("patient", 0))
		begun := time.Now()
		end := listen(short).end()
		if took := time.Since(begun); took != 3*time.Second {
			t.Errorf("it was given back after %v", took)
		}
		if end.State != protocol.StateFailed || end.Code != protocol.CodeQueueTimeout || end.Container != "" {
			t.Errorf("%+v", end)
		}
		contains(t, end.Reason, "waited 3s here for a free slot")
		if load := b.node.State().Load; load.Queued != 1 {
			t.Errorf("%d still wait", load.Queued)
		}
		again, err := b.node.Attach(t.Context(), protocol.Attach{Request: "short", Attempt: 1})
		if err != nil {
			t.Fatal(err)
		}
		if told := listen(again).end(); told.Code != protocol.CodeQueueTimeout {
			t.Errorf("who came back was told %+v", told)
		}
		if end := listen(patient).end(); end.State != protocol.StateSucceeded {
			t.Errorf("%+v", end)
		}
		if slices.ContainsFunc(b.starts(), func(id runtime.ExecutionID) bool { return id.Request == "short" }) {
			t.Error("it was started all the same")
		}
		b.idle()
	})
}

// When a slot comes free just when the time is up, one of the two happens: it runs,
// or it is given back and does not.
func TestGivenBackOrStartedNeverBoth(t *testing.T) {
	both := map[protocol.State]int{}
	for range 50 {
		inBubble(t, func(b *bed) {
			b.run()
			for i := range 2 {
				b.offer(offer(fmt.Sprint(i), "sleep=3s"))
			}
			var sessions []protocol.Session
			for i := range 2 {
				sessions = append(sessions, b.offer(waiting(fmt.Sprint("w", i), 3*time.Second)))
			}
			for i, s := range sessions {
				end := listen(s).end()
				both[end.State]++
				started := slices.ContainsFunc(b.starts(), func(id runtime.ExecutionID) bool { return id.Request == protocol.RequestID(fmt.Sprint("w", i)) })
				if started != (end.State == protocol.StateSucceeded) || !started && end.Code != protocol.CodeQueueTimeout {
					t.Errorf("started %v, and it ended as %v (%v)", started, end.State, end.Code)
				}
			}
			b.idle()
		})
	}
	t.Logf("ended as %v", both)
}

// A large one that is given back lets the small one behind it start.
func TestGivingBackMakesRoom(t *testing.T) {
	inBubble(t, func(b *bed) {
		b.run()
		b.offer(offer("long", "sleep=1m"))
		large := waiting("large", 2*time.Second)
		large.Service.CPUs = 2
		b.offer(large)
		begun := time.Now()
		small := listen(b.offer(forced("small")))
		if end := small.end(); end.State != protocol.StateSucceeded || time.Since(begun) > 3*time.Second {
			t.Errorf("%+v after %v", end, time.Since(begun))
		}
		time.Sleep(2 * time.Minute)
		b.idle()
	})
}

// What waits when the device leaves is told that, whatever bound it has.
func TestLeavingBeforeGivingBack(t *testing.T) {
	inBubble(t, func(b *bed) {
		b.run()
		for i := range 2 {
			b.offer(offer(fmt.Sprint(i), "sleep=1m"))
		}
		s := b.offer(waiting("w", time.Hour))
		b.stop()
		if end := listen(s).end(); end.Code != protocol.CodeLeaving {
			t.Errorf("%+v", end)
		}
	})
}

// The load tells what has run for several times as long as it usually does, with
// what it takes, over a restart too, and how long the youngest execution has run.
func TestLoadTellsOfLongRunning(t *testing.T) {
	inBubble(t, func(b *bed) {
		b.cfg.Expected = func(s *protocol.Service) time.Duration {
			if len(s.Args) > 0 && s.Args[0] == "sleep=1h" {
				return time.Second
			}
			return 10 * time.Second
		}
		b.run()
		b.offer(offer("forever", "sleep=1h"))
		time.Sleep(4 * time.Second)
		if load := b.node.State().Load; load.LongRunning != (protocol.LongRunning{}) || load.Youngest != 4*time.Second {
			t.Errorf("after 4 times its time: %+v", load)
		}
		time.Sleep(time.Second)
		b.offer(offer("other", "sleep=30s"))
		time.Sleep(2 * time.Second)
		want := protocol.LongRunning{Count: 1, CPUs: 1, Memory: 1 << 20, Ran: 7 * time.Second}
		load := b.node.State().Load
		if load.LongRunning != want || load.Youngest != 2*time.Second || load.Running != 2 {
			t.Errorf("%+v, want %+v", load, want)
		}
		if r := b.refused(offer("more"), protocol.CodeBusy); r.Load != load {
			t.Errorf("a refusal tells %+v", r.Load)
		}
		b.stop()
		b.run()
		time.Sleep(time.Minute)
		// How long it had run, and as what, is not known any more.
		want.Ran = time.Minute
		if load := b.node.State().Load; load.LongRunning != want || load.Youngest != want.Ran {
			t.Errorf("after a restart: %+v, want %+v", load, want)
		}
		synctest.Wait()
	})
}
