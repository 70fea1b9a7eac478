// Package faults measures how soon a mesh notices that a device is lost, runs its
// work elsewhere, and takes it back; how often it takes one for lost that is not; and
// how much a member that floods a node slows the requests of others. Everything is
// real: built binaries in network namespaces and a Docker engine. `make bench-faults`
// runs it, some twenty minutes, and prints each figure beside the limit that the
// project sets itself.
package faults
