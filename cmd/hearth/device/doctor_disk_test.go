package device

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/hearth-edge/hearth/protocol"
)

func TestDoctorFindsWhatIsWrongWithTheStateFolder(t *testing.T) {
	dir := t.TempDir()
	if c := CheckState(dir); c.Level == protocol.LevelProblem || !strings.Contains(c.Finding, "left on") {
		t.Errorf("a folder that is fine: %+v", c)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("the check leaves %v, %v", left, err)
	}
	if c := CheckState(filepath.Join(dir, "gone")); c.Level != protocol.LevelProblem || !strings.Contains(c.Finding, "cannot be written") {
		t.Errorf("a folder that is not there: %+v", c)
	}
}

func TestDoctorFindsAFullStateDisk(t *testing.T) { runOnDisk(t, "doctor", "size=4m") }

// doctorOnSmallDisk looks at a disk that is nearly full, full, and read-only.
func doctorOnSmallDisk(dir string) error {
	want := func(level protocol.Level, finding string) error {
		if c := CheckState(dir); c.Level != level || !strings.Contains(c.Finding, finding) || c.Advice == "" {
			return fmt.Errorf("found %+v, want %q", c, finding)
		}
		return nil
	}
	if err := want(protocol.LevelWarning, "4 MiB is left"); err != nil {
		return err
	}
	fill := filepath.Join(dir, "fill")
	if err := os.WriteFile(fill, make([]byte, 8<<20), 0o600); err == nil {
		return errors.New("the file system is not full")
	}
	if err := want(protocol.LevelProblem, "is full"); err != nil {
		return err
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		return fmt.Errorf("the check leaves %v, %w", left, err)
	}
	if err := os.Remove(fill); err != nil {
		return err
	}
	if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_BIND|syscall.MS_RDONLY, ""); err != nil {
		return fmt.Errorf("remount: %w", err)
	}
	return want(protocol.LevelProblem, "is read-only")
}
