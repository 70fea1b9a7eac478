package reaper

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/hearth-edge/hearth/runtime"
	"github.com/hearth-edge/hearth/runtime/fake"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func none() error { return nil }

func keeper(t *testing.T, dir string) *Leases {
	t.Helper()
	return Open(dir, none, slog.New(slog.DiscardHandler))
}

var (
	first  = runtime.ExecutionID{Orchestrator: "orchestrator", Request: "first", Attempt: 1}
	second = runtime.ExecutionID{Orchestrator: "orchestrator", Request: "second", Attempt: 2}
)

// What one process held, the next one finds.
func TestKeeperRemembers(t *testing.T) {
	dir := t.TempDir()
	k := keeper(t, dir)
	for id, until := range map[runtime.ExecutionID]time.Duration{first: time.Hour, second: 2 * time.Hour} {
		if err := k.Hold(id, until); err != nil {
			t.Fatal(err)
		}
	}
	next := keeper(t, dir)
	if next.Until(first) != time.Hour || next.Until(second) != 2*time.Hour || len(next.Held()) != 2 {
		t.Errorf("held: %v", next.leases)
	}
	if err := next.Drop(first); err != nil {
		t.Fatal(err)
	}
	if last := keeper(t, dir); last.Until(first) != 0 || len(last.Held()) != 1 {
		t.Errorf("held after a drop: %v", last.leases)
	}
}

// A lease that is not written down is not extended, and who asked is told.
func TestHoldThatFails(t *testing.T) {
	dir := t.TempDir()
	k := keeper(t, dir)
	if err := k.Hold(first, time.Hour); err != nil {
		t.Fatal(err)
	}
	k.start = func() error { return errors.New("no reaper") }
	if err := k.Hold(first, 2*time.Hour); err == nil || k.Until(first) != time.Hour {
		t.Errorf("%v: held until %v", err, k.Until(first))
	}
	if err := k.Hold(second, time.Hour); err == nil || k.Until(second) != 0 {
		t.Errorf("%v: held until %v", err, k.Until(second))
	}
}

func TestLeasesOfAnotherBoot(t *testing.T) {
	dir := t.TempDir()
	text := `{"boot":"another","leases":[{"request":"first","attempt":1,"until_ns":1}]}`
	if err := os.WriteFile(filepath.Join(dir, LeasesFile), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if k := keeper(t, dir); len(k.Held()) != 0 {
		t.Errorf("held: %v", k.Held())
	}
	if err := os.WriteFile(filepath.Join(dir, LeasesFile), []byte(text[:20]), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readLeases(dir); err == nil {
		t.Error("a damaged file is taken for an empty one")
	}
	if k := keeper(t, dir); len(k.Held()) != 0 || k.Hold(first, time.Hour) != nil {
		t.Error("a damaged file is not replaced")
	}
}

// Many who hold at once are all in the file when they are told so.
func TestHoldTogether(t *testing.T) {
	dir := t.TempDir()
	k := keeper(t, dir)
	var all sync.WaitGroup
	for i := range 100 {
		all.Go(func() {
			id := runtime.ExecutionID{Request: first.Request, Attempt: uint32(i + 1)}
			for n := range 10 {
				until := time.Duration(n+1) * time.Hour
				if err := k.Hold(id, until); err != nil {
					t.Error(err)
				}
				leases, err := readLeases(dir)
				if err != nil || leases[id] != until {
					t.Errorf("%v in the file, %v", leases[id], err)
				}
			}
		})
	}
	all.Wait()
}

// mesh and node name whom the engine's containers belong to.
const (
	mesh = "mesh"
	node = "node"
)

func engine(t *testing.T) runtime.Driver {
	e := fake.NewEngine(fake.Config{Images: map[string]fake.Image{"work": {}}})
	t.Cleanup(e.Close)
	return e.Driver(mesh, node)
}

// launch makes a container that sleeps, and starts it if it is to run.
func launch(t *testing.T, d runtime.Driver, id runtime.ExecutionID, start bool) {
	t.Helper()
	ctx := t.Context()
	_, stdio, err := d.Create(ctx, runtime.Spec{
		ID: id, Image: "work", Args: []string{"ignore-term", "sleep=1h"}, CPUs: 1, Memory: 1 << 20, Pids: 10, Network: "none",
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = stdio.Output.Close() })
	if start {
		if err := d.Start(ctx, id); err != nil {
			t.Fatal(err)
		}
	}
}

// The reaper kills what outlives its lease, removes what was not started, and
// leaves alone what has a lease.
func TestWatchStopsWhatIsOverdue(t *testing.T) {
	dir := t.TempDir()
	driver := engine(t)
	created := runtime.ExecutionID{Request: "created", Attempt: 1}
	launch(t, driver, first, true)
	launch(t, driver, second, true)
	launch(t, driver, created, false)
	k := keeper(t, dir)
	for id, until := range map[runtime.ExecutionID]time.Duration{
		first: Now() + 100*time.Millisecond, second: Now() + time.Hour, created: Now() + 50*time.Millisecond,
	} {
		if err := k.Hold(id, until); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	watched := make(chan error)
	go func() { watched <- Run(ctx, dir, driver, slog.New(slog.DiscardHandler)) }()

	exit, err := driver.Wait(t.Context(), first)
	if err != nil || exit.Code != 137 {
		t.Errorf("ended with %+v, %v", exit, err)
	}
	for found := true; found; {
		all, err := driver.Recover(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		found = false
		for _, r := range all {
			found = found || r.ID == created
			if r.ID == second && !r.Running {
				t.Fatal("what has a lease was stopped")
			}
		}
	}
	if running, err := Running(dir); !running || err != nil {
		t.Errorf("a reaper runs: %v, %v", running, err)
	}
	// A second reaper finds that there is one.
	if err := Run(t.Context(), dir, driver, slog.New(slog.DiscardHandler)); err != nil {
		t.Error(err)
	}
	cancel()
	if err := <-watched; err != nil {
		t.Error(err)
	}
	if running, err := Running(dir); running || err != nil {
		t.Errorf("a reaper runs: %v, %v", running, err)
	}
}

// A lease that is extended in time is not stopped.
func TestWatchSeesExtensions(t *testing.T) {
	dir := t.TempDir()
	driver := engine(t)
	launch(t, driver, first, true)
	k := keeper(t, dir)
	const lease = 100 * time.Millisecond
	if err := k.Hold(first, Now()+lease); err != nil {
		t.Fatal(err)
	}
	w := &reaper{dir: dir, driver: driver, log: slog.New(slog.DiscardHandler), stopping: make(map[runtime.ExecutionID]time.Duration)}
	if next, err := w.check(t.Context()); err != nil || next <= 0 || next > lease {
		t.Fatalf("looks again after %v, %v", next, err)
	}
	if err := k.Hold(first, Now()+time.Hour); err != nil {
		t.Fatal(err)
	}
	sleep(t.Context(), lease)
	if next, err := w.check(t.Context()); err != nil || next <= lease || w.busy != 0 {
		t.Errorf("looks again after %v, stops %d, %v", next, w.busy, err)
	}
}

// Where the engine is gone for good, the reaper ends with the leases.
func TestWatchEndsWithoutAnEngine(t *testing.T) {
	dir := t.TempDir()
	e := fake.NewEngine(fake.Config{Images: map[string]fake.Image{"work": {}}})
	t.Cleanup(e.Close)
	e.SetDown(true)
	k := keeper(t, dir)
	if err := k.Hold(first, Now()); err != nil {
		t.Fatal(err)
	}
	w := &reaper{dir: dir, driver: e.Driver(mesh, node), log: slog.New(slog.DiscardHandler), stopping: make(map[runtime.ExecutionID]time.Duration)}
	if _, err := w.check(t.Context()); err != nil || w.busy != 1 {
		t.Fatalf("stops %d, %v", w.busy, err)
	}
	if err := k.Drop(first); err != nil {
		t.Fatal(err)
	}
	if _, err := w.check(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.children.Wait()
	if !w.allReaped() {
		t.Error("the reaper goes on")
	}
}

func TestSleepEnds(t *testing.T) {
	before := Now()
	if !sleep(t.Context(), 20*time.Millisecond) || Now()-before < 20*time.Millisecond {
		t.Error("slept too short")
	}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(10*time.Millisecond, cancel)
	if sleep(ctx, time.Hour) {
		t.Error("slept on")
	}
}

// The process is started once, whoever asks.
func TestStarter(t *testing.T) {
	dir := t.TempDir()
	script := fmt.Sprintf(`echo >>%[1]s/starts; exec 9>%[1]s/guard.lock; flock 9; sleep 0.3`, dir)
	start := Starter(dir, "/bin/sh", []string{"-c", script})
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			if err := start(); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for {
		if running, err := Running(dir); running || err != nil {
			break
		}
	}
	if text, err := os.ReadFile(filepath.Join(dir, "starts")); err != nil || len(text) != 1 {
		t.Errorf("started %d times, %v", len(text), err)
	}
}
