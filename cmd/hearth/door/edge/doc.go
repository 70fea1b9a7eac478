// Package edge answers the REST API of lf-edge's edge-home-orchestration-go, so that
// its clients find a mesh. It never changes an owner's policy, and never speaks to
// other devices: what that project's devices ask each other is libp2p's here.
//
//	POST services ──Parse──▶ protocol.App.Run ──a node has taken it──▶ {"Message":"ERROR_NONE",…}
package edge
