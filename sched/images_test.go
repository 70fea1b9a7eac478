package sched

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

func TestRunsPlatform(t *testing.T) {
	for _, c := range []struct {
		os, arch, platform string
		want               bool
	}{
		{"linux", "amd64", "linux/amd64", true},
		{"linux", "amd64", "linux/386", true},
		{"linux", "386", "linux/amd64", false},
		{"linux", "arm64", "linux/arm64", true},
		{"linux", "arm64", "linux/arm64/v8", true},
		{"linux", "arm64", "linux/arm/v7", true},
		{"linux", "arm", "linux/arm/v7", true},
		{"linux", "arm", "linux/arm/v6", true},
		{"linux", "arm", "linux/arm64", false},
		{"linux", "arm", "linux/amd64", false},
		{"linux", "riscv64", "linux/riscv64", true},
		{"linux", "amd64", "windows/amd64", false},
		{"linux", "amd64", "linux", false},
		{"linux", "amd64", "", false},
	} {
		if got := runs(&protocol.Status{OS: c.os, Arch: c.arch}, c.platform); got != c.want {
			t.Errorf("%s/%s runs %q: %v", c.os, c.arch, c.platform, got)
		}
	}
}

// fleetOf makes devices of the architectures, the first one being self.
func fleetOf(archs ...string) Snapshot {
	s := Snapshot{MeanWork: 1}
	for i, arch := range archs {
		status := nodeStatus(protocol.PeerID(fmt.Sprintf("n%d", i)), 1, 4)
		status.Arch, status.Images = arch, nil
		p := peerOf(status)
		p.Self = i == 0
		s.Peers = append(s.Peers, p)
	}
	return s
}

func TestPlacementKeepsToPlatforms(t *testing.T) {
	image := protocol.HashImage("tool")
	for _, c := range []struct {
		name  string
		facts ImageFacts
		has   int // the device that has the image; -1 for none
		out   []string
	}{
		{name: "not known", has: -1},
		{name: "the registry's word", facts: ImageFacts{Platforms: []string{"linux/amd64"}}, has: -1, out: []string{"n1", "n2"}},
		{name: "several", facts: ImageFacts{Platforms: []string{"linux/amd64", "linux/arm/v7"}}, has: -1},
		{name: "one that has a copy of its own", facts: ImageFacts{Platforms: []string{"linux/amd64"}}, has: 1, out: []string{"n2"}},
		{name: "the own copy is for others", facts: ImageFacts{Present: true, Platforms: []string{"linux/s390x"}}, has: 0, out: []string{"n0"}},
		{name: "the own copy says nothing of others", facts: ImageFacts{Present: true, Platforms: []string{"linux/amd64"}}, has: 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := fleetOf("amd64", "arm64", "arm")
			if c.has >= 0 {
				s.Peers[c.has].Status.Images = []uint32{image}
			}
			d := Demand{Service: &protocol.Service{Image: "tool"}, Image: image, Work: 1, Facts: c.facts}
			p := NewPlacer(DefaultParams())
			p.Place(&s, &d, seeded(1))
			var out []string
			for _, e := range p.Explain(3).Candidates {
				if e.Code == protocol.CodeImagePlatform {
					out = append(out, string(e.Node))
				}
			}
			if !slices.Equal(out, c.out) {
				t.Errorf("%v were left out, want %v", out, c.out)
			}
		})
	}
}

func TestOtherPlatformIsNamed(t *testing.T) {
	f := ImageFacts{Platforms: []string{"linux/amd64", "linux/386"}}
	status := &protocol.Status{OS: "linux", Arch: "arm"}
	if got, want := f.otherPlatform(status), "is linux/arm, and the image is made for linux/amd64, linux/386"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	f.Platforms = []string{"a/b", "c/d", "e/f", "g/h", "i/j", "k/l"}
	if got, want := f.otherPlatform(status), "is linux/arm, and the image is made for a/b, c/d, e/f, g/h and 2 more"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// What a fetch takes is told by the image's size and the node's own rate.
func TestColdStart(t *testing.T) {
	p := DefaultParams()
	s := nodeStatus("tv", 1, 4)
	d := Demand{Image: protocol.HashImage("tool")}
	if got := p.cold(&s, &d); got != p.ColdStart.Seconds() {
		t.Errorf("size unknown: %v s", got)
	}
	d.Fetch = 40 << 20
	if got := p.cold(&s, &d); got != 11 {
		t.Errorf("40 MiB at the usual rate: %v s", got)
	}
	s.PullRate = 20 << 20
	if got := p.cold(&s, &d); got != 3 {
		t.Errorf("40 MiB at 20 MiB/s: %v s", got)
	}
}

func TestSizeComesFromWhoHasTheImage(t *testing.T) {
	v, _ := testView()
	service := &protocol.Service{Image: "busybox"}
	for _, id := range []protocol.PeerID{"1", "2"} {
		v.Joined(id, string(id), "")
		v.UpdateStatus(nodeStatus(id, 1, 4))
	}
	d := v.Demand(service)
	if d.Fetch != 0 || v.unsure(&d) {
		t.Errorf("all have it, none tells its size: %d, %v", d.Fetch, v.unsure(&d))
	}
	lacks := nodeStatus("1", 1, 4)
	lacks.Images, lacks.Sequence = nil, 2
	v.UpdateStatus(lacks)
	if d = v.Demand(service); !v.unsure(&d) {
		t.Error("one lacks it, and its size is not known")
	}
	tells := nodeStatus("2", 1, 4)
	tells.ImageSizes, tells.Sequence = []byte{protocol.SizeCode(100 << 20)}, 2
	v.UpdateStatus(tells)
	if d = v.Demand(service); d.Fetch < 38<<20 || d.Fetch > 42<<20 || v.unsure(&d) {
		t.Errorf("100 MiB on a disk: %d are fetched; unsure %v", d.Fetch, v.unsure(&d))
	}
	lacks.Arch, lacks.Sequence = "arm64", 3
	v.UpdateStatus(lacks)
	if !v.unsure(&d) {
		t.Error("one of another architecture lacks it")
	}
}

// inspector counts what it is asked, and answers when it is let.
type inspector struct {
	asked atomic.Int32
	after time.Duration
	facts ImageFacts
	err   error
}

func (i *inspector) inspect(ctx context.Context, _ string) (ImageFacts, error) {
	i.asked.Add(1)
	select {
	case <-time.After(i.after):
		return i.facts, i.err
	case <-ctx.Done():
		return ImageFacts{}, ctx.Err()
	}
}

func (i *inspector) table(p Params) *imageTable {
	start := time.Now()
	return newImageTable(&Config{Inspect: i.inspect, Clock: func() time.Duration { return time.Since(start) }, Params: p})
}

func TestImageFactsAreAskedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := inspector{after: time.Second, facts: ImageFacts{Size: 7}}
		table := i.table(DefaultParams())
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() {
				if got := table.facts(t.Context(), "tool"); got.Size != 7 {
					t.Errorf("%+v", got)
				}
			})
		}
		all.Wait()
		if n := i.asked.Load(); n != 1 {
			t.Errorf("asked %d times", n)
		}
		time.Sleep(DefaultParams().ImageFactsTTL)
		table.facts(t.Context(), "tool")
		if n := i.asked.Load(); n != 2 {
			t.Errorf("asked %d times, once more after the answer was out of date", n)
		}
	})
}

func TestImageFactsAreNotWaitedForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := DefaultParams()
		i := inspector{after: time.Hour, facts: ImageFacts{Size: 7}}
		table := i.table(p)
		begin := time.Now()
		if got := table.facts(t.Context(), "tool"); got.Size != 0 || time.Since(begin) != p.ImageTimeout {
			t.Errorf("%+v after %v", got, time.Since(begin))
		}
		i.after = 0
		if got := table.facts(t.Context(), "tool"); got.Size != 0 || i.asked.Load() != 1 {
			t.Errorf("one who did not answer was asked again at once: %+v", got)
		}
		time.Sleep(p.ImageRetryInterval)
		if got := table.facts(t.Context(), "tool"); got.Size != 7 {
			t.Errorf("one who did not answer was never asked again: %+v", got)
		}
	})
}

// Who is gone before the answer leaves nothing behind.
func TestImageFactsOfOneWhoIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := inspector{after: time.Second, facts: ImageFacts{Size: 7}}
		table := i.table(DefaultParams())
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if got := table.facts(ctx, "tool"); got.Size != 0 {
			t.Errorf("%+v", got)
		}
		if got := table.facts(t.Context(), "tool"); got.Size != 7 {
			t.Errorf("the next one is told %+v", got)
		}
	})
}

func TestImageFactsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := DefaultParams()
		p.MaxImageFacts = 3
		i := inspector{facts: ImageFacts{Size: 7}}
		table := i.table(p)
		for n := range 10 {
			table.facts(t.Context(), fmt.Sprint(n))
			time.Sleep(time.Second)
		}
		if len(table.lookups) != 3 {
			t.Errorf("%d are kept", len(table.lookups))
		}
		table.facts(t.Context(), "9")
		if n := i.asked.Load(); n != 10 {
			t.Errorf("the newest was forgotten: asked %d times", n)
		}
		i.after = time.Hour
		for n := range 5 {
			go table.facts(t.Context(), fmt.Sprint("slow", n))
			synctest.Wait()
		}
		if n := i.asked.Load(); n != 13 {
			t.Errorf("%d are asked at a time, 3 may be", n-10)
		}
	})
}

// A request that no device runs is refused with each one's reason, and none gets
// an offer.
func TestPlatformRefusesBeforeAnOffer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &mesh{t: t, images: func(context.Context, string) (ImageFacts, error) {
			return ImageFacts{Platforms: []string{"linux/s390x"}}, nil
		}}
		m.build(DefaultParams(), abc...)
		m.start(DefaultParams())
		defer m.close()
		end := m.run(protocol.Run{Service: protocol.Service{Image: "tool"}}).end()
		want := "no node can run it: a, b, c: is linux/amd64, and the image is made for linux/s390x"
		if end.State != protocol.StateRefused || end.Code != protocol.CodeNoNode || end.Reason != want {
			t.Errorf("%v %v %q", end.State, end.Code, end.Reason)
		}
	})
}

// What is never to be pulled goes to who has it, and no registry is asked; where
// nobody is known to have it, each node may say so itself.
func TestPullNeverGoesToWhoHasTheImage(t *testing.T) {
	for _, known := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			m := &mesh{t: t, images: func(context.Context, string) (ImageFacts, error) {
				t.Error("the registry is asked")
				return ImageFacts{}, nil
			}}
			m.build(DefaultParams(), abc...)
			if known {
				has := nodeStatus("a", 1, 4)
				has.Sequence, has.Interval, has.Images = 2, time.Minute, []uint32{protocol.HashImage("tool")}
				m.view.UpdateStatus(has)
			}
			m.start(DefaultParams())
			defer m.close()
			app := m.run(protocol.Run{Service: protocol.Service{Image: "tool", Pull: protocol.PullNever}})
			synctest.Wait()
			want := protocol.PeerID("c") // the fastest
			if known {
				want = "a"
			}
			m.nodes[want].only(t).exit(0)
			if end := app.end(); end.State != protocol.StateSucceeded {
				t.Errorf("known %t: %+v", known, end)
			}
		})
	}
}

// Where nothing is told the request goes its way.
func TestPlacedWithoutImageFacts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &mesh{t: t, images: func(context.Context, string) (ImageFacts, error) {
			return ImageFacts{}, errors.New("no registry")
		}}
		m.build(DefaultParams(), abc...)
		m.start(DefaultParams())
		defer m.close()
		app := m.run(protocol.Run{Service: protocol.Service{Image: "tool"}})
		synctest.Wait()
		m.nodes["c"].only(t).exit(0)
		if end := app.end(); end.State != protocol.StateSucceeded {
			t.Errorf("%+v", end)
		}
		plan := m.orch.Plan(t.Context(), &protocol.Service{Image: "tool"})
		if len(plan.Candidates) != 3 || !plan.Candidates[0].Chosen || len(m.nodes["c"].offers) != 1 {
			t.Errorf("plan: %+v", plan)
		}
	})
}

// What is known of the image counts for every attempt, also where this device was
// restarted since it placed the first.
func TestImageFactsForLaterAttempts(t *testing.T) {
	for _, restarted := range []bool{false, true} {
		withJournal(t, abc, func(t *testing.T, m *mesh) {
			m.close()
			foreign := nodeStatus("b", 100, 4)
			foreign.Sequence, foreign.Interval, foreign.Arch = 2, time.Minute, "arm64"
			m.view.UpdateStatus(foreign)
			m.images = func(context.Context, string) (ImageFacts, error) {
				return ImageFacts{Platforms: []string{"linux/amd64"}}, nil
			}
			m.start(DefaultParams())
			m.run(protocol.Run{ID: "r", Detach: true, Service: protocol.Service{Image: "tool", Retry: 1}})
			e := m.nodes["c"].only(t)
			e.say(protocol.StateRunning)
			if restarted {
				m.restart()
			}
			e.feed.Event(protocol.Event{State: protocol.StateLost, Code: protocol.CodeEngineDown})
			e.feed.End()
			m.nodes["a"].only(t).exit(0)
			synctest.Wait()
			if n := len(m.nodes["b"].offers); n != 0 {
				t.Errorf("restarted %v: it was offered to one that cannot run it, %d times", restarted, n)
			}
		})
	}
}
