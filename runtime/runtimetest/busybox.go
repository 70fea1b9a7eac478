package runtimetest

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/client"
)

// imageTimeout bounds the making of an image.
const imageTimeout = time.Minute

// BusyboxImage gives the default Docker engine an image with nothing in it but
// busybox under the names of all its commands, and removes it when the test
// ends. Tests that run at the same time need different tags. platform, such as
// "linux/arm64", is what the image claims to be made for; without it, it is
// the engine's.
//
// It needs no registry: the image is made from the busybox of this machine,
// which must be statically linked.
func BusyboxImage(t testing.TB, tag string, platform ...string) {
	t.Helper()
	layer, err := busyboxLayer()
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.NewClientWithOpts(client.FromEnv, client.WithAPIVersionNegotiation())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	ctx, cancel := context.WithTimeout(context.Background(), imageTimeout)
	defer cancel()
	answer, err := c.ImageImport(ctx,
		image.ImportSource{Source: bytes.NewReader(layer), SourceName: "-"}, tag,
		image.ImportOptions{Changes: []string{"ENV PATH=/bin"}, Platform: strings.Join(platform, "")})
	if err != nil {
		t.Fatalf("import the image %s: %v\nThis test needs a Docker engine that it may use: install docker.io and start it, and run the test as root or in the group docker.", tag, err)
	}
	defer answer.Close()
	if text, err := io.ReadAll(answer); err != nil || bytes.Contains(text, []byte(`"error"`)) {
		t.Fatalf("import the image %s: %v: %s", tag, err, text)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), imageTimeout)
		defer cancel()
		if _, err := c.ImageRemove(ctx, tag, image.RemoveOptions{Force: true, PruneChildren: true}); err != nil {
			t.Errorf("remove the image %s: %v", tag, err)
		}
	})
}

// busyboxLayer returns a file system with busybox as a tar archive.
func busyboxLayer() ([]byte, error) {
	path, err := exec.LookPath("busybox")
	if err != nil {
		return nil, fmt.Errorf("%w: this test needs busybox, statically linked; on Debian: apt-get install busybox-static", err)
	}
	program, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	commands, err := exec.Command(path, "--list").Output()
	if err != nil {
		return nil, fmt.Errorf("list busybox's commands: %w", err)
	}

	var archive bytes.Buffer
	out := tar.NewWriter(&archive)
	entries := []tar.Header{
		{Typeflag: tar.TypeDir, Name: "bin/", Mode: 0o755},
		{Typeflag: tar.TypeDir, Name: "tmp/", Mode: 0o1777},
	}
	for _, name := range strings.Fields(string(commands)) {
		if name != "busybox" {
			entries = append(entries, tar.Header{Typeflag: tar.TypeSymlink, Name: "bin/" + name, Linkname: "busybox", Mode: 0o777})
		}
	}
	for i := range entries {
		if err := out.WriteHeader(&entries[i]); err != nil {
			return nil, err
		}
	}
	err = out.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "bin/busybox", Mode: 0o755, Size: int64(len(program))})
	if err != nil {
		return nil, err
	}
	if _, err := out.Write(program); err != nil {
		return nil, err
	}
	if err := out.Close(); err != nil {
		return nil, err
	}
	return archive.Bytes(), nil
}
