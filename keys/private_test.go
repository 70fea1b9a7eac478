package keys

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A folder for keys is this user's alone: made so, closed where others could only
// look, refused where others may have written.
func TestPrivateFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "state")
	mode := func() fs.FileMode {
		info, err := os.Stat(dir)
		if err != nil {
			t.Fatal(err)
		}
		return info.Mode().Perm()
	}
	if closed, err := PrivateFolder(dir); err != nil || closed || mode() != 0o700 {
		t.Fatalf("made with mode %o, %v, %v", mode(), closed, err)
	}
	if closed, err := PrivateFolder(dir); err != nil || closed {
		t.Errorf("found as it was left: %v, %v", closed, err)
	}
	for _, open := range []fs.FileMode{0o755, 0o750, 0o711, 0o704} {
		chmod(t, dir, open)
		if closed, err := PrivateFolder(dir); err != nil || !closed || mode() != 0o700 {
			t.Errorf("mode %o became %o, %v, %v", open, mode(), closed, err)
		}
	}
	for _, open := range []fs.FileMode{0o777, 0o770, 0o702, 0o777 | fs.ModeSticky} {
		chmod(t, dir, open)
		if _, err := PrivateFolder(dir); err == nil || !strings.Contains(err.Error(), "chmod 700 "+dir) || mode() != open.Perm() {
			t.Errorf("mode %o became %o, %v", open, mode(), err)
		}
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	if _, err := PrivateFolder(link); err == nil {
		t.Error("a link to an open folder was taken")
	}
	chmod(t, dir, 0o700)
	if _, err := PrivateFolder(link); err != nil {
		t.Errorf("a link to a folder of its own: %v", err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := PrivateFolder(file); err == nil {
		t.Error("a file was taken for a folder")
	}
}

func TestFolderOfAnotherUser(t *testing.T) {
	dir := t.TempDir()
	if os.Geteuid() != 0 {
		dir = "/" // which is root's
	} else if err := os.Chown(dir, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	if _, err := PrivateFolder(dir); err == nil || !strings.Contains(err.Error(), "another user") {
		t.Errorf("another user's folder: %v", err)
	}
}

// What leads to a key is no way around who may read it, and never waited for.
func TestReadPrivate(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "key")
	if err := os.WriteFile(path, []byte("k"), 0o600); err != nil {
		t.Fatal(err)
	}
	link, dangling, pipe := filepath.Join(dir, "link"), filepath.Join(dir, "dangling"), filepath.Join(dir, "pipe")
	for name, to := range map[string]string{link: "key", dangling: "nowhere"} {
		if err := os.Symlink(to, name); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := ReadPrivate(link); err != nil || string(got) != "k" {
		t.Errorf("through a link: %q, %v", got, err)
	}
	for _, open := range []fs.FileMode{0o604, 0o602, 0o640, 0o620, 0o601} {
		chmod(t, path, open)
		for _, name := range []string{path, link} {
			if got, err := ReadPrivate(name); err == nil || got != nil || !strings.Contains(err.Error(), "chmod 600") {
				t.Errorf("%s with mode %o: %q, %v", name, open, got, err)
			}
		}
	}
	for _, name := range []string{dangling, pipe, dir, "/dev/null"} {
		if got, err := ReadPrivate(name); err == nil {
			t.Errorf("%s was read: %q", name, got)
		}
	}
	// A seed that is a link to nowhere becomes a file of its own: nothing is
	// written through the link.
	seed := t.TempDir()
	if err := os.Symlink(filepath.Join(dir, "elsewhere"), filepath.Join(seed, seedFile)); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadSeed(seed); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Lstat(filepath.Join(seed, seedFile)); err != nil || !info.Mode().IsRegular() || info.Mode().Perm() != 0o600 {
		t.Errorf("the seed is %v, %v", info, err)
	}
	if _, err := os.Lstat(filepath.Join(dir, "elsewhere")); err == nil {
		t.Error("the link was written through")
	}
}

func chmod(t *testing.T, path string, mode fs.FileMode) {
	t.Helper()
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}
