package netns

import (
	"testing"
	"time"

	"github.com/hearth-edge/hearth/testnet"
)

// Link says how bad a host's link is, each way. The zero Link is a good one.
type Link struct {
	// Delay of each packet, Jitter more or less: uniform, order is kept.
	Delay, Jitter time.Duration
	// Loss is the share of packets that are dropped, 0 to 1.
	Loss float64
	// Rate in bytes a second; 0 is as fast as it goes.
	Rate int64
}

// Shape makes the host's link be as l says, from now on, in both directions.
func (h *Host) Shape(l Link) { h.t.Fatal(l) }

// Slow is Shape with a delay.
func (h *Host) Slow(delay time.Duration) { h.t.Helper(); h.Shape(Link{Delay: delay}) }

// Lossy is Shape with a loss (0 to 1).
func (h *Host) Lossy(loss float64) { h.t.Helper(); h.Shape(Link{Loss: loss}) }

// Partition parts the network: hosts of one group reach each other, by multicast
// too, and no host of another group. Hosts in no group stay with each other.
// Links stay up. Another Partition replaces it.
func (n *Net) Partition(groups ...[]*Host) { n.t.Fatal(groups) }

// Cut drops all that from sends to to, one way only.
func (n *Net) Cut(from, to *Host) { n.t.Fatal(from, to) }

// HealAll ends every fault of the network: partitions, cuts, isolation, pulled cables and
// bad links. Addresses stay as they are, and so does BlockMulticast.
func (n *Net) HealAll() { n.t.Fatal() }

// Move takes the host's address away and gives it a new one, as another lease
// does; IP is the new one.
func (h *Host) Move() { h.t.Fatal() }

// StartEngine starts a Docker engine of the host's own, in its network; a node
// uses it if testnet.Options.Engine says so.
func (h *Host) StartEngine(t testing.TB) *testnet.Engine {
	t.Helper()
	return testnet.StartEngine(t, testnet.EngineOptions{Command: h.Command})
}
