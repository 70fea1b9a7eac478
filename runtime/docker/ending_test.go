package docker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	goruntime "runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime"
	"github.com/hearth-edge/hearth/runtime/runtimetest"
)

// asked takes what is asked for out of a request: the name is not said.
var asked = regexp.MustCompile(`^([A-Z]+) /v[0-9.]+/(images|containers)/(create|[^/? ]+)/?([a-z]*)`)

// TestEachThingIsAskedOnce: what one execution asks the engine, of an image that
// is here.
func TestEachThingIsAskedOnce(t *testing.T) {
	runtimetest.BusyboxImage(t, engineImage)
	var mu sync.Mutex // guards got
	var got []string
	p := newProxy(t, func(data []byte) {
		if m := asked.FindSubmatch(data); m != nil {
			mu.Lock()
			defer mu.Unlock()
			what := string(m[4])
			if what == "" && string(m[3]) == "create" {
				what = "create"
			}
			got = append(got, strings.TrimSpace(fmt.Sprintf("%s %s %s", m[1], m[2], what)))
		}
	})
	d := newTestDriver(t, p.host)
	if _, err := d.Info(testContext(t)); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	got = nil
	mu.Unlock()

	spec := testSpec(engineImage, "sh", "-c", "echo out; exit 3")
	_, stdio, err := d.Create(testContext(t), spec)
	if err != nil {
		t.Fatal(err)
	}
	defer stdio.Output.Close()
	if err := d.Start(testContext(t), spec.ID); err != nil {
		t.Fatal(err)
	}
	if _, text, err := stdio.Output.Next(); err != nil || string(text) != "out\n" {
		t.Errorf("output %q, %v", text, err)
	}
	for range 2 {
		if exit, err := d.Wait(testContext(t), spec.ID); err != nil || exit.Code != 3 {
			t.Errorf("%+v, %v", exit, err)
		}
	}
	if err := d.Remove(testContext(t), spec.ID); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	slices.Sort(got[:min(2, len(got))]) // these go together, and so do the next two
	slices.Sort(got[min(2, len(got)):min(4, len(got))])
	want := []string{
		"GET images json", "POST containers create",
		"POST containers attach", "POST containers wait",
		"POST containers start", "GET containers json", "DELETE containers",
	}
	if !slices.Equal(got, want) {
		t.Errorf("asked %s\nwant  %s", strings.Join(got, ", "), strings.Join(want, ", "))
	}
}

// TestOutputEndsWithTheContainer: where the engine tells the container's end after
// that of the output, it has lived through both, and is not asked again.
func TestOutputEndsWithTheContainer(t *testing.T) {
	for what, c := range map[string]struct {
		told, want error
	}{
		"ended":     {nil, io.EOF},
		"removed":   {runtime.ErrNotFound, io.EOF},
		"cut off":   {protocol.Errorf(protocol.CodeEngineDown, "gone"), io.ErrUnexpectedEOF},
		"let go of": {context.Canceled, io.ErrUnexpectedEOF},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newTestDriver(t, func(c *Config) { c.Host = "unix:///no/engine" })
				end := &ending{told: make(chan struct{}), err: c.told}
				got := make(chan error, 1)
				go func() { got <- d.endOf(testSpec("image").ID, end)() }()
				synctest.Wait() // for the end
				close(end.told)
				if err := <-got; !errors.Is(err, c.want) {
					t.Errorf("%v, want %v", err, c.want)
				}
			})
		})
	}
}

// TestOutputReadAfterTheEnd: who reads late gets all, and is not told an end that
// the engine, gone by now, cannot vouch for.
func TestOutputReadAfterTheEnd(t *testing.T) {
	runtimetest.BusyboxImage(t, engineImage)
	p := newProxy(t)
	d := newTestDriver(t, p.host)
	spec := testSpec(engineImage, "echo", "out")
	stdio := run(t, d, spec)
	if _, err := d.Wait(testContext(t), spec.ID); err != nil {
		t.Fatal(err)
	}
	if text := output(t, stdio.Output); text != "out\n" {
		t.Errorf("output %q", text)
	}
	end := d.endings.of(spec.ID)
	if end == nil || !end.over() {
		t.Fatalf("the ending is not kept: %+v", end)
	}
	p.cut()
	if err := d.endOf(spec.ID, end)(); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("without an engine the output ended with %v", err)
	}
	p.resume()
	if err := d.Remove(testContext(t), spec.ID); err != nil {
		t.Fatal(err)
	}
	if d.endings.of(spec.ID) != nil {
		t.Error("the ending is kept for ever")
	}
	if err := d.endOf(spec.ID, end)(); !errors.Is(err, io.EOF) {
		t.Errorf("when it was removed the output ended with %v", err)
	}
}

// TestCreateForAnotherPlatform leaves nothing behind.
func TestCreateForAnotherPlatform(t *testing.T) {
	ref := "hearth-drivertest:foreign"
	runtimetest.BusyboxImage(t, ref, "s390x")
	d := newTestDriver(t, func(c *Config) { c.Node = "foreign" })
	_, _, err := d.Create(testContext(t), testSpec(ref, "true"))
	wantError(t, err, protocol.CodeImagePlatform, ref, "linux/s390x", "linux/"+goruntime.GOARCH)
	if found, err := d.Recover(testContext(t)); err != nil || len(found) != 0 {
		t.Errorf("left behind: %+v, %v", found, err)
	}
	_, _, err = d.Create(testContext(t), testSpec("Not A Name", "true"))
	wantError(t, err, protocol.CodeImageNotFound, "Not A Name")
}
