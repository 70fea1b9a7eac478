package bench

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// usage is what a process has used since its start; rss, of which anonymous is no
// file's, files and threads are now.
type usage struct {
	at                                                         time.Time
	rss, anonymous, written, switches, network, files, threads uint64
	cpu                                                        time.Duration
}

// readUsage reads /proc for all threads of the process; link is the interface
// whose bytes are counted, in and out.
func readUsage(b *testing.B, pid int, link string) usage {
	b.Helper()
	u, err := usageOf(pid, link)
	if err != nil {
		b.Fatal(err)
	}
	return u
}

func usageOf(pid int, link string) (u usage, err error) {
	proc := filepath.Join("/proc", strconv.Itoa(pid))
	u.at = time.Now()
	get := func(file, key string, i int) uint64 {
		n, e := field(proc+file, key, i)
		if e != nil && err == nil {
			err = e
		}
		return n
	}
	u.rss, u.anonymous = 1024*get("/status", "VmRSS:", 1), 1024*get("/status", "RssAnon:", 1)
	u.written = get("/io", "write_bytes:", 1)
	u.network = get("/net/dev", link+":", 1) + get("/net/dev", link+":", 9)
	files, e := os.ReadDir(proc + "/fd")
	if e != nil {
		return u, e
	}
	tasks, e := os.ReadDir(proc + "/task")
	if e != nil {
		return u, e
	}
	u.files, u.threads = uint64(len(files)), uint64(len(tasks))
	for _, task := range tasks {
		u.switches += get("/task/"+task.Name()+"/status", "voluntary_ctxt_switches:", 1)
		ns, e := os.ReadFile(proc + "/task/" + task.Name() + "/schedstat")
		if e != nil {
			return u, e
		}
		n, e := strconv.ParseInt(strings.Fields(string(ns))[0], 10, 64)
		if e != nil {
			return u, e
		}
		u.cpu += time.Duration(n)
	}
	return u, err
}

// field returns the i-th word of the line that starts with key, as a number.
func field(file, key string, i int) (uint64, error) {
	f, err := os.Open(file)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if words := strings.Fields(lines.Text()); len(words) > i && words[0] == key {
			return strconv.ParseUint(words[i], 10, 64)
		}
	}
	return 0, fmt.Errorf("%s has no line %q", file, key)
}
