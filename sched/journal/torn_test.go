package journal

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/hearth-edge/hearth/protocol"
)

// sample makes a journal's file with requests in all stages, and returns its
// bytes and its records.
func sample(t testing.TB, requests int) ([]byte, map[protocol.RequestID]Record) {
	t.Helper()
	path := pathIn(t)
	j := open(t, path, testOptions())
	for i := range requests {
		id := fmt.Sprint("r", i)
		accept(t, j, id)
		if i%3 > 0 {
			if err := j.Offered(t.Context(), protocol.RequestID(id), Offer{Attempt: 1, Node: "nodeA"}); err != nil {
				t.Fatal(err)
			}
		}
		if i%3 > 1 {
			end(t, j, id, ending(protocol.StateFailed, i, strings.Repeat("out ", i*20)))
		}
	}
	records := make(map[protocol.RequestID]Record)
	for _, r := range loadAll(t, j) {
		records[r.ID] = r
	}
	j.Close()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return raw, records
}

// reopen opens a journal with these bytes, checks what it holds against the
// records that there were, and returns its report and how many it still has.
func reopen(t *testing.T, what string, raw []byte, want map[protocol.RequestID]Record) (Report, int) {
	t.Helper()
	path := pathIn(t)
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	j, err := Open(path, testOptions())
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	defer j.Close()
	report := j.Report()
	got := loadAll(t, j)
	for _, r := range got {
		checkSaved(t, what, report, r, want[r.ID])
	}
	if report.SetAside == "" && len(got) != len(want) {
		t.Fatalf("%s: %d of %d records, in silence", what, len(got), len(want))
	}
	if report.SetAside != "" {
		if kept, err := os.ReadFile(report.SetAside); err != nil || !bytes.Equal(kept, raw) {
			t.Fatalf("%s: the damaged file was not kept as it was: %v", what, err)
		}
		if report.Problem == "" || report.Faults == 0 || report.Saved != len(got) {
			t.Fatalf("%s: report %+v for %d records", what, report, len(got))
		}
	}
	if _, err := j.Accepted(t.Context(), request("after")); err != nil {
		t.Fatalf("%s: not usable: %v", what, err)
	}
	return report, len(got)
}

// checkSaved checks that a record is what it was, or less and Doubtful.
func checkSaved(t *testing.T, what string, report Report, got, want Record) {
	t.Helper()
	if got.Doubtful != (report.SetAside != "" && got.End == nil) {
		t.Fatalf("%s: doubtful %v: %+v", what, got.Doubtful, got)
	}
	if got.Doubtful {
		got.Doubtful = false
		if got.Offer == (Offer{}) {
			got.Offer = want.Offer
		}
		got.End = want.End
	}
	if report.SetAside != "" && got.Offer == (Offer{}) {
		got.Offer = want.Offer // an end says where it was, too
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("%s:\n got %+v\nwant %+v", what, got, want)
	}
}

func TestTornFile(t *testing.T) {
	raw, want := sample(t, 30)
	rng := rand.New(rand.NewPCG(1, 2))
	aside, sound, fewest := 0, 0, len(want)
	try := func(what string, damaged []byte) {
		report, n := reopen(t, what, damaged, want)
		if report.SetAside == "" {
			sound++
			return
		}
		aside++
		fewest = min(fewest, n)
	}
	for page := 0; page < len(raw); page += pageSize {
		for _, size := range []int{page, page + 1 + rng.IntN(pageSize-1)} {
			if size > 0 {
				try(fmt.Sprint("cut at ", size), raw[:size])
			}
		}
		for _, within := range []int{16, 64, pageSize, pageSize} {
			at := page + rng.IntN(within)
			flipped := slices.Clone(raw)
			flipped[at] ^= 1 << rng.IntN(8)
			try(fmt.Sprint("flip at ", at), flipped)
		}
		zeroed := slices.Clone(raw)
		clear(zeroed[page : page+pageSize])
		try(fmt.Sprint("zeroed page at ", page), zeroed)
		for i := range pageSize / 8 {
			binary.NativeEndian.PutUint64(zeroed[page+8*i:], rng.Uint64())
		}
		try(fmt.Sprint("random page at ", page), zeroed)
	}
	t.Logf("%d pages: %d files set aside, %d sound; %d of %d records saved in the worst case", len(raw)/pageSize, aside, sound, fewest, len(want))
	if aside == 0 || sound == 0 {
		t.Fatal("the damage was none, or everywhere")
	}
}

// TestEveryByteOfARecordCounts: a flipped bit is noticed, unless it is where
// nothing is stored.
func TestEveryByteOfARecordCounts(t *testing.T) {
	raw, want := sample(t, 3)
	noticed := 0
	flipped := slices.Clone(raw)
	for at := 0; at < len(raw); at += 3 {
		copy(flipped, raw)
		flipped[at] ^= 0x10
		if inspect(bytes.NewReader(flipped), int64(len(flipped))).problem != nil {
			noticed++
		} else if at%501 == 0 { // each of them would take minutes
			reopen(t, fmt.Sprint("flip at ", at), flipped, want)
		}
	}
	t.Logf("%d of %d bytes count", noticed, len(raw)/3)
	if noticed < 500 {
		t.Fatal("too few of them")
	}
}

func TestWhatIsNoJournal(t *testing.T) {
	noise := make([]byte, 5*pageSize)
	rng := rand.New(rand.NewPCG(3, 4))
	for i := range noise {
		noise[i] = byte(rng.Uint32())
	}
	for what, raw := range map[string][]byte{
		"noise": noise, "one byte": {1}, "zeros": make([]byte, 4*pageSize), "text": []byte(strings.Repeat("hello\n", 4000)),
	} {
		if report, _ := reopen(t, what, raw, nil); report.SetAside == "" {
			t.Errorf("%s was taken for a journal", what)
		}
	}
	if report, _ := reopen(t, "empty", nil, nil); report != (Report{}) {
		t.Errorf("an empty file is a new one: %+v", report)
	}
	if _, err := Open(t.TempDir(), testOptions()); err == nil {
		t.Error("a folder was opened")
	}
}

func TestAnotherVersionIsSetAside(t *testing.T) {
	path := pathIn(t)
	j := open(t, path, testOptions())
	accept(t, j, "a")
	err := j.db.Update(func(tx *bbolt.Tx) error {
		raw := j.kept.encode(0)
		raw[0] = formatVersion + 1
		return put(tx, nil, state, 0, append(raw, "of later times"...))
	})
	if err != nil {
		t.Fatal(err)
	}
	j.Close()
	j = open(t, path, testOptions())
	if r := j.Report(); !strings.Contains(r.Problem, "another version") || r.Saved != 0 || len(loadAll(t, j)) != 0 {
		t.Fatalf("%+v", r)
	}
}

// TestDamagedFilesAreKept: each under a name of its own, up to a bound that is
// told, and never in silence.
func TestDamagedFilesAreKept(t *testing.T) {
	path := pathIn(t)
	for n := range maxAside {
		if err := os.WriteFile(fmt.Sprintf("%s.bad-%d", path, n+1), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(path, []byte("torn"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path, testOptions()); err == nil || !strings.Contains(err.Error(), "move") {
		t.Fatalf("%v", err)
	}
	if raw, err := os.ReadFile(path); err != nil || string(raw) != "torn" {
		t.Fatalf("the file was touched: %q, %v", raw, err)
	}
	if left, _ := filepath.Glob(path + ".new"); left != nil {
		t.Fatalf("left behind: %v", left)
	}
	os.Remove(path + ".bad-7")
	if r := open(t, path, testOptions()).Report(); r.SetAside != path+".bad-7" {
		t.Fatalf("%+v", r)
	}
}

// TestPowerCutInACommit: whatever part of a commit's pages reached the disk
// before its root did, the commit before it is there, whole. If the disk lied
// and the root came first, nothing of the commit before is lost either.
func TestPowerCutInACommit(t *testing.T) {
	path := pathIn(t)
	j := open(t, path, testOptions())
	for i := range 40 {
		accept(t, j, fmt.Sprint("r", i))
	}
	before := map[protocol.RequestID]Record{}
	for _, r := range loadAll(t, j) {
		before[r.ID] = r
	}
	j.writers.Wait()
	old, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	accept(t, j, "last")
	j.writers.Wait()
	fresh, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	after := map[protocol.RequestID]Record{}
	for _, r := range loadAll(t, j) {
		after[r.ID] = r
	}
	rng := rand.New(rand.NewPCG(5, 6))
	for range 50 {
		cut, lied := slices.Clone(fresh), slices.Clone(fresh)
		copy(cut[:2*pageSize], old)
		for page := 2 * pageSize; page < len(old); page += pageSize {
			if rng.IntN(2) == 0 {
				copy(cut[page:page+pageSize], old[page:])
				copy(lied[page:page+pageSize], old[page:])
			}
		}
		if report, _ := reopen(t, "cut", cut, before); report.SetAside != "" {
			t.Fatalf("a commit cut short counts as damage: %+v", report)
		}
		if _, n := reopen(t, "lied", lied, after); n < len(before) {
			t.Fatalf("%d of %d records left", n, len(before))
		}
	}
}

func TestMostlyEmptyFileIsMadeSmaller(t *testing.T) {
	o := testOptions()
	o.KeepBytes = 64 << 20
	path := pathIn(t)
	j := open(t, path, o)
	for i := range 200 {
		accept(t, j, fmt.Sprint("r", i))
		end(t, j, fmt.Sprint("r", i), ending(protocol.StateSucceeded, 0, strings.Repeat("x", 60<<10)))
	}
	j.Close()
	o.KeepEnded = 5
	j = open(t, path, o)
	accept(t, j, "drops-the-rest")
	want := loadAll(t, j)
	j.Close()
	large, _ := os.Stat(path)
	j = open(t, path, o)
	small, _ := os.Stat(path)
	if !j.Report().Compacted || small.Size() > large.Size()/8 {
		t.Fatalf("%d bytes, then %d: %+v", large.Size(), small.Size(), j.Report())
	}
	if got := loadAll(t, j); !reflect.DeepEqual(got, want) {
		t.Fatalf("%d records, want %d", len(got), len(want))
	}
	if out, err := j.Output("r199"); err != nil || len(out) != 1 || len(out[0].Data) != 60<<10 {
		t.Fatalf("output: %v", err)
	}
	if _, err := Open(path, o); err == nil {
		t.Fatal("the new file is not locked")
	}
}

// FuzzInspect: whatever a file holds, reading it ends without a panic; and what
// counts as sound can be opened by bbolt. The patch is written over a sound file
// at the position.
func FuzzInspect(f *testing.F) {
	raw, _ := sample(f, 5)
	f.Add(uint16(0), []byte("x"))
	f.Add(uint16(2*pageSize+8), []byte{255, 255})
	f.Add(uint16(3*pageSize), raw[4*pageSize:5*pageSize])
	path := filepath.Join(f.TempDir(), "fuzzed.db")
	f.Fuzz(func(t *testing.T, at uint16, patch []byte) {
		patched := slices.Clone(raw)
		copy(patched[int(at)%len(raw):], patch)
		if inspect(bytes.NewReader(patched), int64(len(patched))).problem != nil {
			return
		}
		if err := os.WriteFile(path, patched, 0o600); err != nil {
			t.Fatal(err)
		}
		j, err := Open(path, testOptions())
		if err != nil {
			t.Fatal(err)
		}
		defer j.Close()
		if err := j.Load(func(Record) error { return nil }); err != nil || j.Report() != (Report{}) {
			t.Fatalf("%v, %+v", err, j.Report())
		}
	})
}
