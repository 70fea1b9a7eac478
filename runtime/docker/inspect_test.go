package docker

import (
	"context"
	"errors"
	"net/http"
	goruntime "runtime"
	"slices"
	"strings"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime/runtimetest"
)

func TestInspectAsksTheRegistry(t *testing.T) {
	d, r := newTestDriver(t), newRegistry(t)
	d.patience = time.Minute
	r.push(t, "one", "s390x", 100)
	own := "linux/" + goruntime.GOARCH
	r.pushList(t, "list", "linux/riscv64", "linux/arm/v7", "unknown/unknown", own)
	r.pushList(t, "others", "linux/s390x", "windows/"+goruntime.GOARCH)
	pinned := strings.TrimSuffix(r.ref("one"), ":one") + "@" + digestOf(r.manifests["one"].data)
	for _, c := range []struct {
		ref, measured string
		platforms     []string
	}{
		{r.ref("one"), "one", []string{"linux/s390x"}},
		{pinned, "one", []string{"linux/s390x"}},
		{r.ref("list"), "list-" + strings.ReplaceAll(own, "/", "-"), []string{"linux/riscv64", "linux/arm/v7", own}},
		{r.ref("others"), "others-linux-s390x", []string{"linux/s390x", "windows/" + goruntime.GOARCH}},
	} {
		facts, err := d.Inspect(testContext(t), c.ref)
		if err != nil {
			t.Fatal(err)
		}
		if facts.Present || !facts.Compressed || facts.Size != r.moved(t, c.measured) || !slices.Equal(facts.Platforms, c.platforms) {
			t.Errorf("%s: %+v, want %+v and size %d", c.ref, facts, c, r.moved(t, c.measured))
		}
	}
}

func TestInspectPrefersTheEngine(t *testing.T) {
	d, r := newTestDriver(t), newRegistry(t)
	r.push(t, "here", goruntime.GOARCH, megabyte)
	ref := r.ref("here")
	dropLater(t, d, ref)
	if err := d.Pull(testContext(t), ref, nil); err != nil {
		t.Fatal(err)
	}
	r.server.Close()
	facts, err := d.Inspect(testContext(t), ref)
	if err != nil {
		t.Fatal(err)
	}
	if !facts.Present || facts.Size < megabyte || facts.Compressed || !slices.Equal(facts.Platforms, []string{"linux/" + goruntime.GOARCH}) {
		t.Errorf("%+v", facts)
	}
}

func TestInspectErrors(t *testing.T) {
	d, r := newTestDriver(t), newRegistry(t)
	locked, sick := newRegistry(t), newRegistry(t)
	locked.user, locked.password = "user", "secret"
	sick.fail = func(w http.ResponseWriter) bool {
		w.WriteHeader(http.StatusServiceUnavailable)
		return true
	}
	for _, c := range []struct {
		ref   string
		code  protocol.Code
		words []string
	}{
		{r.ref("nosuch"), protocol.CodeImageNotFound, []string{"check its name"}},
		{locked.ref("any"), protocol.CodePullFailed, []string{"docker login"}},
		{sick.ref("any"), protocol.CodePullFailed, []string{"does not tell"}},
		{"127.0.0.1:1/thing:x", protocol.CodePullFailed, []string{"127.0.0.1:1", "does not tell"}},
		{"Not A Name", protocol.CodeInvalid, nil},
		{"sha256:" + strings.Repeat("ab", 32), protocol.CodeImageNotFound, nil},
	} {
		t.Run(c.ref, func(t *testing.T) {
			_, err := d.Inspect(testContext(t), c.ref)
			wantError(t, err, c.code, c.words...)
		})
	}
}

// TestInspectEndsWithItsContext: a registry that says nothing holds nobody up.
func TestInspectEndsWithItsContext(t *testing.T) {
	d, r := newTestDriver(t), newRegistry(t)
	asked := make(chan struct{}, 16)
	r.fail = func(http.ResponseWriter) bool {
		asked <- struct{}{}
		<-r.over
		return true
	}
	ctx, cancel := context.WithCancel(testContext(t))
	ended := make(chan error, 1)
	go func() {
		_, err := d.Inspect(ctx, r.ref("silent"))
		ended <- err
	}()
	receive(t, asked, "the question to the registry")
	cancel()
	if err := receive(t, ended, "Inspect's end"); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestInspectWithoutEngine(t *testing.T) {
	p := newProxy(t)
	d := newTestDriver(t, p.host)
	p.cut()
	_, err := d.Inspect(testContext(t), "thing")
	wantError(t, err, protocol.CodeEngineDown)
}

func TestInspectLocalImageForAnotherPlatform(t *testing.T) {
	ref := "hearth-drivertest:inspect"
	runtimetest.BusyboxImage(t, ref, "s390x")
	facts, err := newTestDriver(t).Inspect(testContext(t), ref)
	if err != nil || !facts.Present || !slices.Equal(facts.Platforms, []string{"linux/s390x"}) {
		t.Errorf("%+v, %v", facts, err)
	}
}

func TestPlatformNames(t *testing.T) {
	p := func(os, arch, variant string) ocispec.Platform {
		return ocispec.Platform{OS: os, Architecture: arch, Variant: variant}
	}
	got := platformNames(p("linux", "amd64", ""), p("linux", "x86_64", "v2"), p("linux", "aarch64", "v8"),
		p("linux", "arm", "v6"), p("linux", "armhf", ""), p("linux", "arm", ""), p("unknown", "unknown", ""), p("", "", ""), p("windows", "amd64", ""))
	want := []string{"linux/amd64", "linux/arm64", "linux/arm/v6", "linux/arm/v7", "linux/arm", "windows/amd64"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	var many []ocispec.Platform
	for range 1000 {
		many = append(many, p("linux", unique(), ""))
	}
	if got := len(platformNames(many...)); got != 64 {
		t.Errorf("%d names", got)
	}
}

// BenchmarkInspect measures asking for an image that is here.
func BenchmarkInspect(b *testing.B) {
	ref := "hearth-drivertest:inspected"
	runtimetest.BusyboxImage(b, ref)
	d := newTestDriver(b)
	defer d.Close()
	for b.Loop() {
		ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
		if _, err := d.Inspect(ctx, ref); err != nil {
			b.Fatal(err)
		}
		cancel()
	}
}
