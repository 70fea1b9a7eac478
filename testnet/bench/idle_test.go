package bench

import (
	"bufio"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hearth-edge/hearth/testnet"
	"github.com/hearth-edge/hearth/testnet/netns"
)

// BenchmarkIdle: one iteration is one second of watching what one node of an idle mesh of three costs, with Docker.
// Limits: 25 MB of memory (RSS), 0.5 % of a core, no disk writes, 22 MB binary.
func BenchmarkIdle(b *testing.B) {
	secret := testnet.NewSecret(b)
	lan := netns.New(b)
	var nodes []*testnet.Node
	for _, name := range []string{"first", "second", "third"} {
		nodes = append(nodes, lan.AddHost(name).StartNode(b, testnet.Options{Secret: secret}))
	}
	nodes[0].WaitNodes(3)
	pid := nodes[0].PID()
	timer := time.NewTimer(5 * time.Second) // for what starting left to do
	<-timer.C
	before, start := readUsage(b, pid), time.Now()
	for b.Loop() {
		timer.Reset(time.Second)
		<-timer.C
	}
	after, seconds := readUsage(b, pid), time.Since(start).Seconds()
	b.ReportMetric(float64(after.rss)/1e6, "rss-MB")
	b.ReportMetric(100*(after.cpu-before.cpu).Seconds()/seconds, "cpu-%")
	b.ReportMetric(float64(after.written-before.written), "disk-bytes")
	b.ReportMetric(float64(after.switches-before.switches)/seconds, "wakeups/s")
	b.ReportMetric(float64(after.network-before.network)/seconds/1e3, "network-kB/s")
	info, err := os.Stat(testnet.Binary(b))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(info.Size())/1e6, "binary-MB")
	quiet(b)
}

// usage is what a process has used since its start; rss is now.
type usage struct {
	rss, written, switches, network uint64
	cpu                             time.Duration
}

// readUsage reads /proc for all threads of the process.
func readUsage(b *testing.B, pid int) (u usage) {
	proc := filepath.Join("/proc", strconv.Itoa(pid))
	u.rss = 1024 * field(b, proc+"/status", "VmRSS:", 1)
	u.written = field(b, proc+"/io", "write_bytes:", 1)
	u.network = field(b, proc+"/net/dev", "eth0:", 1) + field(b, proc+"/net/dev", "eth0:", 9)
	tasks, err := filepath.Glob(proc + "/task/*")
	if err != nil {
		b.Fatal(err)
	}
	for _, task := range tasks {
		u.switches += field(b, task+"/status", "voluntary_ctxt_switches:", 1)
		ns, err := os.ReadFile(task + "/schedstat")
		if err != nil {
			b.Fatal(err)
		}
		n, err := strconv.ParseInt(strings.Fields(string(ns))[0], 10, 64)
		if err != nil {
			b.Fatal(err)
		}
		u.cpu += time.Duration(n)
	}
	return u
}

// field returns the i-th word of the line that starts with key, as a number.
func field(b *testing.B, file, key string, i int) uint64 {
	f, err := os.Open(file)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if words := strings.Fields(lines.Text()); len(words) > i && words[0] == key {
			n, err := strconv.ParseUint(words[i], 10, 64)
			if err != nil {
				b.Fatal(err)
			}
			return n
		}
	}
	b.Fatalf("%s has no line %q", file, key)
	return 0
}
