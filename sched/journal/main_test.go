package journal

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/hearth-edge/hearth/protocol"
)

// childEnv makes the test binary do what a child process of a test does,
// instead of running tests.
const childEnv = "HEARTH_JOURNAL_CHILD"

func TestMain(m *testing.M) {
	children := map[string]func(dir string) error{
		"crash": crashChild, "rlimit": rlimitChild, "tmpfs": tmpfsChild,
	}
	if child := children[os.Getenv(childEnv)]; child != nil {
		if err := child(os.Args[1]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// testClock is moved by hand.
type testClock struct{ now time.Duration }

func (c *testClock) Now() time.Duration { return c.now }

func testOptions() Options {
	o := DefaultOptions()
	o.Clock = (&testClock{}).Now
	o.Log = slog.New(slog.DiscardHandler)
	o.LockTimeout = 0
	return o
}

func pathIn(t testing.TB) string {
	t.Helper()
	return filepath.Join(t.TempDir(), "journal.db")
}

func open(t testing.TB, path string, o Options) *Journal {
	t.Helper()
	j, err := Open(path, o)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	t.Cleanup(func() {
		if err := j.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return j
}

func request(id string) Request {
	return Request{
		ID: protocol.RequestID(id),
		Service: protocol.Service{
			Image: "registry.example/detector:2", Args: []string{"--fast", id}, Env: []string{"A=1", "B=<&>"},
			CPUs: 0.5, Memory: 64 << 20, Timeout: time.Minute,
			Constraints: protocol.Constraints{Labels: map[string]string{"room": "attic", "gpu": "none"}},
		},
		Detached: true,
		At:       time.Date(2031, 2, 3, 4, 5, 6, 7, time.UTC),
	}
}

func ending(s protocol.State, exit int, output string) End {
	e := End{
		Event:    protocol.Event{State: s, ExitCode: exit, Attempt: 1, Node: "nodeA", At: time.Unix(7, 9).UTC()},
		Attempts: 1,
		History:  []protocol.Event{{State: protocol.StateAccepted}, {State: protocol.StatePlacing}},
	}
	if output != "" {
		e.Output = []protocol.Output{{Channel: protocol.Stdout, Data: []byte(output)}}
	}
	return e
}

func accept(t testing.TB, j *Journal, id string) Record {
	t.Helper()
	r, err := j.Accepted(context.Background(), request(id))
	if err != nil {
		t.Fatalf("Accepted(%s): %v", id, err)
	}
	return r
}

func end(t testing.TB, j *Journal, id string, e End) {
	t.Helper()
	if err := j.Ended(context.Background(), protocol.RequestID(id), e); err != nil {
		t.Fatalf("Ended(%s): %v", id, err)
	}
}

func loadAll(t testing.TB, j *Journal) []Record {
	t.Helper()
	var all []Record
	if err := j.Load(func(r Record) error { all = append(all, r); return nil }); err != nil {
		t.Fatalf("Load: %v", err)
	}
	return all
}
