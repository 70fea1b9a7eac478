// Package p2p connects the devices of one mesh: authenticated streams and
// gossip. It never talks to a device without the mesh's secret, and knows nothing
// of containers or placement.
//
//	mDNS ┐
//	peers.json ┤                        ┌ membership handshake (inside Noise)
//	--peer     ┼→ connector → swarm ────┤   name pinned, certificate checked
//	statuses   ┘   (dials)     (TCP)    └ frames
//	                                         ├ detector, goodbye
//	                                         ├ gossipsub, with neighbours   OnStatus, Publish
//	                                         └ yamux → streams              Handle / Open
//
// Reading order: membership.go (authentication), frameconn.go and frames.go (the
// wire), members.go (the table), connector.go (dialling), detector.go (liveness),
// neighbours.go, gossip.go; mesh.go puts them together.
package p2p
