package testnet

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	goruntime "runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// testLabel marks the image of the tests, and so each of its containers, with
// the process that made it: what a killed run left is told from what is in use.
const testLabel = "dev.hearth.test"

// The labels by which hearth marks its containers.
const (
	LabelMesh    = "dev.hearth.mesh"
	LabelNode    = "dev.hearth.node"
	LabelRequest = "dev.hearth.request"
)

// Image returns the reference of an image, made FROM scratch, that holds the
// program of testnet/workload. It is removed with its containers by Cleanup.
func Image(t testing.TB) string {
	t.Helper()
	workload := built(t, "workload", "./testnet/workload", goruntime.GOARCH)
	return imageOf(t, workload, "hearth-test:"+strconv.Itoa(os.Getpid()), "")
}

// ForeignImage is Image for another processor than this machine's.
func ForeignImage(t testing.TB, arch string) string {
	t.Helper()
	workload := built(t, "workload", "./testnet/workload", arch)
	return imageOf(t, workload, "hearth-test-"+arch+":"+strconv.Itoa(os.Getpid()), "linux/"+arch)
}

func imageOf(t testing.TB, program, reference, platform string) string {
	t.Helper()
	dir := t.TempDir()
	dockerfile := fmt.Sprintf("FROM scratch\nCOPY workload /workload\nLABEL %s=%d\nENTRYPOINT [\"/workload\"]\n", testLabel, os.Getpid())
	if err := os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte(dockerfile), 0o644); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "workload"), data, 0o755); err != nil {
		t.Fatal(err)
	}
	args := []string{"build", "--quiet", "--tag", reference}
	if platform != "" {
		args = append(args, "--platform", platform)
	}
	Docker(t, append(args, dir)...)
	return reference
}

// Docker runs the docker command and returns what it prints, trimmed.
func Docker(t testing.TB, args ...string) string {
	t.Helper()
	out, err := docker(args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func docker(args ...string) (string, error) {
	cmd := exec.Command("docker", args...)
	out, err := cmd.Output()
	if err != nil {
		why := ""
		if e, ok := errors.AsType[*exec.ExitError](err); ok {
			why = string(e.Stderr)
		}
		return "", fmt.Errorf("docker %s: %w: %s(is Docker running? testnet/setup.sh docker installs and starts it)", strings.Join(args, " "), err, why)
	}
	return strings.TrimSpace(string(out)), nil
}

// Cleanup removes the containers and images that this process made for tests,
// and those of earlier processes that ended without doing so. A package's
// TestMain calls it after its tests.
func Cleanup() error {
	format := `{{.ID}} {{.Label "` + testLabel + `"}}`
	containers, err := docker("ps", "-a", "--filter", "label="+testLabel, "--format", format)
	if err != nil {
		return err
	}
	for _, id := range stale(containers) {
		_, _ = docker("rm", "--force", "--volumes", id) // hearth may be quicker
	}
	images, err := docker("images", "--filter", "label="+testLabel, "--filter", "dangling=false", "--format", "{{.Repository}}:{{.Tag}} {{.Tag}}")
	if err != nil {
		return err
	}
	for _, reference := range stale(images) {
		if _, err := docker("rmi", "--force", reference); err != nil {
			return err
		}
	}
	// What lost its tag to a later build; a container may still need it.
	_, err = docker("image", "prune", "--force", "--filter", "label="+testLabel)
	return err
}

// stale returns the first word of each line whose second word is this process
// or one that is no more.
func stale(lines string) []string {
	var ids []string
	for line := range strings.Lines(lines) {
		id, owner, _ := strings.Cut(strings.TrimSpace(line), " ")
		pid, err := strconv.Atoi(owner)
		if err != nil || pid == os.Getpid() || syscall.Kill(pid, 0) == syscall.ESRCH {
			ids = append(ids, id)
		}
	}
	return ids
}

// NewSecret makes a secret file of a new mesh. At the end of the test the
// containers of that mesh are removed.
func NewSecret(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if out, err := exec.Command(Binary(t), "secret", "new", "--out", path).CombinedOutput(); err != nil {
		t.Fatalf("hearth secret new: %v: %s", err, out)
	}
	mesh := Fingerprint(t, path)
	t.Cleanup(func() {
		ids, err := docker("ps", "-aq", "--filter", "label="+LabelMesh+"="+mesh)
		if err != nil {
			t.Error(err)
		}
		for _, id := range strings.Fields(ids) {
			_, _ = docker("rm", "--force", "--volumes", id)
		}
	})
	return path
}

// Fingerprint returns what `hearth secret fingerprint` says of a secret's file.
func Fingerprint(t testing.TB, secret string) string {
	t.Helper()
	out, err := exec.Command(Binary(t), "secret", "fingerprint", "--secret-file", secret).Output()
	if err != nil {
		t.Fatalf("hearth secret fingerprint: %v", err)
	}
	return strings.TrimSpace(string(out))
}

// A Witness is the engine's own account of which containers of a mesh were
// started, and when they ended: hearth's word is not taken for it.
type Witness struct {
	t       testing.TB
	mu      sync.Mutex // owns what follows
	seen    []Container
	changed chan struct{} // closed and replaced at each start and end
}

// A Container is a start that the engine told of.
type Container struct {
	ID, Node, Request string
	// Started and Ended are the engine's times; Ended is zero until then.
	Started, Ended time.Time
}

// NewWitness begins to listen to the engine; it ends with the test.
func NewWitness(t testing.TB, secret string) *Witness {
	t.Helper()
	return newWitness(t, secret)
}

// newWitness is NewWitness with arguments of docker that name another engine.
func newWitness(t testing.TB, secret string, engine ...string) *Witness {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, "docker", append(engine, "events", "--since", strconv.FormatInt(time.Now().Unix()-1, 10),
		"--filter", "type=container", "--filter", "event=start", "--filter", "event=die",
		"--filter", "label="+LabelMesh+"="+Fingerprint(t, secret), "--format", "{{json .}}")...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("docker events: %v (testnet/setup.sh docker installs and starts Docker)", err)
	}
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait()
	})
	w := &Witness{t: t, changed: make(chan struct{})}
	go w.read(bufio.NewScanner(out)) // ends with the process
	return w
}

func (w *Witness) read(lines *bufio.Scanner) {
	for lines.Scan() {
		var event struct {
			Action   string
			TimeNano int64 `json:"timeNano"`
			Actor    struct {
				ID         string
				Attributes map[string]string
			}
		}
		if err := json.Unmarshal(lines.Bytes(), &event); err != nil {
			continue
		}
		id, at, labels := event.Actor.ID, time.Unix(0, event.TimeNano), event.Actor.Attributes
		w.mu.Lock()
		switch event.Action {
		case "start":
			w.seen = append(w.seen, Container{ID: id, Node: labels[LabelNode], Request: labels[LabelRequest], Started: at})
		case "die":
			for i := range w.seen {
				if w.seen[i].ID == id {
					w.seen[i].Ended = at
				}
			}
		}
		close(w.changed)
		w.changed = make(chan struct{})
		w.mu.Unlock()
	}
}

// Started waits until the engine has told of at least count starts for which
// match holds, and returns them.
func (w *Witness) Started(count int, match func(Container) bool) []Container {
	w.t.Helper()
	return w.await("starts", count, match)
}

// Ended is Started for containers that have ended.
func (w *Witness) Ended(count int, match func(Container) bool) []Container {
	w.t.Helper()
	return w.await("ends", count, func(c Container) bool { return !c.Ended.IsZero() && match(c) })
}

func (w *Witness) await(what string, count int, match func(Container) bool) []Container {
	w.t.Helper()
	deadline := time.After(waitTimeout)
	for {
		w.mu.Lock()
		changed := w.changed
		var found []Container
		for _, c := range w.seen {
			if match(c) {
				found = append(found, c)
			}
		}
		w.mu.Unlock()
		if len(found) >= count {
			return found
		}
		select {
		case <-changed:
		case <-deadline:
			w.t.Fatalf("the engine told of %d %s, %d were expected", len(found), what, count)
		}
	}
}
