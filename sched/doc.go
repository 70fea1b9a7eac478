// Package sched decides who runs a request, and what happens when that fails.
//
// It holds the view of the mesh, made of gossiped statuses (View), the placement
// made from it (Place), and a request's life from its acceptance to its end
// (Orchestrator):
//
//	statuses, connections ──▶ View ──Snapshot──▶ Place ──▶ offer ──▶ execution
//	                          ▲                             │          │
//	                          └──── own dispatches, loads ──┘          ▼
//	                                                    updates ──▶ Feed ──▶ app
//
// It never touches the network or an engine: a node is a protocol.Executor, and
// what is known of the mesh is put into the View by others. Time and randomness
// are arguments; timers measure durations only, so that clocks may be wrong.
package sched
