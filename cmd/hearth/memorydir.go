package main

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// memoryDir returns where containers' secrets are kept: a folder in the first file
// system in memory that there is. The unit has one made that outlives a restart.
func memoryDir() string {
	uid := os.Getuid()
	user := cmp.Or(os.Getenv("XDG_RUNTIME_DIR"), fmt.Sprintf("/run/user/%d", uid))
	if uid == 0 {
		user = "/run"
	}
	for _, dir := range []string{
		os.Getenv("RUNTIME_DIRECTORY"), filepath.Join(user, "hearth"), fmt.Sprintf("/dev/shm/hearth-%d", uid),
	} {
		if dir != "" && inMemory(filepath.Dir(dir)) {
			return dir
		}
	}
	return ""
}

// Of file systems in memory, by statfs(2).
const (
	tmpfsMagic = 0x01021994
	ramfsMagic = 0x858458f6
)

func inMemory(dir string) bool {
	var fs unix.Statfs_t
	return unix.Statfs(dir, &fs) == nil && (uint32(fs.Type) == tmpfsMagic || uint32(fs.Type) == ramfsMagic)
}
