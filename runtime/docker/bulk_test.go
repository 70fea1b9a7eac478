package docker

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	goruntime "runtime"
	"sync"
	"testing"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime"
	"github.com/hearth-edge/hearth/runtime/runtimetest"
)

// newNode runs a node on the engine until the test ends; stop ends it sooner.
func newNode(t *testing.T, d *Driver, change ...func(*runtime.Config)) (node *runtime.Node, stop func()) {
	t.Helper()
	cfg := runtime.Config{
		Node: "drivertest", Name: "drivertest", Driver: d,
		CPUs: 2, Memory: 1 << 30, Policy: runtime.DefaultPolicy(),
		Log: slog.New(slog.DiscardHandler),
	}
	for _, c := range change {
		c(&cfg)
	}
	node, err := runtime.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := node.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	stop = sync.OnceFunc(func() {
		cancel()
		running.Wait()
	})
	t.Cleanup(stop)
	return node, stop
}

func offerOf(spec runtime.Spec) protocol.Offer {
	return protocol.Offer{Request: spec.ID.Request, Attempt: 1, Service: protocol.Service{
		Image: spec.Image, Args: spec.Args, Memory: 64 << 20, Stdin: spec.Stdin,
	}}
}

// heapAbove returns how much the heap has grown, garbage apart.
func heapAbove(before uint64) int64 {
	goruntime.GC()
	var m goruntime.MemStats
	goruntime.ReadMemStats(&m)
	return int64(m.HeapAlloc - before)
}

// TestMuchInAndOut moves a lot through a container, in and out at the same
// time: it comes out as it went in, and little of it is ever held here.
func TestMuchInAndOut(t *testing.T) {
	const (
		size  = 100 << 20
		piece = 256 << 10
		bound = 8 << 20
	)
	runtimetest.BusyboxImage(t, "hearth-drivertest:bulk")
	node, _ := newNode(t, newTestDriver(t))
	spec := testSpec("hearth-drivertest:bulk", "cat")
	spec.Stdin = true
	s, err := node.Offer(testContext(t), offerOf(spec))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()

	sent, got := sha256.New(), sha256.New()
	var writing sync.WaitGroup
	writing.Go(func() {
		defer s.CloseWrite()
		random := rand.NewChaCha8([32]byte{1})
		in := io.TeeReader(io.LimitReader(random, size), sent)
		if _, err := io.CopyBuffer(s, in, make([]byte, piece)); err != nil {
			t.Errorf("Write: %v", err)
		}
	})
	before := uint64(heapAbove(0))
	received, checked := 0, 0
	for {
		u, err := s.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if u.Output != nil {
			got.Write(u.Output.Data)
			received += len(u.Output.Data)
		}
		if received > checked+size/8 {
			checked = received
			if above := heapAbove(before); above > bound {
				t.Errorf("after %d bytes the heap has grown by %d", received, above)
			}
		}
	}
	writing.Wait()
	if received != size || fmt.Sprintf("%x", got.Sum(nil)) != fmt.Sprintf("%x", sent.Sum(nil)) {
		t.Errorf("%d of %d bytes came, or other ones", received, size)
	}
}

// TestSlowReaderSlowsTheContainer: a session that is not read holds the
// container up, without its output piling up anywhere here; read on, all of it
// comes.
func TestSlowReaderSlowsTheContainer(t *testing.T) {
	const size = 32 << 20
	runtimetest.BusyboxImage(t, "hearth-drivertest:slow")
	d := newTestDriver(t)
	node, _ := newNode(t, d)
	offer := func(script string) protocol.Session {
		spec := testSpec("hearth-drivertest:slow", "sh", "-c", script)
		s, err := node.Offer(testContext(t), offerOf(spec))
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	write := fmt.Sprintf("yes 0123456789abcde | head -c %d", size)
	unread := offer(write)
	defer unread.Close()
	read := offer(write)
	defer read.Close()
	if got := count(t, read); got != size {
		t.Errorf("%d bytes", got)
	}
	if load := node.State().Load; load.Running != 1 {
		t.Errorf("the one that nobody reads has ended: %+v", load)
	}
	if got := count(t, unread); got != size {
		t.Errorf("%d bytes of the one that waited", got)
	}
}

// count reads a session to its end.
func count(t *testing.T, s protocol.Session) (bytes int) {
	t.Helper()
	for {
		u, err := s.Next()
		if errors.Is(err, io.EOF) {
			return bytes
		}
		if err != nil {
			t.Fatal(err)
		}
		if u.Output != nil {
			bytes += len(u.Output.Data)
		}
	}
}

// TestEndOutlivesTheProcess: what ended before anybody read its end is told by
// the next process, with its output.
func TestEndOutlivesTheProcess(t *testing.T) {
	runtimetest.BusyboxImage(t, "hearth-drivertest:end")
	d := newTestDriver(t)
	node, stop := newNode(t, d)
	spec := testSpec("hearth-drivertest:end", "sh", "-c", "echo text; exit 3")
	s, err := node.Offer(testContext(t), offerOf(spec))
	if err != nil {
		t.Fatal(err)
	}
	for {
		u, err := s.Next()
		if err != nil {
			t.Fatal(err)
		}
		if u.Event != nil && u.Event.State.Ended() {
			break // it is told, and the process goes before it was taken over
		}
	}
	s.Close()
	stop()

	again, _ := newNode(t, d)
	s, err = again.Attach(testContext(t), protocol.Attach{Request: spec.ID.Request, Attempt: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var text string
	var end protocol.Event
	for {
		u, err := s.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case u.Event != nil:
			end = *u.Event
		case u.Output != nil:
			text += string(u.Output.Data)
		}
	}
	if text != "text\n" || end.ExitCode != 3 || end.State != protocol.StateFailed {
		t.Errorf("%q, %+v", text, end)
	}
	// Now that it was read, the container goes.
	if err := d.awaitRemoval(testContext(t), d.name(spec.ID)); err != nil {
		t.Error(err)
	}
}
