package machine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	goruntime "runtime"
	"strconv"
	"strings"
	"time"

	"github.com/shirou/gopsutil/v4/cpu"
	"golang.org/x/sys/unix"
)

const (
	// reference is how long one slice takes on the device whose speed is 1: one
	// core of an x86-64 server of about 2.6 GHz.
	reference  = 5 * time.Millisecond
	mostSlices = 19
	// enough slices, where a slow device takes long for each.
	minSlices = 5
	// effort bounds the processor time of the whole measurement and patience how
	// long it takes a busy device, once there are enough slices.
	effort   = 150 * time.Millisecond
	patience = time.Second
	// mixture is the version of the work in a slice, and of how it is measured:
	// figures of another one cannot be compared.
	mixture   = 2
	speedFile = "speed.json"
	maxFile   = 4 << 10
	maxBoard  = 128 // bytes of its name
)

// measurement is what is kept in the state folder.
type measurement struct {
	Speed    float64  `json:"speed"`
	Hardware hardware `json:"hardware"`
}

// hardware is what the speed of a core depends on.
type hardware struct {
	// Board tells apart what has the same processor: a card or a disk may be
	// put into another one.
	Board string `json:"board"`
	Model string `json:"model"`
	// KHz is the highest clock that there is; 0 is not known.
	KHz     uint64 `json:"khz"`
	Cores   int    `json:"cores"`
	Arch    string `json:"arch"`
	Mixture int    `json:"mixture"`
}

// Benchmark returns the speed of one core relative to the reference device, at
// the full clock: what the clock's limit takes off now is in Sample.Throttled. It
// takes about 100 ms the first time, and is then kept in the folder dir until
// the hardware changes. An error with a speed above 0 says that it could not be
// kept.
func Benchmark(ctx context.Context, dir string) (float64, error) {
	root := os.DirFS("/")
	file, hw := filepath.Join(dir, speedFile), fingerprint(ctx, root)
	if kept, err := load(file); err == nil && kept.Hardware == hw && kept.Speed > 0 {
		return kept.Speed, nil
	}
	limit := clockLimit(root)
	speed, err := measure(ctx)
	if err != nil {
		return 0, err
	}
	speed = atFullClock(speed, limit, clockLimit(root))
	return speed, save(file, measurement{Speed: speed, Hardware: hw})
}

// atFullClock returns what a speed would have been, had the clock not been held
// back at its start and end by these shares.
func atFullClock(speed, before, after float64) float64 {
	return speed / max(1-(before+after)/2, 0.1)
}

func fingerprint(ctx context.Context, root fs.FS) hardware {
	hw := hardware{Board: board(root), KHz: fullClock(root), Cores: goruntime.NumCPU(), Arch: goruntime.GOARCH, Mixture: mixture}
	// Some boards do not tell their model; cores and architecture must do then.
	if info, err := cpu.InfoWithContext(ctx); err == nil && len(info) > 0 {
		hw.Model = info[0].ModelName
	}
	return hw
}

// board returns what the board is called, by its device tree or its firmware.
func board(root fs.FS) string {
	for _, file := range []string{"proc/device-tree/model", "sys/class/dmi/id/product_name"} {
		name := strings.TrimSpace(strings.TrimRight(readFile(root, file), "\x00"))
		if name != "" {
			return strings.ToValidUTF8(name[:min(len(name), maxBoard)], "") // as JSON keeps it
		}
	}
	return ""
}

// fullClock returns the highest clock that any core has.
func fullClock(root fs.FS) uint64 {
	var highest uint64
	for _, policy := range children(root, "sys/devices/system/cpu/cpufreq", "policy") {
		khz, err := strconv.ParseUint(readFile(root, policy+"/cpuinfo_max_freq"), 10, 32)
		if err == nil {
			highest = max(highest, khz)
		}
	}
	return highest
}

func load(file string) (measurement, error) {
	info, err := os.Stat(file)
	if err != nil {
		return measurement{}, err
	}
	if info.Size() > maxFile {
		return measurement{}, errors.New("too large")
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return measurement{}, err
	}
	var m measurement
	return m, json.Unmarshal(b, &m)
}

// save replaces the file as a whole, so that a crash leaves the old or the new.
// A power cut may leave neither: then the speed is measured anew.
func save(file string, m measurement) error {
	b, err := json.MarshalIndent(m, "", "\t")
	if err != nil {
		return fmt.Errorf("keep the measured speed: %w", err)
	}
	next := file + ".new"
	if err = os.WriteFile(next, append(b, '\n'), 0o600); err == nil {
		err = os.Rename(next, file)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		err = errors.Join(err, os.RemoveAll(next))
	}
	if err != nil {
		return fmt.Errorf("keep the measured speed: %w", err)
	}
	return nil
}

// measure runs the slices. The processor time that they take counts, and of each
// part the least: other programs that are busy just now do not make a core slow, but
// they empty its caches, and may be a virtual machine's neighbours.
func measure(ctx context.Context) (float64, error) {
	goruntime.LockOSThread() // whose time is read
	defer goruntime.UnlockOSThread()
	w := newWork()
	parts := []func(){w.arithmetic, w.hash, w.walk}
	for _, part := range parts {
		part() // warms caches and clock up
	}
	least, used, start := make([]time.Duration, len(parts)), time.Duration(0), time.Now()
	for n := 0; n < mostSlices && (n < minSlices || used < effort && time.Since(start) < patience); n++ {
		if err := ctx.Err(); err != nil {
			return 0, fmt.Errorf("measure the speed: %w", err)
		}
		for i, part := range parts {
			took, err := timed(part)
			if err != nil {
				return 0, err
			}
			used += took
			if n == 0 || took < least[i] {
				least[i] = took
			}
		}
	}
	slice := time.Duration(0)
	for _, took := range least {
		slice += took
	}
	return float64(reference) / float64(slice), nil
}

// timed returns the processor time that work takes of this thread.
func timed(work func()) (time.Duration, error) {
	before, err := threadTime()
	if err != nil {
		return 0, err
	}
	work()
	after, err := threadTime()
	return max(after-before, 1), err
}

// threadTime returns the processor time that this thread has had.
func threadTime() (time.Duration, error) {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		return 0, fmt.Errorf("read how busy this thread was: %w", err)
	}
	return time.Duration(t.Nano()), nil
}

// work is what a slice does: equal parts, on the reference device, of integer
// arithmetic with branches, hashing of a buffer, and dependent reads all over a
// table larger than small caches. No instructions made for the purpose are
// used, as for SHA or CRC: few programs gain from them.
type work struct {
	buffer []byte
	table  []uint32
	sum    uint64
}

const (
	steps     = 375_000
	bufSize   = 32 << 10
	rounds    = 52
	tableSize = 1 << 20
	reads     = 125_000
)

func newWork() *work {
	w := &work{buffer: make([]byte, bufSize), table: make([]uint32, tableSize)}
	for i := range w.buffer {
		w.buffer[i] = byte(i * 7)
	}
	// A linear congruential generator of full period: the walk meets all.
	for i := range w.table {
		w.table[i] = (uint32(i)*1_664_525 + 1_013_904_223) % tableSize
	}
	return w
}

func (w *work) arithmetic() {
	x := w.sum | 1
	for range steps {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		if x%3 == 0 {
			x += x / 10
		}
	}
	w.sum += x
}

func (w *work) hash() {
	h := w.sum
	for range rounds {
		for _, b := range w.buffer {
			h = (h ^ uint64(b)) * 1_099_511_628_211
		}
	}
	w.sum += h
}

func (w *work) walk() {
	at := uint32(w.sum) % tableSize
	for range reads {
		at = w.table[at]
	}
	w.sum += uint64(at)
}
