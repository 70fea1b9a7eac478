package stack

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

var downWeb = protocol.ControlStack{Name: "web", Action: protocol.StackDown}

// What an image declares to hold data keeps the name with its node, too, though no
// record names it.
func TestImagesDataKeepsTheName(t *testing.T) {
	bubble(t, 2, func(t *testing.T, h *home) {
		a, b := h.devices[0], h.devices[1]
		a.mustUp(stackOf("web", "db=good"))
		a.keeper.data["web"] = true
		if err := b.mesh.ControlStack(t.Context(), downWeb); err != nil {
			t.Fatal(err)
		}
		want(t, b.list(true), "web 1 down on node0")
		withData := downWeb
		withData.Data = true
		if err := b.mesh.ControlStack(t.Context(), withData); err != nil {
			t.Fatal(err)
		}
		want(t, b.list(true))
	})
}

// A service that is stopped during a change ends it, also for the next process: it
// does not go back to the version before.
func TestStopOfAServiceEndsTheChangeForGood(t *testing.T) {
	bubble(t, 1, func(t *testing.T, h *home) {
		d := h.devices[0]
		d.mustUp(stackOf("web", "db=good", "web=good"))
		u := stackOf("web", "db=good", "web=bad")
		u.Detach = true
		d.mustUp(u)
		if err := d.mesh.ControlStack(t.Context(), protocol.ControlStack{Name: "web", Action: protocol.StackStop, Services: []string{"db"}}); err != nil {
			t.Fatal(err)
		}
		d.restart()
		time.Sleep(2 * protocol.DefaultUpTimeout)
		if k := d.holder.latest(d.holder.entry("web")); k.Record.Version != 2 || k.Record.Stopped {
			t.Errorf("version %d, stopped %v", k.Record.Version, k.Record.Stopped)
		}
	})
}

// A stack that is being taken down takes no change, and goes on to its end when
// nobody waits for that any more.
func TestDownGoesOnWithoutItsAsker(t *testing.T) {
	bubble(t, 1, func(t *testing.T, h *home) {
		d := h.devices[0]
		d.mustUp(stackOf("web", "web=good"))
		d.keeper.slow = time.Minute
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := d.mesh.ControlStack(ctx, downWeb); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		_, err := d.up(stackOf("web", "web=good:2"))
		wantCode(t, err, protocol.CodeConflict, "")
		time.Sleep(2 * time.Minute)
		want(t, d.list(true))
		want(t, d.mustUp(stackOf("web", "web=good:2")), "plan 0→1 on node0: create web", "accepted 1", "up")
		ended := make(chan error, 2)
		for range 2 {
			go func() { ended <- d.mesh.ControlStack(t.Context(), downWeb) }()
			synctest.Wait()
		}
		for range 2 {
			if err := <-ended; err != nil && protocol.CodeOf(err) != protocol.CodeNotFound {
				t.Error(err)
			}
		}
		want(t, d.mustUp(stackOf("web", "web=good:2")), "plan 0→1 on node0: create web", "accepted 1", "up")
	})
}

// One that was half gone when the process ended takes no change until it is gone.
func TestHalfGoneTakesNoChange(t *testing.T) {
	bubble(t, 1, func(t *testing.T, h *home) {
		d := h.devices[0]
		d.mustUp(stackOf("web", "web=good"))
		e := d.holder.entry("web")
		k := d.holder.latest(e)
		k.Phase = phaseRemoving
		if err := d.holder.write(e, k); err != nil {
			t.Fatal(err)
		}
		_, err := d.up(stackOf("web", "web=good:2"))
		wantCode(t, err, protocol.CodeConflict, "it is being taken down")
		if err := d.mesh.ControlStack(t.Context(), downWeb); err != nil {
			t.Error(err)
		}
		want(t, d.list(true))
	})
}
