package runtime

import (
	"os"
	"path/filepath"
	"testing"
)

// FuzzPullRate: whatever the file of the pull rate holds, the rate is one that
// estimates can be made of.
func FuzzPullRate(f *testing.F) {
	f.Add([]byte(`{"bytes_per_second":12000000}`))
	f.Add([]byte(`{"bytes_per_second":-1}`))
	f.Add([]byte(`{"bytes_per_second":18446744073709551615}`))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(filepath.Join(dir, rateFile), data, 0o600); err != nil {
			t.Fatal(err)
		}
		r := loadPullRate(dir)
		if int64(r.rate) < 0 || r.kept != r.rate {
			t.Fatalf("%+v", r)
		}
		if r.add(1e6); int64(r.rate) <= 0 {
			t.Errorf("a pull later: %+v", r)
		}
	})
}
