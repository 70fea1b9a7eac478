package journal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

func TestLifeOfARequest(t *testing.T) {
	ctx, path := t.Context(), pathIn(t)
	j := open(t, path, testOptions())
	want := accept(t, j, "a")
	if want.Sequence == 0 || want.Hash != ServiceHash(request("a").Service) {
		t.Fatalf("record of a new request: %+v", want)
	}
	other := request("a")
	other.Service.Args = nil
	got, err := j.Accepted(ctx, other)
	if !errors.Is(err, ErrExists) || !reflect.DeepEqual(got, want) {
		t.Fatalf("second accept: %v, %+v; want the first's record", err, got)
	}
	for attempt, node := range map[uint32]protocol.PeerID{1: "nodeA", 2: "nodeB"} {
		if err := j.Offered(ctx, "b", Offer{Attempt: attempt, Node: node}); !errors.Is(err, ErrNotFound) {
			t.Fatalf("offer of an unknown request: %v", err)
		}
	}
	for _, o := range []Offer{{Attempt: 1, Node: "nodeA", Name: "attic"}, {Attempt: 2, Node: "nodeB", Name: "cellar"}} {
		if err := j.Offered(ctx, "a", o); err != nil {
			t.Fatal(err)
		}
		want.Offer = o
	}
	if got, err := j.Find("a"); err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("Find: %v\n got %+v\nwant %+v", err, got, want)
	}
	final := ending(protocol.StateFailed, 3, "hello")
	end(t, j, "a", final)
	output := final.Output
	final.Output = nil
	want.End = &final
	if err := j.Ended(ctx, "a", final); !errors.Is(err, ErrEnded) {
		t.Fatalf("second end: %v", err)
	}
	if err := j.Offered(ctx, "a", Offer{Attempt: 3, Node: "nodeC"}); !errors.Is(err, ErrEnded) {
		t.Fatalf("offer after the end: %v", err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j = open(t, path, testOptions())
	if got := loadAll(t, j); !reflect.DeepEqual(got, []Record{want}) {
		t.Fatalf("after reopening:\n got %+v\nwant %+v", got, want)
	}
	if got, err := j.Output("a"); err != nil || !reflect.DeepEqual(got, output) {
		t.Fatalf("Output: %v, %+v", err, got)
	}
	if j.Report() != (Report{}) {
		t.Fatalf("report of a sound file: %+v", j.Report())
	}
	if info, _ := os.Stat(path); info.Mode() != 0o600 {
		t.Fatalf("mode %v", info.Mode())
	}
}

func TestFirstOfferSharesTheAccept(t *testing.T) {
	j := open(t, pathIn(t), testOptions())
	r := request("a")
	r.Offer = Offer{Attempt: 1, Node: "nodeA"}
	if _, err := j.Accepted(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if got, err := j.Find("a"); err != nil || got.Offer != r.Offer {
		t.Fatalf("%v, offer %+v", err, got.Offer)
	}
	if got, _ := j.Accepted(t.Context(), request("b")); got.Sequence != 2 || j.totals.commit != firstCommit+1 {
		t.Fatalf("%+v, commit %d", got, j.totals.commit)
	}
}

func TestUnknownIsCorrected(t *testing.T) {
	j := open(t, pathIn(t), testOptions())
	accept(t, j, "a")
	end(t, j, "a", ending(protocol.StateUnknown, 0, "partial"))
	end(t, j, "a", ending(protocol.StateSucceeded, 0, ""))
	r, err := j.Find("a")
	if err != nil || r.End.Event.State != protocol.StateSucceeded {
		t.Fatalf("%v, %+v", err, r.End)
	}
	if out, err := j.Output("a"); err != nil || len(out) != 1 {
		t.Fatalf("output that was there is gone: %v, %v", out, err)
	}
	if err := j.Ended(t.Context(), "a", ending(protocol.StateLost, 0, "")); !errors.Is(err, ErrEnded) {
		t.Fatalf("the truth was changed: %v", err)
	}
	if len(j.totals.ended) != 1 {
		t.Fatalf("%d ended", len(j.totals.ended))
	}
}

func TestBadInput(t *testing.T) {
	j := open(t, pathIn(t), testOptions())
	ctx := t.Context()
	huge := request("a")
	huge.Service.Args = []string{strings.Repeat("x", maxRequest)}
	for name, err := range map[string]error{
		"no ID":      errorOf(j.Accepted(ctx, Request{})),
		"huge":       errorOf(j.Accepted(ctx, huge)),
		"no attempt": j.Offered(ctx, "a", Offer{Node: "nodeA"}),
		"no end":     j.Ended(ctx, "a", End{Event: protocol.Event{State: protocol.StateRunning}}),
	} {
		if protocol.CodeOf(err) != protocol.CodeInvalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	wild := request("b")
	wild.At = time.Unix(1<<55, 0) // a clock gone mad
	if _, err := j.Accepted(ctx, wild); err != nil {
		t.Errorf("a wrong clock: %v", err)
	}
	if got := loadAll(t, j); len(got) != 1 {
		t.Errorf("%d records", len(got))
	}
}

func errorOf(_ Record, err error) error { return err }

func TestHundredAcceptsOfOneID(t *testing.T) {
	j := open(t, pathIn(t), testOptions())
	var won atomic.Int32
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			r, err := j.Accepted(t.Context(), request("same"))
			switch {
			case err == nil:
				won.Add(1)
			case !errors.Is(err, ErrExists):
				t.Errorf("%v", err)
			}
			if r.Sequence != 1 || r.ID != "same" {
				t.Errorf("record %+v", r)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 || len(loadAll(t, j)) != 1 {
		t.Fatalf("%d won", won.Load())
	}
}

func TestManyShareACommit(t *testing.T) {
	j := open(t, pathIn(t), testOptions())
	const callers = 500
	first := blockWriter(t, j)
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() { accept(t, j, fmt.Sprint("r", i)) })
	}
	waitFor(t, j, callers)
	close(first)
	wg.Wait()
	if j.Close(); j.totals.commit != firstCommit {
		t.Fatalf("%d commits for %d accepts at once", j.totals.commit-firstCommit+1, callers)
	}
}

// firstCommit is the number of the first one in a new file.
const firstCommit = 1

// blockWriter keeps the writer busy, without a change, until the channel that
// it returns is closed.
func blockWriter(t *testing.T, j *Journal) chan struct{} {
	t.Helper()
	release, begun := make(chan struct{}), make(chan struct{})
	c := &call{done: make(chan struct{}), apply: func(*batch) (error, error) {
		close(begun)
		<-release
		return nil, nil
	}}
	if err := j.enqueue(c); err != nil {
		t.Fatal(err)
	}
	<-begun
	return release
}

// waitFor returns when so many calls wait.
func waitFor(t *testing.T, j *Journal, n int) {
	t.Helper()
	poll := time.NewTicker(time.Millisecond)
	defer poll.Stop()
	for range 10_000 {
		j.mu.Lock()
		waiting := len(j.waiting)
		j.mu.Unlock()
		if waiting >= n {
			return
		}
		<-poll.C
	}
	t.Fatalf("no %d calls came", n)
}

func TestContextEndsTheWait(t *testing.T) {
	j := open(t, pathIn(t), testOptions())
	release := blockWriter(t, j)
	ctx, cancel := context.WithCancel(t.Context())
	left := make(chan error)
	go func() { left <- errorOf(j.Accepted(ctx, request("gone"))) }()
	waitFor(t, j, 1)
	cancel()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Fatalf("%v", err)
	}
	close(release)
	accept(t, j, "here")
	if _, err := j.Find("gone"); !errors.Is(err, ErrNotFound) {
		t.Fatalf("a call that was given up left a record: %v", err)
	}
	if _, err := j.Accepted(ctx, request("later")); !errors.Is(err, context.Canceled) {
		t.Fatalf("%v", err)
	}
}

func TestCloseCommitsWhatWaits(t *testing.T) {
	path := pathIn(t)
	j := open(t, path, testOptions())
	release := blockWriter(t, j)
	waited := make(chan error)
	go func() { waited <- errorOf(j.Accepted(t.Context(), request("a"))) }()
	waitFor(t, j, 1)
	closed := make(chan error)
	go func() { closed <- j.Close() }()
	close(release)
	if err := <-waited; err != nil {
		t.Fatal(err)
	}
	if err := <-closed; err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"Accepted": errorOf(j.Accepted(t.Context(), request("b"))),
		"Offered":  j.Offered(t.Context(), "a", Offer{Attempt: 1}),
		"Find":     errorOf(j.Find("a")),
		"Close":    j.Close(),
	} {
		if want := map[bool]error{false: ErrClosed}[name == "Close"]; !errors.Is(err, want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := loadAll(t, open(t, path, testOptions())); len(got) != 1 {
		t.Fatalf("%d records", len(got))
	}
}

func TestSecondOpenIsRefused(t *testing.T) {
	path := pathIn(t)
	open(t, path, testOptions())
	o := testOptions()
	o.LockTimeout = 2 * lockPoll
	if _, err := Open(path, o); err == nil || !strings.Contains(err.Error(), "in use by another process") {
		t.Fatalf("%v", err)
	}
}

func TestIdleWritesNothing(t *testing.T) {
	path := pathIn(t)
	j := open(t, path, testOptions())
	accept(t, j, "a")
	j.writers.Wait() // there is no goroutine left
	before, _ := os.ReadFile(path)
	for range 3 {
		if _, err := j.Accepted(t.Context(), request("a")); !errors.Is(err, ErrExists) {
			t.Fatal(err)
		}
		if err := j.Offered(t.Context(), "b", Offer{Attempt: 1}); !errors.Is(err, ErrNotFound) {
			t.Fatal(err)
		}
	}
	if after, _ := os.ReadFile(path); string(after) != string(before) {
		t.Fatal("the file changed though nothing was accepted")
	}
}

// A write that fails changes nothing, whatever it left behind in the file.
func TestFailedWriteLeavesNothing(t *testing.T) {
	path := pathIn(t)
	j := open(t, path, testOptions())
	accept(t, j, "a")
	writable := j.file.File
	readOnly, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer readOnly.Close()
	j.file.File = readOnly
	for range 2 {
		if _, err := j.Accepted(t.Context(), request("lost")); protocol.CodeOf(err) != protocol.CodeInternal {
			t.Fatalf("%v", err)
		}
		if _, err := j.Find("lost"); !errors.Is(err, ErrNotFound) {
			t.Fatalf("%v", err)
		}
	}
	j.file.File = writable
	// What a failed sync leaves: all of a commit, and the caller told otherwise.
	b := &batch{j: j, totals: j.totals, changed: map[protocol.RequestID]*entry{}}
	raw, _ := encodeRequest(&Record{Request: request("lost")})
	if _, err := b.accept("lost", raw, nil, Offer{Attempt: 1, Node: "nodeA"}); err != nil {
		t.Fatal(err)
	}
	b.totals.commit++
	if _, err := writable.WriteAt(b.totals.commitFrame(b.frames, j.end), j.end); err != nil {
		t.Fatal(err)
	}
	accept(t, j, "b")
	j.Close()
	j = open(t, path, testOptions())
	if got := loadAll(t, j); len(got) != 2 || got[0].ID != "a" || got[1].ID != "b" || j.Report() != (Report{}) {
		t.Fatalf("%+v, %+v", got, j.Report())
	}
}

// A record that has changed since it was written is never taken for one, and ends
// the use of the file; the next start saves the others.
func TestChangedRecordBreaksTheJournalOnly(t *testing.T) {
	path := pathIn(t)
	j := open(t, path, testOptions())
	accept(t, j, "a")
	accept(t, j, "b")
	if _, err := j.file.WriteAt([]byte{'?'}, j.entryOf("a").parts[kindRequest].at+headSize+50); err != nil {
		t.Fatal(err)
	}
	_, err := j.Find("a")
	if protocol.CodeOf(err) != protocol.CodeInternal || !strings.Contains(err.Error(), "restart hearth") {
		t.Fatalf("%v", err)
	}
	if _, again := j.Accepted(t.Context(), request("c")); protocol.CodeOf(again) != protocol.CodeInternal {
		t.Fatalf("%v", again)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j = open(t, path, testOptions())
	if got := loadAll(t, j); len(got) != 1 || !got[0].InDoubt || j.Report().SetAside == "" {
		t.Fatalf("%+v, %+v", got, j.Report())
	}
}

// A request that has ended can be forgotten, with all there is of it.
func TestRemoved(t *testing.T) {
	path := pathIn(t)
	j := open(t, path, testOptions())
	for _, id := range []string{"a", "b", "c"} {
		accept(t, j, id)
	}
	for _, id := range []string{"a", "b"} {
		end(t, j, id, ending(protocol.StateSucceeded, 0, "out"))
	}
	for id, want := range map[protocol.RequestID]error{"b": nil, "c": ErrNotEnded, "d": ErrNotFound} {
		if err := j.Removed(t.Context(), Removal{ID: id, Attempt: 1}); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", id, err, want)
		}
	}
	for range 2 {
		if _, err := j.Output("b"); !errors.Is(err, ErrNotFound) {
			t.Errorf("its output: %v", err)
		}
		if got := loadAll(t, j); len(got) != 2 || got[0].ID != "a" || got[1].ID != "c" {
			t.Errorf("%+v", got)
		}
		j.Close()
		j = open(t, path, testOptions())
	}
	accept(t, j, "b") // the ID is free again
}

// An offer that was not sent can be taken back: then there is none.
func TestOfferTakenBack(t *testing.T) {
	path := pathIn(t)
	j := open(t, path, testOptions())
	r := request("a")
	r.Offer = Offer{Attempt: 1, Node: "nodeA"}
	if _, err := j.Accepted(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	accept(t, j, "b")
	for _, id := range []protocol.RequestID{"a", "b"} { // b has none
		if err := j.Offered(t.Context(), id, Offer{}); err != nil {
			t.Fatalf("%s: %v", id, err)
		}
	}
	if err := j.Offered(t.Context(), "c", Offer{}); !errors.Is(err, ErrNotFound) {
		t.Errorf("%v", err)
	}
	j.Close()
	j = open(t, path, testOptions())
	if j.Report() != (Report{}) {
		t.Errorf("%+v", j.Report())
	}
	for _, rec := range loadAll(t, j) {
		if rec.Offer != (Offer{}) {
			t.Errorf("%s: %+v", rec.ID, rec.Offer)
		}
	}
}

// An end that has time shares the commit of what comes next; by itself it waits for
// as long as it may linger, and when the journal is closed no more.
func TestUnhurriedEndsWaitForCompany(t *testing.T) {
	path := pathIn(t)
	unhurried := ending(protocol.StateSucceeded, 0, "")
	unhurried.Linger = true
	synctest.Test(t, func(t *testing.T) {
		o := testOptions()
		o.MaxLinger = time.Second
		j, err := Open(path, o)
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		finish := func(id string) {
			go func() { ended <- j.Ended(t.Context(), protocol.RequestID(id), unhurried) }()
			synctest.Wait()
		}
		for _, id := range []string{"a", "b", "c"} {
			accept(t, j, id)
		}
		synctest.Wait()
		start, commits := time.Now(), j.totals.commit
		finish("a")
		accept(t, j, "d")
		if err := <-ended; err != nil || time.Since(start) != 0 {
			t.Errorf("with others: %v after %v", err, time.Since(start))
		}
		synctest.Wait()
		if n := j.totals.commit - commits; n != 1 {
			t.Errorf("%d commits of an end and an acceptance", n)
		}
		finish("b")
		if err := <-ended; err != nil || time.Since(start) != o.MaxLinger {
			t.Errorf("alone: %v after %v", err, time.Since(start))
		}
		finish("c")
		closed := j.Close()
		if err := <-ended; err != nil || closed != nil || time.Since(start) != o.MaxLinger {
			t.Errorf("while closing: %v, %v after %v", err, closed, time.Since(start))
		}
	})
	for _, r := range loadAll(t, open(t, path, testOptions())) {
		if (r.End == nil) != (r.ID == "d") {
			t.Errorf("%s: %+v", r.ID, r.End)
		}
	}
}
