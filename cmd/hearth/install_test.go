package main

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// nobody is the user that a file of another user belongs to, where root tests.
const nobody = 65534

// TestAttackInstall: a program that others can replace is not what root runs
// afterwards, whatever they put in its place; nor is a folder of theirs used.
func TestAttackInstall(t *testing.T) {
	open := filepath.Join(t.TempDir(), "everybody's")
	mkdir(t, open, 0o777)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	original, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(open, "hearth")
	if err := os.WriteFile(program, original, 0o755); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		if err := os.Chown(program, nobody, nobody); err != nil {
			t.Fatal(err)
		}
	}
	units := t.TempDir()
	install := func(binDir string) (string, error) {
		cmd := exec.Command(program, "install", "--unit-dir", units, "--bin-dir", binDir, "--name", "attic")
		cmd.Env = append(os.Environ(), "HEARTH_STATE="+filepath.Join(units, "state"), "HEARTH_SECRET="+testSecret)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}

	// A folder that others can write is no place for the copy either.
	if out, err := install(open); err == nil || !strings.Contains(out, "others could replace what is in "+open) || !strings.Contains(out, "--bin-dir") {
		t.Errorf("installed into a folder of everybody: %v\n%s", err, out)
	}
	if _, err := os.Stat(filepath.Join(units, unitName)); err == nil {
		t.Error("a unit was written all the same")
	}

	safe := filepath.Join(t.TempDir(), "new", "bin")
	out, err := install(safe)
	if err != nil || !strings.Contains(out, "copied this program to "+safe) {
		t.Fatalf("install: %v\n%s", err, out)
	}
	unit, err := os.ReadFile(filepath.Join(units, unitName))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(unit), open) || !strings.Contains(string(unit), "\nExecStart="+filepath.Join(safe, "hearth")+" up ") {
		t.Errorf("the unit runs another program:\n%s", unit)
	}
	// Now another user takes the original's place.
	if err := os.WriteFile(program+".evil", []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(program+".evil", program); err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(safe, "hearth")
	text, err := os.ReadFile(copied)
	info, serr := os.Stat(copied)
	if err != nil || serr != nil || !bytes.Equal(text, original) || info.Mode().Perm() != 0o755 {
		t.Errorf("the copy is not what was installed: %v, %v, %d of %d bytes, %v", err, serr, len(text), len(original), info.Mode())
	}
	if err := replaceable(copied, trustedUsers()); err != nil {
		t.Errorf("the copy can be replaced: %v", err)
	}
}

func mkdir(t *testing.T, path string, mode fs.FileMode) {
	t.Helper()
	if err := os.Mkdir(path, mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil { // whatever the umask is
		t.Fatal(err)
	}
}

func TestReplaceableLooksAtEveryFolderAbove(t *testing.T) {
	for _, c := range []struct {
		name   string
		folder fs.FileMode
		file   fs.FileMode
		want   string
	}{
		{"root's alone", 0o755, 0o755, ""},
		{"sticky, as /tmp", 0o777 | fs.ModeSticky, 0o755, ""},
		{"everybody's folder", 0o777, 0o755, "(mode 0777)"},
		{"everybody's file", 0o755, 0o757, "(mode 0757)"},
		{"everybody's file in a sticky folder", 0o777 | fs.ModeSticky, 0o757, "(mode 0757)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			top := filepath.Join(t.TempDir(), "top")
			mkdir(t, top, c.folder)
			mkdir(t, filepath.Join(top, "below"), 0o755)
			path := filepath.Join(top, "below", "hearth")
			if err := os.WriteFile(path, nil, c.file); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(path, c.file); err != nil {
				t.Fatal(err)
			}
			err := replaceable(path, trustedUsers())
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
			if err := replaceable(path, []int{os.Geteuid() + 1}); err == nil || !strings.Contains(err.Error(), "belongs to the user with the ID") && c.file == 0o755 {
				t.Errorf("another user's: %v", err)
			}
		})
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink("/", link); err != nil {
		t.Fatal(err)
	}
	if err := replaceable(link, trustedUsers()); err == nil {
		t.Error("a link is taken for what it leads to")
	}
	if err := replaceable(filepath.Join(link, "nosuch"), trustedUsers()); err == nil {
		t.Error("what is not there is taken for safe")
	}
}
