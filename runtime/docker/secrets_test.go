package docker

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime"
	"github.com/hearth-edge/hearth/runtime/runtimetest"
)

// inMemory returns a folder for secrets.
func inMemory(t *testing.T) string {
	t.Helper()
	dir := filepath.Join("/dev/shm", "hearth-drivertest-"+unique())
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func someSecrets(value string) []protocol.Secret {
	return []protocol.Secret{
		{Name: "password", Data: protocol.Confidential(value), Size: uint32(len(value))},
		{Name: "empty"},
	}
}

// Whoever a service runs as can read its secrets, and nobody else: 0400, in
// memory, read-only. When it has ended they are gone.
func TestSecrets(t *testing.T) {
	runtimetest.BusyboxImage(t, engineImage)
	dir := inMemory(t)
	d := newTestDriver(t, func(c *Config) { c.MemoryDir = dir })
	for user, uid := range map[string]string{"": "0", "1234:99": "1234"} {
		value := "hunter2-" + unique()
		spec := applied(t, d, runtime.DefaultPolicy(), protocol.Service{
			User: user, Secrets: someSecrets(value), Entrypoint: "/bin/sh",
			Args: []string{"-c", `cd /run/secrets; stat -c '%n %a %u %s' *; cat password; echo x >new || echo refused; cat`}, Stdin: true,
		})
		id, stdio, err := d.Create(testContext(t), spec)
		if err != nil {
			t.Fatalf("user %q: %v", user, err)
		}
		if err := d.Start(testContext(t), spec.ID); err != nil {
			t.Fatal(err)
		}
		info, err := d.look(testContext(t), id)
		if err != nil {
			t.Fatal(err)
		}
		if text, err := json.Marshal(info); err != nil || strings.Contains(string(text), value) {
			t.Errorf("the engine's own account of the container tells the secret: %v", err)
		}
		if found, err := d.Recover(testContext(t)); err != nil || len(found) != 1 {
			t.Errorf("recovered %v, %v", found, err)
		}
		if left, _ := os.ReadDir(dir); len(left) != 1 {
			t.Errorf("%d folders while one container runs", len(left))
		}
		if _, err := io.WriteString(stdio.Stdin, "\n"); err != nil {
			t.Error(err)
		}
		_ = stdio.Stdin.Close()
		out := output(t, stdio.Output)
		want := "empty 400 " + uid + " 0\npassword 400 " + uid + " "
		if !strings.Contains(out, want) || !strings.Contains(out, value) || !strings.Contains(out, "refused\n") {
			t.Errorf("user %q: the container saw\n%s", user, out)
		}
		if _, err := d.Wait(testContext(t), spec.ID); err != nil {
			t.Error(err)
		}
		if left, _ := os.ReadDir(dir); len(left) != 0 {
			t.Errorf("%d folders are left after the end", len(left))
		}
		if err := d.Remove(testContext(t), spec.ID); err != nil {
			t.Error(err)
		}
	}
}

// A container keeps its secrets over a restart of hearth, which removes what is
// left of others; a second one of its name does not touch them.
func TestSecretsOverARestart(t *testing.T) {
	runtimetest.BusyboxImage(t, engineImage)
	dir := inMemory(t)
	config := func(c *Config) { c.MemoryDir = dir }
	d := newTestDriver(t, config)
	spec := applied(t, d, runtime.DefaultPolicy(), protocol.Service{
		Secrets: someSecrets("kept"), Entrypoint: "/bin/sh", Args: []string{"-c", "sleep 1000"},
	})
	if _, _, err := d.Create(testContext(t), spec); err != nil {
		t.Fatal(err)
	}
	if err := d.Start(testContext(t), spec.ID); err != nil {
		t.Fatal(err)
	}
	if _, _, err := d.Create(testContext(t), spec); !errors.Is(err, runtime.ErrExists) {
		t.Errorf("a second one: %v", err)
	}
	stale := filepath.Join(dir, d.name(runtime.ExecutionID{Request: "gone", Attempt: 1})+".01234567")
	other := filepath.Join(dir, "hearth-other-gone-1.01234567")
	for _, dir := range []string{stale, other} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	again := newTestDriver(t, config)
	if _, err := again.Recover(testContext(t)); err != nil {
		t.Fatal(err)
	}
	var left []string
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		left = append(left, e.Name())
	}
	if err != nil || len(left) != 2 || !slices.Contains(left, filepath.Base(other)) {
		t.Errorf("left: %v, %v", left, err)
	}
	if err := again.Remove(testContext(t), spec.ID); err != nil {
		t.Error(err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("%d folders are left", len(entries))
	}
}

// Where secrets would not be in memory, or others could enter, none are given.
func TestSecretsRefused(t *testing.T) {
	open := inMemory(t)
	if err := os.Mkdir(open, 0o755); err != nil {
		t.Fatal(err)
	}
	for why, dir := range map[string]string{"no folder in memory": "", "is not in memory": t.TempDir() + "/x", "only hearth can enter": open} {
		d := newTestDriver(t, func(c *Config) { c.MemoryDir = dir })
		info, err := d.Info(testContext(t))
		if err != nil || !strings.Contains(info.NoSecrets, why) {
			t.Errorf("%q: %v", info.NoSecrets, err)
		}
	}
}

func FuzzPasswd(f *testing.F) {
	f.Add("root:x:0:0:root:/root:/bin/sh\nweb:x:33:33::/:/bin/sh\n", "web")
	f.Add("web:x:-1:0::/:/bin/sh\nweb::99999999999\n", "web")
	f.Fuzz(func(t *testing.T, text, name string) {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "passwd", Size: int64(len(text))}); err != nil {
			t.Fatal(err)
		}
		_, _ = w.Write([]byte(text))
		if uid, err := uidIn(&b, name); err == nil && (uid < 0 || !strings.Contains(text, name+":")) {
			t.Errorf("user %q is %d", name, uid)
		}
		_, _ = uidIn(strings.NewReader(text), name)
	})
}
