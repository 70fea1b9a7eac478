package docker

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/hearth-edge/hearth/runtime"
	"github.com/hearth-edge/hearth/runtime/runtimetest"
)

// startingEngine answers Create's and Start's questions as an engine of some
// version of the API. Until it was asked for the size of the terminal in vain, an
// old one goes on starting the container.
type startingEngine struct {
	api   string
	asked chan struct{} // closed when a size was told too early

	mu                     sync.Mutex // guards the rest
	started                bool
	starts, early, resizes int
	size                   string
}

func (e *startingEngine) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Api-Version", e.api)
	switch path := r.URL.Path; {
	case strings.HasSuffix(path, "/start"):
		if e.api == "1.41" {
			<-e.asked
		}
		e.mu.Lock()
		defer e.mu.Unlock()
		e.started = true
		e.starts++
		w.WriteHeader(http.StatusNoContent)
	case strings.HasSuffix(path, "/resize"):
		e.mu.Lock()
		defer e.mu.Unlock()
		e.size = r.URL.Query().Get("h") + " " + r.URL.Query().Get("w")
		if e.started {
			e.resizes++
			return
		}
		if e.early++; e.early == 1 {
			close(e.asked)
		}
		w.WriteHeader(http.StatusConflict)
		_, _ = io.WriteString(w, `{"message":"Container x is not running"}`)
	default:
		_, _ = io.WriteString(w, `{"Os":"linux","Arch":"amd64"}`)
	}
}

// TestTerminalSizeAtTheStart: an engine that can make a terminal with its size
// is told that at the creation and no more; an earlier one is told while it
// starts the container, again where that does not run yet.
func TestTerminalSizeAtTheStart(t *testing.T) {
	for api, resizes := range map[string]int{"1.41": 1, "1.42": 0, "1.51": 0} {
		t.Run(api, func(t *testing.T) {
			engine := &startingEngine{api: api, asked: make(chan struct{})}
			server := httptest.NewServer(engine)
			defer server.Close()
			d := newTestDriver(t, func(c *Config) { c.Host = "tcp://" + server.Listener.Addr().String() })
			defer d.Close()
			facts, err := d.describe(testContext(t))
			if err != nil {
				t.Fatal(err)
			}
			spec := testSpec("image", "true")
			spec.TTY, spec.TTYRows, spec.TTYColumns = true, 43, 132
			if _, host := containerConfig(spec, nil); host.ConsoleSize != [2]uint{43, 132} {
				t.Errorf("created with the size %v", host.ConsoleSize)
			}
			d.keepSize(facts, spec)
			if err := d.Start(testContext(t), spec.ID); err != nil {
				t.Fatal(err)
			}
			if engine.starts != 1 || engine.resizes != resizes || resizes > 0 && engine.size != "43 132" {
				t.Errorf("started %d times, told the size %q %d times", engine.starts, engine.size, engine.resizes)
			}
			if _, left := d.sizes.Load(spec.ID); left {
				t.Error("the size is still remembered")
			}
		})
	}
}

// TestSizeOfWhatNeverStarted: nothing is remembered of what is removed.
func TestSizeOfWhatNeverStarted(t *testing.T) {
	d := newTestDriver(t)
	spec := testSpec("image", "true")
	spec.TTY, spec.TTYRows, spec.TTYColumns = true, 43, 132
	d.keepSize(&engine{}, spec)
	if err := d.Remove(testContext(t), spec.ID); err != nil {
		t.Fatal(err)
	}
	d.sizes.Range(func(id, _ any) bool {
		t.Errorf("%v is remembered", id)
		return true
	})
}

// TestNoEntrypoint: an image's entrypoint can be left out, and its command goes
// with it.
func TestNoEntrypoint(t *testing.T) {
	runtimetest.BusyboxImage(t, engineImage)
	d := newTestDriver(t)
	c := d.client.Load()
	ref := "hearth-drivertest:entrypoint-" + unique()
	base := testSpec(engineImage, "true")
	run(t, d, base)
	commit(t, c, d.name(base.ID), ref, `ENTRYPOINT ["echo", "of the image"]`, `CMD ["command of the image"]`)
	for name, want := range map[string]struct {
		change func(*runtime.Spec)
		want   string
	}{
		"the image's":  {func(*runtime.Spec) {}, "of the image command of the image\n"},
		"with args":    {func(s *runtime.Spec) { s.Args = []string{"echo", "x"} }, "of the image echo x\n"},
		"another":      {func(s *runtime.Spec) { s.Entrypoint, s.Args = "basename", []string{"a/b"} }, "b\n"},
		"left out":     {func(s *runtime.Spec) { s.NoEntrypoint, s.Args = true, []string{"echo", "x"} }, "x\n"},
		"another only": {func(s *runtime.Spec) { s.Entrypoint = "pwd" }, "/\n"},
	} {
		spec := testSpec(ref)
		want.change(&spec)
		if got := output(t, run(t, d, spec).Output); got != want.want {
			t.Errorf("%s: %q, want %q", name, got, want.want)
		}
	}
}
