package protocol

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"testing/synctest"

	"pgregory.net/rapid"
)

// drain reads r to its end and returns what it said, one line an update.
func drain(t *testing.T, r *FeedReader) []string {
	t.Helper()
	var got []string
	for {
		u, err := r.Next()
		if errors.Is(err, io.EOF) {
			return got
		}
		if err != nil {
			t.Fatalf("Next: %v", err)
		}
		got = append(got, describe(u))
	}
}

func describe(u Update) string {
	switch {
	case u.Event != nil && u.Event.Progress != nil:
		return fmt.Sprintf("progress %d", u.Event.Progress.Current)
	case u.Event != nil:
		return fmt.Sprintf("event %d", u.Event.State)
	case u.Decision != nil:
		return fmt.Sprintf("decision %v", u.Decision.Places)
	}
	return fmt.Sprintf("out %d @%d cut %d %q", u.Output.Channel, u.Output.Offset, u.Output.Cut, u.Output.Data)
}

func expect(t *testing.T, got []string, want ...string) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got\n  %q\nwant\n  %q", got, want)
	}
}

func TestFeedKeepsOrder(t *testing.T) {
	f := NewFeed(100)
	ctx := t.Context()
	f.Event(Event{State: StatePlacing})
	f.Decision(Decision{Places: 2})
	f.Event(Event{State: StateRunning})
	f.Output(ctx, Stdout, []byte("a"))
	f.Output(ctx, Stdout, []byte("b"))
	f.Output(ctx, Stderr, []byte("c"))
	f.Output(ctx, Stdout, []byte("d"))
	f.Event(Event{State: StateSucceeded})
	f.End()
	f.Event(Event{State: StateLost})
	if err := f.Output(ctx, Stdout, []byte("late")); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("Output after End: %v", err)
	}
	want := []string{"event 2", "decision 2", "event 5", `out 1 @0 cut 0 "ab"`, `out 2 @0 cut 0 "c"`, `out 1 @2 cut 0 "d"`, "event 6"}
	expect(t, drain(t, f.Reader(0, 0)), want...)
	expect(t, drain(t, f.Reader(1, 1)), "event 2", "decision 2", "event 5", `out 1 @1 cut 0 "b"`, `out 1 @2 cut 0 "d"`, "event 6")
	expect(t, drain(t, f.Reader(99, 99)), "event 2", "decision 2", "event 5", "event 6")
}

func TestFeedDropsOldestOutput(t *testing.T) {
	f := NewFeed(5)
	ctx := t.Context()
	f.Output(ctx, Stdout, []byte("abc"))
	f.Event(Event{State: StateRunning})
	f.Output(ctx, Stderr, []byte("de"))
	f.Output(ctx, Stderr, []byte("fgh"))
	f.Event(Event{State: StateFailed})
	f.End()
	expect(t, drain(t, f.Reader(1, 0)), `out 1 @3 cut 2 ""`, "event 5", `out 2 @0 cut 0 "defgh"`, "event 7")
	f = NewFeed(5)
	f.Output(ctx, Stdout, []byte("0123456789"))
	f.Cut(Stdout, 4)
	f.Output(ctx, Stdout, []byte("x"))
	f.Cut(Stderr, 7)
	f.End()
	expect(t, drain(t, f.Reader(0, 0)), `out 1 @6 cut 6 "6789"`, `out 1 @14 cut 4 "x"`, `out 2 @7 cut 7 ""`)
	if o, e := f.Offsets(); o != 15 || e != 7 {
		t.Errorf("offsets %d, %d", o, e)
	}
}

func TestFeedJoinsProgress(t *testing.T) {
	f := NewFeed(100)
	pull := func(n Bytes) { f.Event(Event{State: StatePulling, Progress: &Progress{Current: n}}) }
	fast := f.Reader(0, 0)
	pull(1)
	if u, _ := fast.Next(); describe(u) != "progress 1" {
		t.Errorf("got %s", describe(u))
	}
	pull(2)
	pull(3)
	f.Event(Event{State: StateRunning})
	pull(4)
	f.End()
	expect(t, drain(t, f.Reader(0, 0)), "progress 3", "event 5", "progress 4")
	expect(t, drain(t, fast), "progress 3", "event 5", "progress 4")
}

func TestFeedSlowReaderBlocksOutput(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := NewFeed(10)
		r := f.Reader(0, 0)
		written := make(chan error)
		go func() { written <- f.Output(t.Context(), Stdout, make([]byte, 25)) }()
		synctest.Wait()
		select {
		case <-written:
			t.Fatal("Output did not wait for the reader")
		default:
		}
		f.Event(Event{State: StateRunning}) // never blocks
		got := 0
		for got < 25 {
			u, err := r.Next()
			if err != nil {
				t.Fatal(err)
			}
			if u.Output != nil {
				if u.Output.Cut != 0 {
					t.Errorf("an attached reader lost %d bytes", u.Output.Cut)
				}
				got += len(u.Output.Data)
			}
		}
		if err := <-written; err != nil {
			t.Error(err)
		}
	})
}

func TestFeedWriterIsReleased(t *testing.T) {
	for name, release := range map[string]func(*Feed, *FeedReader, context.CancelFunc){
		"reader closed": func(_ *Feed, r *FeedReader, _ context.CancelFunc) { r.Close() },
		"feed ended":    func(f *Feed, _ *FeedReader, _ context.CancelFunc) { f.End() },
		"cancelled":     func(_ *Feed, _ *FeedReader, cancel context.CancelFunc) { cancel() },
	} {
		synctest.Test(t, func(t *testing.T) {
			f := NewFeed(10)
			r := f.Reader(0, 0)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			written := make(chan error)
			go func() { written <- f.Output(ctx, Stdout, make([]byte, 11)) }()
			synctest.Wait()
			release(f, r, cancel)
			err := <-written
			want := map[string]error{"feed ended": io.ErrClosedPipe, "cancelled": context.Canceled}[name]
			if !errors.Is(err, want) {
				t.Errorf("%s: %v, want %v", name, err, want)
			}
		})
	}
}

func TestFeedReaderClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewFeed(10).Reader(0, 0)
		ended := make(chan error)
		go func() { _, err := r.Next(); ended <- err }()
		synctest.Wait()
		r.Close()
		r.Close()
		if err := <-ended; !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("Next: %v", err)
		}
	})
}

// Each reader sees each channel without a gap that isn't told, whatever the
// sizes, the limit and where it starts.
func TestFeedTellsEveryGap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := NewFeed(rapid.IntRange(1, 2000).Draw(t, "limit"))
		var whole [Stderr + 1][]byte
		live := f.Reader(0, 0)
		if rapid.Bool().Draw(t, "detach") {
			live.Close()
		}
		var wg sync.WaitGroup
		wg.Go(func() { checkReader(t, live, 0, 0, nil) })
		for i := range rapid.IntRange(0, 200).Draw(t, "writes") {
			c := Stdout + Channel(rapid.IntRange(0, 1).Draw(t, "channel"))
			p := bytes.Repeat([]byte{byte(i)}, rapid.IntRange(0, 300).Draw(t, "size"))
			if err := f.Output(context.Background(), c, p); err != nil {
				t.Fatal(err)
			}
			whole[c] = append(whole[c], p...)
			if rapid.IntRange(0, 9).Draw(t, "event") == 0 {
				f.Event(Event{State: StateRunning})
			}
		}
		f.End()
		wg.Wait()
		stdout := rapid.IntRange(0, len(whole[Stdout])).Draw(t, "stdout")
		stderr := rapid.IntRange(0, len(whole[Stderr])).Draw(t, "stderr")
		checkReader(t, f.Reader(uint64(stdout), uint64(stderr)), stdout, stderr, &whole)
	})
}

func checkReader(t *rapid.T, r *FeedReader, stdout, stderr int, whole *[Stderr + 1][]byte) {
	next := [Stderr + 1]int{Stdout: stdout, Stderr: stderr}
	for {
		u, err := r.Next()
		if err != nil {
			break
		}
		if o := u.Output; o != nil {
			if int(o.Offset) != next[o.Channel]+int(o.Cut) {
				t.Errorf("channel %d: offset %d with cut %d after %d", o.Channel, o.Offset, o.Cut, next[o.Channel])
			}
			next[o.Channel] = int(o.Offset) + len(o.Data)
			if whole == nil {
				if o.Cut != 0 {
					t.Errorf("an attached reader lost %d bytes", o.Cut)
				}
			} else if !bytes.Equal(o.Data, whole[o.Channel][o.Offset:next[o.Channel]]) {
				t.Errorf("channel %d: wrong bytes at %d", o.Channel, o.Offset)
			}
		}
	}
	if whole != nil && (next[Stdout] != len(whole[Stdout]) || next[Stderr] != len(whole[Stderr])) {
		t.Errorf("ended at %v of %d, %d", next, len(whole[Stdout]), len(whole[Stderr]))
	}
}

func BenchmarkFeed(b *testing.B) {
	const size = 64 << 10
	f := NewFeed(DefaultOutputLimit)
	r := f.Reader(0, 0)
	b.SetBytes(size)
	b.ReportAllocs()
	var wg sync.WaitGroup
	wg.Go(func() {
		p := make([]byte, size)
		for range b.N {
			f.Output(context.Background(), Stdout, p)
		}
		f.End()
	})
	for {
		if _, err := r.Next(); err != nil {
			break
		}
	}
	wg.Wait()
}

// A reader of now gets what was there and nothing that came later, and claims
// nothing about that.
func TestReaderOfNow(t *testing.T) {
	ctx := t.Context()
	f := NewFeed(100)
	f.Event(Event{State: StateRunning})
	f.Output(ctx, Stdout, []byte("abc"))
	f.Cut(Stderr, 5)
	now, late := f.ReaderOfNow(0, 0), f.ReaderOfNow(1, 5)
	follow := f.Reader(0, 0)
	f.Event(Event{State: StateStarting})
	f.Output(ctx, Stdout, []byte("def"))
	f.Decision(Decision{Places: 1})
	f.Cut(Stdout, 10)
	expect(t, drain(t, now), "event 5", `out 1 @0 cut 0 "abc"`, `out 2 @5 cut 5 ""`)
	expect(t, drain(t, late), "event 5", `out 1 @1 cut 0 "bc"`)
	for _, r := range []*FeedReader{now, late} {
		if _, err := r.Next(); err != io.EOF { //nolint:errorlint // what Next promises
			t.Errorf("at the end: %v", err)
		}
		r.Close()
	}
	f.End()
	expect(t, drain(t, follow), "event 5", `out 1 @0 cut 0 "abc"`, `out 2 @5 cut 5 ""`, "event 4", `out 1 @3 cut 0 "def"`,
		"decision 1", `out 1 @16 cut 10 ""`)
	expect(t, drain(t, NewFeed(1).ReaderOfNow(0, 0)))
}
