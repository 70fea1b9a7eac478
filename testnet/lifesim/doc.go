// Package lifesim simulates the life of requests under faults: the real
// sched.Orchestrator, with nodes, a network and a journal that are models. It is
// for searching: thousands of seeds a minute, each a schedule of its own, none
// of which needs a socket, an engine or a disk. Time is that of a synctest
// bubble; all else that is left to chance comes from the seed.
//
//	faults ──▶ world ── network ──▶ node ── container     Orchestrator
//	                       ▲                                  │   │
//	                       └────────── Executor ──────────────┘   └─▶ Journal
//	                 history ◀── what was asked, told, started, ended ──▶ Check
//
// The model is as bad as a home: messages are late, lost and repeated, links are
// cut, processes are killed, devices lose their power or sleep, and what was not
// synced is gone. It does what protocol's DESIGN.md asks of a node. Bugs leave
// out one of those things each, to show that Check would notice.
//
// What it does not do: it neither places (see testnet/sim) nor runs anything, and
// the orchestrator's own clock never stops.
package lifesim
