package machine

import (
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/hearth-edge/hearth/protocol"
)

// limits are what control groups allow this process; 0 is no limit.
type limits struct {
	cpus   protocol.Cores
	memory protocol.Bytes
}

// cgroupLimits reads the limits of the control groups, of version 1 and 2, that
// this process is in. root is the root of the file system. What cannot be read
// does not limit: it may be a machine without control groups.
func cgroupLimits(root fs.FS) limits {
	var l limits
	for line := range strings.Lines(readFile(root, "proc/self/cgroup")) {
		// hierarchy-ID:controllers:path
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(fields) != 3 {
			continue
		}
		controllers := strings.Split(fields[1], ",")
		for _, dir := range groups(fields[1], fields[2]) {
			switch {
			case fields[1] == "":
				l.cpu(quotaV2(readFile(root, dir+"/cpu.max")))
				l.mem(readFile(root, dir+"/memory.max"))
			case slices.Contains(controllers, "cpu"):
				l.cpu(readFile(root, dir+"/cpu.cfs_quota_us"), readFile(root, dir+"/cpu.cfs_period_us"))
			case slices.Contains(controllers, "memory"):
				l.mem(readFile(root, dir+"/memory.limit_in_bytes"))
			}
		}
	}
	return l
}

// groups returns the folders of a group and of all above it, each of which may
// limit it. In a container the group's own path may be that of the host, where
// only the mount point exists: what does not exist is passed over.
func groups(controllers, group string) []string {
	mounts := []string{"sys/fs/cgroup", "sys/fs/cgroup/unified"}
	if controllers != "" {
		mounts = []string{"sys/fs/cgroup/" + controllers}
		for c := range strings.SplitSeq(controllers, ",") {
			mounts = append(mounts, "sys/fs/cgroup/"+c)
		}
	}
	var dirs []string
	for _, mount := range mounts {
		for at := path.Clean("/" + group); ; at = path.Dir(at) {
			dirs = append(dirs, path.Join(mount, at))
			if at == "/" {
				break
			}
		}
	}
	return dirs
}

func (l *limits) cpu(quota, period string) {
	q, errQ := strconv.ParseInt(quota, 10, 64)
	p, errP := strconv.ParseInt(period, 10, 64)
	if errQ != nil || errP != nil || q <= 0 || p <= 0 {
		return
	}
	if cores := protocol.Cores(float64(q) / float64(p)); l.cpus == 0 || cores < l.cpus {
		l.cpus = cores
	}
}

func (l *limits) mem(limit string) {
	v, err := strconv.ParseUint(limit, 10, 64)
	if err != nil || v == 0 {
		return
	}
	if m := protocol.Bytes(v); l.memory == 0 || m < l.memory {
		l.memory = m
	}
}

// quotaV2 takes "QUOTA PERIOD" apart; the quota "max" is no number, which is no
// limit.
func quotaV2(s string) (quota, period string) {
	quota, period, _ = strings.Cut(s, " ")
	return quota, period
}

func readFile(root fs.FS, name string) string {
	b, err := fs.ReadFile(root, name)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}
