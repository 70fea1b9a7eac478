package docker

import (
	"errors"
	goruntime "runtime"
	"strings"
	"testing"

	cerrdefs "github.com/containerd/errdefs"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime"
	"github.com/hearth-edge/hearth/runtime/runtimetest"
)

// TestImageOfOwnBuild: an image that was loaded or built has an ID that others
// can compare, and no registry; one that was fetched is known by its registry.
// What has another ID is not run by its name.
func TestImageOfOwnBuild(t *testing.T) {
	const tag = "hearth-drivertest:own"
	runtimetest.BusyboxImage(t, tag)
	d, r := newTestDriver(t), newRegistry(t)
	info, err := d.Info(testContext(t))
	if err != nil || !info.TellsImageIDs {
		t.Fatalf("%+v, %v: this test needs an engine without containerd's image store", info, err)
	}
	own, err := d.Image(testContext(t), tag)
	if _, bad := protocol.ParseImageID(string(own.ID)); err != nil || own.Published || bad != nil {
		t.Errorf("%+v, %v", own, err)
	}
	r.push(t, "published", goruntime.GOARCH, 100)
	dropLater(t, d, r.ref("published"))
	if err := d.Pull(testContext(t), r.ref("published"), nil); err != nil {
		t.Fatal(err)
	}
	if got, err := d.Image(testContext(t), r.ref("published")); err != nil || !got.Published || got.ID == own.ID {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := d.Image(testContext(t), "hearth-drivertest:nosuch"); !errors.Is(err, runtime.ErrNotFound) {
		t.Errorf("%+v, %v", got, err)
	}
	info, err = d.Info(testContext(t))
	if err != nil || len(info.Published) != len(info.Images) {
		t.Fatalf("%v of %v, %v", info.Published, info.Images, err)
	}
	for i, ref := range info.Images {
		if want := strings.HasPrefix(ref, r.host()); (want || ref == tag) && info.Published[i] != want {
			t.Errorf("%s: published %v", ref, info.Published[i])
		}
	}

	spec := testSpec(tag, "true")
	spec.ImageID = protocol.ImageID("sha256:" + strings.Repeat("ab", 32))
	_, _, err = d.Create(testContext(t), spec)
	wantError(t, err, protocol.CodeImageMismatch, own.ID.Short(), spec.ImageID.Short(), tag)
	if _, err := d.client.Load().ContainerInspect(testContext(t), d.name(spec.ID)); !cerrdefs.IsNotFound(err) {
		t.Errorf("its container: %v", err)
	}
	spec.ImageID = own.ID
	if _, stdio, err := d.Create(testContext(t), spec); err != nil {
		t.Error(err)
	} else {
		stdio.Output.Close()
	}
	if err := d.Remove(testContext(t), spec.ID); err != nil {
		t.Error(err)
	}
}

func TestPublished(t *testing.T) {
	for _, c := range []struct {
		ref     string
		digests []string
		want    bool
	}{
		{"busybox", []string{"busybox@" + digestOf(nil)}, true},
		{"docker.io/library/busybox:1", []string{"busybox@" + digestOf(nil)}, true},
		{"mine:1", []string{"busybox@" + digestOf(nil)}, false}, // tagged anew here
		{"mine:1", nil, false},
		{"mine:1", []string{"<none>@<none>"}, false},
		{"<none>:<none>", nil, false},
	} {
		if got := published(c.ref, c.digests); got != c.want {
			t.Errorf("%s with %v: %v", c.ref, c.digests, got)
		}
	}
}
