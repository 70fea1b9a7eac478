package runtime_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime"
	"github.com/hearth-edge/hearth/runtime/fake"
)

func TestPullsTellTheRate(t *testing.T) {
	inBubble(t, func(b *bed) {
		b.cfg.Dir = t.TempDir()
		// The fake engine tells of a tenth each second, from the first one on.
		b.engine.AddImage("far", fake.Image{Absent: true, Pull: 10 * time.Second, Size: 90 << 20})
		b.run()
		pull := func(image string) {
			o := offer(image)
			o.Service.Image = image
			if got := listen(b.offer(o)); got.end().State != protocol.StateSucceeded {
				t.Fatalf("%s: %+v", image, got.end())
			}
		}
		pull(image)
		pull("absent") // too small to tell anything
		if got := b.node.State().PullRate; got != 0 {
			t.Errorf("rate %d before anything was fetched", got)
		}
		pull("far")
		const want = 8 << 20
		if got := b.node.State().PullRate; got != want {
			t.Errorf("rate %d, want %d", got, want)
		}
		b.stop()
		b.run()
		if got := b.node.State().PullRate; got != want {
			t.Errorf("rate %d after a restart, want %d", got, want)
		}
	})
}

func TestStateTellsSizesOfImages(t *testing.T) {
	inBubble(t, func(b *bed) {
		b.engine.AddImage("big", fake.Image{Size: 12345})
		b.run()
		s := b.node.State()
		want := map[uint32]protocol.Bytes{protocol.HashImage("big"): 12345, protocol.HashImage(image): 0}
		if len(s.Images) != len(want) || len(s.ImageSizes) != len(want) {
			t.Fatalf("%v and %v", s.Images, s.ImageSizes)
		}
		for i, hash := range s.Images {
			if s.ImageSizes[i] != want[hash] {
				t.Errorf("image %x: %d, want %d", hash, s.ImageSizes[i], want[hash])
			}
		}
	})
}

// asking counts what is asked of a driver.
type asking struct {
	runtime.Driver
	pulls, fetches, removals int
}

func (a *asking) Pull(ctx context.Context, image string, progress func(runtime.PullStep)) error {
	a.pulls++
	return a.Driver.Pull(ctx, image, progress)
}

func (a *asking) Remove(ctx context.Context, id runtime.ExecutionID) error {
	a.removals++
	return a.Driver.Remove(ctx, id)
}

// TestPullsOnlyWhatIsMissing, and removes only what may have been made.
func TestPullsOnlyWhatIsMissing(t *testing.T) {
	for name, want := range map[string]asking{
		image:    {pulls: 0, removals: 1},
		"absent": {pulls: 1, removals: 1},
		"broken": {pulls: 1, removals: 0},
		"no one": {pulls: 1, removals: 0},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(b *bed) {
				got := &asking{Driver: b.cfg.Driver}
				b.cfg.Driver = got
				b.run()
				o := offer("a")
				o.Service.Image = name
				listen(b.offer(o))
				b.idle()
				if got.pulls != want.pulls || got.removals != want.removals {
					t.Errorf("%d pulls and %d removals, want %d and %d", got.pulls, got.removals, want.pulls, want.removals)
				}
			})
		})
	}
}

func TestPullTellsProgress(t *testing.T) {
	inBubble(t, func(b *bed) {
		b.run()
		o := offer("a", "out=x")
		o.Service.Image = "absent"
		got := listen(b.offer(o))
		told := func(what func(protocol.Event) bool) bool { return slices.ContainsFunc(got.events[:2], what) }
		if !told(func(e protocol.Event) bool { return e.Reason == `fetching the image "absent"` }) ||
			!told(func(e protocol.Event) bool { return e.State == protocol.StatePulling && e.Progress != nil }) ||
			got.end().State != protocol.StateSucceeded {
			t.Errorf("%+v", got.events)
		}
		// It is there now: nothing of a pull is told any more.
		o.Request = "b"
		if got := listen(b.offer(o)); got.states()[0] != protocol.StateStarting {
			t.Errorf("states %v", got.states())
		}
		synctest.Wait()
		if !slices.Contains(b.node.State().Images, protocol.HashImage("absent")) {
			t.Error("the pulled image is not told")
		}
	})
}
