// Package stack keeps the instances of this node's stacks up. It is given the
// stacks that the node holds, applies the owner's policy to them, makes their
// networks, volumes and containers through an Engine, and starts again what
// ended. It needs nobody but the engine: no other device and no network.
//
// It never decides which node holds a stack, reads no compose files, and never
// makes an empty volume in place of one that is missing.
//
//	Apply -> record -> compile (policy, addresses) -> next (desired, seen) -> Engine
//	                                                    ^ events <---------------'
//
// One mutex guards the Keeper's tables and is never held across I/O. Run owns all
// goroutines: one decides, and one for each service does what was decided.
package stack
