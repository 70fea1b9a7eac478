package main

import (
	"math"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
)

// FuzzFlags: whatever is typed for a size, a number of cores, a mount, a label, a
// position or an address, it is refused or makes sense.
func FuzzFlags(f *testing.F) {
	for _, text := range []string{
		"512m", "2g", "1e300", "-1", "0x10", "0.5", "NaN", "inf", "/srv/photos:/in:rw", "/a:/b:ro", "/a:/b:/c", "a:b", ":", "/a:/b:ro,z", "./a:/b", "vol:/b", "K=V", "/tmp:size=64m,mode=1777,exec", "type=bind,src=/a,dst=/b,ro",
		"type=tmpfs,target=/t,tmpfs-size=1m,tmpfs-mode=700", "linux/arm/v7", "/dev/ttyUSB0:/dev/ttyUSB0:rwm", "\ufeffA=1\n#c\nB\n", "=", "4096,120", ",",
		"/ip4/192.168.1.20/tcp/7117", "/ip6zone/x/ip6/fe80::1/tcp/1", "a\"b$c%d\\e",
	} {
		f.Add(text)
	}
	file := filepath.Join(f.TempDir(), "env")
	f.Fuzz(func(t *testing.T, text string) {
		if n, err := parseSize(text); err == nil && (n == 0) != (text == "") || n > math.MaxInt64 {
			t.Errorf("%q is %d bytes, %v", text, n, err)
		}
		if n, err := parseCores(text); err == nil && text != "" && !(n > 0 && n <= 65536) {
			t.Errorf("%q is %v cores", text, n)
		}
		fuzzFiles(t, text)
		if labels, err := parseLabels("--label", []string{text}); err == nil && len(labels) != 1 {
			t.Errorf("%q is %v", text, labels)
		}
		if out, errs, err := parseFrom(text); err == nil && (out > math.MaxInt64 || errs > math.MaxInt64) {
			t.Errorf("%q is %d, %d", text, out, errs)
		}
		if quoted, err := quoteUnit(text); err == nil && strings.ContainsAny(quoted, "\n\r\x00") {
			t.Errorf("%q is %q in a unit", text, quoted)
		}
		_, _ = parseAddrs("--peer", []string{text})
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		flags := runFlags{envFiles: []string{file}, env: []string{text}}
		if env, err := flags.environment(); err == nil {
			for _, e := range env {
				if name, _, ok := strings.Cut(e, "="); !ok || name == "" || strings.Contains(name, "\n") && !strings.Contains(text, "\n") {
					t.Errorf("%q became %q", text, env)
				}
			}
		}
	})
}

// fuzzFiles: whatever path comes out is absolute and clean, and whatever mode is
// one.
func fuzzFiles(t *testing.T, text string) {
	t.Helper()
	clean := func(paths ...string) {
		t.Helper()
		for _, p := range paths {
			if !path.IsAbs(p) || p != path.Clean(p) {
				t.Errorf("%q is %q", text, paths)
			}
		}
	}
	if m, err := parseMount(text); err == nil {
		clean(m.Source, m.Target)
	}
	if m, err := parseVolume(text); err == nil {
		clean(m.Source, m.Target)
	}
	m, inMemory, err := parseDockerMount(text)
	if (err == nil) == (m == nil && inMemory == nil) {
		t.Errorf("%q is %v, %v, %v", text, m, inMemory, err)
	}
	if m != nil {
		clean(m.Source, m.Target)
	}
	if list, err := parseTmpfs([]string{text}); err == nil {
		inMemory = &list[0]
	}
	if inMemory != nil {
		clean(inMemory.Target)
		if inMemory.Mode > 0o7777 || inMemory.Size > math.MaxInt64 {
			t.Errorf("%q is %+v", text, inMemory)
		}
	}
	if labels, err := parsePlatform(text); err == nil && text != "" && (labels["os"] == "" || labels["arch"] == "") {
		t.Errorf("%q is %v", text, labels)
	}
	_, _ = parseDevice(text)
}
