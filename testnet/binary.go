package testnet

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	goruntime "runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// Binary returns the path of a hearth built from this source tree, static and
// without the race detector, as users have it. It is built once a process.
func Binary(t testing.TB) string {
	t.Helper()
	return BinaryFor(t, goruntime.GOARCH)
}

// BinaryFor is Binary for a processor in Go's words; "arm" is v7.
func BinaryFor(t testing.TB, arch string) string {
	t.Helper()
	return built(t, "hearth", "./cmd/hearth", arch)
}

// Root returns the folder of the source tree.
func Root(t testing.TB) string {
	t.Helper()
	root, err := root()
	if err != nil {
		t.Fatal(err)
	}
	return root
}

func built(t testing.TB, name, pkg, arch string) string {
	t.Helper()
	path, err := build(name, pkg, arch)
	if err != nil {
		t.Fatalf("build %s for %s: %v", name, arch, err)
	}
	return path
}

var root = sync.OnceValues(func() (string, error) {
	out, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("find the source tree: %w", err)
	}
	return filepath.Dir(strings.TrimSpace(string(out))), nil
})

// build builds pkg into the tree's cache folder, where go leaves alone what is
// up to date; flags are further ones of `go build`. A lock keeps the test processes of other packages out meanwhile.
func build(name, pkg, arch string, flags ...string) (string, error) {
	root, err := root()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(root, ".cache", "test", arch)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	lock, err := os.Create(filepath.Join(dir, name+".lock"))
	if err != nil {
		return "", err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	path := filepath.Join(dir, name)
	args := append([]string{"build", "-trimpath", "-buildvcs=false", "-tags=nethttpomithttp2", "-ldflags=-s -w", "-o", path}, flags...)
	cmd := exec.Command("go", append(args, pkg)...)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch, "GOARM=7")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return path, nil
}
