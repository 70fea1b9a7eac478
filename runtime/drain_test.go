package runtime_test

import (
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime"
)

func TestDrainRefusesNewWorkOverRestartsUntilOff(t *testing.T) {
	dir := t.TempDir()
	inBubble(t, func(b *bed) {
		b.cfg.Dir = dir
		b.run()
		running := b.offer(offer("before", "sleep=1h"))
		defer running.Close()
		synctest.Wait()
		var changes atomic.Int32
		b.stop()
		b.cfg.Changed = func() { changes.Add(1) }
		b.run()
		changes.Store(0)
		if err := b.node.Drain(false); err != nil {
			t.Fatal(err)
		}
		if !b.node.State().Draining || changes.Load() != 1 {
			t.Errorf("drains: %v, told %d times", b.node.State().Draining, changes.Load())
		}
		refusal := b.refused(forced("during"), protocol.CodePolicy)
		if refusal.Reason != protocol.ReasonDraining {
			t.Errorf("refused: %s", refusal.Reason)
		}
		// What runs goes on, and can be taken up again.
		if n := b.node.State().Load.Running; n != 1 {
			t.Errorf("%d running", n)
		}
		again := b.offer(offer("before", "sleep=1h"))
		defer again.Close()

		b.stop()
		b.run()
		b.refused(offer("after"), protocol.CodePolicy)
		for range 2 {
			if err := b.node.Drain(true); err != nil {
				t.Fatal(err)
			}
		}
		s := b.offer(offer("off"))
		defer s.Close()
		b.stop()
		b.run()
		if b.node.State().Draining {
			t.Error("it drains after the restart")
		}
	})
}

// A drain that a restart would forget is none.
func TestDrainThatCannotBeKeptFails(t *testing.T) {
	inBubble(t, func(b *bed) {
		b.cfg.Dir = filepath.Join(t.TempDir(), "gone")
		b.run()
		if err := b.node.Drain(false); !os.IsNotExist(err) {
			t.Errorf("Drain: %v", err)
		}
		if b.node.State().Draining {
			t.Error("it drains all the same")
		}
		s := b.offer(offer("taken"))
		defer s.Close()
	})
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	inBubble(t, func(b *bed) {
		b.cfg.Dir = file
		if _, err := runtime.New(b.cfg); err == nil {
			t.Error("a node began that does not know whether it drains")
		}
	})
}
