package docker

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	goruntime "runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/docker/docker/api/types/image"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime"
	"github.com/hearth-edge/hearth/runtime/runtimetest"
)

const megabyte = 1 << 20

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// dropLater removes an image when the test ends, if it is there then.
func dropLater(t *testing.T, d *Driver, ref string) {
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		d.client.Load().ImageRemove(ctx, ref, image.RemoveOptions{Force: true, PruneChildren: true})
	})
}

// wantError checks an error's code and that its text tells what it should.
func wantError(t *testing.T, err error, code protocol.Code, words ...string) {
	t.Helper()
	if err == nil || protocol.CodeOf(err) != code {
		t.Fatalf("error %v of code %v, want %v", err, protocol.CodeOf(err), code)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("the error %q does not say %q", err, w)
		}
	}
}

func TestPullFetchesOnce(t *testing.T) {
	d, r := newTestDriver(t), newRegistry(t)
	r.push(t, "shared", goruntime.GOARCH, 8*megabyte)
	ref := r.ref("shared")
	dropLater(t, d, ref)

	const askers = 5
	var saw sync.WaitGroup // every asker saw progress in the middle of the fetch
	saw.Add(askers)
	r.gate = saw.Wait

	var all sync.WaitGroup
	for range askers {
		all.Go(func() {
			var last protocol.Progress
			err := d.Pull(testContext(t), ref, func(p runtime.PullStep) {
				if p.Current < last.Current || p.Total < last.Total || p.LayersDone < last.LayersDone {
					t.Errorf("progress went from %+v to %+v", last, p)
				}
				if last.Current == 0 && p.Current > 0 {
					saw.Done()
				}
				last = p.Progress
			})
			if err != nil {
				t.Errorf("Pull: %v", err)
			}
			if last.Current < 8*megabyte || last.Current != last.Total || last.Layers != 1 || last.LayersDone != 1 {
				t.Errorf("in the end %+v", last)
			}
		})
	}
	all.Wait()
	if r.served != 1 {
		t.Errorf("the registry handed the manifest out %d times", r.served)
	}

	r.server.Close()
	if err := d.Pull(testContext(t), ref, nil); err != nil {
		t.Errorf("an image that is here needed its registry: %v", err)
	}
}

func TestPullByDigest(t *testing.T) {
	d, r := newTestDriver(t), newRegistry(t)
	pinned := r.push(t, "moving", goruntime.GOARCH, 100)
	r.push(t, "moving", goruntime.GOARCH, 100)
	ref := strings.TrimSuffix(r.ref("moving"), ":moving") + "@" + pinned
	dropLater(t, d, ref)
	if err := d.Pull(testContext(t), ref, nil); err != nil {
		t.Fatal(err)
	}
	found, err := d.client.Load().ImageInspect(testContext(t), ref)
	if err != nil || len(found.RepoDigests) != 1 || !strings.HasSuffix(found.RepoDigests[0], pinned) {
		t.Errorf("%v, %v", found.RepoDigests, err)
	}
}

// TestPullAlways: what the registry has now is fetched, though an image of that
// name is here; without a registry that fails.
func TestPullAlways(t *testing.T) {
	d, r := newTestDriver(t), newRegistry(t)
	ref := r.ref("rolling")
	dropLater(t, d, ref)
	content := func() string {
		t.Helper()
		found, err := d.client.Load().ImageInspect(testContext(t), ref)
		if err != nil {
			t.Fatal(err)
		}
		return found.ID
	}
	r.push(t, "rolling", goruntime.GOARCH, 100)
	if err := d.PullAlways(testContext(t), ref, nil); err != nil {
		t.Fatal(err)
	}
	first := content()
	r.push(t, "rolling", goruntime.GOARCH, 100)
	if err := d.Pull(testContext(t), ref, nil); err != nil || content() != first {
		t.Errorf("Pull of what is here: %v, another image: %t", err, content() != first)
	}
	if err := d.PullAlways(testContext(t), ref, nil); err != nil || content() == first {
		t.Errorf("PullAlways: %v, another image: %t", err, content() != first)
	}
	old := first
	t.Cleanup(func() { // it has lost its name
		_, _ = d.client.Load().ImageRemove(context.Background(), old, image.RemoveOptions{})
	})
	r.server.Close()
	d.pause = time.Millisecond
	wantError(t, d.PullAlways(testContext(t), ref, nil), protocol.CodePullFailed, ref)
}

func TestPullWithCredentials(t *testing.T) {
	r := newRegistry(t)
	r.user, r.password = "user", "pass word"
	r.push(t, "private", goruntime.GOARCH, 100)
	ref := r.ref("private")

	d := newTestDriver(t)
	dropLater(t, d, ref)
	wantError(t, d.Pull(testContext(t), ref, nil), protocol.CodePullFailed, ref, "docker login")

	host := strings.TrimPrefix(r.server.URL, "http://")
	auth := base64.StdEncoding.EncodeToString([]byte("user:pass word"))
	config := fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`, host, auth)
	if err := os.WriteFile(filepath.Join(d.cfg.ConfigDir, "config.json"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := d.Pull(testContext(t), ref, nil); err != nil {
		t.Errorf("with credentials: %v", err)
	}
}

// TestPullWithHelper has a program hand out the credentials.
func TestPullWithHelper(t *testing.T) {
	r := newRegistry(t)
	r.user, r.password = "user", "secret"
	r.push(t, "helped", goruntime.GOARCH, 100)
	bin := t.TempDir()
	helper := "#!/bin/sh\necho '{\"Username\":\"user\",\"Secret\":\"secret\"}'\n"
	if err := os.WriteFile(filepath.Join(bin, "docker-credential-drivertest"), []byte(helper), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	d := newTestDriver(t)
	dropLater(t, d, r.ref("helped"))
	if err := os.WriteFile(filepath.Join(d.cfg.ConfigDir, "config.json"), []byte(`{"credsStore":"drivertest"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := d.Pull(testContext(t), r.ref("helped"), nil); err != nil {
		t.Error(err)
	}
}

func TestPullErrors(t *testing.T) {
	d, r := newTestDriver(t), newRegistry(t)
	d.pause = 1
	r.push(t, "elsewhere", "s390x", 100)
	r.pushList(t, "list", "linux/s390x")
	for _, tag := range []string{"elsewhere", "list"} {
		dropLater(t, d, r.ref(tag))
	}
	id := "sha256:" + strings.Repeat("ab", 32)
	for _, c := range []struct {
		ref   string
		code  protocol.Code
		words []string
	}{
		{r.ref("nosuch"), protocol.CodeImageNotFound, []string{r.ref("nosuch"), "check its name"}},
		{"127.0.0.1:1/thing:x", protocol.CodePullFailed, []string{"127.0.0.1:1/thing:x", "cannot be reached"}},
		{r.ref("elsewhere"), protocol.CodeImagePlatform, []string{r.ref("elsewhere"), "linux/s390x", "linux/" + goruntime.GOARCH}},
		{r.ref("list"), protocol.CodeImagePlatform, []string{r.ref("list"), "linux/" + goruntime.GOARCH}},
		{"Not A Name", protocol.CodeInvalid, []string{"Not A Name"}},
		{"", protocol.CodeInvalid, nil},
		{id, protocol.CodeImageNotFound, []string{id}},
	} {
		t.Run(c.ref, func(t *testing.T) {
			wantError(t, d.Pull(testContext(t), c.ref, nil), c.code, c.words...)
		})
	}
}

func TestLocalImageForAnotherPlatform(t *testing.T) {
	ref := "hearth-drivertest:s390x"
	runtimetest.BusyboxImage(t, ref, "s390x")
	d := newTestDriver(t)
	wantError(t, d.Pull(testContext(t), ref, nil), protocol.CodeImagePlatform, ref, "linux/s390x", "linux/"+goruntime.GOARCH)
}

func TestPullByID(t *testing.T) {
	ref := "hearth-drivertest:id"
	runtimetest.BusyboxImage(t, ref)
	d := newTestDriver(t)
	found, err := d.client.Load().ImageInspect(testContext(t), ref)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{found.ID, strings.TrimPrefix(found.ID, "sha256:")[:12]} {
		if err := d.Pull(testContext(t), id, nil); err != nil {
			t.Errorf("%s: %v", id, err)
		}
	}
}

func TestPullThatStalls(t *testing.T) {
	d, r := newTestDriver(t), newRegistry(t)
	d.stall = time.Second
	r.push(t, "stalled", goruntime.GOARCH, megabyte)
	r.gate = func() { <-r.over }
	wantError(t, d.Pull(testContext(t), r.ref("stalled"), nil), protocol.CodePullFailed, r.ref("stalled"), "no progress")
}

// TestPullEndsWithItsAskers: one who leaves does not end it, the last does.
func TestPullEndsWithItsAskers(t *testing.T) {
	d, r := newTestDriver(t), newRegistry(t)
	r.push(t, "unwanted", goruntime.GOARCH, megabyte)
	reached := make(chan struct{}, 1)
	r.gate = func() {
		reached <- struct{}{}
		<-r.over
	}
	ask := func() (context.CancelFunc, <-chan error) {
		ctx, cancel := context.WithCancel(testContext(t))
		ended := make(chan error, 1)
		go func() { ended <- d.Pull(ctx, r.ref("unwanted"), nil) }()
		return cancel, ended
	}
	leaveFirst, first := ask()
	<-reached
	leaveSecond, second := ask()
	waiting := func() (n int) {
		d.pulls.mu.Lock()
		defer d.pulls.mu.Unlock()
		for _, p := range d.pulls.running {
			n += p.waiters
		}
		return n
	}
	for waiting() < 2 {
		goruntime.Gosched()
	}
	leaveFirst()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("the first: %v", err)
	}
	select {
	case err := <-second:
		t.Fatalf("the second ended with the first: %v", err)
	default:
	}
	leaveSecond()
	if err := <-second; !errors.Is(err, context.Canceled) {
		t.Errorf("the second: %v", err)
	}
	if err := d.Close(); err != nil { // waits for the fetch
		t.Error(err)
	}
}

// TestHangInAPull: it ends when the hang is noticed, long before it would be
// taken for a halt, and is told as of something that was not started.
func TestHangInAPull(t *testing.T) {
	p, r := newProxy(t), newRegistry(t)
	d := newTestDriver(t, p.host)
	d.stall = time.Hour
	r.push(t, "hangs", goruntime.GOARCH, megabyte)
	reached := make(chan struct{}, 1)
	r.gate = func() {
		reached <- struct{}{}
		<-r.over
	}
	node, _ := newNode(t, d, func(c *runtime.Config) { c.Policy.Registries = []string{r.host()} })
	s, err := node.Offer(testContext(t), offerOf(testSpec(r.ref("hangs"), "true")))
	if err != nil {
		t.Fatal(err)
	}
	receive(t, reached, "the middle of the fetch")
	p.frozen.Lock()
	start := time.Now()
	w := &watched{Session: s, t: t}
	w.readAll()
	p.frozen.Unlock()
	t.Logf("told after %v: %+v", time.Since(start).Round(time.Millisecond), w.last)
	if w.last.State != protocol.StateFailed || w.last.Code != protocol.CodeEngineDown || w.last.Container != "" {
		t.Errorf("%+v", w.last)
	}
}
