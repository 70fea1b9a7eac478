package reaper

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// FuzzLeases: whatever the leases file holds, reading it ends; and what is read
// from it can be written and read again.
func FuzzLeases(f *testing.F) {
	text, err := json.Marshal(leaseFile{Boot: bootID(), Leases: []lease{{Orchestrator: "o", Request: "r", Attempt: 1, Until: 5e9}, {Request: "r", Attempt: 2, Until: -1}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(`{"boot":"another","leases":[{"request":"r"}]}`))
	f.Add([]byte(`{"leases":[{"until_ns":1e400}]}`))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(filepath.Join(dir, LeasesFile), data, 0o600); err != nil {
			t.Fatal(err)
		}
		leases, err := readLeases(dir)
		if err != nil {
			return
		}
		if err := writeLeases(dir, leases); err != nil {
			t.Fatal(err)
		}
		again, err := readLeases(dir)
		if err != nil || len(again) != len(leases) {
			t.Fatalf("%v became %v, %v", leases, again, err)
		}
		for id, until := range leases {
			if again[id] != until {
				t.Errorf("%v until %v became %v", id, until, again[id])
			}
		}
	})
}
