// Package bench measures what a user would feel: how soon a device is in the
// mesh and of use, how soon a request is accepted and its container started
// (beside the raw Engine API doing the same, interleaved in one run), how soon
// a loss is noticed, and what an idle node costs. Everything is real: built
// binaries in network namespaces with mDNS, and a Docker engine.
//
// `make bench` runs it. Each figure is a median of the benchmark's iterations
// and stands beside the limit that the project sets itself.
package bench
