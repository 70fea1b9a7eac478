package report

import (
	"fmt"
	"os"
	goruntime "runtime"
	"strconv"
	"strings"
)

// Machine says where it was measured, and how much else there was to do: Load is
// the number of processes that wanted to run, over a minute, before and after.
type Machine struct {
	Processor string     `json:"processor"`
	Cores     int        `json:"cores"`
	Memory    uint64     `json:"memory_bytes"`
	Kernel    string     `json:"kernel"`
	Go        string     `json:"go"`
	Load      [2]float64 `json:"load"`
}

func (m *Machine) String() string {
	return fmt.Sprintf("%s, %d cores, %.0f GB of memory; %s; %s; load %.1f before, %.1f after",
		m.Processor, m.Cores, float64(m.Memory)/1e9, m.Kernel, m.Go, m.Load[0], m.Load[1])
}

// thisMachine describes the machine that this runs on, of which anything but its
// cores may stay unknown.
func thisMachine() Machine {
	m := Machine{Processor: "unknown", Cores: goruntime.NumCPU(), Go: goruntime.Version() + " " + goruntime.GOARCH, Kernel: "unknown"}
	if name := lineOf("/proc/cpuinfo", "model name"); name != "" {
		m.Processor = name
	}
	if text, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		version, _, _ := strings.Cut(strings.TrimSpace(string(text)), "-") // what follows names who built it
		m.Kernel = "Linux " + version
	}
	if kib, err := strconv.ParseUint(strings.TrimSuffix(lineOf("/proc/meminfo", "MemTotal"), " kB"), 10, 64); err == nil {
		m.Memory = 1024 * kib
	}
	m.Load[0] = load()
	return m
}

// lineOf returns what a file of /proc says after a key and a colon.
func lineOf(file, key string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		if k, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == key {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// load is the number of processes that wanted to run in the last minute.
func load() float64 {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return 0
	}
	one, _, _ := strings.Cut(string(text), " ")
	n, err := strconv.ParseFloat(one, 64)
	if err != nil {
		return 0
	}
	return n
}
