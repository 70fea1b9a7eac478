// Package bench measures what a user would feel and an owner pays: how soon a
// device is in the mesh and of use, how soon a request is accepted and its
// container started (beside the raw Engine API and docker's command doing the
// same, in turns), how both grow with the mesh, how soon a loss is noticed, how
// much goes through, what becomes of a burst, and what an idle node costs.
//
// `make bench` runs it: it prints a table with each figure beside its reference and
// the limit that the project sets itself (package report), and writes bench.json
// into testnet/out. Each benchmark also reports its figures in Go's
// own way. Nothing is asserted on times; what fails is a request that is lost, or
// runs twice.
//
// There are two kinds of mesh. One is of built binaries in network namespaces with
// mDNS and a Docker engine, or for BenchmarkOwn one that takes no time. The other is of nodes with fake engines, the one that is
// asked in a process of its own and the others up to fifty in one: all but discovery
// and the engine is real, and hundreds fit on one machine. Apps and what measures
// are in this process, never in theirs, but for BenchmarkNode, which counts what
// cannot be seen from outside.
//
// `make bench-guard` compares counts instead of times, in CI: see guard.
package bench
