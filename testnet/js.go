package testnet

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// jsInstall bounds how long npm may take.
const jsInstall = 5 * time.Minute

// JS returns a folder with the JavaScript client (testnet/js) and what it needs,
// installed from its lock file. That is done once for a state of those files;
// npm's own cache is used where it can be.
func JS(t testing.TB) string {
	t.Helper()
	return Installed(t, "js")
}

// Installed returns a copy of a folder of testnet with the packages of npm that its
// lock file names; see JS.
func Installed(t testing.TB, folder string) string {
	t.Helper()
	for _, program := range []string{"node", "npm"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Fatalf("%v: install Node.js 20 or later with npm (testnet/setup.sh node does)", err)
		}
	}
	dir, err := install(filepath.FromSlash(folder))
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// install puts the packages into the tree's cache folder, beside a copy of
// the sources: go tools look into every folder but those that begin with a dot.
func install(folder string) (string, error) {
	root, err := root()
	if err != nil {
		return "", err
	}
	from, dir := filepath.Join(root, "testnet", folder), filepath.Join(root, ".cache", "test", folder)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	lock, err := os.Create(dir + ".lock")
	if err != nil {
		return "", err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	same, err := copyChanged(from, dir)
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(filepath.Join(dir, installedFile)); same && err == nil {
		return dir, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), jsInstall)
	defer cancel()
	npm := exec.CommandContext(ctx, "npm", "ci", "--prefer-offline", "--no-progress", "--ignore-scripts")
	npm.Dir = dir
	if out, err := npm.CombinedOutput(); err != nil {
		return "", fmt.Errorf("npm ci, to install what testnet/%s needs: %w\n%s", filepath.ToSlash(folder), err, out)
	}
	return dir, os.WriteFile(filepath.Join(dir, installedFile), nil, 0o644)
}

// installedFile is there when the packages are, whole.
const installedFile = ".installed"

// copyChanged copies the client's files, and reports whether those that say what
// is to be installed were the same before.
func copyChanged(from, to string) (same bool, err error) {
	entries, err := os.ReadDir(from)
	if err != nil {
		return false, err
	}
	same = true
	for _, e := range entries {
		if e.IsDir() {
			continue
		}
		text, err := os.ReadFile(filepath.Join(from, e.Name()))
		if err != nil {
			return false, err
		}
		path := filepath.Join(to, e.Name())
		if old, err := os.ReadFile(path); err == nil && string(old) == string(text) {
			continue
		}
		if filepath.Ext(e.Name()) != ".mjs" {
			same = false
			_ = os.Remove(filepath.Join(to, installedFile)) // it may not be there
		}
		if err := os.WriteFile(path, text, 0o644); err != nil {
			return false, err
		}
	}
	return same, nil
}
