package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// packed makes a tar archive; a header's Size says how many x its file holds.
func packed(t testing.TB, entries ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range entries {
		if h.Mode == 0 {
			h.Mode = 0o755
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, strings.Repeat("x", int(h.Size))); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func dir(name string) tar.Header  { return tar.Header{Typeflag: tar.TypeDir, Name: name} }
func file(name string) tar.Header { return tar.Header{Typeflag: tar.TypeReg, Name: name, Size: 1} }
func link(name, to string) tar.Header {
	return tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: to}
}

func hard(name, to string) tar.Header {
	return tar.Header{Typeflag: tar.TypeLink, Name: name, Linkname: to}
}

// extractInto extracts to a path below a folder that also holds a victim, and
// returns what is there then.
func extractInto(t testing.TB, home, local string, archive []byte) (found []string, err error) {
	t.Helper()
	x, err := newExtraction(filepath.Join(home, local), false, false, false)
	if err != nil {
		return nil, err
	}
	err = x.extract(bytes.NewReader(archive))
	x.Close()
	walked := filepath.WalkDir(home, func(p string, e fs.DirEntry, err error) error {
		if err == nil && p != home {
			rel, _ := filepath.Rel(home, p)
			found = append(found, rel)
		}
		return err
	})
	if walked != nil {
		t.Fatal(walked)
	}
	return found, err
}

// home returns a folder with a victim, and a destination that is there.
func home(t testing.TB) string {
	t.Helper()
	h := t.TempDir()
	for _, d := range []string{"victim", "there"} {
		if err := os.Mkdir(filepath.Join(h, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(h, "victim", "key"), []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	return h
}

// What a container sends lands in its one place, or not at all.
func TestCopyOutStaysInItsPlace(t *testing.T) {
	for name, archive := range map[string][]byte{
		"up":                    packed(t, dir("d/"), file("d/../../victim/evil")),
		"above":                 packed(t, file("../victim/evil")),
		"absolute":              packed(t, dir("d/"), file("/etc/evil")),
		"beside":                packed(t, dir("d/"), file("victim/evil")),
		"beside a file":         packed(t, file("f"), file("victim/evil")),
		"through a link":        packed(t, dir("d/"), link("d/l", "../victim"), file("d/l/evil")),
		"through a top link":    packed(t, link("d", "victim"), file("d/evil")),
		"through absolute link": packed(t, dir("d/"), link("d/l", "/tmp"), file("d/l/evil")),
		"hard link out":         packed(t, dir("d/"), hard("d/h", "victim/key")),
		"hard link by a link":   packed(t, dir("d/"), link("d/l", "../victim/key"), hard("d/h", "d/l"), file("d/h")),
		"hard link up":          packed(t, dir("d/"), hard("d/h", "d/../victim/key")),
		"folder for a link":     packed(t, dir("d/"), link("d/l", "../victim"), dir("d/l"), file("d/l/evil")),
		"deep":                  packed(t, dir("d/"), file("d/"+strings.Repeat("a/", 300)+"f")),
		"cut short":             packed(t, dir("d/"), tar.Header{Typeflag: tar.TypeReg, Name: "d/f", Size: 100})[:1030],
		"nothing":               packed(t),
		"no archive":            []byte(strings.Repeat("nothing of the kind", 100)),
	} {
		for _, local := range []string{"new", "there"} {
			h := home(t)
			found, err := extractInto(t, h, local, archive)
			if err == nil && !strings.HasPrefix(name, "hard link by") {
				t.Errorf("%s to %s: it was taken", name, local)
			}
			for _, p := range found {
				if p != "victim/key" && p != "victim" && p != "there" && !strings.HasPrefix(p, local) {
					t.Errorf("%s to %s: %s was made", name, local, p)
				}
			}
			if key, err := os.ReadFile(filepath.Join(h, "victim", "key")); err != nil || string(key) != "mine" {
				t.Errorf("%s to %s: the victim's file is %q, %v", name, local, key, err)
			}
		}
	}
}

func TestCopyOutMakesWhatWasSent(t *testing.T) {
	archive := packed(t, tar.Header{Typeflag: tar.TypeDir, Name: "d/", Mode: 0o555},
		tar.Header{Typeflag: tar.TypeReg, Name: "d/f", Size: 3, Mode: 0o6755}, link("d/l", "f"), hard("d/h", "d/f"),
		tar.Header{Typeflag: tar.TypeChar, Name: "d/null", Devmajor: 1, Devminor: 3})
	for _, local := range []string{"new", "there"} {
		h := home(t)
		if _, err := extractInto(t, h, local, archive); err != nil {
			t.Fatal(err)
		}
		at := filepath.Join(h, local)
		if local == "there" {
			at = filepath.Join(at, "d")
		}
		t.Cleanup(func() { _ = os.Chmod(at, 0o755) }) //nolint:gosec // so that it can be removed
		for name, want := range map[string]fs.FileMode{"": fs.ModeDir | 0o555, "f": 0o755, "h": 0o755, "l": fs.ModeSymlink} {
			info, err := os.Lstat(filepath.Join(at, name))
			if err != nil || info.Mode().Type() != want.Type() || want.Perm() != 0 && info.Mode() != want {
				t.Errorf("%s: %v, %v; want %v", name, info.Mode(), err, want)
			}
		}
		if _, err := os.Lstat(filepath.Join(at, "null")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("a device file: %v", err)
		}
	}
}

// A folder that was there keeps its mode, whatever the container's has.
func TestCopyOutLeavesFoldersThatWereThere(t *testing.T) {
	h := home(t)
	at := filepath.Join(h, "there", "d")
	if err := errors.Join(os.Mkdir(at, 0o700), os.Mkdir(filepath.Join(at, "sub"), 0o700)); err != nil {
		t.Fatal(err)
	}
	open := func(name string) tar.Header { return tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: 0o777} }
	if _, err := extractInto(t, h, "there", packed(t, open("d/"), open("d/sub/"), open("d/new/"))); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]fs.FileMode{"": 0o700, "sub": 0o700, "new": 0o777} {
		if info, err := os.Stat(filepath.Join(at, name)); err != nil || info.Mode().Perm() != want {
			t.Errorf("%q: %v, %v; want %v", name, info.Mode(), err, want)
		}
	}
	if _, err := extractInto(t, h, "there", packed(t, open("./"), file("f"))); err == nil {
		t.Error("an archive whose top has no name was taken")
	}
}

// A file that would fill the disk is refused by its size, before a byte of it.
func TestCopyOutLeavesRoomOnTheDisk(t *testing.T) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "f", Mode: 0o600, Size: 1 << 55}); err != nil {
		t.Fatal(err)
	}
	_, err := extractInto(t, home(t), "new", b.Bytes())
	if err == nil || !strings.Contains(err.Error(), "the disk has") {
		t.Errorf("a file of 32 PiB: %v", err)
	}
}

func TestParseCopy(t *testing.T) {
	for text, want := range map[string]string{
		"web:/etc": "web /etc", "web:etc": "web /etc", "web@attic:/x:y": "web@attic /x:y", "media/db:/a/.": "media/db /a/.",
		"./a:b": "", "/a:b": "", "../a:b": "", "file": "", "": "", "-": "",
	} {
		at, ok, err := parseCopy(text)
		got := ""
		if ok {
			got = at.target.String() + " " + at.path
		}
		if err != nil || got != want {
			t.Errorf("%q: %q, %v; want %q", text, got, err, want)
		}
	}
	for _, text := range []string{"web:", "a b:/x", "a/b/c:/x", ":/x"} {
		if _, _, err := parseCopy(text); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}

func TestParseForward(t *testing.T) {
	for text, want := range map[string]forwardedPort{
		"80":               {"127.0.0.1:80", 80, false},
		"8080:80":          {"127.0.0.1:8080", 80, false},
		"0:80/tcp":         {"127.0.0.1:0", 80, false},
		"192.168.1.2:1:53": {"192.168.1.2:1", 53, false},
		"[::1]:1:53/udp":   {"[::1]:1", 53, true},
		"*:8080:80":        {":8080", 80, false},
	} {
		if got, err := parseForward(text); err != nil || got != want {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "0", "x", "65536", "80/sctp", "host:1:2", "1:2:3", "80:", ":80", "-1:80"} {
		if got, err := parseForward(text); err == nil {
			t.Errorf("%q is taken for %+v", text, got)
		}
	}
}

// Whatever a container sends, nothing is made or changed beside the destination.
func FuzzCopyOut(f *testing.F) {
	f.Add(packed(f, dir("d/"), file("d/f"), link("d/l", "../victim"), file("d/l/evil")))
	f.Add(packed(f, file("../victim/evil")))
	f.Add(packed(f, link("d", "victim"), hard("d/h", "d/key")))
	f.Fuzz(func(t *testing.T, archive []byte) {
		h := home(t)
		found, _ := extractInto(t, h, "new", archive)
		for _, p := range found {
			if p != "victim/key" && p != "victim" && p != "there" && p != "new" && !strings.HasPrefix(p, "new/") {
				t.Fatalf("%s was made", p)
			}
		}
		if key, err := os.ReadFile(filepath.Join(h, "victim", "key")); err != nil || string(key) != "mine" {
			t.Fatalf("the victim's file is %q, %v", key, err)
		}
	})
}
