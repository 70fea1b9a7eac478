package machine

import (
	"io/fs"
	"math"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	// minHeat is the least time between two looks at sensors: each is a file,
	// and some ask a chip.
	minHeat = 5 * time.Second
	// maxSensors bounds how many zones, chips, cores and clocks are looked at.
	maxSensors = 64
	// Temperatures outside of these, in °C, are those of sensors that are off.
	coldest, hottest = 1, 150
	// What is told, in units of so much, stays as it is until it is off by the
	// step: sensors tremble.
	temperatureUnit, temperatureStep = 1, 2
	throttledUnit, throttledStep     = 0.05, 0.04

	// hotLoss is what a core is taken to lose while it is too hot: processors
	// skip about every other clock then.
	hotLoss = 0.5
	// A Raspberry Pi's firmware does not tell the clock. When it throttles, the
	// clock is about half of the full one; at its soft limit 1.2 of 1.4 GHz.
	cappedLoss, softLoss = 0.5, 0.15
)

// Flags of a Raspberry Pi's firmware that speak of now.
const (
	piCapped = 1 << (iota + 1)
	piThrottled
	piSoftLimit
)

// heat is what the sensors say at one time.
type heat struct {
	// temperature of the hottest, in °C; 0 is unknown.
	temperature float64
	// clock is the share of the full clock that is not allowed now, firmware
	// the share that is lost by what the board's firmware says.
	clock, firmware float64
	// events counts how often cores were too hot, and hot is for how long, of
	// all the cores that tell.
	events uint64
	hot    time.Duration
	cores  int // that tell hot
}

// readHeat reads all sensors; root is the root of the file system. What cannot
// be read, or makes no sense, is not there.
func readHeat(root fs.FS) heat {
	h := heat{temperature: temperature(root), clock: clockLimit(root), firmware: firmwareLoss(root)}
	h.readCores(root)
	return h
}

// lost returns the share of the full speed that is lost at the end of a window,
// in which the sensors went from one state to another.
func lost(from, to heat, window time.Duration) float64 {
	var hot float64 // share of the time
	switch {
	case to.cores > 0 && to.cores == from.cores && to.hot > from.hot && window > 0:
		hot = min(float64(to.hot-from.hot)/float64(to.cores)/float64(window), 1)
	case to.cores == 0 && to.events > from.events && from.events > 0:
		hot = 1
	}
	return max(to.clock, to.firmware, hot*hotLoss)
}

// temperature returns that of the hottest of the kernel's zones and the
// processor's own sensors. Those of batteries do not slow programs down; a
// radio's is not asked, since that wakes it.
func temperature(root fs.FS) float64 {
	var top float64
	note := func(file string) {
		milli, err := strconv.ParseFloat(readFile(root, file), 64)
		if celsius := milli / 1000; err == nil && celsius >= coldest && celsius <= hottest {
			top = max(top, celsius)
		}
	}
	for _, zone := range children(root, "sys/class/thermal", "thermal_zone") {
		kind := strings.ToLower(readFile(root, zone+"/type"))
		if !containsAny(kind, "iwlwifi", "wifi", "wlan", "batt", "charger", "nvme") {
			note(zone + "/temp")
		}
	}
	for _, chip := range children(root, "sys/class/hwmon", "hwmon") {
		// The first sensor is the whole package's; each core's own would have
		// to be woken up for it.
		if slices.Contains([]string{"coretemp", "k10temp", "k8temp", "zenpower", "cpu_thermal"}, readFile(root, chip+"/name")) {
			note(chip + "/temp1_input")
		}
	}
	return top
}

// clockLimit returns the share of the full clock that is not allowed now, over
// all clocks: the kernel's way to cool, and an owner's to save power.
func clockLimit(root fs.FS) float64 {
	var full, allowed float64
	for _, policy := range children(root, "sys/devices/system/cpu/cpufreq", "policy") {
		most, errMost := strconv.ParseUint(readFile(root, policy+"/cpuinfo_max_freq"), 10, 32)
		now, errNow := strconv.ParseUint(readFile(root, policy+"/scaling_max_freq"), 10, 32)
		if errMost != nil || errNow != nil || most == 0 || now == 0 {
			continue
		}
		full += float64(most)
		allowed += float64(min(now, most))
	}
	if full == 0 {
		return 0
	}
	return 1 - allowed/full
}

// firmwareLoss returns what a Raspberry Pi loses by what its firmware says.
func firmwareLoss(root fs.FS) float64 {
	for _, device := range children(root, "sys/bus/platform/drivers/raspberrypi-firmware", "") {
		text := strings.TrimPrefix(readFile(root, device+"/get_throttled"), "0x")
		flags, err := strconv.ParseUint(text, 16, 32)
		switch {
		case err != nil:
		case flags&(piCapped|piThrottled) != 0:
			return cappedLoss
		case flags&piSoftLimit != 0:
			return softLoss
		}
	}
	return 0
}

// readCores reads the counters that x86 processors keep of being too hot, each
// core by itself or the package as a whole, whichever is worse.
func (h *heat) readCores(root fs.FS) {
	for _, cpu := range children(root, "sys/devices/system/cpu", "cpu") {
		if _, err := strconv.ParseUint(strings.TrimPrefix(path.Base(cpu), "cpu"), 10, 16); err != nil {
			continue
		}
		read := func(what string) (uint64, bool) {
			core, errCore := strconv.ParseUint(readFile(root, cpu+"/thermal_throttle/core_"+what), 10, 48)
			all, errAll := strconv.ParseUint(readFile(root, cpu+"/thermal_throttle/package_"+what), 10, 48)
			return max(core, all), errCore == nil || errAll == nil
		}
		// Kernels before 5.6 only count.
		if ms, ok := read("throttle_total_time_ms"); ok {
			h.hot += time.Duration(min(ms, math.MaxInt64/uint64(maxSensors*time.Millisecond))) * time.Millisecond
			h.cores++
		} else if count, ok := read("throttle_count"); ok {
			h.events += count + 1 // so that it is not 0 where they can be read
		}
	}
}

// children returns the paths of what in a folder has a name with that prefix,
// at most maxSensors of them.
func children(root fs.FS, folder, prefix string) []string {
	entries, err := fs.ReadDir(root, folder)
	if err != nil {
		return nil
	}
	var paths []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), prefix) && len(paths) < maxSensors {
			paths = append(paths, path.Join(folder, e.Name()))
		}
	}
	return paths
}

func containsAny(s string, parts ...string) bool {
	return slices.ContainsFunc(parts, func(part string) bool { return strings.Contains(s, part) })
}

// steady returns what is to be told of a value: what was told last, unless it
// has come or gone or is off by a step; else the value in whole units.
func steady(told, value, step, unit float64) float64 {
	if (value == 0) == (told == 0) && math.Abs(value-told) < step {
		return told
	}
	return math.Round(value/unit) * unit
}
