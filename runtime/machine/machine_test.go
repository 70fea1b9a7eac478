package machine

import (
	"math"
	"os"
	"path/filepath"
	goruntime "runtime"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

func TestCgroupLimits(t *testing.T) {
	file := func(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s + "\n")} }
	const none = "9223372036854771712"
	tests := map[string]struct {
		tree fstest.MapFS
		want limits
	}{
		"no control groups": {fstest.MapFS{}, limits{}},
		"v2 in a container": {fstest.MapFS{
			"proc/self/cgroup":         file("0::/"),
			"sys/fs/cgroup/cpu.max":    file("150000 100000"),
			"sys/fs/cgroup/memory.max": file("536870912"),
		}, limits{1.5, 512 << 20}},
		"v2 without limits": {fstest.MapFS{
			"proc/self/cgroup": file("0::/system.slice/hearth.service"),
			"sys/fs/cgroup/system.slice/hearth.service/cpu.max": file("max 100000"),
			"sys/fs/cgroup/system.slice/memory.max":             file("max"),
		}, limits{}},
		"v2, a parent is stricter": {fstest.MapFS{
			"proc/self/cgroup":             file("0::/a/b"),
			"sys/fs/cgroup/a/b/cpu.max":    file("400000 100000"),
			"sys/fs/cgroup/a/cpu.max":      file("200000 100000"),
			"sys/fs/cgroup/a/b/memory.max": file("1073741824"),
			"sys/fs/cgroup/a/memory.max":   file("2147483648"),
		}, limits{2, 1 << 30}},
		"v1 in a container that sees the host's path": {fstest.MapFS{
			"proc/self/cgroup":                            file("4:memory:/docker/abc\n2:cpu,cpuacct:/docker/abc\n0::/docker/abc"),
			"sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us":  file("50000"),
			"sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": file("100000"),
			"sys/fs/cgroup/memory/memory.limit_in_bytes":  file("268435456"),
		}, limits{0.5, 256 << 20}},
		"v1, controllers mounted apart": {fstest.MapFS{
			"proc/self/cgroup":                           file("2:cpuacct:/x\n1:cpu:/g"),
			"sys/fs/cgroup/cpu/g/cpu.cfs_quota_us":       file("300000"),
			"sys/fs/cgroup/cpu/g/cpu.cfs_period_us":      file("100000"),
			"sys/fs/cgroup/cpuacct/x/cpu.cfs_quota_us":   file("1"),
			"sys/fs/cgroup/memory/memory.limit_in_bytes": file("1"),
		}, limits{3, 0}},
		"v1 without limits": {fstest.MapFS{
			"proc/self/cgroup":                             file("4:memory:/g\n1:cpu:/g"),
			"sys/fs/cgroup/cpu/g/cpu.cfs_quota_us":         file("-1"),
			"sys/fs/cgroup/cpu/g/cpu.cfs_period_us":        file("100000"),
			"sys/fs/cgroup/memory/g/memory.limit_in_bytes": file(none),
		}, limits{0, 9223372036854771712}},
		"both": {fstest.MapFS{
			"proc/self/cgroup": file("4:memory:/g\n0::/h"),
			"sys/fs/cgroup/memory/g/memory.limit_in_bytes": file("1000"),
			"sys/fs/cgroup/unified/h/cpu.max":              file("100000 100000"),
		}, limits{1, 1000}},
		"nonsense": {fstest.MapFS{
			"proc/self/cgroup":         file("0::/\nx\n::::\n9:cpu"),
			"sys/fs/cgroup/cpu.max":    file("many 0"),
			"sys/fs/cgroup/memory.max": file("-5"),
		}, limits{}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := cgroupLimits(test.tree); got != test.want {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
		})
	}
}

func TestLendsAtMostWhatThereIs(t *testing.T) {
	m, err := New(Config{CPUs: 1 << 20, Memory: 1 << 60, Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	if m.CPUs != m.TotalCPUs || m.Memory != m.TotalMemory || m.CPUs <= 0 || int(m.CPUs) > goruntime.NumCPU() || m.Memory < 1<<20 {
		t.Errorf("lends %v of %v cores, %v of %v bytes", m.CPUs, m.TotalCPUs, m.Memory, m.TotalMemory)
	}
	m, err = New(Config{CPUs: 0.25, Memory: 1 << 20, Dir: t.TempDir()})
	if err != nil || m.CPUs != 0.25 || m.Memory != 1<<20 {
		t.Errorf("lends %v cores, %v bytes, %v; asked for 0.25 and 1 MiB", m.CPUs, m.Memory, err)
	}
	for _, cpus := range []protocol.Cores{-1, protocol.Cores(math.NaN())} {
		if _, err := New(Config{CPUs: cpus}); err == nil {
			t.Errorf("%v cores: no error", cpus)
		}
	}
}

func TestDefaultMemory(t *testing.T) {
	for total, want := range map[protocol.Bytes]protocol.Bytes{
		10 << 30:  8 << 30,
		1 << 30:   768 << 20,
		400 << 20: 200 << 20,
	} {
		if got := defaultMemory(total); got != want {
			t.Errorf("of %d: %d, want %d", total, got, want)
		}
	}
}

func TestOthers(t *testing.T) {
	start := time.Now()
	from := reading{at: start, busy: 100, total: 1000, own: 5}
	// After 10 s on a machine with 4 cores, of which 3 were busy, half a core
	// of it this process.
	to := reading{at: start.Add(10 * time.Second), busy: 130, total: 1040, own: 10}
	tests := []struct {
		name              string
		to                reading
		lent, taken, want protocol.Cores
	}{
		{"nothing runs", to, 4, 0, 2.5},
		{"executions run", to, 4, 2, 0.5},
		{"executions do not use all", to, 4, 4, 0},
		{"others use what is not lent", to, 1, 0, 0},
		{"others use some of what is lent", to, 2, 0, 0.5},
		{"no time went by", from, 4, 0, 0},
	}
	for _, test := range tests {
		if got := others(from, test.to, 4, test.lent, test.taken); math.Abs(float64(got-test.want)) > 1e-9 {
			t.Errorf("%s: %v cores, want %v", test.name, got, test.want)
		}
	}
}

// What an execution used before it ended is not told as the use of others.
func TestAverageWeighsByTime(t *testing.T) {
	start := time.Now()
	a := average{since: start, at: start}
	if got := a.to(start, 2); got != 2 {
		t.Errorf("at once: %v", got)
	}
	if got := a.to(start.Add(3*time.Second), 0); got != 2 {
		t.Errorf("2 cores all the time: %v", got)
	}
	if got := a.to(start.Add(4*time.Second), 1); math.Abs(float64(got)-1.5) > 1e-9 {
		t.Errorf("2 cores for 3 of 4 s: %v", got)
	}
}

func TestSample(t *testing.T) {
	dir := t.TempDir()
	m, err := New(Config{Dir: filepath.Join(dir, "not", "there")})
	if err != nil {
		t.Fatal(err)
	}
	s, err := m.Sample(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	if s.MemoryAvailable == 0 || s.MemoryAvailable > m.TotalMemory || s.DiskFree == 0 || s.CPUOthers != 0 {
		t.Errorf("strange sample of %+v: %+v", m, s)
	}
	m.last.at = m.last.at.Add(-minWindow) // as if a second had gone by
	if s, err = m.Sample(t.Context(), 0); err != nil || s.CPUOthers < 0 || s.CPUOthers > m.CPUs {
		t.Errorf("others use %v cores of %v, %v", s.CPUOthers, m.CPUs, err)
	}
}

func BenchmarkSample(b *testing.B) {
	m, err := New(Config{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		m.last.at = time.Time{}
		if _, err := m.Sample(b.Context(), 0); err != nil {
			b.Fatal(err)
		}
	}
}

func TestBenchmarkIsKept(t *testing.T) {
	dir := t.TempDir()
	speed, err := Benchmark(t.Context(), dir)
	if err != nil || speed < 0.001 || speed > 100 {
		t.Fatalf("speed %v, %v", speed, err)
	}
	file := filepath.Join(dir, speedFile)
	before, err := os.Stat(file)
	if err != nil || before.Mode().Perm() != 0o600 {
		t.Fatalf("%v, %v", before, err)
	}
	again, err := Benchmark(t.Context(), dir)
	after, statErr := os.Stat(file)
	if err != nil || statErr != nil || again != speed || !os.SameFile(before, after) {
		t.Errorf("measured again: %v then %v, %v, %v", speed, again, err, statErr)
	}
}

func TestBenchmarkIsRepeated(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, speedFile)
	same := fingerprint(t.Context(), os.DirFS("/"))
	for name, change := range map[string]func(*hardware){
		"board":   func(hw *hardware) { hw.Board += "x" },
		"model":   func(hw *hardware) { hw.Model += "x" },
		"clock":   func(hw *hardware) { hw.KHz++ },
		"cores":   func(hw *hardware) { hw.Cores++ },
		"arch":    func(hw *hardware) { hw.Arch += "x" },
		"mixture": func(hw *hardware) { hw.Mixture++ },
	} {
		other := same
		change(&other)
		if err := save(file, measurement{Speed: 77, Hardware: other}); err != nil {
			t.Fatal(err)
		}
		if speed, err := Benchmark(t.Context(), dir); err != nil || speed == 77 {
			t.Errorf("the speed of other hardware was taken, which differed in its %s: %v, %v", name, speed, err)
		}
		if kept, err := load(file); err != nil || kept.Hardware != same {
			t.Errorf("kept %+v, %v", kept, err)
		}
	}
	for _, text := range []string{"", "{", `{"speed":-1}`, string(make([]byte, maxFile+1))} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if speed, err := Benchmark(t.Context(), dir); err != nil || speed <= 0 {
			t.Errorf("after %.10q: %v, %v", text, speed, err)
		}
		if kept, err := load(file); err != nil || kept.Speed <= 0 {
			t.Errorf("after %.10q not kept: %+v, %v", text, kept, err)
		}
	}
}

func TestFingerprint(t *testing.T) {
	const clock = "sys/devices/system/cpu/cpufreq/policy"
	for name, test := range map[string]struct {
		files map[string]string
		board string
		khz   uint64
	}{
		"nothing known": {nil, "", 0},
		"a board": {map[string]string{
			"proc/device-tree/model":     "Raspberry Pi 4 Model B Rev 1.4\x00",
			clock + "0/cpuinfo_max_freq": "1800000",
		}, "Raspberry Pi 4 Model B Rev 1.4", 1_800_000},
		"a PC": {map[string]string{
			"sys/class/dmi/id/product_name": "NUC",
			clock + "0/cpuinfo_max_freq":    "3200000", clock + "4/cpuinfo_max_freq": "4700000", clock + "5/cpuinfo_max_freq": "x",
		}, "NUC", 4_700_000},
		"a name cut within a letter": {map[string]string{"proc/device-tree/model": strings.Repeat("a", maxBoard-1) + "é"}, strings.Repeat("a", maxBoard-1), 0},
		"a long name":                {map[string]string{"proc/device-tree/model": strings.Repeat("a", 1000)}, strings.Repeat("a", maxBoard), 0},
	} {
		root := tree(test.files)
		if got := fingerprint(t.Context(), root); got.Board != test.board || got.KHz != test.khz || got.Cores < 1 || got.Arch == "" {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestSpeedIsThatOfTheFullClock(t *testing.T) {
	for _, c := range []struct{ speed, before, after, want float64 }{
		{1, 0, 0, 1}, {1, 0.5, 0.5, 2}, {1, 0, 0.5, 4.0 / 3}, {1, 1, 1, 10},
	} {
		if got := atFullClock(c.speed, c.before, c.after); math.Abs(got-c.want) > 1e-9 {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

func TestBenchmarkThatCannotBeKept(t *testing.T) {
	speed, err := Benchmark(t.Context(), filepath.Join(t.TempDir(), "missing"))
	if err == nil || speed <= 0 {
		t.Errorf("speed %v, %v; want both a speed and an error", speed, err)
	}
}

func TestWorkMeetsWholeTable(t *testing.T) {
	w := newWork()
	n, at := 1, w.table[0]
	for ; at != 0; n++ {
		at = w.table[at]
	}
	if n != tableSize {
		t.Errorf("the walk meets %d of %d", n, tableSize)
	}
}

func BenchmarkSpeed(b *testing.B) {
	var speed float64
	for b.Loop() {
		var err error
		if speed, err = measure(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(speed, "speed")
}
