package sched

import (
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

// View is what this device knows of the mesh.
type View struct{ changed chan struct{} }

// NewView returns the view of the device self, which knows nobody yet.
func NewView(self protocol.NodeID, clock Clock, params Params) *View {
	return &View{changed: make(chan struct{})}
}

// Score takes in a score, of a peer or of the device itself.
func (v *View) Score(s protocol.Score) {}

// Joined tells that the device node is connected, from the address addr.
func (v *View) Joined(node protocol.NodeID, name, addr string) {}

// Left tells that the device node left, or that its connection was lost.
func (v *View) Left(node protocol.NodeID) {}

// RTT tells how long the last ping to node took.
func (v *View) RTT(node protocol.NodeID, d time.Duration) {}

// Devices returns all devices that are connected, self first, then by name.
func (v *View) Devices() []protocol.Device { return nil }

// Changed returns a channel that is closed at the next change.
func (v *View) Changed() <-chan struct{} { return v.changed }

// Estimate is what the device itself would need for the service now: the
// other side of Offer.Bound.
func (v *View) Estimate(s *protocol.Service) time.Duration { return 0 }
