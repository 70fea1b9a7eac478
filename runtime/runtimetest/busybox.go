package runtimetest

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/distribution/reference"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/client"
)

// imageTimeout bounds the making of an image.
const imageTimeout = time.Minute

// BusyboxImage gives the default Docker engine an image with nothing in it but
// busybox under the names of all its commands, and removes it when the test
// ends. Tests that run at the same time need different tags. arch is what the
// image claims to be made for, in Go's words; without it, it is the engine's.
//
// It needs no registry: the image is made from the busybox of this machine,
// which must be statically linked.
func BusyboxImage(t testing.TB, tag string, arch ...string) {
	t.Helper()
	loadImage(t, tag, "", arch...)
}

// InterruptedImage is BusyboxImage of an image that INT is to stop.
func InterruptedImage(t testing.TB, tag string) {
	t.Helper()
	loadImage(t, tag, "SIGINT")
}

func loadImage(t testing.TB, tag, stopSignal string, arch ...string) {
	t.Helper()
	c, err := client.NewClientWithOpts(client.FromEnv, client.WithAPIVersionNegotiation())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	ctx, cancel := context.WithTimeout(context.Background(), imageTimeout)
	defer cancel()
	engine, err := c.ServerVersion(ctx)
	if err != nil {
		t.Fatalf("%v\nThis test needs a Docker engine that it may use: install docker.io and start it, and run the test as root or in the group docker.", err)
	}
	archive, err := busyboxImage(tag, append(arch, engine.Arch)[0], stopSignal)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := c.ImageLoad(ctx, bytes.NewReader(archive), client.ImageLoadWithQuiet(true))
	if err != nil {
		t.Fatalf("load the image %s: %v", tag, err)
	}
	defer answer.Body.Close()
	if text, err := io.ReadAll(answer.Body); err != nil || bytes.Contains(text, []byte(`"error"`)) {
		t.Fatalf("load the image %s: %v: %s", tag, err, text)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), imageTimeout)
		defer cancel()
		if _, err := c.ImageRemove(ctx, tag, image.RemoveOptions{Force: true, PruneChildren: true}); err != nil {
			t.Errorf("remove the image %s: %v", tag, err)
		}
	})
}

// busyboxImage returns an image as "docker save" writes it.
func busyboxImage(tag, arch, stopSignal string) ([]byte, error) {
	named, err := reference.ParseNormalizedNamed(tag)
	if err != nil {
		return nil, fmt.Errorf("image tag %q: %w", tag, err)
	}
	layer, err := busyboxLayer()
	if err != nil {
		return nil, err
	}
	config, err := json.Marshal(map[string]any{
		"architecture": arch,
		"os":           "linux",
		"created":      time.Now(), // so that no two tests have the same image
		"config":       map[string]any{"Env": []string{"PATH=/bin"}, "StopSignal": stopSignal},
		"rootfs":       map[string]any{"type": "layers", "diff_ids": []string{fmt.Sprintf("sha256:%x", sha256.Sum256(layer))}},
	})
	if err != nil {
		return nil, err
	}
	manifest, err := json.Marshal([]map[string]any{{
		"Config":   "config.json",
		"RepoTags": []string{reference.TagNameOnly(named).String()},
		"Layers":   []string{"layer.tar"},
	}})
	if err != nil {
		return nil, err
	}
	var archive bytes.Buffer
	out := tar.NewWriter(&archive)
	for _, f := range []struct {
		name string
		data []byte
	}{{"config.json", config}, {"layer.tar", layer}, {"manifest.json", manifest}} {
		if err := addFile(out, f.name, f.data, 0o644); err != nil {
			return nil, err
		}
	}
	if err := out.Close(); err != nil {
		return nil, err
	}
	return archive.Bytes(), nil
}

func addFile(out *tar.Writer, name string, data []byte, mode int64) error {
	if err := out.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: int64(len(data))}); err != nil {
		return err
	}
	_, err := out.Write(data)
	return err
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
	if err := addFile(out, "bin/busybox", program, 0o755); err != nil {
		return nil, err
	}
	if err := out.Close(); err != nil {
		return nil, err
	}
	return archive.Bytes(), nil
}
