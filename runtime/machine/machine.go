// Package machine tells what this computer has, how much of it is lent, how
// busy it is, and how fast. It changes nothing, and runs nothing but a short
// benchmark on the first start.
//
//	New -> what is lent;  Sample -> how it is doing now;  Benchmark -> speed of a core
package machine

import (
	"fmt"
	"io/fs"
	"os"
	goruntime "runtime"
	"sync"
	"time"

	"github.com/shirou/gopsutil/v4/mem"

	"github.com/hearth-edge/hearth/protocol"
)

// Config says what the owner lends.
type Config struct {
	// CPUs to lend; 0 is all that this process may use.
	CPUs protocol.Cores
	// Memory to lend; 0 is what there is, less a fifth and at least 256 MiB
	// for the system and its own programs.
	Memory protocol.Bytes
	// Dir is a folder on the file system whose free space counts. Where it does not
	// exist, its nearest parent counts.
	Dir string
}

// A Machine is this computer as a node sees it. Its methods may be called
// concurrently.
type Machine struct {
	// CPUs and Memory are what is lent: at most what there is.
	CPUs   protocol.Cores
	Memory protocol.Bytes
	// TotalCPUs and TotalMemory are what there is: the hardware, or the limit
	// of the control group that this process is in, where that is less.
	TotalCPUs   protocol.Cores
	TotalMemory protocol.Bytes

	dir      string
	root     fs.FS          // of the file system
	hardware protocol.Cores // all cores, of which the others' use is counted

	mu     sync.Mutex // guards what follows
	last   reading
	others protocol.Cores
	taken  average // of what executions were given since last
	// accelerators are those that were there when they were looked for.
	accelerators []Accelerator
	looked       time.Time
	// heat is what the sensors said at heatAt; the rest is what is told of it.
	heat                   heat
	heatAt                 time.Time
	temperature, throttled float64
}

// New looks at the hardware and its limits.
func New(cfg Config) (*Machine, error) {
	if !(cfg.CPUs >= 0) {
		return nil, fmt.Errorf("cannot lend %s", cfg.CPUs)
	}
	memory, err := mem.VirtualMemory()
	if err != nil {
		return nil, fmt.Errorf("read how much memory there is: %w", err)
	}
	root := os.DirFS("/")
	limits := cgroupLimits(root)
	m := &Machine{dir: cfg.Dir, root: root, hardware: protocol.Cores(goruntime.NumCPU())}
	m.TotalCPUs = atMost(m.hardware, limits.cpus)
	m.TotalMemory = atMost(protocol.Bytes(memory.Total), limits.memory)
	m.CPUs = atMost(m.TotalCPUs, cfg.CPUs)
	m.Memory = atMost(m.TotalMemory, cfg.Memory)
	if cfg.Memory == 0 {
		m.Memory = defaultMemory(m.TotalMemory)
	}
	if m.last, err = read(); err != nil {
		return nil, err
	}
	m.taken = average{since: m.last.at, at: m.last.at}
	return m, nil
}

// atMost returns v, or limit where there is one and it is less.
func atMost[T protocol.Cores | protocol.Bytes](v, limit T) T {
	if limit > 0 {
		return min(v, limit)
	}
	return v
}

// defaultMemory keeps a fifth back, which is what a desktop's or a small
// server's own programs take, but no less than a small Linux needs, nor more
// than half.
func defaultMemory(total protocol.Bytes) protocol.Bytes {
	return total - min(max(total/5, 256<<20), total/2)
}
