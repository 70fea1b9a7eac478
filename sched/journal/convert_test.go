package journal

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

// former copies the journal of the former format that an earlier version wrote.
func former(t *testing.T) (path string, o Options) {
	t.Helper()
	raw, err := os.ReadFile("testdata/journal-v1.db")
	if err != nil {
		t.Fatal(err)
	}
	path = pathIn(t)
	o = testOptions()
	o.Former = path + ".former"
	if err := os.WriteFile(o.Former, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	return path, o
}

// TestFormerJournalIsTakenOver: each kind of record, once, and the older program
// finds nothing to run again.
func TestFormerJournalIsTakenOver(t *testing.T) {
	path, o := former(t)
	full := request("offered")
	full.Service = protocol.Service{
		Image: "ghcr.io/me/app:1", Args: []string{"a", "b c", "<&>"}, Entrypoint: "/bin/sh", Env: []string{"A=1"}, WorkDir: "/w", User: "1:2",
		CPUs: 0.25, Memory: 1 << 20, Stdin: true, TTY: true, Timeout: time.Hour, Network: "none",
		Mounts: []protocol.Mount{{Source: "/s", Target: "/t", Writable: true}}, Devices: []string{"/dev/null"}, Capabilities: []string{"NET_RAW"},
		Accelerator: "gpu",
		Constraints: protocol.Constraints{Node: "nas", Labels: map[string]string{"arch": "amd64"}, NotHere: true},
	}
	full.Offer = Offer{Attempt: 2, Node: "nodeB", Name: "cellar", Lost: 1, Stdout: 5, Stderr: 6}
	begun := request("begun")
	begun.Service.Retry = 3
	begun.Offer = Offer{Attempt: 1, Node: "nodeA", Name: "attic", Started: true}
	failed := ending(protocol.StateFailed, 3, "")
	failed.Event.Code, failed.Event.Reason, failed.Event.NodeName, failed.Event.Container = protocol.CodeStartFailed, "because", "attic", "c0ffee"
	failed.History = append(failed.History, protocol.Event{State: protocol.StatePulling, Progress: &protocol.Progress{Current: 1, Total: 2, LayersDone: 3, Layers: 4}})
	failed.Decisions = []protocol.Decision{{Level: time.Second, Places: 1.5, Unnamed: 2, Candidates: []protocol.Candidate{
		{Node: "nodeA", Name: "attic", Self: true, Score: 1.25, Estimate: 1, Work: 2, Network: 3, Cold: 4, Chance: 0.5, Chosen: true},
		{Node: "nodeB", Code: protocol.CodeBusy, Excluded: "busy"},
	}}}
	unknown := ending(protocol.StateUnknown, 0, "")
	var want []Record
	for i, r := range []Request{request("accepted"), full, begun, request("ended"), request("unknown")} {
		want = append(want, Record{Request: r, Sequence: uint64(i + 1), Hash: ServiceHash(r.Service)})
	}
	want[3].End, want[4].End = &failed, &unknown
	for range 2 { // the second time from the log
		j := open(t, path, o)
		if got := loadAll(t, j); !reflect.DeepEqual(got, want) {
			for i := range got {
				if !reflect.DeepEqual(got[i], want[i]) {
					t.Errorf("\n got %+v\nwant %+v", got[i], want[i])
				}
			}
			t.Fatalf("%d records, want %d", len(got), len(want))
		}
		out, err := j.Output("ended")
		if err != nil || len(out) != 2 || string(out[0].Data) != "out" || out[1].Cut != 2 || string(out[1].Data) != "err" {
			t.Fatalf("output %+v, %v", out, err)
		}
		if err := j.Ended(t.Context(), "unknown", ending(protocol.StateUnknown, 0, "")); err != nil {
			t.Fatalf("what is unknown cannot be corrected: %v", err)
		}
		j.Close()
	}
	if _, err := os.Stat(o.Former); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the former file is still there: %v", err)
	}
	if _, err := os.Stat(o.Former + ".converted-1"); err != nil {
		t.Errorf("it was not kept: %v", err)
	}
}

// TestConversionThatWasCutShort: the next start does it again, and a journal with
// something in it is never mixed with a former one.
func TestConversionThatWasCutShort(t *testing.T) {
	header, _ := appendFrame(nil, 0, kindHeader, formatVersion, nil)
	var path string
	var o Options
	for what, begun := range map[string][]byte{"header": header, "half a header": header[:10], "an empty sector": make([]byte, len(header)), "damage": {1, 2, 3}} {
		path, o = former(t)
		if err := os.WriteFile(path, begun, 0o600); err != nil {
			t.Fatal(err)
		}
		j := open(t, path, o)
		if got := loadAll(t, j); len(got) != 5 {
			t.Fatalf("%s: %d records", what, len(got))
		}
		j.Close()
	}
	raw, err := os.ReadFile("testdata/journal-v1.db")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(o.Former, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := loadAll(t, open(t, path, o)); len(got) != 5 {
		t.Fatalf("%d records", len(got))
	}
}

// TestFormerJournalAfterADowngrade: an older program that ran meanwhile left a journal
// with other requests. They are added, none is run again, and no file is lost.
func TestFormerJournalAfterADowngrade(t *testing.T) {
	path, o := former(t)
	raw, err := os.ReadFile(o.Former)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(o.Former); err != nil {
		t.Fatal(err)
	}
	j := open(t, path, o)
	mine := accept(t, j, "offered") // which the older program accepted, too
	accept(t, j, "ours")
	j.Close()
	var log strings.Builder
	o.Log = slog.New(slog.NewTextHandler(&log, nil))
	for n := 1; n <= 2; n++ {
		if err := os.WriteFile(o.Former, raw, 0o600); err != nil {
			t.Fatal(err)
		}
		j = open(t, path, o)
		got := loadAll(t, j)
		if len(got) != 6 || !reflect.DeepEqual(got[0], mine) || got[1].ID != "ours" || got[1].InDoubt {
			t.Fatalf("%+v", got)
		}
		for _, r := range got[2:] {
			if wantDoubtful := r.ID == "accepted" || r.ID == "begun"; r.InDoubt != wantDoubtful || (r.End == nil) != wantDoubtful {
				t.Errorf("%s: in doubt %v, end %+v", r.ID, r.InDoubt, r.End)
			}
		}
		if got, err := os.ReadFile(fmt.Sprintf("%s.converted-%d", o.Former, n)); err != nil || !bytes.Equal(got, raw) {
			t.Errorf("file %d was not kept: %v", n, err)
		}
		if n == 1 && !strings.Contains(log.String(), "level=WARN msg=\"an older version of hearth ran here meanwhile") {
			t.Errorf("the log says %q", log.String())
		}
		j.Close()
	}
	if strings.Count(log.String(), "meanwhile") != 1 {
		t.Errorf("told again where nothing was added: %s", log.String())
	}
}

// TestDamagedFormerJournal: what can be read is taken over, a start never fails
// for it.
func TestDamagedFormerJournal(t *testing.T) {
	sound, err := os.ReadFile("testdata/journal-v1.db")
	if err != nil {
		t.Fatal(err)
	}
	most := 0
	for page := 0; page < len(sound); page += pageSize {
		for _, fill := range []byte{0, 0xaa} {
			path, o := former(t)
			raw := append([]byte(nil), sound...)
			for i := page; i < page+pageSize; i++ {
				raw[i] = fill
			}
			if err := os.WriteFile(o.Former, raw, 0o600); err != nil {
				t.Fatal(err)
			}
			j := open(t, path, o)
			most = max(most, len(loadAll(t, j)))
			accept(t, j, "after")
		}
	}
	if most < 5 {
		t.Errorf("at most %d records were taken over", most)
	}
}

// TestFormerFileThatIsNone: a start never fails for it.
func TestFormerFileThatIsNone(t *testing.T) {
	for _, size := range []int{0, 100, 4096, 65536} {
		path, o := former(t)
		if err := os.WriteFile(o.Former, make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
		accept(t, open(t, path, o), "after")
	}
}
