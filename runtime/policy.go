package runtime

import (
	"math"

	"github.com/hearth-edge/hearth/protocol"
)

// A Policy is what a container may have on this node. It is its owner's, and
// no message changes it.
type Policy struct {
	// Network is "bridge" or "none".
	Network string
	// Pids is the limit on a container's processes and threads.
	Pids int64
	// DefaultCPUs and DefaultMemory are what a service gets that asks for
	// none. 0 is one core, and an equal share of the memory lent.
	DefaultCPUs   protocol.Cores
	DefaultMemory protocol.Bytes
	// MaxCPUs and MaxMemory are the most that one container gets; 0 is all
	// that is lent.
	MaxCPUs   protocol.Cores
	MaxMemory protocol.Bytes
}

// Lent is what the device lends to executions.
type Lent struct {
	CPUs   protocol.Cores
	Memory protocol.Bytes
}

// minDefaultMemory is the least that a service gets unasked: with less, hardly
// any program starts, so fewer slots are better than useless ones.
const minDefaultMemory = 64 << 20

// DefaultPolicy returns the policy of a node whose owner said nothing.
func DefaultPolicy() Policy { return Policy{Network: "bridge", Pids: 512} }

// Apply returns what a driver is to run for the service: the service with the
// policy's limits, and nothing that the policy does not allow. It is a pure
// function. The error is a *protocol.Error: CodePolicy for what the owner does
// not allow, CodeResources for more than is lent, CodeInvalid for amounts that
// make no sense.
func (p Policy) Apply(id ExecutionID, orchestrator protocol.NodeID, s protocol.Service, lent Lent) (Spec, error) {
	cpus, err := p.cpus(s.CPUs, lent)
	if err != nil {
		return Spec{}, err
	}
	memory, err := p.memory(s.Memory, lent)
	if err != nil {
		return Spec{}, err
	}
	return Spec{
		ID:           id,
		Orchestrator: orchestrator,
		Image:        s.Image,
		Entrypoint:   s.Entrypoint,
		Args:         s.Args,
		Env:          s.Env,
		WorkDir:      s.WorkDir,
		User:         s.User,
		Stdin:        s.Stdin,
		TTY:          s.TTY,
		CPUs:         cpus,
		Memory:       memory,
		Pids:         p.Pids,
		Network:      p.Network,
		Timeout:      s.Timeout,
	}, nil
}

func (p Policy) cpus(asked protocol.Cores, lent Lent) (protocol.Cores, error) {
	if math.IsNaN(float64(asked)) || asked < 0 {
		return 0, protocol.Errorf(protocol.CodeInvalid, "cpus: %v is no amount of cores", asked)
	}
	if asked == 0 {
		return p.defaultCPUs(lent), nil
	}
	if asked > lent.CPUs {
		return 0, protocol.Errorf(protocol.CodeResources, "asks for %v cores, this node lends %v", asked, lent.CPUs)
	}
	if p.MaxCPUs > 0 && asked > p.MaxCPUs {
		return 0, protocol.Errorf(protocol.CodePolicy, "asks for %v cores, this node's owner allows a container %v", asked, p.MaxCPUs)
	}
	return asked, nil
}

func (p Policy) memory(asked protocol.Bytes, lent Lent) (protocol.Bytes, error) {
	if asked == 0 {
		return p.defaultMemory(lent), nil
	}
	if asked > lent.Memory {
		return 0, protocol.Errorf(protocol.CodeResources, "asks for %s of memory, this node lends %s", size(asked), size(lent.Memory))
	}
	if p.MaxMemory > 0 && asked > p.MaxMemory {
		return 0, protocol.Errorf(protocol.CodePolicy, "asks for %s of memory, this node's owner allows a container %s", size(asked), size(p.MaxMemory))
	}
	return asked, nil
}

// defaultCPUs is one core, or all that is lent where that is less.
func (p Policy) defaultCPUs(lent Lent) protocol.Cores {
	cpus := p.DefaultCPUs
	if cpus <= 0 {
		cpus = 1
	}
	if p.MaxCPUs > 0 {
		cpus = min(cpus, p.MaxCPUs)
	}
	return min(cpus, lent.CPUs)
}

// defaultMemory lets as many default services in as there are cores for them.
func (p Policy) defaultMemory(lent Lent) protocol.Bytes {
	memory := p.DefaultMemory
	if memory == 0 {
		byCPU := max(nano(lent.CPUs)/max(nano(p.defaultCPUs(lent)), 1), 1)
		memory = max(lent.Memory/protocol.Bytes(byCPU), minDefaultMemory)
	}
	if p.MaxMemory > 0 {
		memory = min(memory, p.MaxMemory)
	}
	return min(memory, lent.Memory)
}
