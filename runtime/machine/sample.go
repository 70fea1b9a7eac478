package machine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"syscall"
	"time"

	"github.com/shirou/gopsutil/v4/cpu"
	"github.com/shirou/gopsutil/v4/disk"
	"github.com/shirou/gopsutil/v4/mem"

	"github.com/hearth-edge/hearth/protocol"
)

// minWindow is over how much time processor use is averaged at least: the
// kernel counts in hundredths of a second.
const minWindow = time.Second

// newest is the weight of the newest window in the moving average of what
// others use: about three windows count.
const newest = 0.5

// A Sample is how the machine is doing.
type Sample struct {
	// CPUOthers is how many of the cores lent are used by other programs than
	// hearth and its containers, averaged over some seconds.
	CPUOthers protocol.Cores
	// MemoryAvailable is what new programs could get without swapping.
	MemoryAvailable protocol.Bytes
	// DiskFree is what is left in the file system of Config.Dir.
	DiskFree protocol.Bytes
	// Temperature is that of the hottest sensor in whole °C; 0 is not known.
	Temperature float64
	// Throttled is the share of the full speed, which is what Benchmark tells,
	// that is lost now to heat, want of power or a limit of the clock: 0 to 1,
	// in twentieths. It and Temperature are a few seconds old at most, and stay
	// as they are while they change by little.
	Throttled float64
}

// Sample measures, in some 100 µs. taken is how many cores the executions that
// run from now on were given, so it is to be called when that changes: they are
// taken to use them all. They may use less, and
// then others' use is told too low by the difference; but looking at each
// container's own counters would depend on the engine, on where it keeps its
// control groups and on who may read them, and an execution that was given a
// core may use it at any moment, so nobody else could be promised it.
func (m *Machine) Sample(ctx context.Context, taken protocol.Cores) (Sample, error) {
	memory, err := mem.VirtualMemoryWithContext(ctx)
	if err != nil {
		return Sample{}, fmt.Errorf("read how much memory is free: %w", err)
	}
	free, err := diskFree(ctx, m.dir)
	if err != nil {
		return Sample{}, err
	}
	others, err := m.sampleCPU(taken)
	if err != nil {
		return Sample{}, err
	}
	s := Sample{
		CPUOthers:       others,
		MemoryAvailable: min(protocol.Bytes(memory.Available), m.TotalMemory),
		DiskFree:        free,
	}
	s.Temperature, s.Throttled = m.sampleHeat(time.Now())
	return s, nil
}

func (m *Machine) sampleHeat(now time.Time) (temperature, throttled float64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if window := now.Sub(m.heatAt); m.heatAt.IsZero() || window >= minHeat {
		heat := readHeat(m.root)
		m.temperature = steady(m.temperature, heat.temperature, temperatureStep, temperatureUnit)
		m.throttled = steady(m.throttled, lost(m.heat, heat, window), throttledStep, throttledUnit)
		m.heat, m.heatAt = heat, now
	}
	return m.temperature, m.throttled
}

func (m *Machine) sampleCPU(taken protocol.Cores) (protocol.Cores, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	given := m.taken.to(time.Now(), taken)
	if time.Since(m.last.at) < minWindow {
		return m.others, nil
	}
	now, err := read()
	if err != nil {
		return 0, err
	}
	m.others += newest * (others(m.last, now, m.hardware, m.CPUs, given) - m.others)
	m.last, m.taken = now, average{since: now.at, at: now.at, value: taken}
	return m.others, nil
}

// average is that of a value that changes in steps, weighted by time.
type average struct {
	since, at time.Time
	value     protocol.Cores // from at on
	sum       float64        // core-seconds from since to at
}

// to returns the average from since until now, when the value becomes next.
func (a *average) to(now time.Time, next protocol.Cores) protocol.Cores {
	a.sum += float64(a.value) * now.Sub(a.at).Seconds()
	a.at, a.value = now, next
	whole := now.Sub(a.since).Seconds()
	if whole <= 0 {
		return next
	}
	return protocol.Cores(a.sum / whole)
}

// reading is what the counters of processor time say, in seconds.
type reading struct {
	at          time.Time
	busy, total float64 // of all cores
	own         float64 // of this process
}

func read() (reading, error) {
	all, err := cpu.Times(false)
	if err == nil && len(all) == 0 {
		err = errors.New("no processor found")
	}
	if err != nil {
		return reading{}, fmt.Errorf("read how busy the processor is: %w", err)
	}
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return reading{}, fmt.Errorf("read how busy this process is: %w", err)
	}
	t := all[0]
	// Guests' time is in User and Nice already. Stolen time is used by others.
	busy := t.User + t.Nice + t.System + t.Irq + t.Softirq + t.Steal
	return reading{
		at:    time.Now(),
		busy:  busy,
		total: busy + t.Idle + t.Iowait,
		own:   time.Duration(usage.Utime.Nano() + usage.Stime.Nano()).Seconds(),
	}, nil
}

// others returns how many of the cores lent are used by other programs. What
// they use beside those does not count: a machine that lends 2 of its 16 cores
// and uses 10 itself still has its 2.
func others(from, to reading, hardware, lent, taken protocol.Cores) protocol.Cores {
	wall := to.at.Sub(from.at).Seconds()
	if to.total <= from.total || wall <= 0 {
		return 0
	}
	busy := (to.busy - from.busy) / (to.total - from.total) * float64(hardware)
	used := busy - (to.own-from.own)/wall - min(busy, float64(taken))
	return max(min(protocol.Cores(used)-max(hardware-lent, 0), lent), 0)
}

// diskFree returns what an unprivileged program can still write below dir.
func diskFree(ctx context.Context, dir string) (protocol.Bytes, error) {
	for dir = filepath.Clean(dir); ; dir = filepath.Dir(dir) {
		usage, err := disk.UsageWithContext(ctx, dir)
		switch {
		case err == nil:
			return protocol.Bytes(usage.Free), nil
		case !errors.Is(err, fs.ErrNotExist) || dir == filepath.Dir(dir):
			return 0, fmt.Errorf("read how much space is left in %s: %w", dir, err)
		}
	}
}
