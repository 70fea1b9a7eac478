package runtime_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime"
	"github.com/hearth-edge/hearth/runtime/fake"
)

const gibibyte = protocol.Bytes(1 << 30)

// small gives the node's engine a disk of so many bytes, on which others have
// taken some.
func (b *bed) small(size protocol.Bytes, others *atomic.Uint64) {
	b.cfg.Driver = keeping{b.cfg.Driver, "/images"}
	b.cfg.Space = func(context.Context, string) (runtime.Space, error) {
		return runtime.Space{Bytes: size - min(size, b.engine.Written()+protocol.Bytes(others.Load())), Files: runtime.FileReserve}, nil
	}
}

// TestContainerThatFillsTheDisk: it is ended before the reserve is gone, with the
// amount; what runs beside it goes on, and nothing is ended for what others write.
func TestContainerThatFillsTheDisk(t *testing.T) {
	inBubble(t, func(b *bed) {
		var others atomic.Uint64
		b.small(4*gibibyte, &others)
		b.run()
		steady := b.offer(offer("steady", "disk=1073741824", "sleep=1h"))
		defer steady.Close()
		time.Sleep(time.Hour / 2) // which is long ago
		var steps []string
		for range 100 { // 50 MiB each 100 ms
			steps = append(steps, "disk=52428800", "sleep=100ms")
		}
		end := listen(b.offer(offer("filler", steps...))).end()
		if end.State != protocol.StateFailed || end.Code != protocol.CodeDiskFull || end.ExitCode != 137 {
			t.Fatalf("%+v", end)
		}
		contains(t, end.Reason, "GiB, and ")
		synctest.Wait()
		if n := b.node.State().Load.Running; n != 1 {
			t.Errorf("%d running beside it", n)
		}
		others.Store(uint64(3 * gibibyte)) // somebody else's
		time.Sleep(time.Minute)
		if n := b.node.State().Load.Running; n != 1 {
			t.Errorf("what did not grow was ended: %d running", n)
		}
	})
}

// TestMaxDisk: a container is ended when it has written more than its owner
// allows, however much there is.
func TestMaxDisk(t *testing.T) {
	inBubble(t, func(b *bed) {
		var others atomic.Uint64
		b.small(100*gibibyte, &others)
		b.cfg.Policy.MaxDisk = gibibyte
		b.run()
		for size, ends := range map[string]bool{"1073741824": false, "1073741825": true} {
			end := listen(b.offer(offer("a"+size, "disk="+size, "sleep=1m"))).end()
			if (end.Code == protocol.CodeDiskFull) != ends {
				t.Errorf("%s bytes: %+v", size, end)
			}
			if ends {
				contains(t, end.Reason, "max_disk in its owner's policy")
			}
		}
	})
	p := runtime.DefaultPolicy()
	if p.MaxDisk = 1; p.Validate() == nil {
		t.Error("a limit of a byte was taken")
	}
}

// TestFetchThatFillsTheDisk, as of a layer that unpacks a thousandfold, is ended
// and told as disk_full; what runs goes on.
func TestFetchThatFillsTheDisk(t *testing.T) {
	inBubble(t, func(b *bed) {
		var others atomic.Uint64
		b.small(4*gibibyte, &others)
		b.engine.AddImage("bomb", fake.Image{Absent: true, Size: 1000, Pull: time.Minute})
		b.run()
		steady := b.offer(offer("steady", "disk=1073741824", "sleep=1h"))
		defer steady.Close()
		time.AfterFunc(10*time.Second, func() { others.Store(uint64(3 * gibibyte)) })
		began := time.Now()
		end := listen(b.offer(fetch("a", "bomb"))).end()
		if end.State != protocol.StateFailed || end.Code != protocol.CodeDiskFull || end.Container != "" || time.Since(began) > 13*time.Second {
			t.Errorf("after %v: %+v", time.Since(began), end)
		}
		contains(t, end.Reason, "256 MiB are kept free")
		others.Store(0)
		time.Sleep(time.Minute)
		if n := b.node.State().Load.Running; n != 1 {
			t.Errorf("%d running", n)
		}
	})
}
