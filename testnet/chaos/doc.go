// Package chaos runs meshes under load while things go wrong, and takes down
// what happens for package history to judge. Everything is real: built binaries
// in network namespaces, containers, and the faults of packages testnet and netns.
//
//	Schedule(seed) ──▶ Mesh.Play ── faults ──▶ devices, network, engines
//	Load ── requests ──▶ devices               │
//	  └── what was told ──▶ history.Recorder ◀──┘── what engines tell
//	                              └──▶ history.Check
//
// What is chosen comes from the seed: faults and requests. When a request ends and
// on which node it runs does not: the same seed is the same schedule, not the
// same history.
package chaos
