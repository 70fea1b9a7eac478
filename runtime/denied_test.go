package runtime_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime"
)

// TestKnownIDOfAnotherOrchestrator: whatever others do under a request ID, an
// orchestrator's own request of that ID runs, and nobody else reaches it.
func TestKnownIDOfAnotherOrchestrator(t *testing.T) {
	for what, squat := range map[string]func(*bed, protocol.Executor) error{
		"offered": func(b *bed, mallory protocol.Executor) error {
			_, err := mallory.Offer(b.t.Context(), offer("nightly", "sleep=1h"))
			return err
		},
		"asked for before it is offered": func(b *bed, mallory protocol.Executor) error {
			if _, err := mallory.Attach(b.t.Context(), protocol.Attach{Request: "nightly", Attempt: 1}); protocol.CodeOf(err) != protocol.CodeNotFound {
				return err
			}
			return nil
		},
	} {
		t.Run(what, func(t *testing.T) {
			inBubble(t, func(b *bed) {
				b.run()
				if err := squat(b, b.node.For("mallory")); err != nil {
					t.Fatal(err)
				}
				s, err := b.node.For("anna").Offer(b.t.Context(), offer("nightly", "out=anna's", "sleep=1s"))
				if err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				for _, other := range []protocol.PeerID{"eve", self} {
					_, err := b.node.For(other).Attach(b.t.Context(), protocol.Attach{Request: "nightly", Attempt: 1})
					if protocol.CodeOf(err) != protocol.CodeNotFound {
						t.Errorf("%s attached: %v", other, err)
					}
				}
				if got := listen(s); got.stdout != "anna's" || got.end().State != protocol.StateSucceeded {
					t.Errorf("%+v", got)
				}
			})
		})
	}
}

// TestDenialsOfOthers: a device that asks for thousands of executions makes the
// node forget none of what it has denied another one.
func TestDenialsOfOthers(t *testing.T) {
	inBubble(t, func(b *bed) {
		b.run()
		deny := func(orchestrator protocol.PeerID, id string) {
			_, err := b.node.For(orchestrator).Attach(b.t.Context(), protocol.Attach{Request: protocol.RequestID(id), Attempt: 1})
			if protocol.CodeOf(err) != protocol.CodeNotFound {
				t.Fatalf("%s attached to %s: %v", orchestrator, id, err)
			}
		}
		deny("anna", "nightly")
		for i := range 10_000 {
			deny("mallory", fmt.Sprint("r", i))
		}
		_, err := b.node.For("anna").Offer(b.t.Context(), offer("nightly"))
		if protocol.CodeOf(err) != protocol.CodeNotFound {
			t.Errorf("an offer that came late: %v", err)
		}
	})
}

// Who was told that it is not here offers it elsewhere: an offer that was under
// way comes too late.
func TestDeniedIsNotStarted(t *testing.T) {
	inBubble(t, func(b *bed) {
		b.run()
		if _, err := b.node.Attach(b.t.Context(), protocol.Attach{Request: "a", Attempt: 1}); protocol.CodeOf(err) != protocol.CodeNotFound {
			t.Fatalf("attach: %v", err)
		}
		b.refused(forced("a"), protocol.CodeNotFound)
		if n := len(b.starts()); n != 0 {
			t.Errorf("%d containers were started", n)
		}
		again := offer("a")
		again.Attempt = 2
		listen(b.offer(again))
		time.Sleep(runtime.EndedTTL + time.Second)
		listen(b.offer(offer("a")))
	})
}
