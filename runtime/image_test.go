package runtime_test

import (
	"context"
	"strings"
	"testing"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime"
	"github.com/hearth-edge/hearth/runtime/fake"
)

const (
	yesterday = protocol.ImageID("sha256:1111111111111111111111111111111111111111111111111111111111111111")
	today     = protocol.ImageID("sha256:2222222222222222222222222222222222222222222222222222222222222222")
)

// TestImageRebuiltElsewhereIsNotRunAsYesterdays: a node that has another image by
// the name refuses with both IDs, or finds out when it makes the container; one
// that has the same runs it.
func TestImageRebuiltElsewhereIsNotRunAsYesterdays(t *testing.T) {
	inBubble(t, func(b *bed) {
		b.engine.AddImage("app:1", fake.Image{ID: yesterday})
		b.run()
		o := offer("a", "exit=0")
		o.Service.Image, o.ImageID = "app:1", today
		r := b.refused(o, protocol.CodeImageMismatch)
		contains(t, r.Reason, yesterday.Short())
		contains(t, r.Reason, today.Short())

		b.engine.AddImage("app:1", fake.Image{ID: today})
		if end := listen(b.offer(o)).end(); end.State != protocol.StateSucceeded || end.Reason != "" {
			t.Errorf("the same image: %+v", end)
		}
		// What is fetched by the name is another one.
		b.engine.AddImage("app:2", fake.Image{ID: yesterday, Absent: true})
		o.Request, o.Service.Image = "b", "app:2"
		end := listen(b.offer(o)).end()
		if end.State != protocol.StateFailed || end.Code != protocol.CodeImageMismatch || end.Container != "" {
			t.Errorf("a fetched one: %+v", end)
		}
		contains(t, end.Reason, today.Short())
		if b.containers() != 0 {
			t.Errorf("%d containers", b.containers())
		}
	})
}

// TestEngineThatTellsNoImageIDs: nothing is compared, and the events say so.
func TestEngineThatTellsNoImageIDs(t *testing.T) {
	inBubble(t, func(b *bed) {
		engine := fake.NewEngine(fake.Config{NoImageIDs: true, Images: map[string]fake.Image{"app:1": {ID: yesterday}}})
		defer engine.Close()
		b.cfg.Driver = engine.Driver("mesh", self)
		b.run()
		o := offer("a", "exit=0")
		o.Service.Image, o.ImageID = "app:1", today
		var said strings.Builder
		got := listen(b.offer(o))
		for _, e := range got.events {
			said.WriteString(e.Reason)
		}
		contains(t, said.String(), "is not known: the container engine here does not tell")
		contains(t, said.String(), today.Short())
		if got.end().State != protocol.StateSucceeded {
			t.Errorf("%+v", got.end())
		}
		if id := b.node.ImageID(b.t.Context(), "app:1"); id != "" {
			t.Errorf("it tells the ID %s", id)
		}
		b.stop()
	})
}

// questions counts what an engine is asked of images.
type questions struct {
	runtime.Driver
	asked int
}

func (q *questions) Image(ctx context.Context, image string) (runtime.LocalImage, error) {
	q.asked++
	return q.Driver.Image(ctx, image)
}

// TestImageIDOfAnAsker: only of what no registry is known to have, and only then
// is the engine asked.
func TestImageIDOfAnAsker(t *testing.T) {
	inBubble(t, func(b *bed) {
		b.engine.AddImage("app:1", fake.Image{ID: today})
		driver := &questions{Driver: b.cfg.Driver}
		b.cfg.Driver = driver
		b.run()
		pinned := "app@" + string(today)
		for image, want := range map[string]protocol.ImageID{"app:1": today, image: "", pinned: "", string(today): "", "absent": "", "no one": "", "nobody:1": ""} {
			if got := b.node.ImageID(b.t.Context(), image); got != want {
				t.Errorf("of %s: %q, want %q", image, got, want)
			}
		}
		driver.asked = 0
		b.node.ImageID(b.t.Context(), image)
		if driver.asked != 0 {
			t.Error("the engine was asked of an image that a registry has")
		}
		b.engine.AddImage("app:1", fake.Image{ID: yesterday}) // rebuilt, and asked for at once
		if got := b.node.ImageID(b.t.Context(), "app:1"); got != yesterday {
			t.Errorf("rebuilt a moment ago: %q", got)
		}
	})
}
