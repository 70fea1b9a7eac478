package journal

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/hearth-edge/hearth/protocol"
)

const pageSize = 4096

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
	j.writers.Wait()
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

// checkSaved checks that a record is what it was, or less and InDoubt.
func checkSaved(t *testing.T, what string, report Report, got, want Record) {
	t.Helper()
	if got.InDoubt != (report.SetAside != "" && got.End == nil) {
		t.Fatalf("%s: in doubt %v: %+v", what, got.InDoubt, got)
	}
	if got.InDoubt {
		got.InDoubt = false
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

// commits returns where each commit of a sound file ends.
func commits(t testing.TB, raw []byte) []int {
	t.Helper()
	s := &scanner{file: bytes.NewReader(raw), size: int64(len(raw))}
	var ends []int
	for at := int64(0); at < s.size; {
		f, ok := s.frame(at)
		if !ok {
			t.Fatalf("no frame at %d of %d", at, s.size)
		}
		if at = f.end(); f.kind == kindCommit {
			ends = append(ends, int(at))
		}
	}
	return ends
}

// large is a journal whose last commit is many sectors long, and the records
// without it.
func large(t *testing.T) (raw []byte, last int, before map[protocol.RequestID]Record) {
	t.Helper()
	path := pathIn(t)
	j := open(t, path, testOptions())
	for i := range 12 {
		accept(t, j, fmt.Sprint("r", i))
	}
	before = map[protocol.RequestID]Record{}
	for _, r := range loadAll(t, j) {
		before[r.ID] = r
	}
	big := request("last")
	big.Service.Args = []string{strings.Repeat("x", 3*pageSize)}
	if _, err := j.Accepted(t.Context(), big); err != nil {
		t.Fatal(err)
	}
	j.writers.Wait()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	ends := commits(t, raw)
	return raw, ends[len(ends)-2], before
}

// TestTornLastWrite: wherever the power goes while a commit is written, and
// whichever of its sectors reached the disk, the commits before it are there,
// whole, and nobody is alarmed.
func TestTornLastWrite(t *testing.T) {
	raw, last, before := large(t)
	check := func(what string, torn []byte) {
		t.Helper()
		if report, n := reopen(t, what, torn, before); report != (Report{}) || n != len(before) {
			t.Fatalf("%s: %+v, %d of %d records", what, report, n, len(before))
		}
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for at := last; at < len(raw); at += 1 + rng.IntN(200) {
		check(fmt.Sprint("cut at ", at-last, " of ", len(raw)-last), raw[:at])
	}
	for range 100 {
		torn, lost := slices.Clone(raw), 0
		for sector := (last + 511) / 512 * 512; sector+512 <= len(torn); sector += 512 {
			if rng.IntN(3) == 0 {
				clear(torn[sector : sector+512])
				lost++
			}
		}
		if lost > 0 {
			check(fmt.Sprint(lost, " sectors lost"), torn)
		}
	}
}

// TestEmptyTail: a file that grew for a small commit which never came is sound.
func TestEmptyTail(t *testing.T) {
	raw, want := sample(t, 7)
	for _, n := range []int{1, 20, 21, 45, 66, 200, 511, 513} {
		if report, got := reopen(t, fmt.Sprint(n, " empty bytes"), append(slices.Clone(raw), make([]byte, n)...), want); report != (Report{}) || got != len(want) {
			t.Fatalf("%d empty bytes: %+v, %d of %d records", n, report, got, len(want))
		}
	}
}

// TestLostLastWrite: a disk that lied about a commit has a sound file, with all
// before it.
func TestLostLastWrite(t *testing.T) {
	raw, last, before := large(t)
	if report, n := reopen(t, "lost", raw[:last], before); report != (Report{}) || n != len(before) {
		t.Fatalf("%+v, %d of %d records", report, n, len(before))
	}
}

// TestWriteLostBeforeTheLast: what is missing before a commit that is there is
// damage.
func TestWriteLostBeforeTheLast(t *testing.T) {
	raw, want := sample(t, 12)
	ends := commits(t, raw)
	for i := 1; i+1 < len(ends); i++ {
		lost := slices.Clone(raw)
		clear(lost[ends[i-1]:ends[i]])
		if report, _ := reopen(t, fmt.Sprint("commit ", i, " zeroed"), lost, want); report.SetAside == "" {
			t.Fatalf("commit %d of %d is missing, in silence", i, len(ends))
		}
		cut := slices.Delete(slices.Clone(raw), ends[i-1], ends[i])
		if report, _ := reopen(t, fmt.Sprint("commit ", i, " cut out"), cut, want); report.SetAside == "" {
			t.Fatalf("commit %d of %d is missing, in silence", i, len(ends))
		}
	}
}

// TestDamagedPage: a page that a card turned into something else is noticed, and
// costs what was in it only.
func TestDamagedPage(t *testing.T) {
	raw, want := sample(t, 60)
	rng := rand.New(rand.NewPCG(3, 4))
	fewest := len(want)
	last := commits(t, raw)
	quiet := last[len(last)-2] // a page that is empty from here on may be a torn write
	try := func(what string, damaged []byte) {
		report, n := reopen(t, what, damaged, want)
		if report.SetAside == "" {
			t.Fatalf("%s: not noticed", what)
		}
		fewest = min(fewest, n)
	}
	for page := 0; page < len(raw); page += pageSize {
		end := min(page+pageSize, len(raw))
		for range 4 {
			at := page + rng.IntN(end-page)
			flipped := slices.Clone(raw)
			flipped[at] ^= 1 << rng.IntN(8)
			try(fmt.Sprint("flip at ", at), flipped)
		}
		random := slices.Clone(raw)
		for i := page; i < end; i++ {
			random[i] = byte(1 + rng.IntN(255))
		}
		try(fmt.Sprint("random page at ", page), random)
		if page < quiet {
			clear(random[page:end])
			try(fmt.Sprint("zeroed page at ", page), random)
		}
	}
	if fewest < len(want)/2 {
		t.Errorf("one page cost %d of %d records", len(want)-fewest, len(want))
	}
	t.Logf("%d pages; %d of %d records saved in the worst case", len(raw)/pageSize, fewest, len(want))
}

// TestEveryByteCounts: whichever bit flips, it is noticed.
func TestEveryByteCounts(t *testing.T) {
	raw, _ := sample(t, 3)
	for at := range raw {
		flipped := slices.Clone(raw)
		flipped[at] ^= 0x10
		if r := newReplay(&scanner{file: bytes.NewReader(flipped), size: int64(len(flipped))}); r.run() == nil {
			t.Fatalf("a flipped bit in byte %d of %d was not noticed", at, len(raw))
		}
	}
}

func TestWhatIsNoJournal(t *testing.T) {
	noise := make([]byte, 5*pageSize)
	rng := rand.New(rand.NewPCG(3, 4))
	for i := range noise {
		noise[i] = byte(rng.Uint32())
	}
	for what, raw := range map[string][]byte{
		"noise": noise, "one byte": {1}, "many zeros": make([]byte, 4*pageSize), "text": []byte(strings.Repeat("hello\n", 4000)),
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
	raw, _ := appendFrame(nil, 0, kindHeader, formatVersion+1, []byte("of later times"))
	path := pathIn(t)
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	j := open(t, path, testOptions())
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
	if err := os.WriteFile(path, []byte("torn, and long enough for a frame"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path, testOptions()); err == nil || !strings.Contains(err.Error(), "move") {
		t.Fatalf("%v", err)
	}
	if raw, err := os.ReadFile(path); err != nil || string(raw) != "torn, and long enough for a frame" {
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

// TestMostlyDeadFileIsMadeSmaller: while it is open, and all that lives is there
// afterwards.
func TestMostlyDeadFileIsMadeSmaller(t *testing.T) {
	o := testOptions()
	o.MaxEnded = 5
	path := pathIn(t)
	j := open(t, path, o)
	accept(t, j, "alive")
	largest := int64(0)
	for i := range 200 {
		accept(t, j, fmt.Sprint("r", i))
		end(t, j, fmt.Sprint("r", i), ending(protocol.StateSucceeded, 0, strings.Repeat("x", 60<<10)))
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		largest = max(largest, info.Size())
	}
	if bound := int64(compactSize + (compactShare+1)*6*61<<10); !j.Report().Compacted || largest > bound {
		t.Fatalf("%d bytes, the bound is %d: %+v", largest, bound, j.Report())
	}
	want := loadAll(t, j)
	j.Close()
	j = open(t, path, o)
	if got := loadAll(t, j); len(got) != 6 || got[0].ID != "alive" || !reflect.DeepEqual(got, want) {
		t.Fatalf("%d records, want %d", len(got), len(want))
	}
	if out, err := j.Output("r199"); err != nil || len(out) != 1 || len(out[0].Data) != 60<<10 {
		t.Fatalf("output: %v", err)
	}
	if _, err := Open(path, o); err == nil {
		t.Fatal("the new file is not locked")
	}
}

// TestCompactionThatFails: the journal goes on in the file that it has.
func TestCompactionThatFails(t *testing.T) {
	path := pathIn(t)
	j := open(t, path, testOptions())
	accept(t, j, "a")
	j.writers.Wait()
	if err := os.Mkdir(path+".new", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(path+".new", "in the way"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := j.compact(nil); err == nil {
		t.Fatal("it was compacted into a folder")
	}
	accept(t, j, "b")
	j.Close()
	if got := loadAll(t, open(t, path, testOptions())); len(got) != 2 {
		t.Fatalf("%d records", len(got))
	}
}

// FuzzReplay: whatever a file holds, reading it ends without a panic, and what
// was read can be used. The patch is written over a sound file at the position.
func FuzzReplay(f *testing.F) {
	raw, _ := sample(f, 5)
	f.Add(uint16(0), []byte("x"))
	f.Add(uint16(200), []byte{255, 255})
	f.Add(uint16(300), raw[:300])
	path := filepath.Join(f.TempDir(), "fuzzed.log")
	f.Fuzz(func(t *testing.T, at uint16, patch []byte) {
		patched := slices.Clone(raw)
		copy(patched[int(at)%len(raw):], patch)
		if err := os.WriteFile(path, patched, 0o600); err != nil {
			t.Fatal(err)
		}
		j, err := Open(path, testOptions())
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			j.Close()
			if aside := j.Report().SetAside; aside != "" {
				os.Remove(aside)
			}
		}()
		if err := j.Load(func(Record) error { return nil }); err != nil {
			t.Fatalf("%v, %+v", err, j.Report())
		}
	})
}
