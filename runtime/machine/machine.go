// Package machine tells what this computer has, what of it is lent, how busy
// it is, and how fast. It changes nothing and runs nothing but a short
// benchmark.
package machine

import (
	"context"

	"github.com/hearth-edge/hearth/protocol"
)

// Config says what the owner lends.
type Config struct {
	// CPUs to lend; 0 is all there are.
	CPUs protocol.Cores
	// Memory to lend; 0 is 80 % of what there is.
	Memory protocol.Bytes
	// Dir is the folder whose file system Sample looks at.
	Dir string
}

// A Machine is this computer as a node sees it.
type Machine struct {
	// CPUs and Memory are what is lent.
	CPUs   protocol.Cores
	Memory protocol.Bytes
	cfg    Config
}

// New looks at the hardware and its limits.
func New(cfg Config) (*Machine, error) { return &Machine{cfg: cfg}, nil }

// A Sample is how the machine is doing.
type Sample struct {
	// CPUOthers is how many cores other programs than hearth and its
	// containers used, averaged since the sample before.
	CPUOthers protocol.Cores
	// MemoryAvailable is what new programs could get.
	MemoryAvailable protocol.Bytes
	// DiskFree is what is left in Config.Dir's file system.
	DiskFree protocol.Bytes
}

// Sample measures; executions is how many cores the executions running now may
// use.
func (m *Machine) Sample(ctx context.Context, executions protocol.Cores) (Sample, error) {
	return Sample{}, nil
}

// Benchmark returns the speed of one core relative to the reference (1),
// measured once and kept in dir until the hardware changes.
func Benchmark(ctx context.Context, dir string) (float64, error) { return 1, nil }
