// Package device composes one device from its parts: the p2p mesh, the runtime,
// the scheduler and the app endpoint. It has no logic of its own beyond the
// adapters between them:
//
//	app endpoint ──ServeApp──▶ appServer ──▶ sched.Orchestrator
//	                                              │ Executor
//	                       this device ◀──────────┴────────▶ another
//	                       runtime.Node                  ExecuteClient
//	                           ▲                              │ stream
//	mesh ◀──ServeExecute───────┴──────────────────────────────┘
//
//	runtime, machine ──status──▶ gossip ──▶ mesh ──▶ every device's sched.View
//
// It can be imported, so that tests start whole devices in one process.
package device
