package runtime

import (
	"math"
	"path/filepath"
	"syscall"
	"testing"
)

// What is told is what the kernel says; a file system that has no number of
// inodes, as /proc, is not taken for one that is out of them.
func TestSpaceOf(t *testing.T) {
	for _, dir := range []string{t.TempDir(), "/proc"} {
		var st syscall.Statfs_t
		if err := syscall.Statfs(dir, &st); err != nil {
			t.Fatal(err)
		}
		s, err := spaceOf(t.Context(), dir)
		if err != nil || uint64(s.Bytes) > st.Blocks*uint64(st.Bsize) {
			t.Errorf("%s: %+v, %v", dir, s, err)
		}
		if bounded := st.Files != 0; bounded && s.Files > st.Files || !bounded && s.Files != math.MaxUint64 {
			t.Errorf("%s: room for %d files, where %d are the most", dir, s.Files, st.Files)
		}
	}
	if _, err := spaceOf(t.Context(), filepath.Join(t.TempDir(), "nowhere")); err == nil {
		t.Error("there is room in a folder that is not there")
	}
}
