package fake_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime"
	"github.com/hearth-edge/hearth/runtime/fake"
)

func spec(request string, args ...string) runtime.Spec {
	return runtime.Spec{
		ID:    runtime.ExecutionID{Request: protocol.RequestID(request), Attempt: 1},
		Image: "work",
		Args:  args,
		CPUs:  1, Memory: 1 << 20, Pids: 1,
	}
}

// start creates and starts an execution whose output nobody reads.
func start(t testing.TB, d *fake.Driver, s runtime.Spec) {
	t.Helper()
	_, stdio, err := d.Create(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	stdio.Output.Close()
	if err := d.Start(t.Context(), s.ID); err != nil {
		t.Fatal(err)
	}
}

func newEngine(t testing.TB, cfg fake.Config) *fake.Engine {
	if cfg.Images == nil {
		cfg.Images = map[string]fake.Image{"work": {}}
	}
	e := fake.NewEngine(cfg)
	t.Cleanup(e.Close)
	return e
}

func TestTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newEngine(t, fake.Config{Speed: 4}).Driver("mesh", "node")
		for request, want := range map[string]time.Duration{"sleep=2s": 2 * time.Second, "burn=2s": 500 * time.Millisecond} {
			s := spec(request, request, "exit=5")
			start(t, d, s)
			exit, err := d.Wait(t.Context(), s.ID)
			if err != nil || exit != (runtime.Exit{Code: 5, Ran: want}) {
				t.Errorf("%s: %+v, %v", request, exit, err)
			}
		}
	})
}

func TestEndings(t *testing.T) {
	d := newEngine(t, fake.Config{}).Driver("mesh", "node")
	for step, want := range map[string]runtime.Exit{
		"oom":      {Code: 137, OOMKilled: true},
		"nonsense": {Code: 127},
		"sleep=x":  {Code: 127},
		"exit=x":   {Code: 127},
		"bytes=-1": {Code: 127},
		"exit=0":   {},
	} {
		s := spec(step, step, "exit=9")
		start(t, d, s)
		exit, err := d.Wait(t.Context(), s.ID)
		exit.Ran = 0
		if err != nil || exit != want {
			t.Errorf("%s: %+v, %v", step, exit, err)
		}
	}
}

func TestPull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("broken")
		d := newEngine(t, fake.Config{Images: map[string]fake.Image{
			"far":    {Absent: true, Pull: 10 * time.Second, Size: 1000},
			"broken": {Absent: true, Pull: time.Second, Fail: broken},
			"arm":    {Arch: "arm64", OS: "linux"},
		}}).Driver("mesh", "node")

		begin := time.Now()
		second := make(chan error, 1)
		go func() {
			time.Sleep(4 * time.Second) // in the bubble's time
			second <- d.Pull(t.Context(), "far", nil)
		}()
		var last protocol.Progress
		err := d.Pull(t.Context(), "far", func(p runtime.PullStep) {
			if p.Current <= last.Current || p.Total != 1000 {
				t.Errorf("%+v after %+v", p, last)
			}
			last = p.Progress
		})
		if err != nil || time.Since(begin) != 10*time.Second || last.Current != 900 {
			t.Errorf("%v after %v, progress %+v", err, time.Since(begin), last)
		}
		if err := <-second; err != nil || time.Since(begin) != 10*time.Second {
			t.Errorf("who came later: %v after %v", err, time.Since(begin))
		}
		if err := d.Pull(t.Context(), "far", nil); err != nil || time.Since(begin) != 10*time.Second {
			t.Errorf("again: %v", err)
		}
		if err := d.Pull(t.Context(), "broken", nil); !errors.Is(err, broken) {
			t.Errorf("%v", err)
		}
		if err := d.Pull(t.Context(), "arm", nil); protocol.CodeOf(err) != protocol.CodeImagePlatform {
			t.Errorf("%v", err)
		}
	})
}

func TestEngineDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEngine(t, fake.Config{})
		d := e.Driver("mesh", "node")
		ctx, cancel := context.WithCancel(t.Context())
		news, ended := make(chan string, 10), make(chan error, 1)
		go func() {
			ended <- d.Watch(ctx, func(up bool) { news <- fmt.Sprint("up ", up) }, func() { news <- "images" })
		}()
		expect := func(want ...string) {
			t.Helper()
			for _, w := range want {
				if got := <-news; got != w {
					t.Fatalf("%s, want %s", got, w)
				}
			}
		}
		expect("up true", "images")
		e.AddImage("another", fake.Image{})
		expect("images")

		s := spec("long", "sleep=1h")
		start(t, d, s)
		waited := make(chan runtime.Exit, 1)
		go func() {
			exit, err := d.Wait(t.Context(), s.ID)
			if err != nil {
				t.Errorf("Wait: %v", err)
			}
			waited <- exit
		}()
		e.SetDown(true)
		expect("up false")
		if _, err := d.Info(t.Context()); protocol.CodeOf(err) != protocol.CodeEngineDown {
			t.Errorf("Info: %v", err)
		}
		time.Sleep(2 * time.Hour) // in the bubble's time
		select {
		case <-waited:
			t.Error("news from an engine that is down")
		default:
		}
		e.SetDown(false)
		expect("up true", "images")
		if exit := <-waited; exit.Code != 0 || exit.Ran != time.Hour {
			t.Errorf("%+v", exit)
		}

		s = spec("killed", "sleep=1h")
		start(t, d, s)
		e.Restart()
		expect("up false", "up true", "images")
		if exit, err := d.Wait(t.Context(), s.ID); err != nil || exit.Lost != protocol.CodeEngineDown {
			t.Errorf("%+v, %v", exit, err)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func TestDriversAreApart(t *testing.T) {
	started := make(chan runtime.Spec, 10)
	e := newEngine(t, fake.Config{
		Images:  map[string]fake.Image{"work": {}},
		OnStart: func(s runtime.Spec) { started <- s },
	})
	s := spec("same")
	for _, d := range []*fake.Driver{e.Driver("mesh", "a"), e.Driver("mesh", "b"), e.Driver("other", "a")} {
		start(t, d, s)
		if got := <-started; got.ID != s.ID {
			t.Errorf("started %+v", got)
		}
		if found, err := d.Recover(t.Context()); err != nil || len(found) != 1 {
			t.Errorf("%+v, %v", found, err)
		}
	}
	if _, _, err := e.Driver("mesh", "a").Create(t.Context(), s); !errors.Is(err, runtime.ErrExists) {
		t.Errorf("the same node again: %v", err)
	}
}

func BenchmarkExecution(b *testing.B) {
	d := newEngine(b, fake.Config{}).Driver("mesh", "node")
	for i := 0; b.Loop(); i++ {
		s := spec(fmt.Sprint(i), "out=hello")
		_, stdio, err := d.Create(b.Context(), s)
		if err != nil {
			b.Fatal(err)
		}
		if err := d.Start(b.Context(), s.ID); err != nil {
			b.Fatal(err)
		}
		for err == nil {
			_, _, err = stdio.Output.Next()
		}
		if !errors.Is(err, io.EOF) {
			b.Fatal(err)
		}
		if _, err := d.Wait(b.Context(), s.ID); err != nil {
			b.Fatal(err)
		}
		if err := d.Remove(b.Context(), s.ID); err != nil {
			b.Fatal(err)
		}
	}
}
