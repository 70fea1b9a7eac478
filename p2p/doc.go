// Package p2p connects the devices of one mesh: authenticated streams and
// gossip. It knows nothing of containers or of placement, and never talks to a
// device that does not hold the secret.
//
//	mDNS ┐
//	peers.json ┤                        ┌ membership handshake (inside Noise)
//	--peer     ┼→ connector → swarm ────┤   name pinned, certificate checked
//	scores     ┘   (dials)     (TCP)    └ yamux → streams
//	                                         ├ /hearth/alive/1.0.0  liveness, goodbye
//	                                         ├ gossipsub            OnScore, Publish
//	                                         └ Handle / Open        the caller's protocols
//
// Reading order: membership.go (who may connect), members.go (who is
// connected), connector.go (whom to dial), liveness.go, gossip.go, and mesh.go
// which puts them together.
package p2p
