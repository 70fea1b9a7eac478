package runtime

import "github.com/hearth-edge/hearth/protocol"

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
	// MaxCPUs and MaxMemory are the most one container gets; 0 is all lent.
	MaxCPUs   protocol.Cores
	MaxMemory protocol.Bytes
}

// DefaultPolicy returns the policy of a node whose owner said nothing.
func DefaultPolicy() Policy { return Policy{Network: "bridge", Pids: 512} }
