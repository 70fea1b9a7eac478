package docker

import (
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/hearth-edge/hearth/runtime"
	"github.com/hearth-edge/hearth/runtime/runtimetest"
)

// startingEngine answers Start's questions as an engine of some version of the
// API does. It cannot take a size the first time.
type startingEngine struct {
	api string

	mu    sync.Mutex // guards asked
	asked []string
}

func (e *startingEngine) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Api-Version", e.api)
	e.mu.Lock()
	defer e.mu.Unlock()
	switch path := r.URL.Path; {
	case strings.HasSuffix(path, "/start"):
		e.asked = append(e.asked, "start")
		w.WriteHeader(http.StatusNoContent)
	case strings.HasSuffix(path, "/resize"):
		e.asked = append(e.asked, "resize "+r.URL.Query().Get("h")+" "+r.URL.Query().Get("w"))
		if len(e.asked) == 2 {
			w.WriteHeader(http.StatusInternalServerError)
			_, _ = io.WriteString(w, `{"message":"no running task found"}`)
		}
	default:
		_, _ = io.WriteString(w, `{"Os":"linux","Arch":"amd64"}`)
	}
}

// TestTerminalSizeAtTheStart: an engine that can make a terminal with its size
// is told that at the creation and no more; an earlier one is told right after
// the start, again where it cannot take that yet.
func TestTerminalSizeAtTheStart(t *testing.T) {
	for api, want := range map[string][]string{
		"1.41": {"start", "resize 43 132", "resize 43 132"}, "1.42": {"start"}, "1.51": {"start"},
	} {
		t.Run(api, func(t *testing.T) {
			engine := &startingEngine{api: api}
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
			for range 2 { // the second time nothing is remembered
				if err := d.Start(testContext(t), spec.ID); err != nil {
					t.Fatal(err)
				}
			}
			if !slices.Equal(engine.asked, append(want, "start")) {
				t.Errorf("asked for %q, want %q and another start", engine.asked, want)
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
