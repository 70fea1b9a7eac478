// Package stack decides what becomes of stacks: which node holds one, what a new
// version changes, and when the version before comes back. It keeps the records
// of those that this device holds, and the names of all that it has seen.
//
//	app ──▶ Mesh ──▶ the holder, found in Names, or placed by sched.Placer
//	                   │ protocol.Stacks
//	                   ▼
//	                 Holder ──▶ Store (synced) ──▶ Keeper (runtime/stack)
//	                   ▲                              │
//	                   └── up in time, or back ◀──────┘ status
//
// It starts no containers, reads no compose files and knows no network: streams
// to other devices, the engine, clocks and keys are handed in.
//
// A mutex guards the Holder's table and is never held across I/O; what changes a
// stack holds the stack's own lock. Holder.Run owns the goroutines that wait for
// stacks to be up.
package stack
