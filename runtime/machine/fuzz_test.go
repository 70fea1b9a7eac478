package machine

import (
	"math"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"
)

// FuzzSpeed: whatever the file of the measured speed holds, reading it ends.
func FuzzSpeed(f *testing.F) {
	f.Add([]byte(`{"speed":1.5,"hardware":{"board":"b","model":"m","khz":1000,"cores":4,"arch":"arm64","mixture":1}}`))
	f.Add([]byte(`{"speed":1e309}`))
	file := filepath.Join(f.TempDir(), speedFile)
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if m, err := load(file); err == nil && (math.IsNaN(m.Speed) || math.IsInf(m.Speed, 0)) {
			t.Errorf("speed %v", m.Speed)
		}
	})
}

// FuzzKernelFiles: whatever the kernel's files say of limits, clocks, heat and
// devices, what is made of it are numbers to reckon with.
func FuzzKernelFiles(f *testing.F) {
	f.Add("0::/a/b", "50000 100000", "1073741824", "2000000")
	f.Add("4:cpu,cpuacct:/x\n5:memory:/y", "max 100000", "max", "-1")
	f.Add("0::/../..\n:::", "-1 0", "18446744073709551615", "1e309")
	f.Fuzz(func(t *testing.T, groups, cpu, memory, number string) {
		file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
		root := fstest.MapFS{
			"proc/self/cgroup":                                        file(groups),
			"sys/fs/cgroup/cpu.max":                                   file(cpu),
			"sys/fs/cgroup/memory.max":                                file(memory),
			"sys/fs/cgroup/a/cpu.max":                                 file(cpu),
			"sys/fs/cgroup/cpu/cpu.cfs_quota_us":                      file(cpu),
			"sys/fs/cgroup/cpu/cpu.cfs_period_us":                     file(number),
			"sys/fs/cgroup/memory/memory.limit_in_bytes":              file(memory),
			"proc/device-tree/model":                                  file(number + "\x00"),
			"sys/devices/system/cpu/cpufreq/policy0/scaling_max_freq": file(number),
			"sys/devices/system/cpu/cpufreq/policy0/cpuinfo_max_freq": file(cpu),
			"sys/class/thermal/thermal_zone0/temp":                    file(number),
			"sys/class/thermal/thermal_zone0/type":                    file(groups),
			"sys/devices/platform/soc/soc:firmware/get_throttled":     file(number),
		}
		if l := cgroupLimits(root); math.IsNaN(float64(l.cpus)) || l.cpus < 0 || math.IsInf(float64(l.cpus), 0) {
			t.Errorf("limits %+v", l)
		}
		for what, v := range map[string]float64{"clock limit": clockLimit(root), "firmware": firmwareLoss(root), "temperature": temperature(root)} {
			if math.IsNaN(v) || math.IsInf(v, 0) {
				t.Errorf("%s %v", what, v)
			}
		}
		if v := clockLimit(root); v < 0 || v > 1 {
			t.Errorf("the clock's limit takes away %v", v)
		}
		_ = readHeat(root)
		_, _ = board(root), fullClock(root)
		_ = findAccelerators(root)
	})
}
