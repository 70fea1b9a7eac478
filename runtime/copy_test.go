package runtime

import (
	"archive/tar"
	"testing"
)

// The engine unpacks as root: what would make a program root's is left out.
func TestCopyIntoLeavesOutPrivileges(t *testing.T) {
	h := &tar.Header{Typeflag: tar.TypeReg, Name: "f", Mode: 0o6755, PAXRecords: map[string]string{
		"SCHILY.xattr.security.capability": "x", "comment": "kept"}}
	first := ""
	if err := (archivePlacement{dir: "/", guarded: true}).rename(h, &first); err != nil {
		t.Fatal(err)
	}
	if h.Mode != 0o755 || len(h.PAXRecords) != 1 {
		t.Errorf("%o, %v", h.Mode, h.PAXRecords)
	}
}
