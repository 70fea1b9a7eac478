package machine

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"
	"time"
)

// tree makes a file system of small files.
func tree(files map[string]string) fstest.MapFS {
	root := fstest.MapFS{}
	for name, text := range files {
		root[name] = &fstest.MapFile{Data: []byte(text + "\n")}
	}
	return root
}

func TestReadHeat(t *testing.T) {
	const (
		zone    = "sys/class/thermal/thermal_zone"
		hwmon   = "sys/class/hwmon/hwmon"
		clock   = "sys/devices/system/cpu/cpufreq/policy"
		pi      = "sys/bus/platform/drivers/raspberrypi-firmware/soc:firmware/get_throttled"
		cpu     = "sys/devices/system/cpu/cpu"
		nothing = "-274000"
	)
	tests := map[string]struct {
		files map[string]string
		want  heat
	}{
		"nothing to read": {nil, heat{}},
		"the hottest zone": {map[string]string{
			zone + "0/type": "acpitz", zone + "0/temp": "27800",
			zone + "1/type": "x86_pkg_temp", zone + "1/temp": "61000",
			zone + "2/type": "pch_skylake", zone + "2/temp": "48500",
		}, heat{temperature: 61}},
		"not of programs' concern": {map[string]string{
			zone + "0/type": "iwlwifi_1", zone + "0/temp": "90000",
			zone + "1/type": "BAT0-battery", zone + "1/temp": "50000",
			hwmon + "0/name": "nvme", hwmon + "0/temp1_input": "70000",
			hwmon + "1/name": "k10temp", hwmon + "1/temp1_input": "41250",
		}, heat{temperature: 41.25}},
		"sensors that are off or talk nonsense": {map[string]string{
			zone + "0/type": "a", zone + "0/temp": nothing,
			zone + "1/type": "b", zone + "1/temp": "999999",
			zone + "2/type": "c", zone + "2/temp": "hot",
			zone + "3/type": "d", zone + "3/temp": "",
			zone + "4/temp": "NaN",
			zone + "5/temp": "0",
			zone + "6/temp": "Inf",
		}, heat{}},
		"a zone without a type": {map[string]string{zone + "0/temp": "33000"}, heat{temperature: 33}},
		"clocks held back": {map[string]string{
			clock + "0/cpuinfo_max_freq": "1800000", clock + "0/scaling_max_freq": "1800000",
			clock + "4/cpuinfo_max_freq": "2200000", clock + "4/scaling_max_freq": "1200000",
		}, heat{clock: 0.25}},
		"clocks at full": {map[string]string{
			clock + "0/cpuinfo_max_freq": "1800000", clock + "0/scaling_max_freq": "1900000",
		}, heat{}},
		"clocks that make no sense": {map[string]string{
			clock + "0/cpuinfo_max_freq": "0", clock + "0/scaling_max_freq": "1",
			clock + "1/cpuinfo_max_freq": "1800000",
			clock + "2/cpuinfo_max_freq": "fast", clock + "2/scaling_max_freq": "1",
			clock + "3/cpuinfo_max_freq": "1800000", clock + "3/scaling_max_freq": "99999999999999999999",
			clock + "4/cpuinfo_max_freq": "1800000", clock + "4/scaling_max_freq": "0",
		}, heat{}},
		"a Pi without enough power":  {map[string]string{pi: "50005"}, heat{firmware: cappedLoss}},
		"a Pi at its clock's limit":  {map[string]string{pi: "0x2"}, heat{firmware: cappedLoss}},
		"a Pi at its soft limit":     {map[string]string{pi: "80008"}, heat{firmware: softLoss}},
		"a Pi that was too hot":      {map[string]string{pi: "e0000"}, heat{}},
		"a Pi that is low on power":  {map[string]string{pi: "1"}, heat{}},
		"a Pi that talks nonsense":   {map[string]string{pi: "throttled"}, heat{}},
		"a Pi with too large a word": {map[string]string{pi: "ffffffffffffffff"}, heat{}},
		"cores that were hot for some time": {map[string]string{
			cpu + "0/thermal_throttle/core_throttle_total_time_ms":    "300",
			cpu + "0/thermal_throttle/package_throttle_total_time_ms": "1000",
			cpu + "0/thermal_throttle/core_throttle_count":            "7",
			cpu + "1/thermal_throttle/core_throttle_total_time_ms":    "500",
			cpu + "freq/thermal_throttle/core_throttle_total_time_ms": "1",
		}, heat{hot: 1500 * time.Millisecond, cores: 2}},
		"cores that only count": {map[string]string{
			cpu + "0/thermal_throttle/core_throttle_count":    "7",
			cpu + "0/thermal_throttle/package_throttle_count": "9",
			cpu + "1/thermal_throttle/core_throttle_count":    "0",
		}, heat{events: 11}},
		"counters that make no sense": {map[string]string{
			cpu + "0/thermal_throttle/core_throttle_total_time_ms": "99999999999999999999",
			cpu + "1/thermal_throttle/core_throttle_count":         "-1",
		}, heat{}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got := readHeat(tree(test.files))
			if math.Abs(got.clock-test.want.clock) < 1e-9 {
				got.clock = test.want.clock
			}
			if got != test.want {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
		})
	}
}

func TestReadHeatIsBounded(t *testing.T) {
	files := make(map[string]string)
	for i := range 1000 {
		files[fmt.Sprintf("sys/devices/system/cpu/cpu%d/thermal_throttle/core_throttle_total_time_ms", i)] = "200000000000000"
	}
	if h := readHeat(tree(files)); h.cores != maxSensors || h.hot <= 0 {
		t.Errorf("%+v", h)
	}
}

func TestLost(t *testing.T) {
	const s = time.Second
	tests := []struct {
		name     string
		from, to heat
		window   time.Duration
		want     float64
	}{
		{"nothing", heat{}, heat{}, 5 * s, 0},
		{"the clock", heat{}, heat{clock: 0.4}, 5 * s, 0.4},
		{"the worst counts", heat{}, heat{clock: 0.1, firmware: 0.5}, 5 * s, 0.5},
		{"not what was before", heat{clock: 0.4, firmware: 0.5}, heat{}, 5 * s, 0},
		{"one of two cores was hot for half the time", heat{cores: 2, hot: 10 * s}, heat{cores: 2, hot: 15 * s}, 10 * s, hotLoss / 4},
		{"hot for longer than there was time", heat{cores: 1}, heat{cores: 1, hot: 60 * s}, 5 * s, hotLoss},
		{"hot once, long ago", heat{cores: 1, hot: 9 * s}, heat{cores: 1, hot: 9 * s}, 5 * s, 0},
		{"first look", heat{}, heat{cores: 4, hot: 900 * s}, math.MaxInt64, 0},
		{"counters start over", heat{cores: 1, hot: 900 * s}, heat{cores: 1}, 5 * s, 0},
		{"no time went by", heat{cores: 1}, heat{cores: 1, hot: 1}, 0, 0},
		{"a count that grows", heat{events: 3}, heat{events: 4}, 5 * s, hotLoss},
		{"a count seen first", heat{}, heat{events: 4}, 5 * s, 0},
	}
	for _, test := range tests {
		if got := lost(test.from, test.to, test.window); math.Abs(got-test.want) > 1e-9 {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
	}
}

func TestSteady(t *testing.T) {
	var told float64
	for i, step := range []struct{ value, want float64 }{
		{0, 0}, {40.4, 40}, {41.9, 40}, {38.1, 40}, {42, 42}, {40.1, 42}, {39.9, 40}, {0, 0}, {0.6, 1},
	} {
		if told = steady(told, step.value, temperatureStep, temperatureUnit); told != step.want {
			t.Errorf("step %d, %v: told %v, want %v", i, step.value, told, step.want)
		}
	}
}

// TestSampleHeat: what is told follows the sensors, some seconds apart.
func TestSampleHeat(t *testing.T) {
	root := tree(map[string]string{
		"sys/class/thermal/thermal_zone0/temp":                    "50000",
		"sys/devices/system/cpu/cpufreq/policy0/cpuinfo_max_freq": "2000000",
		"sys/devices/system/cpu/cpufreq/policy0/scaling_max_freq": "2000000",
	})
	m := &Machine{root: root}
	start := time.Now()
	look := func(after time.Duration, temperature, throttled float64) {
		t.Helper()
		if gotT, gotL := m.sampleHeat(start.Add(after)); gotT != temperature || math.Abs(gotL-throttled) > 1e-9 {
			t.Errorf("after %v: %v °C, %v lost; want %v, %v", after, gotT, gotL, temperature, throttled)
		}
	}
	look(0, 50, 0)
	root["sys/class/thermal/thermal_zone0/temp"].Data = []byte("85300\n")
	root["sys/devices/system/cpu/cpufreq/policy0/scaling_max_freq"].Data = []byte("1190000\n")
	look(minHeat-1, 50, 0)
	look(minHeat, 85, 0.4)
	delete(root, "sys/class/thermal/thermal_zone0/temp")
	root["sys/devices/system/cpu/cpufreq/policy0/scaling_max_freq"].Data = []byte("2000000\n")
	look(2*minHeat, 0, 0)
}

// BenchmarkReadHeat measures a look at this machine's sensors, and at those of
// one with 16 cores and 12 sensors.
func BenchmarkReadHeat(b *testing.B) {
	dir := b.TempDir()
	put := func(text, format string, args ...any) {
		file := filepath.Join(dir, fmt.Sprintf(format, args...))
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text+"\n"), 0o600); err != nil {
			b.Fatal(err)
		}
	}
	for i := range 16 {
		put("4000000", "sys/devices/system/cpu/cpufreq/policy%d/cpuinfo_max_freq", i)
		put("4000000", "sys/devices/system/cpu/cpufreq/policy%d/scaling_max_freq", i)
		put("1", "sys/devices/system/cpu/cpu%d/thermal_throttle/core_throttle_total_time_ms", i)
		put("1", "sys/devices/system/cpu/cpu%d/thermal_throttle/package_throttle_total_time_ms", i)
	}
	for i := range 12 {
		put("acpitz", "sys/class/thermal/thermal_zone%d/type", i)
		put("40000", "sys/class/thermal/thermal_zone%d/temp", i)
	}
	for name, root := range map[string]string{"this": "/", "16cores": dir} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				readHeat(os.DirFS(root))
			}
		})
	}
}
