// Package p2p connects the devices of one mesh: authenticated streams and
// gossip. It knows nothing of containers or of placement, and never talks to a
// device that does not hold the secret.
//
//	mDNS ┐
//	peers.json ┤                        ┌ membership handshake (inside Noise)
//	--peer     ┼→ connector → swarm ────┤   name pinned, certificate checked
//	statuses   ┘   (dials)     (TCP)    └ frames
//	                                         ├ detector, goodbye
//	                                         ├ gossipsub, with neighbours   OnStatus, Publish
//	                                         └ yamux → streams              Handle / Open
//
// Reading order: membership.go (who may connect), frameconn.go and frames.go (what is
// said), members.go (who is connected), connector.go (whom to dial), detector.go,
// neighbours.go, gossip.go, and mesh.go which puts them together.
package p2p
