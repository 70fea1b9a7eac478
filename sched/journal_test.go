package sched

import (
	"context"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/sched/journal"
)

// testJournal is a real journal that fails, or waits, when the test wants it to.
type testJournal struct {
	*journal.Journal
	path string

	mu sync.Mutex
	// before is called before each write, with what it is about; its error is
	// the write's.
	before func(step string) error
	steps  []string
}

func openJournal(t testing.TB, path string) *testJournal {
	t.Helper()
	start := time.Now()
	opts := journal.DefaultOptions()
	opts.Clock = func() time.Duration { return time.Since(start) }
	opts.Log = slog.New(slog.DiscardHandler)
	opts.Sealer = keyless{}
	j, err := journal.Open(path, opts)
	if err != nil {
		t.Fatalf("open the journal: %v", err)
	}
	return &testJournal{Journal: j, path: path}
}

func (j *testJournal) step(name string) error {
	j.mu.Lock()
	before := j.before
	j.steps = append(j.steps, name)
	j.mu.Unlock()
	if before == nil {
		return nil
	}
	return before(name)
}

func (j *testJournal) set(before func(step string) error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.before = before
}

func (j *testJournal) Accepted(ctx context.Context, r journal.Request) (journal.Record, error) {
	if err := j.step("accepted"); err != nil {
		return journal.Record{}, err
	}
	rec, err := j.Journal.Accepted(ctx, r)
	_ = j.step("written") // what the hook says comes too late
	return rec, err
}

func (j *testJournal) Offered(ctx context.Context, id protocol.RequestID, o journal.Offer) error {
	step := "offered"
	if o.Started {
		step = "begun"
	}
	if err := j.step(step); err != nil {
		return err
	}
	return j.Journal.Offered(ctx, id, o)
}

func (j *testJournal) Ended(ctx context.Context, id protocol.RequestID, end journal.End) error {
	if err := j.step("ended"); err != nil {
		return err
	}
	return j.Journal.Ended(ctx, id, end)
}

// withJournal runs a test in a mesh whose orchestrator keeps a journal.
func withJournal(t *testing.T, names []protocol.PeerID, test func(t *testing.T, m *mesh)) {
	t.Helper()
	withJournalAnd(t, nil, names, test)
}

// withOffersApart is withJournal where one more device does not have the image, of
// which something is to be found out therefore: so the first offer is known, and
// written down, after the accept only.
func withOffersApart(t *testing.T, names []protocol.PeerID, test func(t *testing.T, m *mesh)) {
	t.Helper()
	asked := func(context.Context, string) (ImageFacts, error) { return ImageFacts{}, nil }
	withJournalAnd(t, asked, names, func(t *testing.T, m *mesh) {
		m.view.Joined("bare", "bare", "addr")
		status := nodeStatus("bare", 1, 1)
		status.Images = nil
		m.view.UpdateStatus(status)
		test(t, m)
	})
}

func withJournalAnd(t *testing.T, images func(context.Context, string) (ImageFacts, error), names []protocol.PeerID, test func(t *testing.T, m *mesh)) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "journal")
	synctest.Test(t, func(t *testing.T) {
		m := &mesh{t: t, images: images}
		m.build(DefaultParams(), names...)
		m.journal = openJournal(t, path)
		m.start(DefaultParams())
		defer func() {
			m.close()
			if err := m.journal.Close(); err != nil {
				t.Error(err)
			}
		}()
		test(t, m)
	})
}

// kill ends the orchestrator as kill -9 does: from now on nothing of it reaches
// the disk.
func (m *mesh) kill() {
	m.t.Helper()
	synctest.Wait()
	m.journal.set(func(string) error { return journal.ErrClosed })
	m.close()
	if err := m.journal.Close(); err != nil {
		m.t.Fatal(err)
	}
}

// revive starts a new orchestrator on what is on disk.
func (m *mesh) revive() {
	m.t.Helper()
	m.journal = openJournal(m.t, m.journal.path)
	m.start(DefaultParams())
	synctest.Wait()
}

func (m *mesh) restart() {
	m.t.Helper()
	m.kill()
	m.revive()
}

// attach attaches to a request as an app does.
func (m *mesh) attach(a protocol.Attach) *asker {
	m.t.Helper()
	s, err := m.orch.Attach(m.t.Context(), a)
	if err != nil {
		m.t.Fatalf("Attach: %v", err)
	}
	return follow(m.t, s)
}

func (m *mesh) inspect(id protocol.RequestID) protocol.RequestDetail {
	m.t.Helper()
	synctest.Wait()
	d, err := m.orch.Inspect(m.t.Context(), id)
	if err != nil {
		m.t.Fatalf("Inspect: %v", err)
	}
	return d
}

// offers counts the offers of a request that nodes have received.
func (m *mesh) offers(id protocol.RequestID) (n int) {
	for _, node := range m.nodes {
		node.set(func() {
			for _, o := range node.offers {
				if o.Request == id {
					n++
				}
			}
		})
	}
	return n
}
