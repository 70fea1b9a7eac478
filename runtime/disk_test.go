package runtime_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime"
	"github.com/hearth-edge/hearth/runtime/fake"
)

const mebibyte = protocol.Bytes(1 << 20)

// keeping is a driver that tells where its engine keeps images.
type keeping struct {
	runtime.Driver
	dir string
}

func (d keeping) Info(ctx context.Context) (runtime.Info, error) {
	info, err := d.Driver.Info(ctx)
	info.DataDir = d.dir
	return info, err
}

// fetch is an offer of an image.
func fetch(id, image string) protocol.Offer {
	o := offer(id)
	o.Service.Image = image
	return o
}

// TestDiskReserve: with little room nothing is fetched, and what is there runs.
func TestDiskReserve(t *testing.T) {
	inBubble(t, func(b *bed) {
		b.cfg.Driver = keeping{b.cfg.Driver, "/images"}
		var free, files atomic.Uint64
		b.cfg.Space = func(_ context.Context, dir string) (runtime.Space, error) {
			if dir != "/images" {
				t.Errorf("room looked for in %q", dir)
			}
			return runtime.Space{Bytes: protocol.Bytes(free.Load()), Files: files.Load()}, nil
		}
		free.Store(uint64(runtime.DiskReserve - 1))
		files.Store(runtime.FileReserve)
		b.run()
		r := b.refused(fetch("a", "absent"), protocol.CodeDiskFull)
		contains(t, r.Reason, "256 MiB")
		free.Store(uint64(runtime.DiskReserve))
		files.Store(runtime.FileReserve - 1)
		r = b.refused(fetch("a", "absent"), protocol.CodeDiskFull)
		contains(t, r.Reason, "needs room for 16384 files")
		contains(t, r.Reason, "16383 (inodes)")
		if got := listen(b.offer(fetch("b", image))); got.end().State != protocol.StateSucceeded {
			t.Errorf("an image that is there: %+v", got.end())
		}
		files.Store(runtime.FileReserve)
		if got := listen(b.offer(fetch("a", "absent"))); got.end().State != protocol.StateSucceeded {
			t.Errorf("with room: %+v", got.end())
		}
		synctest.Wait() // the node hears of the image
		free.Store(0)
		if got := listen(b.offer(fetch("c", "absent"))); got.end().State != protocol.StateSucceeded {
			t.Errorf("after it was fetched: %+v", got.end())
		}
		b.idle()
	})
}

// TestDiskReserveOfLargeImages: how large an image is shows in its fetch, which
// ends then, and nothing was started.
func TestDiskReserveOfLargeImages(t *testing.T) {
	for free, fits := range map[protocol.Bytes]bool{2499 * mebibyte: false, 2500 * mebibyte: true} {
		inBubble(t, func(b *bed) {
			b.cfg.Driver = keeping{b.cfg.Driver, "/images"}
			b.cfg.Space = func(context.Context, string) (runtime.Space, error) {
				return runtime.Space{Bytes: free, Files: 1e6}, nil
			}
			b.engine.AddImage("large", fake.Image{Absent: true, Pull: time.Hour, Size: 1000 * mebibyte})
			b.run()
			begin := time.Now()
			end := listen(b.offer(fetch("a", "large"))).end()
			if fits && end.State != protocol.StateSucceeded {
				t.Errorf("with %d: %+v", free, end)
			}
			if !fits && (end.State != protocol.StateFailed || end.Code != protocol.CodeDiskFull || time.Since(begin) > time.Hour/2 || len(b.starts()) != 0) {
				t.Errorf("with %d after %v: %+v", free, time.Since(begin), end)
			}
			b.idle()
		})
	}
}

// TestRoomThatFillsUp: what is queued with room is told of its end when its turn
// comes.
func TestRoomThatFillsUp(t *testing.T) {
	inBubble(t, func(b *bed) {
		b.cfg.Driver = keeping{b.cfg.Driver, "/images"}
		var free atomic.Uint64
		free.Store(uint64(runtime.DiskReserve))
		b.cfg.Space = func(context.Context, string) (runtime.Space, error) {
			return runtime.Space{Bytes: protocol.Bytes(free.Load()), Files: 1e6}, nil
		}
		b.run()
		first := forced("a", "sleep=1m")
		first.Service.CPUs = 2
		s := b.offer(first)
		queued := forced("b")
		queued.Service.Image = "absent"
		q := b.offer(queued)
		synctest.Wait()
		free.Store(0)
		listen(s)
		if end := listen(q).end(); end.Code != protocol.CodeDiskFull {
			t.Errorf("%+v", end)
		}
		b.idle()
	})
}

// TestRoomNotKnown is no obstacle: neither is the engine's folder, nor what looks
// like an ID, which only the engine can tell from a name.
func TestRoomNotKnown(t *testing.T) {
	for what, c := range map[string]struct {
		dir, image string
		err        error
	}{
		"no folder": {"", "absent", nil},
		"no answer": {"/images", "absent", errors.New("no")},
		"an ID":     {"/images", "sha256:0123456789ab", nil},
	} {
		inBubble(t, func(b *bed) {
			b.engine.AddImage("sha256:0123456789ab", fake.Image{})
			b.cfg.Driver = keeping{b.cfg.Driver, c.dir}
			b.cfg.Space = func(context.Context, string) (runtime.Space, error) { return runtime.Space{}, c.err }
			b.run()
			if got := listen(b.offer(fetch("a", c.image))); got.end().State != protocol.StateSucceeded {
				t.Errorf("%s: %+v", what, got.end())
			}
		})
	}
}
